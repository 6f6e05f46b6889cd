/* SPDX-License-Identifier: MIT */
/* Answers of an untrusted registry and of its token server. An input is a line with the letters below, and the
 * answers. Secrets go to their own hosts alone, requests end, and no error repeats a secret. */
#include <fcntl.h>
#include <strings.h>

#include "answers.h"
#include "registry.h"

#define PASSWORD "PASSWORD"
#define IDENTITY "IDENTITY"
#define BODY	 "{}"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct {
	const char *name;
	const char *trusted[3]; /* besides the registry itself */
} hosts[] = {
	{"registry.example.com:5000", {"example.com"}},
	{"127.0.0.1:5000", {NULL}},
	{"docker.io", {"registry-1.docker.io", "auth.docker.io"}},
};

/* The host of this input, and what the letters of its line select. */
static const struct registry *registry;
static size_t host;
static int dir = -1;
static char path[] = "/dev/shm/fuzz-tokenXXXXXX";

static bool is_trusted(const struct url *u)
{
	if (registry->origin.tls && !u->tls)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(hosts[host].trusted) && hosts[host].trusted[i]; i++) {
		if (streq(u->host, hosts[host].trusted[i]))
			return true;
	}
	return streq(u->host, registry->origin.host);
}

/* A token that this very host gave to everybody. */
static bool is_foreign(const char *value, const struct url *u)
{
	_cleanup_free_ char *origin = url_origin(u);

	return registry->foreign_token && streq(value, registry->foreign_token) &&
	       streq(origin, registry->foreign_origin);
}

static void check_url(const struct http_request *req, const struct url *u)
{
	bool bearer = false, secret = req->body && strstr(req->body, IDENTITY);

	for (const char *const *h = req->headers; h && *h; h++) {
		const char *value = after_prefix(*h, "Authorization: ");
		const char *token = value ? after_prefix(value, "Bearer ") : NULL;

		bearer |= token && !is_foreign(token, u);
		secret |= value && after_prefix(value, "Basic ");
	}
	if (secret && !is_trusted(u))
		abort();
	if (bearer && !url_same_origin(u, &registry->origin))
		abort();
}

static void on_request(const struct http_request *req)
{
	_cleanup_free_ char *text = req->to ? url_text(req->to) : xstrdup(req->url);
	struct url u;

	if (strstr(text, PASSWORD) || strstr(text, IDENTITY) || url_parse(text, &u) < 0)
		abort();
	check_url(req, &u);
	url_free(&u);
}

static void check_call(const struct call *c)
{
	const struct http_result *result = &c->result;
	struct error e;
	int r = registry_check_status(registry, c, 200, &e);

	if (c->state != CALL_DONE)
		abort();
	if (result->error.code == 0 && (result->response.status < 200 || !result->response.body))
		abort();
	if (r == 0)
		return;
	answers_check_error(&e, r);
	if (strstr(e.text, PASSWORD) || strstr(e.text, IDENTITY))
		abort();
}

/* Two batches on one registry, and a push if push is set. */
static void use(struct registry *r, bool push)
{
	struct call calls[] = {
		{.repository = "team/app", .method = "HEAD", .kind = "manifests", .name = "v1"},
		{.repository = "team/base", .method = "HEAD", .kind = "manifests", .name = "v1"},
		{.repository = "team/app", .method = "GET", .kind = "blobs", .name = "sha256:00"},
		{.repository = "team/app",
		 .method = "PUT",
		 .kind = "manifests",
		 .name = "v2",
		 .body = BODY,
		 .type = "application/json"},
	};
	size_t n = ARRAY_SIZE(calls) - !push;

	registry_begin(r);
	registry_request_all(r, calls, n);
	for (size_t i = 0; i < n; i++)
		check_call(&calls[i]);
	free(registry_withheld(r, registry_credential(r, &calls[0])));
	for (size_t i = 0; i < n; i++) {
		struct error e;

		http_response_free(&calls[i].result.response);
		calls[i] = (struct call){.repository = calls[i].repository,
					 .method = "GET",
					 .kind = "manifests",
					 .name = "v3"};
		(void)!registry_request(r, &calls[i], 200, NULL, &e);
	}
	registry_end(r);
}

static void open_and_use(const struct registry_options *o, bool push)
{
	struct registry *r = NULL;
	struct error e;

	if (registry_open(o, &r, &e) < 0)
		abort();
	registry = r;
	use(r, push);
	if (o->cache_dir >= 0)
		token_cache_save(&r->tokens, &r->file, now_ms());
	registry_close(r);
}

static void remove_files(const char *name)
{
	(void)unlinkat(dir, name, 0);
}

static void remove_directory(void)
{
	(void)rmdir(path);
}

/* The process that comes after the first one finds its tokens in the cache. */
static void use_cache(struct registry_options *o, bool push)
{
	struct registry *r = NULL;
	struct error e;
	char name[sizeof(r->file.name)];

	if (dir < 0) {
		if (!mkdtemp(path) || (dir = open(path, O_DIRECTORY | O_CLOEXEC)) < 0)
			abort();
		(void)atexit(remove_directory);
	}
	o->cache_dir = dir;
	open_and_use(o, push);
	if (registry_open(o, &r, &e) < 0)
		abort();
	copy_text(name, sizeof(name), r->file.name);
	registry = r;
	use(r, push);
	registry_close(r);
	remove_files(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_free_ char *line = NULL;
	struct registry_config config = {0};
	struct credential login = {.scope = (char *)""};
	struct registry_options o = {
		.config = &config, .credentials = {&login, 1}, .cache_dir = -1};

	/* A registry that knows them may send them anywhere. */
	if (memmem(data, n, PASSWORD, strlen(PASSWORD)) ||
	    memmem(data, n, IDENTITY, strlen(IDENTITY)))
		return 0;
	line = answers_take_line(&data, &n);
	config.insecure = strchr(line, 'i');
	config.insecure_set = strpbrk(line, "is");
	host = strchr(line, 'l') ? 1 : strchr(line, 'h') ? 2 : 0;
	o.host = (char *)hosts[host].name;
	if (strchr(line, 'u')) {
		login.username = (char *)"user";
		login.password = (char *)PASSWORD;
		login.basic = (char *)"Authorization: Basic dXNlcjpQQVNTV09SRA==";
	} else if (strchr(line, 't')) {
		login.identity_token = (char *)IDENTITY;
	}
	answers_begin(data, n, strchr(line, 'a'), on_request);
	if (strchr(line, 'c'))
		use_cache(&o, strchr(line, 'p'));
	else
		open_and_use(&o, strchr(line, 'p'));
	return 0;
}
