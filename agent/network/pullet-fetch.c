/* SPDX-License-Identifier: MIT */
/* pullet-fetch: the network half. Answers one question on a socket and ends. Holds no Docker socket;
 * every byte of a registry is parsed here. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "collector.h"
#include "log.h"
#include "message.h"
#include "options.h"
#include "protocol.h"
#include "publish.h"
#include "registry.h"

#define REQUEST_TIMEOUT_MS 10000u
/* With libcurl's 12 MB and a document it stays under the 16 MB that a helper may take. */
#define JSON_BUDGET ((size_t)1536 * 1024)

static volatile sig_atomic_t cancel;

static const char usage[] =
	"usage: pullet-fetch [--config FILE] [--fd N] [--publish]\n"
	"Reads one request from a socket (descriptor N, default 0), asks the registry, writes\n"
	"one reply. Started by systemd or by pullet-update; not meant for people.\n"
	"  --config FILE  default " CONFIG_PATH_DEFAULT "\n"
	"  --fd N         the socket, inherited from a parent; ends when the parent ends\n"
	"  --publish      also writes rollout policies; asked for by pullet rollout\n"
	"  --help, --version\n";

static void on_signal(int signal)
{
	(void)signal;
	cancel = 1;
}

static void catch_signals(void)
{
	struct sigaction end = {.sa_handler = on_signal}; /* no SA_RESTART: waiting must stop */
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	(void)sigaction(SIGTERM, &end, NULL);
	(void)sigaction(SIGINT, &end, NULL);
	(void)sigaction(SIGIO, &end, NULL);
	(void)sigaction(SIGPIPE, &ignore, NULL);
}

/* Whoever asked says nothing more: all that can come from there now is its end, and then the answer
 * is wanted by nobody. */
static void cancel_on_hangup(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	(void)fcntl(fd, F_SETOWN, getpid());
	(void)fcntl(fd, F_SETFL, O_ASYNC);
	if (poll(&p, 1, 0) > 0)
		cancel = 1;
}

static int set_platform(const struct fetch_request *request, struct oci_platform *ret,
			struct error *ret_error)
{
	if (strlen(request->os) >= sizeof(ret->os) ||
	    strlen(request->architecture) >= sizeof(ret->architecture) ||
	    strlen(request->variant) >= sizeof(ret->variant))
		return error_set(ret_error, -EBADMSG, "the request names no platform");
	strcpy(ret->os, request->os);
	strcpy(ret->architecture, request->architecture);
	strcpy(ret->variant, request->variant);
	return 0;
}

static int refuse_platform(const struct oci_document *index, const struct oci_platform *host,
			   struct error *ret_error)
{
	char has[256] = "", mine[96], other[96];
	size_t len = 0;

	for (size_t i = 0; i < index->n_entries && len < sizeof(has); i++) {
		if (!index->entries[i].platform.os[0])
			continue;
		len += (size_t)snprintf(
			has + len, sizeof(has) - len, "%s%s", len ? ", " : "",
			oci_platform_text(&index->entries[i].platform, other, sizeof(other)));
	}
	return error_set(ret_error, -EKEYREJECTED,
			 "the image has no manifest for %s (it has: %s%s)",
			 oci_platform_text(host, mine, sizeof(mine)), len ? has : "none",
			 len >= sizeof(has) ? "..." : "");
}

/* From an index to this platform's manifest; reply->manifest is set. *ret is empty when that one is
 * known already. */
static int choose(struct registry *registry, const struct fetch_request *request,
		  const struct oci_document *index, struct fetch_reply *reply,
		  struct oci_document *ret, struct error *ret_error)
{
	const struct oci_entry *entry;
	struct oci_platform host;
	int r = set_platform(request, &host, ret_error);

	if (r < 0)
		return r;
	entry = oci_choose(index, &host);
	if (!entry)
		return refuse_platform(index, &host, ret_error);
	reply->manifest = entry->digest;
	reply->manifest_known = message_is_known(request, &entry->digest);
	if (reply->manifest_known)
		return 0;
	r = registry_document(registry, &entry->digest, ret, ret_error);
	if (r < 0)
		return r;
	if (ret->is_index)
		return error_set(ret_error, -EBADMSG, "the index lists an index as a manifest");
	if (ret->size != entry->size)
		return error_set(ret_error, -EBADMSG,
				 "the index says the manifest has %ju bytes, it has %zu",
				 (uintmax_t)entry->size, ret->size);
	return 0;
}

static int leave_out_shared(struct registry *registry, const struct fetch_request *request,
			    const struct oci_document *manifest, struct fetch_reply *reply,
			    struct error *ret_error)
{
	size_t shared = 0;
	int r = registry_count_shared(registry, &manifest->config, request->layers,
				      request->n_layers, &shared, ret_error);

