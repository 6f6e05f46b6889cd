/* SPDX-License-Identifier: MIT */
/* Answers of an engine to the calls of engine.h. An input is a line of letters, and the answers: the first letter is
 * the engine (answers_open_engine), each of the others is a call. */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#include "answers.h"
#include "crypto.h"
#include "engine.h"
#include "ref.h"

#define CALLS_MAX 8
#define BYTES_MAX ((uint64_t)1000000)
#define SINCE_NS  ((int64_t)1796126400000000000)
#define ID	  "aaaaaaaaaaaaaaaa"
#define DIFF_ID	  "sha256:7777777777777777777777777777777777777777777777777777777777777777"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* libc's would wait for the disk at each "Pull complete". */
void sync(void)
{
}

int syncfs(int fd)
{
	return fd < 0 ? -1 : 0;
}

static void on_load_progress(void *userdata, uint64_t current, uint64_t total)
{
	if (current == 0 || current > total)
		abort();
}

static void on_progress(void *userdata, uint64_t current, uint64_t total)
{
	if (current == 0)
		abort();
}

static int pull(struct engine *e, struct error *ret_error)
{
	static const struct container_config config = {.name = (char *)"app"};
	static const struct pull_options options = {
		.auth = "e30=", .bytes_max = BYTES_MAX, .progress = on_progress};
	_cleanup_free_ struct verified *v = NULL;
	const char *why;
	struct digest d;
	struct ref ref;
	size_t found;
	int r;

	if (digest_parse(DIFF_ID, &d) < 0 || ref_parse("r.io/team/app:v1", &ref, &why) < 0 ||
	    verify_unsigned(&config, &d, &v, ret_error) < 0)
		abort();
	r = engine_pull(e, &ref, v, &options, &found, ret_error);
	ref_free(&ref);
	return r;
}

static struct load_document document(const char *text)
{
	return (struct load_document){hash_bytes(text, strlen(text)), text, strlen(text)};
}

/* An image of one layer, in a file, or left out. */
static int load(struct engine *e, bool whole, struct error *ret_error)
{
	static const struct container_config config = {.name = (char *)"app"};
	static const char config_text[] =
		"{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" DIFF_ID "\"]}}";
	struct load_layer layer = {.digest = hash_bytes("layer", 5),
				   .size = 5,
				   .fd = whole ? memfd_create("layer", 0) : -1};
	struct load_document c = document(config_text);
	_cleanup_free_ char *manifest =
		xasprintf("{\"schemaVersion\":2,\"config\":{\"digest\":\"%s\",\"size\":%zu},"
			  "\"layers\":[{\"digest\":\"%s\",\"size\":5}]}",
			  c.digest.text, c.n, layer.digest.text);
	_cleanup_free_ struct verified *v = NULL;
	struct load l = {.keep = "app",
			 .top_type = OCI_MANIFEST,
			 .top = document(manifest),
			 .manifest = document(manifest),
			 .config = c,
			 .layers = &layer,
			 .n_layers = 1,
			 .progress = on_load_progress};
	const char *why;
	struct ref ref;
	size_t found;
	int r;

	if ((whole && pwrite(layer.fd, "layer", 5, 0) != 5) ||
	    ref_parse("r.io/team/app:v1", &ref, &why) < 0 ||
	    verify_unsigned(&config, &l.top.digest, &v, ret_error) < 0)
		abort();
	l.ref = &ref;
	l.verified = v;
	r = engine_load(e, &l, &found, ret_error);
	/* The documents are good; with a layer left out nothing is said about the image. */
	if ((r == -EKEYREJECTED && !whole) || r == -ENOENT || r == -EBADMSG)
		abort();
	ref_free(&ref);
	if (whole)
		(void)close(layer.fd);
	return r;
}

