/* SPDX-License-Identifier: MIT */
#include "http.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/param.h>
#include <sys/socket.h>

#include "meter.h"
#include "curl-error.h"
#include "ref.h"
#include "tls-session.h"
#include "trust.h"
#include "url.h"

#define CONNECT_TIMEOUT_MS 15000L
#define POLL_MS		   1000 /* the delay of a signal between the check of cancel and the poll */
#define CUTS_MAX	   3	/* cut connections in a row, after which the batch fails */
#define RETRY_AFTER_MAX_S  (24 * 60 * 60)
#define BUNDLE_MAX	   ((size_t)4 * 1024 * 1024)
#define WINDOW_MIN	   4096 /* bytes of a receive buffer */
#define PIECE_MIN	   1024 /* bytes that libcurl takes at once */
#define PIECE_MAX	   (16 * 1024)

struct http {
	struct http_options o;
	CURLM *multi;
	char *bundle; /* the authorities of o.trust and the system's, once a transfer needed them */
	bool multiplexes; /* the last answer came over HTTP/2 */
	bool answered;	  /* there was an answer */
	struct pace pace;
	bool reconnects; /* the connection is of no use for the next request */
	/* of http_perform_all() */
	size_t running;
	size_t cuts;	       /* since the last answer */
	struct error hopeless; /* the error of all requests not yet begun */
};

/* One request, as the callbacks see it. */
struct transfer {
	struct http *http;
	const struct http_request *req;
	struct http_result *ret;
	/* A handle that is used again keeps a freed header line of the last answer: libcurl 7.88 takes a
	 * folded first line for the rest of it (curl issue 11101). */
	CURL *curl;
	struct url url;
	const struct url *to;
	char *where; /* "HOST" or "HOST:PORT", for messages */
	struct curl_slist *headers;
	size_t header_bytes; /* of all answers together, interim ones and trailers too */
	uint64_t sent;	     /* of a body that is streamed */
	char *body;
	size_t body_len;
	bool begun; /* on_begin was called */
	char text[CURL_ERROR_SIZE];
};

