/* SPDX-License-Identifier: MIT */
/* version: reads an engine's answer to GET /version. Pure. */
#pragma once

#include "error.h"
#include "json.h"
#include "oci.h"

struct version {
	int api_minor;		      /* the newest API that both sides speak: 41 is 1.41 */
	struct oci_platform platform; /* what its host runs; an arm's variant comes from uname(2) */
	bool podman;
};

int version_read(const json_t *answer, struct version *ret, struct error *ret_error) warn_unused;
