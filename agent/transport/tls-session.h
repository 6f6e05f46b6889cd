/* SPDX-License-Identifier: MIT */
/* tls-session: the TLS session of one server, kept in a file so that the next process resumes it (RFC 8446 2.2,
 * RFC 5077): a handshake without certificates. */
#pragma once

#include "error.h"

#define TLS_SESSION_KEY_MAX	((size_t)64)
#define TLS_SESSION_BYTES_MAX	((size_t)64 * 1024)
#define TLS_SESSION_SECONDS_MAX (12 * 60 * 60)

struct tls_session;

/* The session of the file key in dirfd, which is the caller's and stays open as long as the object. key: at most
 * TLS_SESSION_KEY_MAX of a-z, A-Z, 0-9, '.', '_' and '-', not '.' first; the same only for the same host, port and
 * trusted certificates, since a resumed session is not checked against those again. host: name or address that
 * the session is for, IPv6 in brackets. A file that is unreadable, too large, damaged, older than
 * TLS_SESSION_SECONDS_MAX, from the future, or not a regular file of this user counts as none. NULL: invalid key. */
struct tls_session *tls_session_open(int dirfd, const char *key);
/* confirmed: a request succeeded, so the server's certificate has been verified. Then the newest session is written to
 * the file. Otherwise the file is removed if its session was offered. */
void tls_session_close(struct tls_session *s, bool confirmed);

/* Lets connections of ctx, an SSL_CTX, resume the session and replace it. host: of the URL; peer: the
 * address of the connection, which is another at a proxy. */
void tls_session_attach(struct tls_session *s, void *ctx, const char *host, const char *peer);
