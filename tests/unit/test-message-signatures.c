/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "base64.h"
#include "message.h"
#include "test.h"

#define D "sha256:0123456789abcdef0123456789abcdef0000000000000000000000000000000f"

static struct signature_pair pair_of(enum signature_format format, char *payload, size_t n,
				     const char *bytes)
{
	return (struct signature_pair){
		.format = format,
		.payload = payload,
		.n_payload = n,
		.bytes = (char *)bytes,
		.n_bytes = strlen(bytes),
	};
}

static void add(struct signatures *s, enum signature_format format, const char *payload,
		const char *bytes)
{
	const struct signature_pair p = pair_of(format, (char *)payload, strlen(payload), bytes);

	signatures_add(s, &p);
}

static void assert_same(const struct signatures *a, const struct signatures *b)
{
	assert_int_equal(a->n, b->n);
	assert_int_equal(a->left, b->left);
	for (size_t i = 0; i < a->n; i++) {
		const struct signature_pair *p = &a->pairs[i], *q = &b->pairs[i];

		assert_int_equal(p->format, q->format);
		assert_int_equal(p->n_payload, q->n_payload);
		assert_int_equal(p->n_bytes, q->n_bytes);
		assert_memory_equal(p->payload, q->payload, p->n_payload);
		assert_memory_equal(p->bytes, q->bytes, p->n_bytes);
	}
}

/* Through the text of a line, as between the programs. */
static int carry(const struct signatures *s, struct signatures *ret)
{
	_cleanup_json_ json_t *j = message_signatures_to_json(s), *back = NULL;
	_cleanup_free_ char *line = protocol_line(j);
	struct error e;

	assert_non_null(line);
	assert_true(strlen(line) < PROTOCOL_LINE_MAX);
	assert_int_equal(json_parse(line, strlen(line), "line", &back, &e), 0);
	return message_signatures_from_json(back, ret, &e);
}

static void test_question(void **state)
{
	static const char *const bad[] = {
		"{}",
		"{\"digest\":\"" D "\"}",
		"{\"place\":\"tag\"}",
		"{\"digest\":\"" D "\",\"place\":\"\"}",
		"{\"digest\":\"" D "\",\"place\":\"Tag\"}",
		"{\"digest\":\"" D "\",\"place\":0}",
		"{\"digest\":\"sha512:00\",\"place\":\"tag\"}",
	};
	const struct digest d = {D};
	struct digest got;
	enum signature_place place;
	struct error e;

	for (size_t i = 0; i < SIGNATURE_PLACES; i++) {
		_cleanup_json_ json_t *j = message_signatures_request_to_json(
			"r.io/app:1", &d, (enum signature_place)i);

		assert_string_equal(json_get_string(j, "op"), "signatures");
		assert_string_equal(json_get_string(j, "image"), "r.io/app:1");
		assert_string_equal(json_get_string(j, "place"), signature_place_names[i]);
		assert_int_equal(message_signatures_request_from_json(j, &got, &place, &e), 0);
		assert_true(digest_eq(&got, &d));
		assert_int_equal(place, i);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_json_ json_t *j = json_loads(bad[i], 0, NULL);

		if (message_signatures_request_from_json(j, &got, &place, &e) != -EBADMSG)
			fail_msg("%s was taken", bad[i]);
	}
}

static void test_answers(void **state)
{
	struct signatures s = {0}, back;
	char every_byte[256];
	struct signature_pair raw = pair_of(SIGNATURE_BUNDLE, every_byte, sizeof(every_byte), "s");

	assert_int_equal(carry(&s, &back), 0);
	assert_same(&s, &back);
	for (size_t i = 0; i < sizeof(every_byte); i++)
		every_byte[i] = (char)i;
	add(&s, SIGNATURE_SIMPLE, "{}", "one");
	add(&s, SIGNATURE_SIMPLE, "{}", "two");
	add(&s, SIGNATURE_BUNDLE, "{}", "one");
	signatures_add(&s, &raw);
	s.left = 7;
	assert_int_equal(s.n, 4);
	assert_int_equal(carry(&s, &back), 0);
	assert_same(&s, &back);
	signatures_free(&back);
	s.left = SIZE_MAX;
	assert_int_equal(carry(&s, &back), 0);
	assert_int_equal(back.left, 1000000);
	signatures_free(&back);
	signatures_free(&s);
	assert_int_equal(s.n + s.left, 0);
}

