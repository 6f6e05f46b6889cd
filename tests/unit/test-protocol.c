/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "message.h"
#include "protocol.h"
#include "result.h"
#include "test.h"

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static int pair[2];
static struct protocol_reader reader;

static int open_pair(void **state)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	reader = (struct protocol_reader){.fd = pair[1]};
	return 0;
}

static int close_pair(void **state)
{
	protocol_reader_free(&reader);
	close(pair[0]);
	close(pair[1]);
	return 0;
}

/* Over the wire and back. */
static json_t *carry(json_t *j)
{
	struct error e = {0};
	json_t *back = NULL;

	assert_int_equal(protocol_write(pair[0], j), 0);
	json_decref(j);
	if (protocol_read(&reader, now_ms() + 1000, &back, &e) < 0)
		fail_msg("%s", e.text);
	return back;
}

static void test_request(void **state)
{
	struct digest known[2];
	struct fetch_request q = {.image = "r.io/app:1",
				  .platform = {"linux", "arm", "v7"},
				  .known = known,
				  .n_known = 2,
				  .layers = &known[1],
				  .n_layers = 1};
	struct fetch_request back = {0};
	_cleanup_json_ json_t *j = NULL;
	struct error e = {0};

	assert_int_equal(digest_parse(A, &known[0]), 0);
	assert_int_equal(digest_parse(B, &known[1]), 0);
	j = carry(message_request_to_json(&q));
	assert_int_equal(message_request_from_json(j, &back, &e), 0);
	assert_string_equal(back.image, q.image);
	assert_string_equal(back.platform.os, q.platform.os);
	assert_string_equal(back.platform.architecture, q.platform.architecture);
	assert_string_equal(back.platform.variant, q.platform.variant);
	assert_int_equal(back.n_known, 2);
	assert_string_equal(back.known[1].text, B);
	assert_int_equal(back.n_layers, 1);
	assert_string_equal(back.layers[0].text, B);
	free((void *)back.known);
	free((void *)back.layers);
}

static const struct fetch_request NOTHING = {0};

static void assert_reply(const struct fetch_request *request, const struct fetch_reply *a)
{
	_cleanup_json_ json_t *j = carry(message_reply_to_json(a));
	struct fetch_reply back = {0};
	struct error e = {0};

	assert_int_equal(message_reply_from_json(j, request, &back, &e), 0);
	assert_memory_equal(&back.digest, &a->digest, sizeof(back.digest));
	assert_int_equal(back.known, a->known);
	assert_memory_equal(&back.manifest, &a->manifest, sizeof(back.manifest));
	assert_int_equal(back.manifest_known, a->manifest_known);
	assert_memory_equal(&back.config, &a->config, sizeof(back.config));
	assert_true(back.layer_bytes == a->layer_bytes);
	assert_string_equal(back.withheld, a->withheld);
	assert_int_equal(back.zstd, a->zstd);
	assert_memory_equal(&back.platform, &a->platform, sizeof(back.platform));
	assert_memory_equal(&back.chain, &a->chain, sizeof(back.chain));
	assert_string_equal(back.version, a->version);
}

static void test_replies(void **state)
{
	struct fetch_reply known = {.digest = {A}, .known = true};
	struct fetch_reply manifest = {.digest = {A}, .manifest = {B}, .manifest_known = true};
	struct fetch_reply full = {.digest = {A},
				   .manifest = {B},
				   .config = {A},
				   .layer_bytes = INT64_MAX,
				   .zstd = true,
				   .platform = {"linux", "arm", "v6"},
				   .chain = {B},
				   .version = "1.4.2",
				   .withheld = "not sent to evil"};
	const struct digest a = {A}, b = {B};

	assert_reply(&(struct fetch_request){.known = &a, .n_known = 1}, &known);
	assert_reply(&(struct fetch_request){.known = &b, .n_known = 1}, &manifest);
	assert_reply(&NOTHING, &full);
}

static json_t *reply_with(json_t *documents)
{
	struct fetch_reply reply = {.digest = {A}, .manifest = {B}, .config = {A}};
	json_t *j = message_reply_to_json(&reply);

	json_put(j, "documents", documents);
	return j;
}