	for (size_t i = 0; i < shared && i < manifest->n_layers; i++)
		reply->layer_bytes -= manifest->layers[i];
	return r;
}

static int ask_registry(struct registry *registry, const struct fetch_request *request,
			struct fetch_reply *ret, struct error *ret_error)
{
	_cleanup_(oci_document_free) struct oci_document top = {0}, chosen = {0};
	const struct oci_document *manifest = &top;
	int r = registry_resolve(registry, &ret->digest, ret_error);

	if (r < 0)
		return r;
	ret->known = message_is_known(request, &ret->digest);
	if (ret->known)
		return 0;
	r = registry_document(registry, &ret->digest, &top, ret_error);
	if (r < 0)
		return r;
	ret->manifest = ret->digest;
	if (top.is_index) {
		r = choose(registry, request, &top, ret, &chosen, ret_error);
		if (r < 0 || ret->manifest_known)
			return r;
		manifest = &chosen;
	}
	ret->config = manifest->config;
	ret->layer_bytes = manifest->layer_bytes;
	if (request->n_layers > 0)
		r = leave_out_shared(registry, request, manifest, ret, ret_error);
	return r;
}

/* A registry, and what it borrows. */
struct session {
	struct ref ref;
	struct credential credential;
	struct registry *registry;
};

/* login: credentials for a registry of which the configuration says none; may be NULL. */
static int session_open(struct session *l, const struct config *config, const char *image,
			const char *login, struct error *ret_error)
{
	struct registry_options options = {.credential = &l->credential, .cancel = &cancel};
	const struct registry_config *rc;
	const char *why = "";
	int r = ref_parse(image, &l->ref, &why);

	if (r < 0)
		return error_set(ret_error, r, "%s: %s", image, why);
	rc = config_registry(config, l->ref.host);
	r = credential_load(rc && rc->credentials ? rc->credentials : login, l->ref.host,
			    &l->credential, ret_error);
	if (r < 0)
		return r;
	if (rc) {
		options.insecure = rc->insecure;
		options.insecure_set = rc->insecure_set;
		options.ca_file = rc->ca;
	}
	return registry_open(&l->ref, &options, &l->registry, ret_error);
}

static void session_close(struct session *l)
{
	registry_close(l->registry);
	credential_free(&l->credential);
	ref_free(&l->ref);
}

static int fetch_image(const struct config *config, const json_t *question, json_t **ret_answer,
		       unsigned int *ret_retry_after, struct error *ret_error)
{
	_cleanup_(session_close) struct session l = {0};
	struct fetch_request request = {0};
	struct fetch_reply reply = {0};
	int r = message_request_from_json(question, &request, ret_error);

	if (r < 0)
		return r;
	r = session_open(&l, config, request.image, NULL, ret_error);
	if (r == 0) {
		r = ask_registry(l.registry, &request, &reply, ret_error);
		*ret_retry_after = registry_retry_after(l.registry);
	}
	if (r == 0)
		*ret_answer = message_reply_to_json(&reply);
	free((void *)request.known);
	free((void *)request.layers);
	return r;
}

/* What the policy beside the image says to a ring. All of it is read here, where the bytes of strangers
 * are read; what leaves is a few numbers. */
static int ask_policy(struct session *l, const char *ring, struct rollout_reply *ret,
		      struct error *ret_error)
{
	_cleanup_free_ char *tag = publish_tag(&l->ref), *text = NULL;
	size_t n = 0;
	int r;

	if (!tag)
		return 0;
	r = registry_artifact(l->registry, tag, ROLLOUT_MEDIA_TYPE, ROLLOUT_BYTES_MAX, &text, &n,
			      ret_error);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	ret->found = true;
	r = rollout_parse(text, n, ring, &ret->rollout, ret_error);
	return r < 0 ? error_prefix(ret_error, "%s/%s:%s is no valid policy", l->ref.host,
				    l->ref.path, tag)
		     : 0;
}

static int fetch_rollout(const struct config *config, const struct rollout_request *request,
			 json_t **ret_answer, unsigned int *ret_retry_after,
			 struct error *ret_error)
{
	_cleanup_(session_close) struct session l = {0};
	struct rollout_reply reply = {0};
	int r = session_open(&l, config, request->image, NULL, ret_error);

	if (r < 0)
		return r;
	r = ask_policy(&l, request->ring, &reply, ret_error);
	*ret_retry_after = registry_retry_after(l.registry);
	if (r == 0)
		*ret_answer = message_rollout_reply_to_json(&reply);
	return r;
}