static void test_a_repeated_pair_is_one(void **state)
{
	struct signatures s = {0};

	add(&s, SIGNATURE_SIMPLE, "{}", "one");
	add(&s, SIGNATURE_SIMPLE, "{ }", "one");
	add(&s, SIGNATURE_SIMPLE, "{}", "one");
	assert_int_equal(s.n, 2);
	assert_int_equal(s.left, 0);
	signatures_free(&s);
}

/* Whatever fits is within a line. */
static void test_bounds(void **state)
{
	_cleanup_free_ char *payload = xcalloc(1, SIGNATURE_PAYLOAD_MAX + 2),
			    *bytes = xcalloc(1, SIGNATURE_BYTES_MAX + 2);
	struct signature_pair p = pair_of(SIGNATURE_SIMPLE, payload, 0, "s");
	struct signatures s = {0}, back;

	signatures_add(&s, &p);
	assert_int_equal(s.left, 1);
	memset(payload, 'p', SIGNATURE_PAYLOAD_MAX + 1);
	memset(bytes, 'b', SIGNATURE_BYTES_MAX + 1);
	p.n_payload = SIGNATURE_PAYLOAD_MAX + 1;
	signatures_add(&s, &p);
	assert_int_equal(s.left, 2);
	p.n_payload = SIGNATURE_PAYLOAD_MAX;
	p.n_bytes = 0;
	signatures_add(&s, &p);
	assert_int_equal(s.left, 3);
	p.bytes = bytes;
	p.n_bytes = SIGNATURE_BYTES_MAX + 1;
	signatures_add(&s, &p);
	assert_int_equal(s.left, 4);
	assert_int_equal(s.n, 0);
	p.n_bytes = SIGNATURE_BYTES_MAX;
	for (char c = 'a'; c < 'a' + 9; c++) {
		payload[0] = c;
		signatures_add(&s, &p);
	}
	assert_int_equal(s.n, SIGNATURE_PAYLOADS_MAX / SIGNATURE_PAYLOAD_MAX);
	assert_int_equal(s.left, 5);
	p.n_payload = 1;
	signatures_add(&s, &p);
	assert_int_equal(s.left, 6);
	assert_int_equal(carry(&s, &back), 0);
	assert_same(&s, &back);
	signatures_free(&back);
	signatures_free(&s);
	p.n_payload = 10;
	for (char c = 'a'; c < 'a' + SIGNATURE_PAIRS_MAX + 3; c++) {
		payload[0] = c;
		signatures_add(&s, &p);
	}
	assert_int_equal(s.n, SIGNATURE_PAIRS_MAX);
	assert_int_equal(s.left, 3);
	assert_int_equal(s.pairs[0].payload[0], 'a');
	signatures_free(&s);
}

