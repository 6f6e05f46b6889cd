/* SPDX-License-Identifier: MIT */
/* token: bearer tokens of a registry's token server (distribution's token specification, and its OAuth2 form for
 * identity tokens). */
#pragma once

#include "registry-internal.h"

/* The token that is valid for c now, or NULL. Borrowed. */
const char *registry_token(const struct registry *r, const struct call *c);
/* Gets tokens for the waiting calls, which are then pending or have failed. */
void registry_get_tokens(struct registry *r, struct call *calls, size_t n);
/* Whether a 401 may be solved by a (new) token. Those calls wait then. */
bool registry_is_refused(struct registry *r, struct call *calls, size_t n);

/* Whether a token server may see the credentials of the registry host (as in struct ref) at that origin. */
bool token_host_is_trusted(const char *host, const struct url *registry, const struct url *realm);

/* "MESSAGE" of a registry's or token server's JSON body, or NULL. Caller frees. */
char *token_error_message(const struct http_response *r);
