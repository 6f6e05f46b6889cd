/* SPDX-License-Identifier: MIT */
#include "http.h"

#include <curl/curl.h>
#include <errno.h>

#include "ref.h"

#define CONNECT_TIMEOUT_MS 15000L

struct http {
	CURLSH *connections;
	CURL *curl; /* of the running request */
	char *unix_socket;
	char *ca_file;
	bool allow_plain;
	const volatile sig_atomic_t *cancel;
};

/* One transfer, as the callbacks see it. */
struct transfer {
	struct http *http;
	const struct http_request *req;
	char *headers;
	size_t headers_len;
	size_t header_bytes; /* of all answers together, interim ones and trailers too */
	bool headers_done;
	char *body;
	size_t body_len;
	size_t body_size;
	int code; /* what a callback ended the transfer with */
	const char *why;
	char text[CURL_ERROR_SIZE];
};

static bool is_cancelled(const struct http *h)
{
	return h->cancel && *h->cancel;
}

static int on_progress(void *userdata, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal,
		       curl_off_t ulnow)
{
	const struct transfer *t = userdata;

	(void)dltotal;
	(void)dlnow;
	(void)ultotal;
	(void)ulnow;
	return is_cancelled(t->http) ? 1 : 0;
}

static size_t on_header(char *data, size_t size, size_t n, void *userdata)
{
	struct transfer *t = userdata;
	size_t len = size * n, keep = len;

	t->header_bytes += len;
	if (t->header_bytes > HTTP_HEADER_BYTES_MAX) {
		t->code = -EFBIG;
		t->why = "the header is too large";
		return 0;
	}
	if (len >= 5 && memcmp(data, "HTTP/", 5) == 0) { /* another answer after an interim one */
		t->headers_len = 0;
		t->headers_done = false;
	}
	while (keep > 0 && (data[keep - 1] == '\n' || data[keep - 1] == '\r'))
		keep--;
	if (keep == 0)
		t->headers_done = true;
	if (t->headers_done) /* trailers may not pass for headers */
		return len;
	t->headers = xrealloc(t->headers, t->headers_len + keep + 2);
	memcpy(t->headers + t->headers_len, data, keep);
	t->headers_len += keep;
	t->headers[t->headers_len++] = '\n';
	t->headers[t->headers_len] = '\0';
	return len;
}

static size_t stream_body(struct transfer *t, const char *data, size_t len)
{
	int r = t->req->on_data(t->req->userdata, data, len);

	if (r >= 0)
		return len;
	t->code = r;
	t->why = "stopped by what it said";
	return 0;
}

static size_t on_body(char *data, size_t size, size_t n, void *userdata)
{
	struct transfer *t = userdata;
	size_t len = size * n, need;
	long status = 0;

	(void)curl_easy_getinfo(t->http->curl, CURLINFO_RESPONSE_CODE, &status);
	if (t->req->on_data && status / 100 == 2)
		return stream_body(t, data, len);
	/* Content-Length is a claim; these are the bytes. */
	if (len > t->req->body_max - t->body_len) {
		t->code = -EFBIG;
		t->why = "the answer is too large";
		return 0;
	}
	need = t->body_len + len;
	if (need > t->body_size) {
		size_t twice = t->body_size * 2;

		t->body_size = twice > t->req->body_max ? t->req->body_max : twice;
		t->body_size = need > t->body_size ? need : t->body_size;
		t->body = xrealloc(t->body, t->body_size + 1);
	}
	memcpy(t->body + t->body_len, data, len);
	t->body_len = need;
	t->body[need] = '\0';
	return len;
}

static int code_of_connect(const struct http *h)
{
	long e = 0;

	(void)curl_easy_getinfo(h->curl, CURLINFO_OS_ERRNO, &e);
	switch (e) {
	case EHOSTUNREACH:
	case ENETUNREACH:
	case ENETDOWN:
		return -EHOSTUNREACH;
	case ETIMEDOUT:
		return -ETIMEDOUT;
	default:
		return -ECONNREFUSED;
	}
}

static int code_of_curl(const struct http *h, CURLcode c)
{
	if (c == CURLE_COULDNT_CONNECT)
		return code_of_connect(h);
	if (c == CURLE_COULDNT_RESOLVE_HOST || c == CURLE_COULDNT_RESOLVE_PROXY)
		return -EHOSTUNREACH;
	if (c == CURLE_OPERATION_TIMEDOUT)
		return -ETIMEDOUT;
	if (c == CURLE_GOT_NOTHING || c == CURLE_PARTIAL_FILE || c == CURLE_RECV_ERROR ||
	    c == CURLE_SEND_ERROR)
		return -ECONNRESET;
	if (c == CURLE_OUT_OF_MEMORY)
		return -ENOMEM;
	return -EPROTO;
}