/* A compromised network half says no more than a registry may. */
static void test_bad_answers(void **state)
{
#define PAIR(format, payload, signature) \
	"{\"format\":" format ",\"payload\":" payload ",\"signature\":" signature "}"
#define GOOD	    PAIR("\"simple\"", "\"e30=\"", "\"c2ln\"")
#define LIST(pairs) "{\"signatures\":[" pairs "],\"left\":0}"
	static const struct {
		const char *text;
		int code;
	} rows[] = {
		{LIST(""), 0},
		{LIST(GOOD), 0},
		{LIST(GOOD "," GOOD), 0},
		{LIST(PAIR("\"bundle\"", "\"e30=\"", "\"c2ln\"")), 0},
		{"{}", -EBADMSG},
		{"{\"signatures\":[]}", -EBADMSG},
		{"{\"left\":0}", -EBADMSG},
		{"{\"signatures\":{},\"left\":0}", -EBADMSG},
		{"{\"signatures\":null,\"left\":0}", -EBADMSG},
		{"{\"signatures\":[],\"left\":-1}", -EBADMSG},
		{"{\"signatures\":[],\"left\":1.5}", -EBADMSG},
		{"{\"signatures\":[],\"left\":9223372036854775807}", -EBADMSG},
		{LIST("null"), -EBADMSG},
		{LIST("\"x\""), -EBADMSG},
		{LIST(GOOD ",{}"), -EBADMSG},
		{LIST(PAIR("\"pgp\"", "\"e30=\"", "\"c2ln\"")), -EBADMSG},
		{LIST(PAIR("0", "\"e30=\"", "\"c2ln\"")), -EBADMSG},
		{LIST(PAIR("\"simple\"", "\"\"", "\"c2ln\"")), -EBADMSG},
		{LIST(PAIR("\"simple\"", "\"e30=\"", "\"\"")), -EBADMSG},
		{LIST(PAIR("\"simple\"", "\"e30\"", "\"c2ln\"")), -EBADMSG},
		{LIST(PAIR("\"simple\"", "\"e3 0=\"", "\"c2ln\"")), -EBADMSG},
		{LIST(PAIR("\"simple\"", "\"e30=\\n\"", "\"c2ln\"")), -EBADMSG},
		{LIST(PAIR("\"simple\"", "\"e30=\"", "\"c2_n\"")), -EBADMSG},
		{LIST(PAIR("\"simple\"", "null", "\"c2ln\"")), -EBADMSG},
		{LIST(PAIR("\"simple\"", "\"e30=\"", "[\"c2ln\"]")), -EBADMSG},
		{"{\"error\":{\"code\":\"EACCES\",\"text\":\"no\"},\"signatures\":[],\"left\":0}",
		 -EACCES},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *j = json_loads(rows[i].text, 0, NULL);
		struct signatures s;
		struct error e;

		assert_non_null(j);
		if (message_signatures_from_json(j, &s, &e) != rows[i].code)
			fail_msg("%s", rows[i].text);
		if (rows[i].code < 0)
			assert_int_equal(s.n, 0);
		signatures_free(&s);
	}
}

/* n times the same pair, whose payload and signature have these many bytes. */
static int read_many(size_t n, size_t n_payload, size_t n_bytes)
{
	_cleanup_free_ char *zeroes = xcalloc(1, SIGNATURE_PAYLOAD_MAX + 3),
			    *payload = base64_encode(zeroes, n_payload),
			    *bytes = base64_encode(zeroes, n_bytes);
	_cleanup_json_ json_t *list = json_array(), *j = NULL;
	struct signatures s;
	struct error e;
	int r;

	for (size_t i = 0; i < n; i++)
		json_append(list, json_pack("{s:s, s:s, s:s}", "format", "simple", "payload",
					    payload, "signature", bytes));
	j = json_pack("{s:O, s:i}", "signatures", list, "left", 0);
	r = message_signatures_from_json(j, &s, &e);
	assert_int_equal(s.n, r < 0 ? 0 : n);
	signatures_free(&s);
	return r;
}

static void test_bounds_of_answers(void **state)
{
	const size_t most = SIGNATURE_PAYLOAD_MAX;

	assert_int_equal(read_many(SIGNATURE_PAIRS_MAX, 100, SIGNATURE_BYTES_MAX), 0);
	assert_int_equal(read_many(SIGNATURE_PAIRS_MAX + 1, 100, 70), -EBADMSG);
	assert_int_equal(read_many(8, most, 70), 0);
	assert_int_equal(read_many(9, most, 70), -EBADMSG);
	assert_int_equal(read_many(1, most + 1, 70), -EBADMSG);
	assert_int_equal(read_many(1, 100, SIGNATURE_BYTES_MAX + 1), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_question),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_a_repeated_pair_is_one),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_bad_answers),
		cmocka_unit_test(test_bounds_of_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
