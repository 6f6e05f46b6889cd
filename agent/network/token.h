/* SPDX-License-Identifier: MIT */
/* token: bearer tokens of a registry's token server (distribution's token specification, and its OAuth2 form for
 * identity tokens). The functions for requests are in registry-internal.h; these are pure. */
#pragma once

#include "http.h"
#include "url.h"

/* Whether s is valid as a token in a header line. */
bool token_is_clean(const char *s);

/* Whether a token server may see the credentials of the registry host (as in struct ref) at that origin. */
bool token_host_is_trusted(const char *host, const struct url *registry, const struct url *realm);

/* "MESSAGE" of a registry's or token server's JSON body, or NULL. Caller frees. */
char *token_error_message(const struct http_response *r);