/* "HOST[:PORT]" of an absolute URL. Caller frees. */
static char *url_host(const char *url)
{
	const char *p = strstr(url, "://");

	p = p ? p + 3 : url;
	return xstrndup(p, strcspn(p, "/?#"));
}

/* curl tells after how many milliseconds: without that the same failure is the same text, and need not
 * be written down again. */
static void drop_time(char *text)
{
	static const char *const units[] = {" milliseconds", " ms"};
	char *p = strstr(text, " after ");
	const char *rest = p ? p + strlen(" after ") : NULL;
	size_t digits = rest ? strspn(rest, "0123456789") : 0;

	for (size_t i = 0; digits > 0 && i < ARRAY_SIZE(units); i++) {
		const char *end = after_prefix(rest + digits, units[i]);

		if (end) {
			memmove(p, end, strlen(end) + 1);
			return;
		}
	}
}

static int fail(struct transfer *t, CURLcode c, struct error *ret_error)
{
	const struct http *h = t->http;
	_cleanup_free_ char *host = url_host(t->req->url);
	const char *where = h->unix_socket ? h->unix_socket : host;
	long e = 0;

	if (t->code < 0)
		return error_set(ret_error, t->code, "%s: %s", where, t->why);
	if (is_cancelled(h))
		return error_set(ret_error, -ECANCELED, "%s: cancelled", where);
	if (h->unix_socket && c == CURLE_COULDNT_CONNECT) {
		(void)curl_easy_getinfo(h->curl, CURLINFO_OS_ERRNO, &e);
		return error_set(ret_error, -ECONNREFUSED, "cannot connect to %s: %s", where,
				 strerror((int)e));
	}
	drop_time(t->text);
	return error_set(ret_error, code_of_curl(h, c), "%s: %s", where,
			 t->text[0] ? t->text : curl_easy_strerror(c));
}

static void set_trust(const struct http *h)
{
	const char *bundle = h->ca_file;
	char *builtin = NULL;

	if (!bundle && curl_easy_getinfo(h->curl, CURLINFO_CAINFO, &builtin) == CURLE_OK &&
	    builtin && access(builtin, R_OK) == 0)
		bundle = builtin;
	if (!bundle)
		return;
	(void)curl_easy_setopt(h->curl, CURLOPT_CAINFO, bundle);
	/* Else the whole default directory is looked through too: 18 ms a poll. */
	(void)curl_easy_setopt(h->curl, CURLOPT_CAPATH, NULL);
}

static void set_session(struct transfer *t)
{
	const struct http *h = t->http;
	CURL *c = h->curl;

	(void)curl_easy_setopt(c, CURLOPT_SHARE, h->connections);
	(void)curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR,
			       h->allow_plain || h->unix_socket ? "http,https" : "https");
	(void)curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "https");
	(void)curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	(void)curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	(void)curl_easy_setopt(c, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	(void)curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(c, CURLOPT_HTTP09_ALLOWED, 0L);
	(void)curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	(void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	(void)curl_easy_setopt(c, CURLOPT_USERAGENT, "pullet/" PULLET_VERSION);
	(void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->text);
	(void)curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
	(void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
	(void)curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
	(void)curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
	(void)curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	(void)curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	if (h->unix_socket)
		(void)curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, h->unix_socket);
	else
		set_trust(h);
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
	_cleanup_free_ char *type = NULL;
	struct curl_slist *list = NULL;
	bool accept = false;

	for (size_t i = 0; req->headers && req->headers[i]; i++) {
		list = append(list, req->headers[i]);
		accept |= strncasecmp(req->headers[i], "Accept:", 7) == 0;
	}
	if (!accept)
		list = append(list, "Accept:"); /* a name alone: libcurl leaves it out */
	if (req->body) {
		type = xasprintf("Content-Type: %s",
				 req->content_type ? req->content_type : "application/json");
		list = append(list, type);
		list = append(list, "Expect:");
	} else if (streq(req->method, "POST")) {
		list = append(list, "Content-Type:");
	}
	return list;
}

static void set_request(struct transfer *t, const struct curl_slist *headers)
{
	const struct http_request *req = t->req;
	CURL *c = t->http->curl;
	_cleanup_free_ char *host = url_host(req->url);

	(void)curl_easy_setopt(c, CURLOPT_URL, req->url);
	(void)curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	if (t->http->unix_socket || ref_host_is_loopback(host))
		(void)curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
	if (req->body || streq(req->method, "POST")) {
		(void)curl_easy_setopt(c, CURLOPT_POST, 1L);
		(void)curl_easy_setopt(c, CURLOPT_POSTFIELDS, req->body ? req->body : "");
		(void)curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE,
				       (curl_off_t)(req->body ? strlen(req->body) : 0));
	}
	if (streq(req->method, "HEAD"))
		(void)curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	else
		(void)curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, req->method);
	(void)curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)req->timeout_ms);
	if (req->stall_ms > 0) {
		(void)curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME,
				       (long)(req->stall_ms / 1000 + (req->stall_ms % 1000 > 0)));
		(void)curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT,
				       req->stall_rate > 0 ? (long)req->stall_rate : 1L);
	}
}