/* Where "docker login" leaves what it is told. Caller frees. */
static char *find_docker_login(void)
{
	const char *dir = getenv("DOCKER_CONFIG"), *home = getenv("HOME");
	char *path = dir && *dir ? xasprintf("%s/config.json", dir)
				 : xasprintf("%s/.docker/config.json", home ? home : "");

	if (access(path, F_OK) == 0)
		return path;
	free(path);
	return NULL;
}

/* What an operator may: only a child that was started for it, never the socket of a device. */
static int publish(const struct config *config, const json_t *question, json_t **ret_answer,
		   struct error *ret_error)
{
	const char *image = json_get_string(question, "image");
	const json_t *policy = json_object_get(question, "policy");
	_cleanup_free_ char *login = find_docker_login();
	_cleanup_(session_close) struct session l = {0};
	int r = image ? session_open(&l, config, image, login, ret_error)
		      : error_set(ret_error, -EBADMSG, "the request lacks \"image\"");

	if (r < 0)
		return r;
	return policy ? publish_write(l.registry, &l.ref, policy, ret_answer, ret_error)
		      : publish_read(l.registry, &l.ref, ret_answer, ret_error);
}

/* An operator's machine need not have a configuration. */
static int load_config(const char *path, bool publishing, struct config **ret,
		       struct error *ret_error)
{
	int r = config_load(path, ret, ret_error);

	if (r != -ENOENT || !publishing || !streq(path, CONFIG_PATH_DEFAULT))
		return r;
	*ret = config_read(path, NULL, NULL);
	return 0;
}

/* Where a report goes the configuration says, never who sends it. */
static int report(const struct config *config, const json_t *question, json_t **ret_answer,
		  struct error *ret_error)
{
	int r = collector_post(&config->report, json_get_string(question, "metrics"),
			       json_get_string(question, "logs"), &cancel, ret_error);

	if (r == 0)
		*ret_answer = json_object();
	return r;
}

static int answer(const char *path, int fd, bool publishing, json_t **ret_answer,
		  unsigned int *ret_retry_after, struct error *ret_error)
{
	_cleanup_json_ json_t *question = NULL;
	struct rollout_request rollout = {0};
	struct config *config;
	bool wanted;
	struct protocol_reader reader = {.fd = fd};
	int other, r = protocol_read(&reader, REQUEST_TIMEOUT_MS, &question, ret_error);

	protocol_reader_free(&reader);
	if (r < 0)
		return r;
	cancel_on_hangup(fd);
	wanted = streq_null(json_get_string(question, "op"), "publish");
	if (wanted && !publishing)
		return error_set(ret_error, -EPERM, "policies are not published from here");
	other = message_rollout_request_from_json(question, &rollout, ret_error);
	r = other < 0 ? other : load_config(path, publishing, &config, ret_error);
	if (r < 0)
		return r;
	if (streq_null(json_get_string(question, "op"), "report"))
		r = report(config, question, ret_answer, ret_error);
	else if (wanted)
		r = publish(config, question, ret_answer, ret_error);
	else if (other == 0)
		r = fetch_rollout(config, &rollout, ret_answer, ret_retry_after, ret_error);
	else
		r = fetch_image(config, question, ret_answer, ret_retry_after, ret_error);
	config_free(config);
	return r;
}

/* The descriptor that a parent handed down; without that parent nobody wants the answer. */
static int take_fd(const char *text, int *ret)
{
	char *end;
	long fd = strtol(text, &end, 10);

	if (!*text || *end || fd < 0 || fd > INT_MAX || fcntl((int)fd, F_GETFD) < 0) {
		log_error("--fd %s: not an open descriptor", text);
		return -EBADF;
	}
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	*ret = (int)fd;
	return 0;
}

int main(int argc, char **argv)
{
	const char *config = CONFIG_PATH_DEFAULT, *fd_text = NULL, *registry = NULL;
	bool publishing = false;
	const struct option_row rows[] = {{"config", &config, NULL},
					  {"fd", &fd_text, NULL},
					  {"publish", NULL, &publishing},
					  {"registry", &registry, NULL},
					  {0}};
	int first = options_parse(argc, argv, rows, usage), fd = STDIN_FILENO, r;
	_cleanup_json_ json_t *line = NULL;
	unsigned int retry_after = 0;
	struct error error = {0};

	(void)registry;
	if (first < 0)
		return -1 - first;
	if (first != argc) {
		(void)fputs(usage, stderr);
		return 2;
	}
	if (fd_text && take_fd(fd_text, &fd) < 0)
		return 2;
	catch_signals();
	json_budget(JSON_BUDGET);
	r = answer(config, fd, publishing, &line, &retry_after, &error);
	if (r < 0)
		line = protocol_error_to_json(&error, retry_after);
	r = protocol_write(fd, line);
	/* Nobody there any more is no news after a cancelled request. */
	if (r < 0 && !cancel)
		log_error("the answer could not be sent: %s", strerror(-r));
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