/* Sets an option of a transfer. libcurl refuses one only if it was built without it or lacks memory. */
#define set(t, option, value)                                               \
	do {                                                                \
		if (curl_easy_setopt((t)->curl, option, value) != CURLE_OK) \
			end((t), -ENOSYS, "libcurl refuses " #option);      \
	} while (0)

/* Ends a transfer with its first error. */
static void end(struct transfer *t, int code, const char *why)
{
	const char *socket = t->http->o.unix_socket;

	if (t->ret->error.code == 0)
		(void)error_set(&t->ret->error, code, "%s: %s", socket ?: t->where ?: "request",
				why);
}

/* libcurl keeps the headers; this bounds them. */
static size_t on_header(char *data, size_t size, size_t n, void *userdata)
{
	struct transfer *t = userdata;

	t->header_bytes += size * n;
	if (t->header_bytes <= HTTP_HEADER_BYTES_MAX)
		return size * n;
	end(t, -EFBIG, "the header is too large");
	return 0;
}

static bool is_cancelled(const struct http *h)
{
	return h->o.cancel && *h->o.cancel;
}

static int tick(const struct http *h)
{
	const struct http_tick *tick = h->o.tick;

	if (is_cancelled(h))
		return -ECANCELED;
	return tick && tick->fn ? tick->fn(tick->userdata) : 0;
}

/* Waits until what was moved is within the cap. libcurl 7.88 takes a hundred pieces before it looks at its own
 * (CURLOPT_MAX_RECV_SPEED_LARGE), and counts no headers. 0, or as tick(). */
static int keep_pace(struct http *h)
{
	uint64_t wait_ms = h->o.meter ? pace_wait_ms(&h->pace, meter_read(h->o.meter)) : 0;
	int r = 0;

	for (; r == 0 && wait_ms > 0; wait_ms = pace_wait_ms(&h->pace, h->pace.moved)) {
		(void)poll(NULL, 0, (int)MIN(wait_ms, POLL_MS));
		r = tick(h);
	}
	return r;
}

static int begin(struct transfer *t, long status)
{
	const struct http_response response = {.status = status, .handle = t->curl};

	if (!t->req->on_begin || t->begun)
		return 0;
	t->begun = true;
	return t->req->on_begin(t->req->userdata, &response);
}

static size_t on_body(char *data, size_t size, size_t n, void *userdata)
{
	struct transfer *t = userdata;
	size_t len = size * n;
	long status = 0;

	(void)curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
	if (t->req->on_data && status / 100 == 2) {
		int r = begin(t, status);

		if (r == 0)
			r = keep_pace(t->http);
		if (r == 0)
			r = t->req->on_data(t->req->userdata, data, len);
		if (r < 0)
			end(t, r, "aborted by response handler");
		return r < 0 ? 0 : len;
	}
	/* Counts the bytes: Content-Length may be wrong. */
	if (len > t->req->body_max - t->body_len) {
		end(t, -EFBIG, "the answer is too large");
		return 0;
	}
	t->body = xrealloc(t->body, t->body_len + len + 1);
	memcpy(t->body + t->body_len, data, len);
	t->body_len += len;
	t->body[t->body_len] = '\0';
	return len;
}

static size_t on_read(char *buffer, size_t size, size_t n, void *userdata)
{
	struct transfer *t = userdata;
	ssize_t r = t->req->on_send(t->req->userdata, t->sent, buffer, size * n);

	if (r < 0) {
		end(t, (int)r, "aborted by request handler");
		return CURL_READFUNC_ABORT;
	}
	t->sent += (uint64_t)r;
	return (size_t)r;
}

/* libcurl begins again on a new connection if the server has closed the old one meanwhile. */
static int on_seek(void *userdata, curl_off_t offset, int origin)
{
	struct transfer *t = userdata;

	t->sent = (uint64_t)offset;
	return origin == SEEK_SET ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_CANTSEEK;
}

static void fail(struct transfer *t, CURLcode c)
{
	const char *socket = t->http->o.unix_socket;
	long e = 0;

	(void)curl_easy_getinfo(t->curl, CURLINFO_OS_ERRNO, &e);
	curl_error_drop_time(t->text);
	if (t->ret->error.code == 0 && socket && c == CURLE_COULDNT_CONNECT)
		(void)error_set(&t->ret->error, -ECONNREFUSED, "cannot connect to %s: %s", socket,
				strerror((int)e));
	end(t, curl_error_code(c, e), t->text[0] ? t->text : curl_easy_strerror(c));
}

/* The authorities of o.trust, and the system's in the file builtin beside them unless they are to be alone. */
static char *find_authorities(struct http *h, const char *builtin)
{
	const struct trust *trust = h->o.trust;
	_cleanup_free_ char *system = NULL;

	if (trust->alone || !builtin)
		return trust->authorities;
	if (!h->bundle) {
		(void)!read_file_at(AT_FDCWD, builtin, BUNDLE_MAX, &system, NULL);
		h->bundle = xasprintf("%s\n%s", trust->authorities, system ? system : "");
	}
	return h->bundle;
}

static struct curl_blob borrow_blob(char *text)
{
	return (struct curl_blob){.data = text, .len = strlen(text), .flags = CURL_BLOB_NOCOPY};
}

static void set_client_certificate(struct transfer *t)
{
	struct curl_blob certificate = borrow_blob(t->http->o.trust->certificate),
			 key = borrow_blob(t->http->o.trust->key);

	set(t, CURLOPT_SSLCERT_BLOB, &certificate);
	set(t, CURLOPT_SSLKEY_BLOB, &key);
}

static void set_trust(struct transfer *t)
{
	struct http *h = t->http;
	struct curl_blob bundle;
	char *builtin = NULL;

	if (curl_easy_getinfo(t->curl, CURLINFO_CAINFO, &builtin) != CURLE_OK ||
	    (builtin && access(builtin, R_OK) < 0))
		builtin = NULL;
	if (h->o.trust && h->o.trust->certificate)
		set_client_certificate(t);
	if (h->o.trust && h->o.trust->authorities) {
		bundle = borrow_blob(find_authorities(h, builtin));
		set(t, CURLOPT_CAINFO_BLOB, &bundle);
	} else if (builtin) {
		set(t, CURLOPT_CAINFO, builtin);
	} else {
		return;
	}
	/* libcurl would also read the default directory: 18 ms a poll. */
	set(t, CURLOPT_CAPATH, NULL);
}

static CURLcode on_tls(CURL *curl, void *ctx, void *userdata)
{
	const struct transfer *t = userdata;
	char *peer = NULL;

	(void)curl_easy_getinfo(curl, CURLINFO_PRIMARY_IP, &peer);
	tls_session_attach(t->http->o.session, ctx, t->to->host, peer ? peer : "");
	return CURLE_OK;
}

/* The peer sends as much at once as the receive buffer takes, whatever libcurl reads. The kernel doubles the size, for
 * its own bookkeeping. */
static int on_socket(void *userdata, curl_socket_t fd, curlsocktype purpose)
{
	const struct http *h = userdata;
	int size = (int)MIN(MAX(h->pace.speed, WINDOW_MIN), INT_MAX / 2);

	if (h->pace.speed > 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (h->o.meter)
		meter_open(h->o.meter, fd);
	return CURL_SOCKOPT_OK;
}

static int on_close(void *userdata, curl_socket_t fd)
{
	const struct http *h = userdata;

	if (h->o.meter)
		meter_close(h->o.meter, fd);
	return close(fd);
}

static void set_link(struct transfer *t)
{
	struct http *h = t->http;

	set(t, CURLOPT_SOCKOPTFUNCTION, on_socket);
	set(t, CURLOPT_SOCKOPTDATA, h);
	set(t, CURLOPT_CLOSESOCKETFUNCTION, on_close);
	set(t, CURLOPT_CLOSESOCKETDATA, h);
	if (h->pace.speed == 0)
		return;
	set(t, CURLOPT_BUFFERSIZE, (long)MIN(MAX(h->pace.speed, PIECE_MIN), PIECE_MAX));
}

static void set_connection(struct transfer *t)
{
	const struct http *h = t->http;
	const char *socket = h->o.unix_socket;

	if (!socket)
		set_link(t);
	if (socket)
		set(t, CURLOPT_UNIX_SOCKET_PATH, socket);
	else
		set_trust(t);
	if (socket || ref_host_is_loopback(t->where))
		set(t, CURLOPT_NOPROXY, "*");
	set(t, CURLOPT_PROTOCOLS_STR, h->o.allow_plain || socket ? "http,https" : "https");
	set(t, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS); /* without TLS: 1.1 */
	set(t, CURLOPT_PIPEWAIT, 1L);
	set(t, CURLOPT_HTTP09_ALLOWED, 0L);
	set(t, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	set(t, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	if (h->o.session) {
		set(t, CURLOPT_SSL_SESSIONID_CACHE, 0L);
		set(t, CURLOPT_SSL_CTX_FUNCTION, on_tls);
		set(t, CURLOPT_SSL_CTX_DATA, t);
	}
	set(t, CURLOPT_REDIR_PROTOCOLS_STR, "https");
	set(t, CURLOPT_FOLLOWLOCATION, 0L);
	set(t, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	set(t, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	set(t, CURLOPT_NOSIGNAL, 1L);
	set(t, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	set(t, CURLOPT_USERAGENT, "pullet/" PULLET_VERSION);
	set(t, CURLOPT_ERRORBUFFER, t->text);
	set(t, CURLOPT_PRIVATE, t);
	set(t, CURLOPT_HEADERFUNCTION, on_header);
	set(t, CURLOPT_HEADERDATA, t);
	set(t, CURLOPT_WRITEFUNCTION, on_body);
	set(t, CURLOPT_WRITEDATA, t);
}

static struct curl_slist *append(struct curl_slist *list, const char *line)
{
	struct curl_slist *more = curl_slist_append(list, line);

	if (!more)
		abort();
	return more;
}

static struct curl_slist *make_headers(const struct http_request *req)
{
	_cleanup_free_ char *type = xasprintf(
		"Content-Type: %s", req->content_type ? req->content_type : "application/json");
	/* A name alone: libcurl leaves its own header out. */
	struct curl_slist *list = append(NULL, req->body || req->on_send ? type : "Content-Type:");

	list = append(list, "Accept:");
	list = append(list, "Expect:");
	for (size_t i = 0; req->headers && req->headers[i]; i++)
		list = append(list, req->headers[i]);
	return list;
}

static void set_request(struct transfer *t)
{
	const struct http_request *req = t->req;
	const char *body = !req->body && streq(req->method, "POST") ? "" : req->body;

	t->headers = make_headers(req);
	set(t, CURLOPT_CURLU, t->to->handle);
	set(t, CURLOPT_HTTPHEADER, t->headers);
	if (req->on_send) {
		set(t, CURLOPT_POST, 1L);
		set(t, CURLOPT_READFUNCTION, on_read);
		set(t, CURLOPT_READDATA, t);
		set(t, CURLOPT_SEEKFUNCTION, on_seek);
		set(t, CURLOPT_SEEKDATA, t);
		set(t, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->send_size);
	} else if (body) {
		set(t, CURLOPT_POST, 1L);
		set(t, CURLOPT_POSTFIELDS, body);
		set(t, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
	}
	if (streq(req->method, "HEAD"))
		set(t, CURLOPT_NOBODY, 1L);
	else
		set(t, CURLOPT_CUSTOMREQUEST, req->method);
	set(t, CURLOPT_TIMEOUT_MS, (long)req->timeout_ms);
	set(t, CURLOPT_LOW_SPEED_TIME, (long)req->stall_s);
	set(t, CURLOPT_LOW_SPEED_LIMIT, (long)req->stall_rate);
}

static int make_url(struct transfer *t)
{
	if (!t->req->to && url_parse(t->req->url, &t->url) < 0)
		return -EINVAL;
	t->to = t->req->to ? t->req->to : &t->url;
	t->where = url_host(t->to);
	return 0;
}

static void take_response(struct transfer *t)
{
	struct http_response *r = &t->ret->response;
	curl_off_t wait_s = 0;
	long version = 0;

	(void)curl_easy_getinfo(t->curl, CURLINFO_HTTP_VERSION, &version);
	t->http->cuts = 0;
	t->http->multiplexes = version == CURL_HTTP_VERSION_2_0;
	t->http->answered = true;
	(void)curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &r->status);
	(void)curl_easy_getinfo(t->curl, CURLINFO_RETRY_AFTER, &wait_s);
	/* Less than none for a date that is over. */
	r->retry_after_s = (unsigned int)MIN(MAX(wait_s, 0), RETRY_AFTER_MAX_S);
	r->body = t->body ? steal(t->body) : xstrdup("");
	r->body_len = t->body_len;
	/* The headers stay in the handle; nothing in it may point at t any more. */
	(void)curl_easy_setopt(t->curl, CURLOPT_ERRORBUFFER, NULL);
	r->handle = steal(t->curl);
}

/* Whether the requests not yet begun would fail like t: no connection, no answer in time, or cut again. */
static bool is_hopeless(const struct transfer *t)
{
	long sent = 0;

	if (!t->curl || curl_easy_getinfo(t->curl, CURLINFO_REQUEST_SIZE, &sent) != CURLE_OK)
		return false;
	if (t->ret->error.code == -ECONNRESET)
		t->http->cuts++;
	return sent == 0 || t->ret->error.code == -ETIMEDOUT || t->http->cuts >= CUTS_MAX;
}

static void finish(struct transfer *t, CURLcode c)
{
	(void)curl_multi_remove_handle(t->http->multi, t->curl);
	t->http->running--;
	if (c == CURLE_OK && t->ret->error.code == 0)
		take_response(t);
	else
		fail(t, c);
	/* The rest of the answer may be on its way, and would still come over HTTP/2. And libcurl 7.88 keeps a connection over
	 * which a request could not be sent: the next one would wait for it. */
	t->http->reconnects |= t->curl && t->ret->error.code < 0;
	if (t->ret->error.code < 0 && is_hopeless(t))
		t->http->hopeless = t->ret->error;
	curl_easy_cleanup(t->curl);
	curl_slist_free_all(t->headers);
	url_free(&t->url);
	free(t->where);
	free(t->body);
	*t = (struct transfer){0};
}

static void start(struct transfer *t)
{
	if (is_cancelled(t->http))
		end(t, -ECANCELED, "cancelled");
	else if (make_url(t) < 0)
		end(t, -EPROTO, "not a valid http or https URL");
	t->curl = t->ret->error.code == 0 ? curl_easy_init() : NULL;
	if (t->curl) {
		set_connection(t);
		set_request(t);
	}
	t->http->running++;
	if (t->curl && t->ret->error.code == 0 &&
	    curl_multi_add_handle(t->http->multi, t->curl) == CURLM_OK)
		return;
	end(t, -ENOMEM, "libcurl cannot begin the request");
	finish(t, CURLE_FAILED_INIT);
}

/* Goes on until a request has ended or none may go on. 0, -ECANCELED, -ENOMEM or the tick's. */
static int go_on(struct http *h)
{
	size_t before = h->running;
	struct transfer *t = NULL;
	CURLMsg *m;
	int n, r;

	do {
		r = tick(h);
		if (r == 0)
			r = keep_pace(h);
		if (r < 0)
			return r;
		if (curl_multi_perform(h->multi, &n) != CURLM_OK)
			return -ENOMEM;
		while ((m = curl_multi_info_read(h->multi, &n))) {
			if (curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &t) != CURLE_OK)
				abort();
			finish(t, m->data.result);
		}
		if (h->running < before)
			return 0;
		/* Returns at a signal, too. */
	} while (curl_multi_poll(h->multi, NULL, 0, POLL_MS, NULL) == CURLM_OK);
	return -ENOMEM;
}

/* NULL without memory. */
static CURLM *open_multi(void)
{
	CURLM *multi = curl_multi_init();

	if (!multi || curl_multi_setopt(multi, CURLMOPT_MAX_HOST_CONNECTIONS, 1L) == CURLM_OK)
		return multi;
	(void)curl_multi_cleanup(multi);
	return NULL;
}

/* The first request over the new connection goes alone. */
static void reconnect(struct http *h)
{
	(void)curl_multi_cleanup(h->multi);
	h->multi = open_multi();
	h->reconnects = h->multiplexes = false;
}

void http_perform_all(struct http *h, const struct http_request *reqs, size_t n,
		      struct http_result *ret)
{
	_cleanup_free_ struct transfer *transfers = xcalloc(n, sizeof(*transfers));
	size_t next = 0;
	int r;

	h->cuts = 0;
	h->hopeless.code = 0;
	while (next < n || h->running > 0) {
		if (h->reconnects && h->running == 0)
			reconnect(h);
		for (; next < n && h->running < (h->multiplexes ? HTTP_STREAMS_MAX : 1); next++) {
			ret[next] = (struct http_result){.error = h->hopeless};
			transfers[next] =
				(struct transfer){.http = h, .req = &reqs[next], .ret = &ret[next]};
			if (h->hopeless.code == 0)
				start(&transfers[next]);
		}
		r = h->running > 0 ? go_on(h) : 0;
		for (size_t i = 0; r < 0 && i < next; i++) {
			if (!transfers[i].curl)
				continue;
			end(&transfers[i], r, r == -ENOMEM ? "libcurl cannot go on" : "cancelled");
			finish(&transfers[i], CURLE_ABORTED_BY_CALLBACK);
		}
	}
}

int http_perform(struct http *h, const struct http_request *req, struct http_response *ret,
		 struct error *ret_error)
{
	struct http_result result;

	http_perform_all(h, req, 1, &result);
	if (result.error.code < 0)
		*ret_error = result.error;
	else
		*ret = result.response;
	return result.error.code;
}

int http_new(const struct http_options *options, struct http **ret, struct error *ret_error)
{
	_cleanup_http_ struct http *h = xcalloc(1, sizeof(*h));

	h->o = *options;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
		h->multi = open_multi();
	if (!h->multi)
		return error_set(ret_error, -ENOMEM, "libcurl cannot be set up");
	*ret = steal(h);
	return 0;
}

void http_cap(struct http *h, uint64_t speed)
{
	h->reconnects |= speed != h->pace.speed && h->answered;
	if (h->o.meter)
		pace_begin(&h->pace, speed, meter_read(h->o.meter));
}

void http_free(struct http *h)
{
	if (!h)
		return;
	(void)curl_multi_cleanup(h->multi);
	tls_session_close(h->o.session, h->answered);
	free(h->bundle);
	free(h);
}

void http_response_free(struct http_response *r)
{
	curl_easy_cleanup(r->handle);
	free(r->body);
	*r = (struct http_response){0};
}
