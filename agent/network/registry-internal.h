/* SPDX-License-Identifier: MIT */
/* registry-internal: what the files of registry share; nobody else includes it. */
#pragma once

#include "registry.h"
#include "url.h"

/* What a registry is asked. */
struct ask {
	const char *method;
	const char *what;     /* below /v2/REPOSITORY/: "manifests/TAG" */
	const struct url *at; /* instead, where it sent us */
	const char *body;     /* NULL: none */
	const char *type;     /* of body */
};

/* And the answer: whose it is. */
struct answer {
	struct http_response response;
	bool foreign; /* from where the registry sent us, not from itself */
};

/* With redirects, and with what it takes to be let in. */
int registry_request(struct registry *r, const struct ask *ask, struct answer *ret,
		     struct error *ret_error) warn_unused;
/* An error for every status but want. */
int registry_check_status(struct registry *r, const struct answer *a, long want,
			  struct error *ret_error) warn_unused;
/* The host that the reference names, as a URL. */
const struct url *registry_origin(const struct registry *r);