/* A request brings documents, and gets those that its reply is about. */
static void test_documents(void **state)
{
	_cleanup_json_ json_t *documents = json_pack("{s:s}", "x", "\"\\\n"), *j = NULL, *k = NULL;
	struct fetch_request q = {.image = "r.io/app:1", .documents = documents}, back = {0};
	struct fetch_reply reply = {0};
	struct error e = {0};

	j = carry(message_request_to_json(&q));
	assert_int_equal(message_request_from_json(j, &back, &e), 0);
	assert_true(json_equal(back.documents, documents));
	free((void *)back.known);
	free((void *)back.layers);
	k = carry(reply_with(
		json_pack("{s:s, s:s, s:s, s:s}", A, "one", B, "two", "", "three", "y", "four")));
	assert_int_equal(message_reply_from_json(k, &q, &reply, &e), 0);
	assert_int_equal(json_object_size(documents), 3);
	assert_string_equal(json_get_string(documents, A), "one");
	assert_string_equal(json_get_string(documents, B), "two");
	assert_int_equal(message_reply_from_json(k, &NOTHING, &reply, &e), 0);
}

/* What cannot be sent is left out, and what is in the way of no other stays. */
static void test_documents_that_are_left_out(void **state)
{
	_cleanup_free_ char *most = xcalloc(MESSAGE_DOCUMENTS_MAX + 1, 1);
	_cleanup_json_ json_t *documents = json_object(), *line = NULL;
	const size_t around = strlen("{\"" A "\":\"\"}");
	const struct digest a = {A}, b = {B};
	struct fetch_request q = {.image = "r.io/app:1", .documents = documents};

	message_add_document(NULL, &a, "x", 1);
	message_add_document(documents, &a, "\xff", 1);
	message_add_document(documents, &a, "a\0b", 3);
	memset(most, 'x', MESSAGE_DOCUMENTS_MAX - around + 1);
	message_add_document(documents, &a, most, strlen(most));
	assert_int_equal(json_object_size(documents), 0);
	most[strlen(most) - 1] = '\0';
	message_add_document(documents, &a, most, strlen(most));
	message_add_document(documents, &b, "x", 1);
	assert_int_equal(json_object_size(documents), 1);
	assert_string_equal(json_get_string(documents, A), most);
	line = carry(message_request_to_json(&q));
	/* Quotes take two bytes. */
	memset(most, '"', strlen(most));
	json_object_clear(documents);
	message_add_document(documents, &a, most, strlen(most));
	assert_int_equal(json_object_size(documents), 0);
}

/* What can never be used has a name; another refusal has none. */
static void test_refused_for_good(void **state)
{
	static const struct fetch_reply known[] = {
		{.digest = {A}}, {.digest = {A}, .manifest = {B}}, {.digest = {""}}};
	struct error e = {0};

	(void)error_set(&e, -EKEYREJECTED, "the image is for linux/s390x");
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		_cleanup_json_ json_t *j = carry(digest_is_set(&known[i].digest)
							 ? message_refused_to_json(&known[i], &e)
							 : protocol_error_to_json(&e, 0));
		struct fetch_reply reply = {.known = true};
		struct error back = {0};

		assert_int_equal(message_reply_from_json(j, &NOTHING, &reply, &back),
				 -EKEYREJECTED);
		assert_string_equal(back.text, e.text);
		assert_string_equal(reply.digest.text, known[i].digest.text);
		assert_string_equal(reply.manifest.text, known[i].manifest.text);
		assert_false(reply.known);
	}
}

static void test_errors(void **state)
{
	static const int codes[] = {-EKEYREJECTED, -ENOENT,	  -ETIMEDOUT,  -EACCES,
				    -EBUSY,	   -EREMOTEIO,	  -EPROTO,     -EBADMSG,
				    -ECONNREFUSED, -EHOSTUNREACH, -ECONNRESET, -EFBIG,
				    -EINVAL,	   -EIO};

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		struct error e = {0}, back = {0};
		struct fetch_reply reply = {.known = true};
		_cleanup_json_ json_t *j = NULL;

		(void)error_set(&e, codes[i], "no \"%zu\"", i);
		j = carry(protocol_error_to_json(&e, (unsigned int)i));
		assert_int_equal(message_reply_from_json(j, &NOTHING, &reply, &back), codes[i]);
		assert_int_equal(back.code, codes[i]);
		assert_string_equal(back.text, e.text);
		assert_int_equal(reply.retry_after_s, i);
		assert_false(reply.known);
	}
}

