/* SPDX-License-Identifier: MIT */
/* login: the keys of docker's config.json, and the directory auth.d of such files, beside the configuration. systemd
 * loads it for pullet-fetch and pullet-update: a file FILE becomes the credential auth_FILE, or auth-enc_FILE from
 * auth.d.encrypted. pullet(1), login. Pure. */
#pragma once

#include "util.h"

#define LOGIN_PLAIN	"auth_" /* units' LoadCredential=auth:/etc/pullet/auth.d */
#define LOGIN_ENCRYPTED "auth-enc_"

/* The key that "docker login" writes for host (as in struct ref). Borrowed. */
const char *login_key(const char *host);
/* The scope of a key for host: "" for all of it, or "team" of "registry.example:5000/team"; NULL: the key is another
 * host's. "https://index.docker.io/v1/" is all of docker.io, and only a key without a scheme has a namespace. Caller
 * frees. */
char *login_scope(const char *key, const char *host);

/* "/etc/pullet/auth.d" for "/etc/pullet/pullet.conf". Caller frees. */
char *login_directory(const char *config_path);
/* "registry.example_5000.json": systemd starts no unit with a credential whose name has a colon. Caller frees. */
char *login_file(const char *host);
