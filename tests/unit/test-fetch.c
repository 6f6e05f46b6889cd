/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "fetch.h"
#include "json.h"
#include "protocol.h"
#include "test.h"

#define N 40

static char path[64];
static pid_t server;

static bool twice; /* each answer */
static bool lies;  /* about the size of what was unpacked */

/* Both lines in one piece: the reader has the second when it has the first. */
static int write_twice(int fd, const json_t *j)
{
	_cleanup_free_ char *line = protocol_line(j), *both = xasprintf("%s%s", line, line);
	size_t n = strlen(both);

	return send(fd, both, n, MSG_NOSIGNAL) == (ssize_t)n ? 0 : -1;
}

/* Answers a batch of resolves with a digest that ends in the number of the image; "busy" is. */
static int answer_batch(struct protocol_reader *reader)
{
	char numbers[PROTOCOL_BATCH_MAX + 1][8];
	size_t n = 0;
	bool more = true;

	while (more) {
		json_t *j = NULL;
		struct error e;

		if (protocol_read(reader, now_ms() + 20000, &j, &e) < 0 || n == PROTOCOL_BATCH_MAX)
			return -1;
		copy_text(numbers[n++], sizeof(*numbers),
			  strchr(json_get_string(j, "image"), '/') + 1);
		more = json_is_true(json_object_get(j, "more"));
		json_decref(j);
	}
	for (size_t i = 0; i < n; i++) {
		struct error busy = {.code = -EBUSY, .text = "busy"};
		struct digest d = {"sha256:"};
		_cleanup_json_ json_t *j = NULL;

		(void)snprintf(d.text + 7, sizeof(d.text) - 7, "%064d", atoi(numbers[i]));
		j = streq(numbers[i], "busy") ? protocol_error_to_json(&busy, 7)
					      : message_resolved_to_json(&d);
		if ((twice ? write_twice(reader->fd, j) : protocol_write(reader->fd, j)) < 0)
			return -1;
	}
	return 0;
}

/* Answers a request to unpack: a line of progress, then the second file is the first one twice, or that is too much. */
static int answer_unpack(struct protocol_reader *reader)
{
	_cleanup_json_ json_t *question = NULL, *progress = json_pack("{s:i}", "progress", 1),
			      *answer = NULL;
	json_int_t max;
	char text[32];
	ssize_t n;
	struct error e;

	reader->takes_fds = true;
	if (protocol_read(reader, now_ms() + 20000, &question, &e) < 0 || reader->n_fds != 2 ||
	    !streq_null(json_get_string(question, "op"), "unpack"))
		return -1;
	n = pread(reader->fds[0], text, sizeof(text), 0);
	max = json_integer_value(json_object_get(question, "max"));
	if (2 * n > max) {
		(void)error_set(&e, -EFBIG, "more than %jd", (intmax_t)max);
		answer = protocol_error_to_json(&e, 0);
	} else {
		answer = json_pack("{s:I}", "bytes", (json_int_t)(lies ? -1 : 2 * n));
		if (write_all(reader->fds[1], text, (size_t)n) < 0 ||
		    write_all(reader->fds[1], text, (size_t)n) < 0)
			return -1;
	}
	return protocol_write(reader->fd, progress) < 0 ||
			       protocol_write(reader->fd, progress) < 0 ||
			       protocol_write(reader->fd, answer) < 0
		       ? -1
		       : 0;
}

/* Answers a request for a patch: NEW is OLD, part by part, and the patch behind it; says what it made as patch_answer does.
 * A caller who has enough of it may have hung up before. */
static const char *patch_answer;

