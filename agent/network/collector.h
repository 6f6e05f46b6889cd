/* SPDX-License-Identifier: MIT */
/* collector: hands a report to an OpenTelemetry collector, in the network half. Once, in seconds, or not at
 * all: whoever waits for the next one knows more than it. */
#pragma once

#include <signal.h>

#include "config.h"
#include "credential.h"

/* What the configuration says of the collector's credentials; empty without them. The caller frees. */
int collector_load_credential(const struct report_config *config, struct credential *ret,
			      struct error *ret_error) warn_unused;

struct collector {
	const struct report_config *config;
	const char *ca_file; /* config's, or a copy */
	const struct credential *credential;
	const volatile sig_atomic_t *cancel;
};

/* metrics and logs are bodies as they are; either may be NULL. Only the configuration says where they go.
 * -EPERM: it does not. */
int collector_post(const struct collector *c, const char *metrics, const char *logs,
		   struct error *ret_error) warn_unused;