/* A compromised network half says what only this one can know: that it was stopped, or that the store is damaged. */
static void test_errors_of_others(void **state)
{
	struct error e = {0}, back = {0};
	_cleanup_json_ json_t *j = NULL;

	(void)error_set(&e, -ECANCELED, RESULT_STORE_DAMAGED ": x");
	j = carry(protocol_error_to_json(&e, 0));
	assert_int_equal(protocol_get_error(j, NULL, &back), -EIO);
	assert_string_equal(back.text, "pullet-fetch says: " RESULT_STORE_DAMAGED ": x");
}

/* security-audit: a compromised network half calls known what nobody asked about. */
static void test_known_that_was_not_asked(void **state)
{
	const struct digest a = {A}, b = {B};
	struct fetch_reply known = {.digest = {A}, .known = true};
	struct fetch_reply manifest = {.digest = {A}, .manifest = {B}, .manifest_known = true};
	struct fetch_request rows[] = {
		{0}, {.known = &b, .n_known = 1}, {.known = &a, .n_known = 1}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *j = message_reply_to_json(&known);
		_cleanup_json_ json_t *k = message_reply_to_json(&manifest);
		struct fetch_reply reply;
		struct error e;

		assert_int_equal(message_reply_from_json(j, &rows[i], &reply, &e),
				 i == 2 ? 0 : -EBADMSG);
		assert_int_equal(message_reply_from_json(k, &rows[i], &reply, &e),
				 i == 1 ? 0 : -EBADMSG);
	}
}

static void test_resolve(void **state)
{
	const struct digest a = {A};
	struct digest back = {0};
	struct error e = {0};
	unsigned int wait;
	_cleanup_json_ json_t *question = carry(message_resolve_to_json("r.io/app:1"));
	_cleanup_json_ json_t *reply = carry(message_resolved_to_json(&a));
	_cleanup_json_ json_t *empty = json_object(), *error;

	assert_string_equal(json_get_string(question, "op"), "resolve");
	assert_string_equal(json_get_string(question, "image"), "r.io/app:1");
	assert_int_equal(message_resolved_from_json(reply, &back, &wait, &e), 0);
	assert_string_equal(back.text, A);
	assert_int_equal(message_resolved_from_json(empty, &back, &wait, &e), -EBADMSG);
	(void)error_set(&e, -EBUSY, "busy");
	error = carry(protocol_error_to_json(&e, 7));
	assert_int_equal(message_resolved_from_json(error, &back, &wait, &e), -EBUSY);
	assert_int_equal(wait, 7);
}

static json_t *from_text(const char *text)
{
	struct error e;
	json_t *j = NULL;

	assert_int_equal(json_parse(text, strlen(text), "test", &j, &e), 0);
	return j;
}

