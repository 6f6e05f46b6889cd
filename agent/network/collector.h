/* SPDX-License-Identifier: MIT */
/* collector: posts a report to an OpenTelemetry collector. It does not retry: the next report has newer values. */
#pragma once

#include "session.h"

/* Loads the collector's credentials; *ret stays empty without them. The caller frees. -EPERM: no URL is configured, or a
 * password would be sent in the clear. */
int collector_load_credential(const struct report_config *config, struct credential *ret,
			      struct error *ret_error) warn_unused;

/* Posts the bodies metrics and logs, of which either may be NULL, to the configured URL. */
int collector_post(const struct session *s, const char *metrics, const char *logs,
		   struct error *ret_error) warn_unused;
