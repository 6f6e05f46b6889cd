/* SPDX-License-Identifier: MIT */
/* ref: an image reference, "[host[:port]/]path[:tag][@digest]", in the grammar of
 * distribution/reference, with Docker's defaults made explicit. Pure. */
#pragma once

#include "digest.h"

struct ref {
	char *text; /* as configured, for messages */
	char *host; /* "docker.io", "registry.example:5000", "[::1]:5000" */
	char *path; /* "library/hello-world", without the host */
	char *tag;  /* NULL only when there is a digest and no tag; "latest" is filled in */
	struct digest digest; /* empty unless the reference pins one */
};

/* Parses and normalises. A first component without '.', ':' and that is not "localhost" is part of
 * a docker.io path; one-component docker.io paths get "library/"; "index.docker.io" is "docker.io".
 * -EINVAL and a static sentence in *ret_why ("repository name must be lower case", ...) on failure.
 * The caller owns ret; ref_free. */
int ref_parse(const char *s, struct ref *ret, const char **ret_why) warn_unused;
void ref_free(struct ref *r);

/* "host/path" as the Engine API wants it in fromImage= and tag?repo=. Caller frees. */
char *ref_repository(const struct ref *r);

/* "host/path:tag", or NULL without a tag. For docker.io in the familiar short form
 * ("hello-world:latest"), as the engine prints it. Caller frees. */
char *ref_tagged(const struct ref *r);

/* Whether two references, which may be written differently, name the same tag; digests do not count. */
bool ref_is_same_tag(const char *a, const char *b);

/* "host/path@digest". Caller frees. */
char *ref_pinned(const struct ref *r, const struct digest *d);

/* Whether host (with or without port) names this machine: localhost, 127.0.0.0/8, [::1]. */
bool ref_host_is_loopback(const char *host);