/* The value of the first header of that name from *line on, which moves behind it. */
static char *next_header(const char **line, const char *name)
{
	size_t n = strlen(name);

	while (**line) {
		const char *here = *line;
		size_t len = strcspn(here, "\n");

		*line += len + (here[len] == '\n');
		if (len > n && here[n] == ':' && strncasecmp(here, name, n) == 0) {
			const char *value = here + n + 1, *end = here + len;

			while (value < end && (*value == ' ' || *value == '\t'))
				value++;
			while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
				end--;
			return xstrndup(value, (size_t)(end - value));
		}
	}
	return NULL;
}

int http_new(const struct http_options *options, struct http **ret, struct error *ret_error)
{
	static bool initialised; /* libcurl's own state is global, too */
	struct http *h;
	CURLSH *connections;

	if (!initialised && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return error_set(ret_error, -ENOMEM, "libcurl cannot be set up");
	initialised = true;
	connections = curl_share_init();
	if (!connections ||
	    curl_share_setopt(connections, CURLSHOPT_SHARE, CURL_LOCK_DATA_CONNECT) != CURLSHE_OK) {
		(void)curl_share_cleanup(connections);
		return error_set(ret_error, -ENOMEM, "libcurl cannot be set up");
	}
	h = xcalloc(1, sizeof(*h));
	h->connections = connections;
	h->allow_plain = options->allow_plain;
	h->cancel = options->cancel;
	replace_string(&h->unix_socket, options->unix_socket);
	replace_string(&h->ca_file, options->ca_file);
	*ret = h;
	return 0;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	(void)curl_share_cleanup(h->connections);
	free(h->unix_socket);
	free(h->ca_file);
	free(h);
}

int http_perform(struct http *h, const struct http_request *req, struct http_response *ret,
		 struct error *ret_error)
{
	struct transfer t = {.http = h, .req = req};
	struct curl_slist *headers;
	long status = 0;
	CURLcode c;
	int r = 0;

	/* A handle that is used again keeps a freed header line of the last answer: libcurl 7.88 takes a
	 * folded first line for the rest of it (curl issue 11101). */
	h->curl = curl_easy_init();
	if (!h->curl)
		return error_set(ret_error, -ENOMEM, "libcurl cannot be set up");
	set_session(&t);
	headers = make_headers(req);
	set_request(&t, headers);
	c = is_cancelled(h) ? CURLE_ABORTED_BY_CALLBACK : curl_easy_perform(h->curl);
	if (c != CURLE_OK)
		r = fail(&t, c, ret_error);
	(void)curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_cleanup(steal(h->curl));
	curl_slist_free_all(headers);
	if (r < 0) {
		free(t.headers);
		free(t.body);
		return r;
	}
	*ret = (struct http_response){
		.status = status,
		.body = t.body ? t.body : xstrdup(""),
		.body_len = t.body_len,
		.headers = t.headers ? t.headers : xstrdup(""),
	};
	return 0;
}

void http_response_free(struct http_response *r)
{
	free(r->body);
	free(r->headers);
	*r = (struct http_response){0};
}

char *http_header(const struct http_response *r, const char *name)
{
	const char *line = r->headers;

	return next_header(&line, name);
}

char *http_header_all(const struct http_response *r, const char *name)
{
	const char *line = r->headers;
	char *all = next_header(&line, name), *more;

	while (all && (more = next_header(&line, name))) {
		char *joined = xasprintf("%s, %s", all, more);

		free(all);
		free(more);
		all = joined;
	}
	return all;
}