static int answer_patch(struct protocol_reader *reader)
{
	_cleanup_json_ json_t *question = NULL;
	_cleanup_free_ struct patch_extent *extents = NULL;
	char text[100];
	uint64_t max;
	size_t n;
	struct error e;

	reader->takes_fds = true;
	if (protocol_read(reader, now_ms() + 20000, &question, &e) < 0 || reader->n_fds != 3 ||
	    !streq_null(json_get_string(question, "op"), "patch") ||
	    message_patch_from_json(question, &extents, &n, &max, &e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		ssize_t got = pread(reader->fds[0], text, MIN(extents[i].size, sizeof(text)),
				    (off_t)extents[i].offset);

		if (got < 0)
			return -1;
		(void)!write_all(reader->fds[2], text, (size_t)got);
	}
	n = (size_t)pread(reader->fds[1], text, sizeof(text), 0);
	(void)!write_all(reader->fds[2], text, n);
	protocol_close_fds(reader);
	(void)!write_all(reader->fd, patch_answer, strlen(patch_answer));
	return 0;
}

/* Answers a request for signatures with one of what was asked, "DIGEST PLACE", or of an image "r.io/none" with an error. */
static int answer_signatures(struct protocol_reader *reader)
{
	_cleanup_json_ json_t *question = NULL, *answer = NULL;
	_cleanup_(signatures_free) struct signatures s = {0};
	_cleanup_free_ char *asked = NULL;
	struct signature_pair pair = {.bytes = (char *)"sig", .n_bytes = 3};
	enum signature_place place;
	struct digest d;
	struct error e;

	if (protocol_read(reader, now_ms() + 20000, &question, &e) < 0 ||
	    !streq_null(json_get_string(question, "op"), "signatures") ||
	    message_signatures_request_from_json(question, &d, &place, &e) < 0)
		return -1;
	asked = xasprintf("%s %s", d.text, signature_place_names[place]);
	pair.payload = asked;
	pair.n_payload = strlen(asked);
	signatures_add(&s, &pair);
	s.left = 2;
	(void)error_set(&e, -EACCES, "no");
	answer = streq_null(json_get_string(question, "image"), "r.io/none")
			 ? protocol_error_to_json(&e, 0)
			 : message_signatures_to_json(&s);
	return protocol_write(reader->fd, answer);
}

static const char *rollout_texts = "{\"rollout\":null,\"manifest\":\"m\",\"policy\":\"p\"}\n";

static int answer_rollout(struct protocol_reader *reader)
{
	json_t *question = NULL;
	struct error e;

	if (protocol_read(reader, now_ms() + 20000, &question, &e) < 0)
		return -1;
	json_decref(question);
	return write_all(reader->fd, rollout_texts, strlen(rollout_texts));
}

static const char *blob_script; /* the lines that answer a request for a blob, or NULL */

/* Writes "12345" into the descriptor that came, and answers by the script. */
static int answer_blob(struct protocol_reader *reader)
{
	json_t *j = NULL;
	struct error e;
	int r;

	if (protocol_read(reader, now_ms() + 20000, &j, &e) < 0 || reader->n_fds != 1)
		return -1;
	json_decref(j);
	r = write_all(reader->fds[0], "12345", 5);
	protocol_close_fds(reader);
	return r < 0 ? r : write_all(reader->fd, blob_script, strlen(blob_script));
}

/* A server that hangs up after that many batches, and takes that many connections. */
static void serve_by(int (*answer)(struct protocol_reader *reader), int batches, int connections)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(path, sizeof(path), "/tmp/pullet-test-fetch.%d", getpid());
	copy_text(address.sun_path, sizeof(address.sun_path), path);
	(void)unlink(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 5), 0);
	server = fork();
	if (server > 0) {
		close(fd);
		return;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	for (int c = 0; c < connections; c++) {
		struct protocol_reader reader = {.fd = accept(fd, NULL, NULL), .takes_fds = true};

		for (int b = 0; b < batches; b++) {
			if ((blob_script ? answer_blob(&reader) : answer(&reader)) < 0)
				_exit(1);
		}
		protocol_reader_free(&reader);
		close(reader.fd);
	}
	_exit(0);
}

static void serve(int batches, int connections)
{
	serve_by(answer_batch, batches, connections);
}

static void assert_served(void)
{
	int status;

	assert_int_equal(waitpid(server, &status, 0), server);
	assert_int_equal(status, 0);
	(void)unlink(path);
}

