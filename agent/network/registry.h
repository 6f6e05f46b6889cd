/* SPDX-License-Identifier: MIT */
/* registry: the pull side of the OCI distribution-spec: where does a tag point, and what is there; and as
 * much of the push side as a rollout policy needs. */
#pragma once

#include "credential.h"
#include "http.h"
#include "oci.h"
#include "ref.h"

struct registry;

struct registry_options {
	/* plain HTTP (explicit, or a loopback host without a CA of its own; such a host that answers
	 * "HTTP request to an HTTPS server" is asked again over https) */
	bool insecure;
	bool insecure_set;
	const char
		*ca_file; /* from the configuration; else /etc/docker/certs.d/HOST; else system */
	const struct credential *credential;
	const volatile sig_atomic_t *cancel;
};

int registry_open(const struct ref *ref, const struct registry_options *options,
		  struct registry **ret, struct error *ret_error) warn_unused;
void registry_close(struct registry *r);

/* The digest behind the reference's tag: one HEAD; one GET where the registry cannot do HEAD or
 * says no Docker-Content-Digest (then the document is kept and not fetched again). A pinned
 * reference needs no request. */
int registry_resolve(struct registry *r, struct digest *ret, struct error *ret_error) warn_unused;

/* The document of that digest: bytes hashed before anyone parses them, then read by oci. */
int registry_document(struct registry *r, const struct digest *d, struct oci_document *ret,
		      struct error *ret_error) warn_unused;

/* How many of the lowest layers of the image with that config are layers[] (oci_count_shared). */
int registry_count_shared(struct registry *r, const struct digest *config,
			  const struct digest *layers, size_t n_layers, size_t *ret,
			  struct error *ret_error) warn_unused;

/* The content of the artifact of that type behind a tag beside the reference's, max bytes at most, hashed
 * before it is handed out. -ENOENT: there is none. The caller frees it. */
int registry_artifact(struct registry *r, const char *tag, const char *type, size_t max, char **ret,
		      size_t *ret_n, struct error *ret_error) warn_unused;

/* Puts an artifact of that type behind a tag beside the reference's, data its one layer; *ret is its digest.
 * Ask nothing else of the registry before: it is the first request that says what a token is for. */
int registry_push_artifact(struct registry *r, const char *tag, const char *type, const char *data,
			   struct digest *ret, struct error *ret_error) warn_unused;

/* Seconds the registry asked us to stay away in its last answer (Retry-After), or 0. */
unsigned int registry_retry_after(const struct registry *r);