/* No error tells why they fail. */
static int ask(struct engine *e, char letter, struct error *ret_error)
{
	_cleanup_json_ json_t *image = NULL, *lines = NULL;
	const json_t *one;
	char line[64];
	size_t i;

	if (letter == 'L' && engine_log(e, ID, &lines, line, sizeof(line)) == 0)
		answers_check_text(line);
	json_array_foreach (lines, i, one)
		answers_check_text(json_string_value(one));
	if (letter == 'e')
		(void)engine_ended_by_itself(e, ID, SINCE_NS);
	if (letter == 't' && engine_inspect_image(e, "r.io/team/app:v1", &image, ret_error) == 0)
		(void)engine_layers_are_trusted(e, image, 2);
	if (letter == 'f')
		engine_sync(e);
	return 0;
}

static int create(struct engine *e, struct error *ret_error)
{
	_cleanup_json_ json_t *body = json_object();
	_cleanup_free_ char *id = NULL;
	int r = engine_create(e, "app.next", "linux/386", body, &id, ret_error);

	if (r == 0 && !id)
		abort();
	return r;
}

static int order(struct engine *e, char letter, struct error *ret_error)
{
	_cleanup_json_ json_t *body = json_object();

	switch (letter) {
	case 'g':
		return engine_tag(e, ID, "localhost/kept", "app", ret_error);
	case 'R':
		return engine_remove_image(e, "r.io/team/app:v1", ret_error);
	case 'n':
		return create(e, ret_error);
	case 'o':
		return engine_connect(e, "net", ID, body, ret_error);
	case 'S':
		return engine_start(e, ID, ret_error);
	case 'x':
		return engine_stop(e, ID, 10, ret_error);
	case 'r':
		return engine_rename(e, ID, "app", ret_error);
	case 'y':
		return engine_set_policy(e, ID, body, ret_error);
	case 'd':
		return engine_remove(e, ID, ret_error);
	case 'p':
		return pull(e, ret_error);
	case 'F':
		return load(e, true, ret_error);
	case 'E':
		return load(e, false, ret_error);
	case 'w':
		return engine_wait_event(e, ID, SINCE_NS, 1000, ret_error);
	default:
		return ask(e, letter, ret_error);
	}
}

/* Calls whose answer is a document; *ret stays NULL for the others. */
static int call(struct engine *e, char letter, json_t **ret, struct error *ret_error)
{
	switch (letter) {
	case 'c':
		return engine_inspect_container(e, "app", ret, ret_error);
	case 'I':
		return engine_inspect_image(e, "r.io/team/app:v1", ret, ret_error);
	case 'N':
		return engine_inspect_neighbour(e, ID, ret, ret_error);
	case 'J':
		return engine_identify_image(e, "r.io/team/app:v1", ret, ret_error);
	case 'l':
		return engine_list(e, NULL, ret, ret_error);
	case 'i':
		return engine_list_images(e, ret, ret_error);
	case 'C':
		return engine_changes(e, ID, ret, ret_error);
	case 's':
		return engine_stat(e, ID, "/data", ret, ret_error);
	case 'k':
		return engine_info(e, ret, ret_error);
	default:
		return order(e, letter, ret_error);
	}
}

static void check_call(struct engine *e, char letter)
{
	_cleanup_json_ json_t *answer = NULL;
	struct error error = {0};
	int r = call(e, letter, &answer, &error);

	if (r < 0) {
		if (answer)
			abort();
		answers_check_error(&error, r);
		return;
	}
	if (strchr("cINJliCsk", letter) && !answer)
		abort();
	if (strchr("cN", letter) &&
	    (!json_get_string(answer, "Id") || !json_get_string(answer, "Name")))
		abort();
	if (letter == 'k')
		(void)store_directory(answer);
}

static void check_version(const struct version *v)
{
	char text[96];

	if (v->api_minor < 41 || v->api_minor > 51)
		abort();
	(void)oci_platform_text(&v->platform, text, sizeof(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_free_ char *line = answers_take_line(&data, &n);
	_cleanup_engine_ struct engine *e = NULL;
	static bool ready;
	struct error error;
	int r;

	if (!ready)
		json_budget((size_t)6 * 1024 * 1024);
	ready = true;
	r = answers_open_engine(line[0], data, n, &e, &error);
	if (r < 0) {
		answers_check_error(&error, r);
		return 0;
	}
	check_version(engine_version(e));
	for (size_t i = 1; line[0] && line[i] && i <= CALLS_MAX; i++)
		check_call(e, line[i]);
	return 0;
}