static void assert_number(const struct fetch_resolved *r, int number)
{
	assert_int_equal(r->error.code, 0);
	assert_int_equal(atoi(r->digest.text + 7), number);
}

static void test_resolve_in_batches(void **state)
{
	struct fetch_options o = {.socket = path};
	struct fetch *f = fetch_new(&o, "r.io");
	char images[N][16];
	const char *list[N];
	struct fetch_resolved ret[N];
	struct error e = {0};

	serve(2, 1);
	for (int i = 0; i < N; i++) {
		(void)snprintf(images[i], sizeof(images[i]), i == 35 ? "r.io/busy" : "r.io/%d", i);
		list[i] = images[i];
	}
	assert_int_equal(fetch_resolve(f, list, N, ret, &e), 0);
	for (int i = 0; i < N; i++) {
		if (i != 35)
			assert_number(&ret[i], i);
	}
	assert_int_equal(ret[35].error.code, -EBUSY);
	assert_int_equal(ret[35].retry_after_s, 7);
	assert_string_equal(ret[35].error.text, "busy");
	fetch_free(f);
	assert_served();
}

/* The network half ends when nothing is asked for a while. */
static void test_connection_opened_again(void **state)
{
	struct fetch_options o = {.socket = path};
	struct fetch *f = fetch_new(&o, "r.io");
	struct fetch_resolved ret;
	struct error e = {0};

	serve(1, 3);
	for (int i = 1; i <= 3; i++) {
		const char *image = (const char *[]){"r.io/1", "r.io/2", "r.io/3"}[i - 1];

		assert_int_equal(fetch_resolve(f, &image, 1, &ret, &e), 0);
		assert_number(&ret, i);
	}
	fetch_free(f);
	assert_served();
}

/* The second answer to the first question is not taken for the answer to the second. */
static void test_an_answer_that_nobody_asked_for(void **state)
{
	struct fetch_options o = {.socket = path};
	struct fetch *f = fetch_new(&o, "r.io");
	const char *first = "r.io/1", *second = "r.io/2";
	struct fetch_resolved ret;
	struct error e = {0};

	twice = true;
	serve(1, 2);
	twice = false;
	assert_int_equal(fetch_resolve(f, &first, 1, &ret, &e), 0);
	assert_number(&ret, 1);
	assert_int_equal(fetch_resolve(f, &second, 1, &ret, &e), -EBADMSG);
	/* A new connection has nothing left of the old one. */
	assert_int_equal(fetch_resolve(f, &second, 1, &ret, &e), 0);
	assert_number(&ret, 2);
	fetch_free(f);
	assert_served();
}

static void test_pinned(void **state)
{
	static const char *const images[] = {
		"r.io/app@sha256:0000000000000000000000000000000000000000000000000000000000000001",
		"r.io/7"};
	struct fetch_options o = {.socket = path};
	struct fetch *f = fetch_new(&o, "r.io");
	struct fetch_resolved ret[2];
	struct error e = {0};

	serve(1, 1);
	assert_int_equal(fetch_resolve(f, images, 2, ret, &e), 0);
	assert_int_equal(ret[0].error.code, -EBADMSG); /* the server says 0 */
	assert_number(&ret[1], 7);
	fetch_free(f);
	assert_served();
}

static void test_signatures(void **state)
{
	const struct digest d = {
		"sha256:0000000000000000000000000000000000000000000000000000000000000001"};
	struct fetch_options o = {.socket = path};
	struct fetch *f = fetch_new(&o, "r.io");
	struct error e = {0};
	struct signatures s;

	serve_by(answer_signatures, SIGNATURE_PLACES + 1, 1);
	for (size_t i = 0; i < SIGNATURE_PLACES; i++) {
		_cleanup_free_ char *text = xasprintf("%s %s", d.text, signature_place_names[i]);

		assert_int_equal(
			fetch_ask_signatures(f, "r.io/1", &d, (enum signature_place)i, &s, &e), 0);
		assert_int_equal(s.n, 1);
		assert_int_equal(s.left, 2);
		assert_string_equal(s.pairs[0].payload, text);
		signatures_free(&s);
	}
	assert_int_equal(fetch_ask_signatures(f, "r.io/none", &d, SIGNATURES_TAG, &s, &e), -EACCES);
	assert_int_equal(s.n, 0);
	fetch_free(f);
	assert_served();
	f = fetch_new(&o, "r.io");
	assert_true(fetch_ask_signatures(f, "r.io/1", &d, SIGNATURES_TAG, &s, &e) < 0);
	assert_int_equal(s.n, 0);
	fetch_free(f);
}

