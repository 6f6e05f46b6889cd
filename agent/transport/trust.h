/* SPDX-License-Identifier: MIT */
/* trust: the certificates for TLS with one host: its authorities, and a client certificate. */
#pragma once

#include "digest.h"
#include "error.h"

/* All zero: the system's authorities, and no client certificate. */
struct trust {
	char *authorities;	 /* PEM, NULL: none but the system's */
	bool alone;		 /* the system's authorities are not trusted */
	bool is_set;		 /* there are files for the host, usable or not: it has TLS */
	char *certificate, *key; /* of the client, PEM; NULL: none */
	char *skipped; /* "FILE: REASON, what to do" of the first file that could not be read, or NULL */
};

/* Reads a PEM file with the only authorities of the host. */
int trust_add_file(struct trust *t, const char *path, struct error *ret_error) warn_unused;
/* Reads a directory of /etc/docker/certs.d as Docker does: the authorities in *.crt count beside the system's, unless
 * t has its own file; NAME.cert and NAME.key are a client certificate. One without the other is an error. There may be
 * no directory, and a file that cannot be read is skipped. */
int trust_add_directory(struct trust *t, const char *dir, struct error *ret_error) warn_unused;
/* Trusts the authorities of other beside those that t trusts already. */
void trust_add(struct trust *t, const struct trust *other);
/* A hash of all certificates but the system's. */
struct digest trust_hash(const struct trust *t);
void trust_free(struct trust *t);
