/* SPDX-License-Identifier: MIT */
#include "tls-session.h"

#include <fcntl.h>
#include <openssl/ssl.h>
#include <sys/param.h>
#include <sys/stat.h>

struct tls_session {
	int dirfd; /* the caller's */
	char *key;
	char *host;
	bool is_peer;	  /* host is the address that is connected to */
	SSL_SESSION *old; /* from the file, or NULL */
	SSL_SESSION *new;
	bool offered;
};

static bool key_is_safe(const char *key)
{
	size_t n = strlen(key);

	return n > 0 && n <= TLS_SESSION_KEY_MAX && key[0] != '.' &&
	       strspn(key, ALPHANUMERIC "._-") == n;
}

/* The age follows the wall clock: after the clock is set back a session is from the future. */
static bool is_fresh(const SSL_SESSION *s)
{
	time_t made = (time_t)SSL_SESSION_get_time(s), now = time(NULL);
	long most = MIN(SSL_SESSION_get_timeout(s), TLS_SESSION_SECONDS_MAX);

	return made <= now && now - made <= most && SSL_SESSION_is_resumable(s);
}

/* The file holds the host, a NUL and the session in ASN.1 (d2i_SSL_SESSION). */
static void read_session(struct tls_session *s)
{
	_cleanup_close_ int fd = openat(s->dirfd, s->key, READ_FILE_FLAGS | O_NOFOLLOW);
	const unsigned char *p;
	size_t start, n;
	struct stat st;
	char *data;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_uid != geteuid() ||
	    read_file(fd, TLS_SESSION_BYTES_MAX, &data, &n) < 0)
		return;
	start = strlen(data) + 1;
	p = (const unsigned char *)data + start;
	if (start < n && streq(data, s->host))
		s->old = d2i_SSL_SESSION(NULL, &p, (long)(n - start));
	explicit_bzero(data, n);
	free(data);
	if (s->old && !is_fresh(s->old))
		SSL_SESSION_free(steal(s->old));
}

static void write_session(const struct tls_session *s)
{
	int n = i2d_SSL_SESSION(s->new, NULL);
	size_t start = strlen(s->host) + 1, size = start + (size_t)(n > 0 ? n : 0);
	unsigned char *data, *p;

	if (n <= 0 || size > TLS_SESSION_BYTES_MAX)
		return;
	data = xmalloc(size);
	memcpy(data, s->host, start);
	p = data + start;
	/* A failure costs the next process a full handshake. */
	if (i2d_SSL_SESSION(s->new, &p) == n)
		(void)!write_file_atomic_at(s->dirfd, s->key, 0600, (const char *)data, size);
	explicit_bzero(data, size);
	free(data);
}

struct tls_session *tls_session_open(int dirfd, const char *key)
{
	struct tls_session *s;

	if (!key_is_safe(key))
		return NULL;
	s = xcalloc(1, sizeof(*s));
	s->dirfd = dirfd;
	s->key = xstrdup(key);
	return s;
}

void tls_session_close(struct tls_session *s, bool confirmed)
{
	if (!s)
		return;
	if (confirmed && s->new)
		write_session(s);
	else if (!confirmed && s->offered)
		(void)unlinkat(s->dirfd, s->key, 0);
	SSL_SESSION_free(s->old);
	SSL_SESSION_free(s->new);
	free(s->key);
	free(s->host);
	free(s);
}

/* Whether the handshake is with the host, not with an https proxy: by the requested name, or by the address. */
static bool is_for_host(const struct tls_session *s, const SSL *ssl)
{
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	return name ? streq(name, s->host) : s->is_peer;
}

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls_session *s = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	/* A resumed handshake checked no certificate, so its session is not newer. */
	if (SSL_session_reused(ssl) || !is_for_host(s, ssl) ||
	    SSL_get_verify_result(ssl) != X509_V_OK)
		return 0;
	SSL_SESSION_free(s->new);
	s->new = SSL_SESSION_dup(session);
	return 0;
}

static void on_info(const SSL *const_ssl, int where, int value)
{
	struct tls_session *s = SSL_CTX_get_app_data(SSL_get_SSL_CTX(const_ssl));
	SSL *ssl = (SSL *)const_ssl;
	/* A later connection of this process resumes what an earlier one got. */
	SSL_SESSION *known = s->new ?: s->old, *copy;
	int r;

	/* Messages after the handshake raise this event too. */
	if (where != SSL_CB_HANDSHAKE_START || SSL_get_session(ssl))
		return;
	if (!known || !is_for_host(s, ssl))
		return;
	/* libssl takes a session out of use that has been used, or whose connection was cut. */
	copy = SSL_SESSION_dup(known);
	r = copy ? SSL_set_session(ssl, copy) : 0;
	SSL_SESSION_free(copy);
	if (r != 1)
		return;
	/* The session's own result: a resumed handshake verifies no chain. */
	if (SSL_get_verify_result(ssl) == X509_V_OK)
		s->offered = true;
	else
		(void)SSL_set_session(ssl, NULL);
}

void tls_session_attach(struct tls_session *s, void *ctx, const char *host, const char *peer)
{
	_cleanup_free_ char *bracketed = xasprintf("[%s]", peer);

	if (!s->host) {
		s->host = xstrdup(host);
		read_session(s);
	}
	s->is_peer = streq(host, peer) || streq(host, bracketed);
	SSL_CTX_set_app_data(ctx, s);
	(void)SSL_CTX_set_session_cache_mode(ctx,
					     SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, on_new_session);
	SSL_CTX_set_info_callback(ctx, on_info);
}
