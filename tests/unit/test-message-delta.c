/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "message.h"
#include "test.h"

#define FROM "sha256:0123456789abcdef0123456789abcdef0000000000000000000000000000000f"
#define TO   "sha256:fedcba9876543210fedcba9876543210fffffffffffffffffffffffffffffff0"

static struct digest digest(const char *text)
{
	struct digest d;

	assert_int_equal(digest_parse(text, &d), 0);
	return d;
}

static void test_tag(void **state)
{
	const struct digest from = digest(FROM), to = digest(TO);
	char tag[FETCH_DELTA_TAG_SIZE];

	message_delta_tag(&from, &to, tag);
	assert_string_equal(
		tag, "delta-0123456789abcdef0123456789abcdef-fedcba9876543210fedcba9876543210");
}

static void test_question(void **state)
{
	const struct digest from = digest(FROM), to = digest(TO);
	_cleanup_json_ json_t *j = message_delta_request_to_json("r.io/app:1", &from, &to);
	_cleanup_json_ json_t *without = json_object();
	struct digest got[2];
	struct error e;

	assert_string_equal(json_get_string(j, "image"), "r.io/app:1");
	assert_int_equal(message_delta_request_from_json(j, &got[0], &got[1], &e), 0);
	assert_true(digest_eq(&got[0], &from) && digest_eq(&got[1], &to));
	assert_int_equal(message_delta_request_from_json(without, &got[0], &got[1], &e), -EBADMSG);
}

static void test_answers(void **state)
{
	static char data[FETCH_DELTA_DATA_MAX];
	static struct fetch_delta d, back;
	struct error e;

	d.digest = digest(FROM);
	d.shared = OCI_LAYERS_MAX - 1;
	d.n_sizes = 1;
	d.sizes[0] = FETCH_DELTA_NEW_MAX;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 7);
	for (d.size = 1; d.size <= sizeof(data) + 1; d.size += sizeof(data) / 2) {
		for (d.data = NULL;; d.data = data) {
			_cleanup_json_ json_t *j = message_delta_to_json(&d);
			bool whole = d.data && d.size <= sizeof(data);

			assert_int_equal(message_delta_from_json(j, &back, &e), 0);
			assert_true(digest_eq(&back.digest, &d.digest));
			assert_true(back.size == d.size && back.shared == d.shared);
			assert_true(back.n_sizes == 1 && back.sizes[0] == d.sizes[0]);
			assert_int_equal(back.data != NULL, whole);
			if (whole)
				assert_memory_equal(back.data, data, d.size);
			fetch_delta_free(&back);
			assert_null(back.data);
			if (d.data)
				break;
		}
	}
	{
		_cleanup_json_ json_t *none = message_delta_to_json(NULL);

		assert_int_equal(message_delta_from_json(none, &back, &e), -ENOENT);
	}
}

/* A compromised network half says no more than a registry may. */
static void test_bad_answers(void **state)
{
#define GOOD(sizes, more) \
	"{\"delta\":{\"digest\":\"" FROM "\",\"size\":2,\"shared\":1,\"sizes\":" sizes more "}}"
	static const struct {
		const char *text;
		int code;
	} rows[] = {
		{GOOD("[5,0]", ""), 0},
		{GOOD("[5,0]", ",\"data\":\"00ff\""), 0},
		{GOOD("[5]", ",\"data\":\"00f\""), -EBADMSG},
		{GOOD("[5]", ",\"data\":\"00ff00\""), -EBADMSG},
		{GOOD("[5]", ",\"data\":\"00fg\""), -EBADMSG},
		{GOOD("[5]", ",\"data\":\"00 f\""), -EBADMSG},
		{GOOD("[]", ""), -EBADMSG},
		{GOOD("5", ""), -EBADMSG},
		{GOOD("[-1]", ""), -EBADMSG},
		{GOOD("[1.0]", ""), -EBADMSG},
		{GOOD("[\"1\"]", ""), -EBADMSG},
		{GOOD("[17179869184]", ""), 0},
		{GOOD("[17179869184,1]", ""), -EBADMSG},
		{GOOD("[9223372036854775807,9223372036854775807]", ""), -EBADMSG},
		{"{}", -EBADMSG},
		{"{\"delta\":{}}", -EBADMSG},
		{"{\"delta\":[]}", -EBADMSG},
		{"{\"delta\":{\"digest\":\"" FROM "\",\"size\":0,\"shared\":0,\"sizes\":[1]}}",
		 -EBADMSG},
		{"{\"delta\":{\"digest\":\"" FROM "\",\"size\":-1,\"shared\":0,\"sizes\":[1]}}",
		 -EBADMSG},
		{"{\"delta\":{\"digest\":\"" FROM "\",\"size\":1,\"shared\":-1,\"sizes\":[1]}}",
		 -EBADMSG},
		{"{\"delta\":{\"digest\":\"" FROM "\",\"size\":1,\"shared\":512,\"sizes\":[1]}}",
		 -EBADMSG},
		{"{\"delta\":{\"digest\":\"x\",\"size\":1,\"shared\":0,\"sizes\":[1]}}", -EBADMSG},
		{"{\"error\":{\"code\":\"EACCES\",\"text\":\"no\"}}", -EACCES},
	};
	static struct fetch_delta d;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *j = json_loads(rows[i].text, 0, NULL);
		struct error e;

		if (message_delta_from_json(j, &d, &e) != rows[i].code)
			fail_msg("%s", rows[i].text);
		fetch_delta_free(&d);
	}
}

static void test_too_many_sizes(void **state)
{
	_cleanup_json_ json_t *sizes = json_array(), *j = NULL;
	static struct fetch_delta d;
	struct error e;

	for (size_t i = 0; i < OCI_LAYERS_MAX; i++)
		json_append(sizes, json_integer(1));
	j = json_pack("{s:{s:s, s:i, s:i, s:O}}", "delta", "digest", FROM, "size", 1, "shared", 0,
		      "sizes", sizes);
	assert_int_equal(message_delta_from_json(j, &d, &e), 0);
	json_append(sizes, json_integer(1));
	assert_int_equal(message_delta_from_json(j, &d, &e), -EBADMSG);
}

static void test_patch(void **state)
{
	static const struct patch_extent parts[] = {{0, 5}, {INT64_MAX, INT64_MAX}, {7, 0}};
	_cleanup_json_ json_t *j = message_patch_to_json(parts, 3, UINT64_MAX);
	static const char *const bad[] = {
		"{\"max\":1}",
		"{\"old\":[]}",
		"{\"old\":{},\"max\":1}",
		"{\"old\":[[1]],\"max\":1}",
		"{\"old\":[[1,2,3]],\"max\":1}",
		"{\"old\":[[1,-2]],\"max\":1}",
		"{\"old\":[[-1,2]],\"max\":1}",
		"{\"old\":[1,2],\"max\":1}",
		"{\"old\":[],\"max\":-1}",
	};
	_cleanup_free_ struct patch_extent *extents = NULL;
	uint64_t max;
	size_t n;
	struct error e;

	assert_int_equal(message_patch_from_json(j, &extents, &n, &max, &e), 0);
	assert_int_equal(n, 3);
	assert_true(max == INT64_MAX);
	assert_memory_equal(extents, parts, sizeof(parts));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_json_ json_t *b = json_loads(bad[i], 0, NULL);
		struct patch_extent *none;

		if (message_patch_from_json(b, &none, &n, &max, &e) != -EBADMSG)
			fail_msg("%s", bad[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tag),
		cmocka_unit_test(test_question),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_bad_answers),
		cmocka_unit_test(test_too_many_sizes),
		cmocka_unit_test(test_patch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