static void test_error_of_a_stranger(void **state)
{
	static const struct {
		const char *text;
		int code;
		unsigned int retry_after;
	} cases[] = {
		{"{\"error\":{\"code\":\"EWHATEVER\",\"text\":\"x\"}}", -EIO, 0},
		{"{\"error\":{\"code\":2}}", -EIO, 0},
		{"{\"error\":{}}", -EIO, 0},
		{"{\"error\":null}", -EIO, 0},
		{"{\"error\":7,\"digest\":\"" A "\",\"known\":true}", -EIO, 0},
		{"{\"error\":{\"code\":\"0\"}}", -EIO, 0},
		{"{\"error\":{\"code\":\"EBUSY\",\"retry-after\":-1}}", -EBUSY, 0},
		{"{\"error\":{\"code\":\"EBUSY\",\"retry-after\":9223372036854775807}}", -EBUSY,
		 86400},
		{"{\"error\":{\"code\":\"EBUSY\",\"retry-after\":\"5\"}}", -EBUSY, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *j = from_text(cases[i].text);
		struct fetch_reply reply = {0};
		struct error e = {0};

		if (message_reply_from_json(j, &NOTHING, &reply, &e) != cases[i].code)
			fail_msg("%s: %d", cases[i].text, e.code);
		assert_int_equal(reply.retry_after_s, cases[i].retry_after);
		assert_string_not_equal(e.text, "");
	}
}

static void test_text_cut_inside_a_character(void **state)
{
	struct error e = {.code = -EIO, .text = "gr\303"}, back = {0};
	struct fetch_reply reply;
	_cleanup_json_ json_t *j = carry(protocol_error_to_json(&e, 0));

	assert_int_equal(message_reply_from_json(j, &NOTHING, &reply, &back), -EIO);
	assert_string_equal(back.text, "gr?");
}

static void test_bad_replies(void **state)
{
	static const char *const cases[] = {
		"{}",
		"[]",
		"{\"digest\":7}",
		"{\"digest\":\"sha256:abc\",\"known\":true}",
		"{\"digest\":\"" A "\"}",
		"{\"digest\":\"" A "\",\"known\":1}",
		"{\"digest\":\"" A "\",\"manifest\":\"" B "\"}",
		"{\"digest\":\"" A "\",\"manifest\":\"" B "\",\"config\":\"" A "\"}",
		"{\"digest\":\"" A "\",\"manifest\":\"" B "\",\"config\":\"" A
		"\",\"layer-bytes\":-1}",
		"{\"digest\":\"" A "\",\"manifest\":\"" B "\",\"config\":\"" A
		"\",\"layer-bytes\":\"1\"}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *j = from_text(cases[i]);
		struct fetch_reply reply = {.layer_bytes = 4711};
		struct error e = {0};

		if (message_reply_from_json(j, &NOTHING, &reply, &e) != -EBADMSG)
			fail_msg("%s was taken", cases[i]);
		assert_true(reply.layer_bytes == 4711);
	}
}

/* An answer about another digest than the pinned one, in all its forms. */
static void test_pinned(void **state)
{
	static const char *const cases[] = {
		"{\"digest\":\"" B "\",\"known\":true}",
		"{\"digest\":\"" B "\",\"manifest\":\"" A "\",\"manifest-known\":true}",
		"{\"digest\":\"" B "\",\"manifest\":\"" A "\",\"config\":\"" A
		"\",\"layer-bytes\":1}",
	};
	static const struct digest known[] = {{A}, {B}};
	static const char *const images[] = {"r.io/app@" A, "r.io/app:1@" A};
	struct error e = {0};

	for (size_t i = 0; i < ARRAY_SIZE(cases) * ARRAY_SIZE(images); i++) {
		_cleanup_json_ json_t *j = from_text(cases[i / 2]);
		struct fetch_request request = {
			.image = images[i % 2], .known = known, .n_known = 2};
		struct fetch_reply reply = {0};

		assert_int_equal(message_reply_from_json(j, &request, &reply, &e), -EBADMSG);
		assert_false(digest_is_set(&reply.digest));
		request.image = "r.io/app:1";
		assert_int_equal(message_reply_from_json(j, &request, &reply, &e), 0);
	}
	assert_int_equal(message_check_pinned("r.io/app@" A, &known[0], &e), 0);
}

#define REQUEST(known) \
	"{\"image\":\"x\",\"os\":\"linux\",\"architecture\":\"arm\",\"known\":" known "}"

static void test_bad_requests(void **state)
{
	static const char *const cases[] = {
		"{}",
		"[]",
		"{\"image\":\"x\",\"os\":\"linux\"}",
		"{\"image\":7,\"os\":\"linux\",\"architecture\":\"arm\"}",
		REQUEST("7"),
		REQUEST("[7]"),
		REQUEST("[\"sha256:abc\"]"),
		REQUEST("[\"" A "\",\"\"]"),
		REQUEST("[\"" A "\"],\"layers\":{}"),
		REQUEST("[\"" A "\"],\"layers\":[\"" A "\",7]"),
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *j = from_text(cases[i]);
		struct fetch_request request = {.image = "untouched"};
		struct error e = {0};

		if (message_request_from_json(j, &request, &e) != -EBADMSG)
			fail_msg("%s was taken", cases[i]);
		assert_string_equal(request.image, "untouched");
	}
}

static void test_rollout_request(void **state)
{
	static const char *const rings[] = {"canary", NULL};

	for (size_t i = 0; i < ARRAY_SIZE(rings); i++) {
		_cleanup_json_ json_t *j =
			carry(message_rollout_request_to_json("r.io/app:1", rings[i], i == 0));

		assert_string_equal(json_get_string(j, "op"), "rollout");
		assert_string_equal(json_get_string(j, "image"), "r.io/app:1");
		assert_true(streq_null(json_get_string(j, "ring"), rings[i]));
		assert_int_equal(json_is_true(json_object_get(j, "with-text")), i == 0);
	}
}

static void test_rollout_replies(void **state)
{
	struct rollout_reply none = {0}, full = {.found = true,
						 .rollout = {.sequence = 7,
							     .document = {B},
							     .target = {A},
							     .halt = true,
							     .minimum_version = "1.2.3",
							     .not_before_s = 1796126400,
							     .n_points = ROLLOUT_POINTS_MAX}};
	struct rollout_reply clear = {.found = true,
				      .rollout = {.sequence = 8, .document = {A}, .clear = true}};
	const struct rollout_reply *const replies[] = {&none, &full, &clear};
	struct rollout_reply back;
	struct error e = {0};

	for (unsigned int i = 0; i < ROLLOUT_POINTS_MAX; i++)
		full.rollout.points[i] = (struct rollout_point){i * (int64_t)1000000000, i * 10000};
	for (size_t i = 0; i < ARRAY_SIZE(replies); i++) {
		_cleanup_json_ json_t *j = carry(message_rollout_reply_to_json(replies[i]));

		memset(&back, 0x55, sizeof(back));
		assert_int_equal(message_rollout_reply_from_json(j, true, &back, &e), 0);
		assert_memory_equal(&back, replies[i], sizeof(back));
	}
}

static void check_rollout_texts(json_t *j, int code, const char *manifest, const char *policy)
{
	struct rollout_reply back;
	struct error e;

	assert_int_equal(message_rollout_reply_from_json(j, true, &back, &e), code);
	assert_true(streq_null(back.manifest, manifest));
	assert_true(streq_null(back.policy, policy));
	rollout_reply_free(&back);
	assert_null(back.manifest);
}

/* The largest texts fit into a line, and stand beside an error, too. */
static void test_rollout_texts(void **state)
{
	_cleanup_free_ char *manifest = xcalloc(1, ROLLOUT_MANIFEST_MAX + 2),
			    *policy = xcalloc(1, ROLLOUT_BYTES_MAX + 2);
	struct rollout_reply r = {.found = true,
				  .rollout = {.sequence = 8, .document = {A}, .clear = true}};
	const struct error invalid = {.code = -EBADMSG, .text = "no"};

	memset(manifest, '"', ROLLOUT_MANIFEST_MAX);
	memset(policy, '\n', ROLLOUT_BYTES_MAX);
	r.manifest = manifest;
	r.policy = policy;
	for (size_t i = 0; i < 2; i++) {
		_cleanup_json_ json_t *j = carry(message_rollout_reply_to_json(&r)), *error = NULL;

		check_rollout_texts(j, 0, i == 0 ? manifest : NULL, i == 0 ? policy : NULL);
		error = protocol_error_to_json(&invalid, 0);
		message_add_rollout_text(error, &r);
		error = carry(error);
		check_rollout_texts(error, -EBADMSG, i == 0 ? manifest : NULL,
				    i == 0 ? policy : NULL);
		manifest[ROLLOUT_MANIFEST_MAX] = policy[ROLLOUT_BYTES_MAX] = 'x'; /* too long */
	}
	r.manifest = (char *)"\xff"; /* no text */
	r.policy = NULL;
	{
		_cleanup_json_ json_t *j = carry(message_rollout_reply_to_json(&r));

		check_rollout_texts(j, 0, NULL, NULL);
	}
}

#define ROLLOUT(points)                                \
	"{\"rollout\":{\"sequence\":1,\"target\":\"" A \
	"\",\"halt\":false,\"minimum-version\":\"\","  \
	"\"not-before\":0,\"points\":" points "}}"

static void test_bad_rollout_replies(void **state)
{
	static const char *const cases[] = {
		"{}",
		"{\"rollout\":true}",
		"{\"rollout\":{}}",
		"{\"rollout\":{\"sequence\":0,\"clear\":true}}",
		"{\"rollout\":{\"sequence\":9007199254740993,\"clear\":true}}",
		"{\"rollout\":{\"sequence\":1,\"clear\":1}}",
		"{\"rollout\":{\"sequence\":1,\"clear\":true,\"document\":\"x\"}}",
		ROLLOUT("null"),
		ROLLOUT("[]"),
		ROLLOUT("[0]"),
		ROLLOUT("[0,1,2]"),
		ROLLOUT("[0,1.5]"),
		ROLLOUT("[\"0\",1]"),
		ROLLOUT("[-1,1]"),
		ROLLOUT("[0,1000001]"),
		ROLLOUT("[0,-1]"),
		ROLLOUT("[9223372036854775807,1]"),
		ROLLOUT("[5,1,4,1]"),
		ROLLOUT("[5,2,6,1]"),
		"{\"rollout\":{\"sequence\":0,\"target\":\"" A "\",\"halt\":false,"
		"\"minimum-version\":\"\",\"not-before\":0,\"points\":[0,1]}}",
		"{\"rollout\":{\"sequence\":9007199254740993,\"target\":\"" A "\",\"halt\":false,"
		"\"minimum-version\":\"\",\"not-before\":0,\"points\":[0,1]}}",
		"{\"rollout\":{\"sequence\":1,\"target\":\"stable\",\"halt\":false,"
		"\"minimum-version\":\"\",\"not-before\":0,\"points\":[0,1]}}",
		"{\"rollout\":{\"sequence\":1,\"target\":\"" A "\",\"halt\":0,"
		"\"minimum-version\":\"\",\"not-before\":0,\"points\":[0,1]}}",
		"{\"rollout\":{\"sequence\":1,\"target\":\"" A "\",\"halt\":false,"
		"\"minimum-version\":\"123456789012345678901234\",\"not-before\":0,"
		"\"points\":[0,1]}}",
		"{\"rollout\":{\"sequence\":1,\"target\":\"" A "\",\"halt\":false,"
		"\"minimum-version\":\"\",\"not-before\":-1,\"points\":[0,1]}}",
	};
	_cleanup_json_ json_t *good = from_text(ROLLOUT("[0,1]"));
	struct rollout_reply reply;
	struct error e = {0};

	assert_int_equal(message_rollout_reply_from_json(good, true, &reply, &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *j = from_text(cases[i]);

		if (message_rollout_reply_from_json(j, true, &reply, &e) != -EBADMSG)
			fail_msg("%s was taken", cases[i]);
		assert_false(reply.found);
	}
}

static int read_text(const char *text, size_t n, bool shut, struct error *e)
{
	json_t *j = NULL;
	int r;

	assert_int_equal(write_all(pair[0], text, n), 0);
	if (shut)
		assert_int_equal(shutdown(pair[0], SHUT_WR), 0);
	r = protocol_read(&reader, now_ms() + 100, &j, e);
	json_decref(j);
	return r;
}

static void test_read_timeout(void **state)
{
	struct error e = {0};
	uint64_t start = now_ms();

	assert_int_equal(read_text("{}", 2, false, &e), -ETIMEDOUT);
	assert_true(now_ms() - start >= 90);
}

static void test_read_cut(void **state)
{
	struct error e = {0};

	assert_int_equal(read_text("{}", 2, true, &e), -EPIPE);
}

static void test_read_nothing(void **state)
{
	struct error e = {0};

	assert_int_equal(read_text("", 0, true, &e), -EPIPE);
}

static void test_read_garbage(void **state)
{
	struct error e = {0};

	assert_int_equal(read_text("nonsense\n", 9, false, &e), -EBADMSG);
	assert_int_equal(read_text("[]\n", 3, false, &e), -EBADMSG);
	assert_int_equal(read_text("\n", 1, false, &e), -EBADMSG);
	assert_int_equal(read_text("{}\n", 3, false, &e), 0);
}

/* Lines that come together, and one that comes in pieces. */
static void test_read_lines(void **state)
{
	struct error e = {0};
	json_t *j = NULL;

	assert_int_equal(read_text("{}\n{\"a\":1}\n{\"b\":", 16, false, &e), 0);
	assert_int_equal(protocol_read(&reader, now_ms() + 100, &j, &e), 0);
	assert_int_equal(json_integer_value(json_object_get(j, "a")), 1);
	json_decref(j);
	assert_int_equal(protocol_read(&reader, now_ms(), &j, &e), -ETIMEDOUT);
	assert_int_equal(write_all(pair[0], "2}\n", 3), 0);
	assert_int_equal(protocol_read(&reader, now_ms() + 100, &j, &e), 0);
	assert_int_equal(json_integer_value(json_object_get(j, "b")), 2);
	json_decref(j);
	assert_int_equal(reader.len, 0);
}

static void test_read_too_much(void **state)
{
	_cleanup_free_ char *big = xcalloc(PROTOCOL_LINE_MAX, 1);
	int size = 1024 * 1024;
	struct error e = {0};

	memset(big, ' ', PROTOCOL_LINE_MAX);
	assert_int_equal(
		setsockopt(pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) == 0 ||
			setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == 0,
		1);
	assert_int_equal(read_text(big, PROTOCOL_LINE_MAX, false, &e), -EFBIG);
}

static void test_write_too_much(void **state)
{
	_cleanup_free_ char *big = xcalloc(PROTOCOL_LINE_MAX + 1, 1);
	_cleanup_json_ json_t *j = NULL;

	memset(big, 'x', PROTOCOL_LINE_MAX);
	j = json_pack("{ss}", "a", big);
	assert_int_equal(protocol_write(pair[0], j), -EFBIG);
}

static void on_alarm(int signal)
{
}

static void test_read_interrupted(void **state)
{
	struct sigaction action = {.sa_handler = on_alarm}, old;
	/* Again and again: the first signal may come before the wait begins. */
	struct itimerval often = {.it_value = {.tv_usec = 50000},
				  .it_interval = {.tv_usec = 50000}};
	struct itimerval never = {0};
	struct error e = {0};
	json_t *j = NULL;

	assert_int_equal(sigaction(SIGALRM, &action, &old), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	assert_int_equal(protocol_read(&reader, now_ms() + 60000, &j, &e), -ECANCELED);
	assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
	assert_int_equal(sigaction(SIGALRM, &old, NULL), 0);
}

/* A signal may have set it right before, and will not come again. */
static void test_read_cancelled_before(void **state)
{
	static volatile sig_atomic_t cancel = 1;
	struct error e = {0};
	json_t *j = NULL;

	reader.cancel = &cancel;
	assert_int_equal(protocol_read(&reader, now_ms() + 60000, &j, &e), -ECANCELED);
	cancel = 0;
	assert_int_equal(protocol_read(&reader, now_ms() + 10, &j, &e), -ETIMEDOUT);
	reader.cancel = NULL;
}

static void test_blob(void **state)
{
	struct fetch_blob b = {.image = "r.io/app:1",
			       .manifest = true,
			       .digest = {A},
			       .size = 9,
			       .offset = 9,
			       .speed = 7,
			       .allowance = UINT64_MAX,
			       .ms = 5},
			  back = {.fd = 7};
	_cleanup_json_ json_t *j = carry(message_blob_to_json(&b));
	static const char *const keys[] = {"image", "digest",	 "size", "offset",
					   "speed", "allowance", "ms"};
	struct error e = {0};

	assert_string_equal(json_get_string(j, "op"), "blob");
	assert_int_equal(message_blob_from_json(j, &back, &e), 0);
	assert_string_equal(back.image, b.image);
	assert_string_equal(back.digest.text, A);
	assert_true(back.manifest && back.size == 9 && back.offset == 9 && back.speed == 7 &&
		    back.allowance == UINT64_MAX && back.ms == 5 && back.fd == -1);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		_cleanup_json_ json_t *less = json_copy(j);

		assert_int_equal(json_object_del(less, keys[i]), 0);
		assert_int_equal(message_blob_from_json(less, &back, &e), -EBADMSG);
		json_put(less, keys[i], json_integer(-1));
		assert_int_equal(message_blob_from_json(less, &back, &e), -EBADMSG);
	}
	json_put(j, "offset", json_integer(10));
	assert_int_equal(message_blob_from_json(j, &back, &e), -EBADMSG);
}

static int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int read_reply(json_t **j, struct error *e)
{
	json_decref(steal(*j));
	return protocol_read(&reader, now_ms() + 1000, j, e);
}

static void test_descriptors(void **state)
{
	int fds[4] = {memfd_create("a", MFD_CLOEXEC), memfd_create("b", MFD_CLOEXEC)};
	_cleanup_json_ json_t *j = NULL, *big = NULL;
	_cleanup_free_ char *text = xcalloc(100000, 1);
	struct stat ours, theirs;
	struct error e = {0};
	int before;

	assert_int_equal(pipe2(fds + 2, O_CLOEXEC), 0);
	before = count_fds();
	memset(text, 'x', 99999);
	big = json_pack("{s:s}", "a", text);
	reader.takes_fds = true;
	for (size_t n = 1; n <= 3; n++) {
		assert_int_equal(protocol_send_fds(pair[0], big, fds, n), 0);
		assert_int_equal(protocol_send(pair[0], big), 0);
		assert_int_equal(read_reply(&j, &e), 0);
		assert_int_equal(reader.n_fds, n);
		assert_int_equal(fstat(fds[n - 1], &ours), 0);
		assert_int_equal(fstat(reader.fds[n - 1], &theirs), 0);
		assert_true(ours.st_ino == theirs.st_ino);
		assert_true(fcntl(reader.fds[n - 1], F_GETFD) & FD_CLOEXEC);
		protocol_close_fds(&reader);
		assert_int_equal(read_reply(&j, &e), 0);
		assert_int_equal(reader.n_fds, 0);
	}
	assert_int_equal(count_fds(), before);
	/* Freeing the reader closes what nobody took. */
	assert_int_equal(protocol_send_fds(pair[0], big, fds, 2), 0);
	assert_int_equal(read_reply(&j, &e), 0);
	protocol_reader_free(&reader);
	/* A reader that takes none gets none. */
	assert_int_equal(protocol_send_fds(pair[0], big, fds, 2), 0);
	assert_int_equal(read_reply(&j, &e), 0);
	assert_int_equal(count_fds(), before);
	assert_int_equal(protocol_send_fds(pair[0], big, fds, 4), -EFBIG);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

static void send_raw(const char *line, const int *fds, size_t n)
{
	char control[CMSG_SPACE(8 * sizeof(int))] = {0};
	struct iovec data = {.iov_base = (void *)line, .iov_len = strlen(line)};
	struct msghdr m = {.msg_iov = &data,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = CMSG_SPACE(n * sizeof(int))};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	assert_int_equal(sendmsg(pair[0], &m, 0), strlen(line));
}

/* No descriptor stays open of a message that is refused, nor is one taken that is neither a file nor, as the
 * last one, a pipe. */
static void test_bad_descriptors(void **state)
{
	int file = memfd_create("a", MFD_CLOEXEC), before;
	int directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int device = open("/dev/null", O_RDWR | O_CLOEXEC), ends[2];
	struct error e = {0};
	json_t *j = NULL;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	before = count_fds();
	for (size_t i = 0; i < 8; i++) {
		const int rows[][5] = {{pair[0]},
				       {directory},
				       {device},
				       {ends[1]},
				       {file, directory},
				       {file, ends[1]},
				       {file, file, file, file},
				       {file, file, file, file, file}};
		static const size_t n[] = {1, 1, 1, 1, 2, 2, 4, 5};

		reader.takes_fds = true;
		send_raw("{}\n", rows[i], n[i]);
		assert_int_equal(read_reply(&j, &e), -EBADMSG);
		assert_non_null(strstr(e.text, "of files"));
		protocol_reader_free(&reader);
		assert_int_equal(count_fds(), before);
	}
	/* Two messages, four descriptors. */
	reader.takes_fds = true;
	send_raw("{", (const int[]){file, file, file}, 3);
	send_raw("}\n", &file, 1);
	assert_int_equal(read_reply(&j, &e), -EBADMSG);
	protocol_reader_free(&reader);
	assert_int_equal(count_fds(), before);
	close(file);
	close(ends[0]);
	close(ends[1]);
	close(directory);
	close(device);
}

#define test(f) cmocka_unit_test_setup_teardown(f, open_pair, close_pair)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_request),
		test(test_replies),
		test(test_documents),
		test(test_documents_that_are_left_out),
		test(test_refused_for_good),
		test(test_errors),
		test(test_errors_of_others),
		test(test_known_that_was_not_asked),
		test(test_resolve),
		test(test_error_of_a_stranger),
		test(test_text_cut_inside_a_character),
		test(test_bad_replies),
		test(test_bad_requests),
		test(test_pinned),
		test(test_rollout_request),
		test(test_rollout_replies),
		test(test_rollout_texts),
		test(test_bad_rollout_replies),
		test(test_read_timeout),
		test(test_read_cut),
		test(test_read_nothing),
		test(test_read_garbage),
		test(test_read_lines),
		test(test_read_too_much),
		test(test_write_too_much),
		test(test_read_interrupted),
		test(test_read_cancelled_before),
		test(test_blob),
		test(test_descriptors),
		test(test_bad_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
