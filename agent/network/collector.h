/* SPDX-License-Identifier: MIT */
/* collector: hands a report to an OpenTelemetry collector, in the network half. Once, in seconds, or not at
 * all: whoever waits for the next one knows more than it. */
#pragma once

#include <signal.h>

#include "config.h"

/* metrics and logs are bodies as they are; either may be NULL. Where they go, only the configuration says.
 * -EPERM: it says nothing. */
int collector_post(const struct report_config *config, const char *metrics, const char *logs,
		   const volatile sig_atomic_t *cancel, struct error *ret_error) warn_unused;