/* Texts that were not asked for are nobody's to free. */
static void test_rollout_texts(void **state)
{
	struct fetch_options o = {.socket = path};
	struct fetch *f = fetch_new(&o, "r.io");
	struct rollout_reply reply;
	struct error e = {0};

	serve_by(answer_rollout, 2, 1);
	assert_int_equal(fetch_ask_rollout(f, "r.io/1", NULL, true, &reply, &e), 0);
	assert_string_equal(reply.manifest, "m");
	assert_string_equal(reply.policy, "p");
	rollout_reply_free(&reply);
	assert_int_equal(fetch_ask_rollout(f, "r.io/1", NULL, false, &reply, &e), 0);
	assert_null(reply.manifest);
	assert_null(reply.policy);
	fetch_free(f);
	assert_served();
}

static void test_no_answer(void **state)
{
	struct fetch_options o = {.socket = path};
	struct fetch *f = fetch_new(&o, "r.io");
	const char *image = "r.io/1";
	struct fetch_resolved ret;
	struct error e = {0};

	serve(0, 1);
	assert_int_equal(fetch_resolve(f, &image, 1, &ret, &e), -EPIPE);
	fetch_free(f);
	assert_served();
}

/* The programs find each other beside themselves: this one finds a pullet-fetch that never ends. */
static void test_child_that_hangs(void **state)
{
	static const char script[] =
		"#!/bin/sh\n"
		"trap '' TERM\n"
		"read -r line <&3\n"
		"echo '{\"digest\": \"sha256:0000000000000000000000000000000000"
		"000000000000000000000000000009\"}' >&3\n"
		"exec sleep 600 3>&-\n";
	struct fetch_options o = {.config = "/dev/null"};
	struct fetch *f = fetch_new(&o, "r.io");
	_cleanup_free_ char *program = NULL;
	const char *image = "r.io/9";
	struct fetch_resolved ret;
	struct error e = {0};
	char self[PATH_MAX] = "";
	FILE *file;

	assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	*strrchr(self, '/') = '\0';
	program = xasprintf("%s/pullet-fetch", self);
	file = fopen(program, "we");
	assert_non_null(file);
	assert_true(fputs(script, file) >= 0);
	assert_int_equal(fchmod(fileno(file), 0700), 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(fetch_resolve(f, &image, 1, &ret, &e), 0);
	assert_number(&ret, 9);
	fetch_free(f); /* used to wait until the child ended */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	(void)unlink(program);
}

/* The files go along; each request has a connection of its own. */
static void test_unpack(void **state)
{
	struct fetch_options o = {.socket = path};
	int in = memfd_create("in", MFD_CLOEXEC), out = memfd_create("out", MFD_CLOEXEC);
	uint64_t size = 0;
	struct error e = {0};
	char text[32] = "";

	assert_int_equal(write_all(in, "layer", 5), 0);
	serve_by(answer_unpack, 1, 2);
	assert_int_equal(fetch_unpack(&o, "r.io", in, out, 10, &size, &e), 0);
	assert_int_equal(size, 10);
	assert_int_equal(pread(out, text, sizeof(text), 0), 10);
	assert_string_equal(text, "layerlayer");
	assert_int_equal(fetch_unpack(&o, "r.io", in, out, 9, &size, &e), -EFBIG);
	assert_string_equal(e.text, "more than 9");
	assert_served();
	lies = true;
	serve_by(answer_unpack, 1, 1);
	assert_int_equal(fetch_unpack(&o, "r.io", in, out, UINT64_MAX, &size, &e), -EBADMSG);
	assert_served();
	serve_by(answer_unpack, 0, 1);
	assert_int_equal(fetch_unpack(&o, "r.io", in, out, 10, &size, &e), -EPIPE);
	assert_served();
	close(in);
	close(out);
}

struct collected {
	char text[100];
	size_t n, most;
};

static int collect(void *userdata, const char *data, size_t n)
{
	struct collected *c = userdata;

	if (n > c->most - c->n)
		return -ENOSPC;
	memcpy(c->text + c->n, data, n);
	c->n += n;
	return 0;
}

static void test_patch(void **state)
{
	static const struct patch_extent parts[] = {{3, 2}, {0, 3}};
	static const struct {
		const char *answer;
		uint64_t max;
		size_t most;
		int code;
	} rows[] = {
		{"{\"bytes\":8}\n", 8, 100, 0},
		{"{\"bytes\":8}\n", 7, 100, -EFBIG},
		{"{\"bytes\":8}\n", 8, 7, -ENOSPC},
		{"{\"bytes\":7}\n", 8, 100, -EBADMSG},
		{"{\"bytes\":9}\n", 9, 100, -EBADMSG},
		{"{\"bytes\":-1}\n", 8, 100, -EBADMSG},
		{"{\"error\":{\"code\":\"EBADMSG\",\"text\":\"malformed\"}}\n", 8, 100, -EBADMSG},
		{"{\"error\":{\"code\":\"EFBIG\",\"text\":\"large\"}}\n", 8, 100, -EFBIG},
		{"", 8, 100, -EPIPE},
	};
	struct fetch_options o = {.socket = path};
	struct fetch_patch p = {.old = memfd_create("old", MFD_CLOEXEC),
				.patch = memfd_create("patch", MFD_CLOEXEC),
				.extents = parts,
				.n_extents = ARRAY_SIZE(parts),
				.on_data = collect};

	assert_int_equal(write_all(p.old, "abcde", 5), 0);
	assert_int_equal(write_all(p.patch, "new", 3), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct collected c = {.most = rows[i].most};
		struct error e = {0};

		patch_answer = rows[i].answer;
		p.max = rows[i].max;
		p.userdata = &c;
		serve_by(answer_patch, 1, 1);
		assert_int_equal(fetch_patch(&o, "r.io", &p, &e), rows[i].code);
		assert_int_equal(e.code, rows[i].code);
		if (rows[i].code == 0) {
			assert_int_equal(c.n, 8);
			assert_memory_equal(c.text, "deabcnew", 8);
		}
		assert_served();
	}
	close(p.old);
	close(p.patch);
}

static void on_progress(void *userdata, uint64_t bytes)
{
	*(uint64_t *)userdata = *(uint64_t *)userdata * 100 + bytes;
}

static void test_bring(void **state)
{
	static const struct {
		const char *script;
		int code;
		uint64_t bytes, progress;
		enum fetch_end end;
		unsigned int retry_after_s;
		const char *id;
	} rows[] = {
		{"{\"progress\":2}\n{\"progress\":4,\"traffic\":{\"id\":\"a\",\"bytes\":7}}\n"
		 "{\"bytes\":5,\"end\":\"whole\"}\n",
		 0, 5, 204, FETCH_WHOLE, 0, "a"},
		{"{\"bytes\":3,\"end\":\"time\"}\n", 0, 3, 0, FETCH_TIME, 0, ""},
		{"{\"bytes\":3,\"end\":\"allowance\",\"traffic\":{\"id\":\"b\",\"bytes\":7}}\n", 0,
		 3, 0, FETCH_ALLOWANCE, 0, "b"},
		{"{\"error\":{\"code\":\"EBUSY\",\"text\":\"x\",\"retry-after\":9},\"bytes\":5}\n",
		 -EBUSY, 5, 0, 0, 9, ""},
		{"{\"error\":{\"code\":\"ENOENT\"}}\n", -ENOENT, 5, 0, 0, 0, ""},
		/* What a compromised network half claims. */
		{"{\"bytes\":4,\"end\":\"whole\"}\n", -EBADMSG, 4, 0, 0, 0, ""},
		{"{\"bytes\":9,\"end\":\"time\"}\n", -EBADMSG, 5, 0, 0, 0, ""},
		{"{\"bytes\":-1,\"end\":\"time\"}\n", -EBADMSG, 5, 0, 0, 0, ""},
		{"{\"bytes\":5,\"end\":\"soon\"}\n", -EBADMSG, 5, 0, 0, 0, ""},
		{"{\"progress\":77}\n{\"end\":\"time\"}\n", -EBADMSG, 5, 5, 0, 0, ""},
		{"{\"traffic\":{\"id\":\"\",\"bytes\":7}}\n", -EBADMSG, 5, 0, 0, 0, ""},
		{"{\"traffic\":{\"id\":\"c\",\"bytes\":-7}}\n", -EBADMSG, 5, 0, 0, 0, ""},
		{"[]\n", -EBADMSG, 5, 0, 0, 0, ""},
		{"{\"progress\":1}\n", -EPIPE, 5, 1, 0, 0, ""},
		{"", -EPIPE, 5, 0, 0, 0, ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fetch_options o = {.socket = path};
		struct fetch *f = fetch_new(&o, "r.io");
		uint64_t progress = 0;
		struct fetch_blob b = {.image = "r.io/app",
				       .size = 5,
				       .fd = memfd_create("blob", MFD_CLOEXEC),
				       .allowance = UINT64_MAX,
				       .ms = UINT64_MAX,
				       .on_progress = on_progress,
				       .userdata = &progress};
		struct traffic traffic;
		struct fetched fetched;
		struct error e = {0};

		blob_script = rows[i].script;
		serve(1, 1);
		if (fetch_bring(f, &b, &fetched, &e) != rows[i].code)
			fail_msg("%s: %d %s", blob_script, e.code, e.text);
		assert_int_equal(fetched.bytes, rows[i].bytes);
		assert_int_equal(fetched.end, rows[i].end);
		assert_int_equal(fetched.retry_after_s, rows[i].retry_after_s);
		assert_int_equal(progress, rows[i].progress);
		fetch_traffic(f, &traffic);
		assert_string_equal(traffic.id, rows[i].id);
		assert_int_equal(traffic.bytes, rows[i].id[0] ? 7 : 0);
		fetch_free(f);
		assert_served();
		close(b.fd);
	}
	blob_script = NULL;
}

/* The network half ends when nothing is asked for a while, which is no failure of a blob. */
static void test_bring_after_a_while(void **state)
{
	struct fetch_options o = {.socket = path};
	struct fetch *f = fetch_new(&o, "r.io");
	struct fetch_blob b = {.image = "r.io/app", .size = 10};
	struct fetched fetched;
	struct error e = {0};

	b.fd = memfd_create("blob", MFD_CLOEXEC);
	blob_script = "{\"bytes\":5,\"end\":\"time\"}\n";
	serve(1, 2);
	for (int i = 0; i < 2; i++)
		assert_int_equal(fetch_bring(f, &b, &fetched, &e), 0);
	fetch_free(f);
	assert_served();
	close(b.fd);
	blob_script = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bring),
		cmocka_unit_test(test_bring_after_a_while),
		cmocka_unit_test(test_resolve_in_batches),
		cmocka_unit_test(test_connection_opened_again),
		cmocka_unit_test(test_an_answer_that_nobody_asked_for),
		cmocka_unit_test(test_pinned),
		cmocka_unit_test(test_signatures),
		cmocka_unit_test(test_rollout_texts),
		cmocka_unit_test(test_no_answer),
		cmocka_unit_test(test_unpack),
		cmocka_unit_test(test_patch),
		cmocka_unit_test(test_child_that_hangs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
