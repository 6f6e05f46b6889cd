/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>

#include "json.h"
#include "test.h"

static int parse(const char *data, json_t **ret, struct error *e)
{
	return json_parse(data, strlen(data), "it", ret, e);
}

static void test_parse(void **state)
{
	_cleanup_json_ json_t *j = NULL;
	struct error e = {0};

	assert_int_equal(parse(" {\"a\": {\"b\": [1, \"]}[{\\\"\"]}} ", &j, &e), 0);
	assert_int_equal(json_array_size(json_get_path(j, "a", "b", NULL)), 2);
	assert_int_equal(e.code, 0);
}

static void test_refused(void **state)
{
	static const struct {
		const char *data, *why;
	} cases[] = {
		{"", "line 1"},
		{"{", "line 1"},
		{"{\"a\":1,\"a\":2}", "duplicate"},
		{"{}{}", "end of file"},
		{"{} x", "end of file"},
		{"[1e400]", "overflow"},
		{"[99999999999999999999]", "big"},
		{"\"text\"", "expected"},
		{"[\"\\u0000\"]", "\\u0000"},
		{"[\"\\ud800\"]", "Unicode"},
		{"[\"\377\"]", "decode byte"},
		{"[\"\n\"]", "newline"},
		{"[\"unclosed", "premature end"},
		{"\\", "line 1"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *j = NULL;
		struct error e = {0};

		if (parse(cases[i].data, &j, &e) != -EBADMSG)
			fail_msg("%s was taken", cases[i].data);
		assert_null(j);
		if (strncmp(e.text, "it: ", 4) != 0 || !strstr(e.text, cases[i].why))
			fail_msg("%s: %s", cases[i].data, e.text);
	}
}

static void test_nul_inside(void **state)
{
	json_t *j = NULL;
	struct error e;

	assert_int_equal(json_parse("[1]\0[2]", 7, "it", &j, &e), -EBADMSG);
	assert_int_equal(json_parse("[1]\0", 4, "it", &j, &e), -EBADMSG);
	assert_null(j);
}

static int parse_nested(size_t depth, const char *inner)
{
	_cleanup_free_ char *text = xcalloc(2 * depth + strlen(inner) + 1, 1);
	_cleanup_json_ json_t *j = NULL;
	struct error e;

	memset(text, '[', depth);
	strcpy(text + depth, inner);
	memset(text + depth + strlen(inner), ']', depth);
	return parse(text, &j, &e);
}

static void test_depth(void **state)
{
	assert_int_equal(parse_nested(64, ""), 0);
	assert_int_equal(parse_nested(65, ""), -EBADMSG);
	assert_int_equal(parse_nested(500000, ""), -EBADMSG);
	assert_int_equal(parse_nested(63, "[],[],[]"), 0);
	assert_int_equal(parse_nested(64, "\"[[[[\\\"[[[[{{\""), 0);
}

/* What jansson really takes, beside what we think it does. */
static size_t used, peak;

static void *watching_malloc(size_t n)
{
	void *p = malloc(n);

	used += malloc_usable_size(p) + sizeof(size_t);
	peak = used > peak ? used : peak;
	return p;
}

static void watching_free(void *p)
{
	used -= p ? malloc_usable_size(p) + sizeof(size_t) : 0;
	free(p);
}

static size_t measure(const char *data, size_t n)
{
	json_error_t e;
	json_t *j;

	used = peak = 0;
	json_set_alloc_funcs(watching_malloc, watching_free);
	j = json_loadb(data, n, JSON_REJECT_DUPLICATES, &e);
	json_decref(j);
	return peak;
}

/* The smallest budget that lets the document in. */
static size_t smallest_budget(const char *data, size_t n)
{
	size_t low = 0, high = (size_t)1 << 30;

	while (low + 1 < high) {
		size_t middle = low + (high - low) / 2;
		struct error e;
		json_t *j = NULL;
		int r;

		json_budget(middle);
		r = json_parse(data, n, "it", &j, &e);
		json_decref(j);
		if (r < 0 && strstr(e.text, "more memory"))
			low = middle;
		else
			high = middle;
	}
	return high;
}

/* first, then n times piece (%zu: its number), then last. Caller frees. */
static char *repeat(const char *first, const char *piece, size_t n, const char *last)
{
	char *text = xmalloc(strlen(first) + n * (strlen(piece) + 20) + strlen(last) + 1);
	char *p = stpcpy(text, first);

	for (size_t i = 0; i < n; i++) {
		const char *number = strchr(piece, '#');

		if (number)
			p += sprintf(p, "%.*s%zu%s", (int)(number - piece), piece, i, number + 1);
		else
			p = stpcpy(p, piece);
	}
	(void)stpcpy(p, last);
	return text;
}

static void test_estimate_is_an_upper_bound(void **state)
{
	static const struct {
		const char *first, *piece, *last;
	} shapes[] = {
		{"[", "{},", "{}]"},
		{"[", "[],", "[]]"},
		{"[", "0,", "0]"},
		{"[", "0.5,", "0]"},
		{"[", "true,", "0]"},
		{"[", "\"\",", "0]"},
		{"[", "\"abcdefghijklmnopqrstuvwxyz\",", "0]"},
		{"[", "[0],", "0]"},
		{"[", "{\"a\":0},", "0]"},
		{"[", "{\"a\":{\"b\":\"c\"}},", "0]"},
		{"{", "\"#\":0,", "\"\":0}"},
		{"{", "\"#\":\"\",", "\"\":0}"},
		{"{", "\"#\":{},", "\"\":0}"},
		{"{", "\"#\":[],", "\"\":0}"},
		{"[\"", "x", "\"]"},
		{"[\"", "\\\\", "\"]"},
		{"[\"", "\303\274", "\"]"},
		{"[", "9", ".5]"},
		{"{\"", "x", "\":0}"},
	};
	static const size_t counts[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, 100, 1000, 4097};

	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(counts); k++) {
			_cleanup_free_ char *text =
				repeat(shapes[i].first, shapes[i].piece, counts[k], shapes[i].last);
			size_t takes = measure(text, strlen(text));
			size_t wants = smallest_budget(text, strlen(text));

			if (takes > wants)
				fail_msg("%zu times %s: %zu bytes, thought to be %zu", counts[k],
					 shapes[i].piece, takes, wants);
		}
	}
	json_budget(SIZE_MAX);
}

/* jansson 2.14 crashes where a buffer for this string cannot grow. */
static void test_long_string_and_small_budget(void **state)
{
	_cleanup_free_ char *text = repeat("[\"", "x", 1000000, "\"]");
	struct error e;
	json_t *j = NULL;

	for (size_t budget = 1000; budget < 8000000; budget += 499000) {
		json_budget(budget);
		if (json_parse(text, strlen(text), "it", &j, &e) == 0)
			json_decref(j);
		else
			assert_string_equal(e.text, "it: takes more memory than allowed");
	}
	json_budget(SIZE_MAX);
}

static void test_budget_counts_what_is_held(void **state)
{
	_cleanup_free_ char *text = repeat("[", "\"abc\",", 1000, "0]");
	struct error e;
	json_t *first = NULL, *second = NULL;

	json_budget(250000);
	assert_int_equal(parse(text, &first, &e), 0);
	assert_int_equal(parse(text, &second, &e), -EFBIG);
	json_decref(first);
	assert_int_equal(parse(text, &second, &e), 0);
	json_decref(second);
	json_budget(SIZE_MAX);
}

/* What is written down and freed again is not held: a process may do so for ever. */
static void test_text_leaves_the_budget_alone(void **state)
{
	_cleanup_free_ char *text = repeat("[", "\"abcdefgh\",", 700, "0]");
	struct error e;

	json_budget(1000000);
	for (int i = 0; i < 1000; i++) {
		_cleanup_free_ char *copy = NULL;
		_cleanup_json_ json_t *j = NULL;

		if (parse(text, &j, &e) < 0)
			fail_msg("after %d texts: %s", i, e.text);
		copy = json_text(j, JSON_COMPACT);
		assert_string_equal(copy, text);
	}
	assert_null(json_text(NULL, 0));
	json_budget(SIZE_MAX);
}

struct heard {
	size_t n;
	json_int_t sum;
	int code;
};

static int on_object(void *userdata, json_t *object)
{
	struct heard *h = userdata;

	h->n++;
	h->sum += json_integer_value(json_object_get(object, "n"));
	return h->code;
}

static void test_stream_in_pieces(void **state)
{
	static const char data[] = "{\"n\":1}\r\n\n  \n{\"n\":20}\n{\"n\":\n{\"n\":300}";

	for (size_t piece = 1; piece < 25; piece++) {
		struct json_stream s = {0};
		struct heard h = {0};
		struct error e = {0};

		/* up to the broken line */
		for (size_t i = 0; i < 23; i += piece) {
			size_t n = 23 - i < piece ? 23 - i : piece;

			assert_int_equal(json_stream_push(&s, data + i, n, on_object, &h, &e), 0);
		}
		assert_int_equal(h.n, 2);
		assert_int_equal(h.sum, 21);
		assert_int_equal(json_stream_push(&s, data + 23, 5, on_object, &h, &e), -EBADMSG);
		assert_int_equal(json_stream_push(&s, data + 28, 9, on_object, &h, &e), 0);
		assert_int_equal(h.n, 2);
		assert_int_equal(json_stream_end(&s, on_object, &h, &e), 0);
		assert_int_equal(h.sum, 321);
		assert_int_equal(json_stream_end(&s, on_object, &h, &e), 0);
		assert_int_equal(h.n, 3);
		json_stream_free(&s);
	}
}

static void test_stream_faults(void **state)
{
	static const char *const bad[] = {"[]\n", "1\n", "x\n", "{}{}\n", "{} {}\n", "\0\n"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct json_stream s = {0};
		struct heard h = {0};
		struct error e = {0};
		size_t n = bad[i][0] ? strlen(bad[i]) : 2;

		assert_int_equal(json_stream_push(&s, bad[i], n, on_object, &h, &e), -EBADMSG);
		assert_int_equal(h.n, 0);
		json_stream_free(&s);
	}
}

static void test_stream_stops_when_told(void **state)
{
	struct json_stream s = {0};
	struct heard h = {.code = -EDOM};
	struct error e = {0};

	assert_int_equal(json_stream_push(&s, "{}\n{}\n", 6, on_object, &h, &e), -EDOM);
	assert_int_equal(h.n, 1);
	json_stream_free(&s);
}

static void test_stream_line_is_bounded(void **state)
{
	_cleanup_free_ char *line = xmalloc(JSON_LINE_MAX + 2);
	struct json_stream s = {0};
	struct heard h = {0};
	struct error e = {0};

	memset(line, ' ', JSON_LINE_MAX + 2);
	line[0] = '{';
	line[1] = '}';
	line[JSON_LINE_MAX] = '\n';
	assert_int_equal(json_stream_push(&s, line, JSON_LINE_MAX + 1, on_object, &h, &e), 0);
	assert_int_equal(h.n, 1);
	line[JSON_LINE_MAX] = ' ';
	assert_int_equal(json_stream_push(&s, line, JSON_LINE_MAX + 1, on_object, &h, &e), -EFBIG);
	assert_int_equal(json_stream_push(&s, line, JSON_LINE_MAX, on_object, &h, &e), 0);
	assert_int_equal(json_stream_push(&s, " ", 1, on_object, &h, &e), -EFBIG);
	json_stream_free(&s);
}

static void test_getters(void **state)
{
	_cleanup_json_ json_t *j = NULL;
	struct error e;

	assert_int_equal(parse("{\"a\":{\"b\":\"c\"},\"n\":1}", &j, &e), 0);
	assert_string_equal(json_get_string(json_get_path(j, "a", NULL), "b"), "c");
	assert_null(json_get_string(j, "n"));
	assert_null(json_get_string(j, "x"));
	assert_null(json_get_string(NULL, "x"));
	assert_null(json_get_path(j, "a", "b", "c", NULL));
	assert_null(json_get_path(j, "x", "b", NULL));
	assert_null(json_get_path(NULL, "x", NULL));
}

static void expect_text(json_t *j, const char *expected)
{
	assert_string_equal(json_string_value(j), expected);
	json_decref(j);
}

static void test_string_lossy(void **state)
{
	expect_text(json_string_lossy(""), "");
	expect_text(json_string_lossy("caf\xc3\xa9"), "caf\xc3\xa9");
	expect_text(json_string_lossy("caf\xc3"), "caf?");
	expect_text(json_string_lossy("caf\xc3\xa9\xff"), "caf\xc3\xa9?");
}

static void test_string_or_null(void **state)
{
	json_t *null = json_string_or_null("");

	assert_true(json_is_null(null));
	expect_text(json_string_or_null("a"), "a");
	expect_text(json_string_or_null("caf\xc3"), "caf?");
}

static void test_put_and_append(void **state)
{
	_cleanup_json_ json_t *object = json_need(json_object());
	json_t *list = json_need(json_array());

	json_put(object, "list", list);
	json_append(list, json_integer(1));
	json_append(list, json_integer(2));
	assert_int_equal(json_array_size(json_object_get(object, "list")), 2);
}

static void test_keys_as_go_reads_them(void **state)
{
	static const struct {
		const char *a, *b;
		bool match;
	} cases[] = {
		{"config", "config", true},
		{"config", "Config", true},
		{"CONFIG", "config", true},
		{"layers", "layer\xc5\xbf", true},
		{"o\xc5\xbf", "os", true},
		{"\xe2\x84\xaa"
		 "ey",
		 "key", true},
		{"config", "confi", false},
		{"confi", "config", false},
		{"config", "conf1g", false},
		{"", "", true},
		{"", "a", false},
		{"layers", "layer\xc5\xbfs", false},
		{"[config", "{config", false},
		{"@", "`", false},
	};
	static const char *const known[] = {"config", "layers", NULL};
	_cleanup_json_ json_t *j =
		json_pack("{s:i, s:i, s:i}", "config", 1, "other", 2, "Other", 3);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (json_keys_match(cases[i].a, cases[i].b) != cases[i].match)
			fail_msg("%s, %s", cases[i].a, cases[i].b);
	}
	assert_null(json_find_misspelled(j, known));
	assert_null(json_find_misspelled(NULL, known));
	json_put(j, "Layer\xc5\xbf", json_null());
	assert_string_equal(json_find_misspelled(j, known), "Layer\xc5\xbf");
}

static void test_without(void **state)
{
	static const char *const cases[][2] = {
		{"{\"x\":{\"a\":[1]},\"y\":2}", "{\"x\":null,\"y\":2}"},
		{"{\"x\" : [1, {}] }", "{\"x\":null }"},
		{"[{\"x\":{\"x\":{\"x\":1}}}]", "[{\"x\":null}]"},
		{"{\"x\":{\"a\":\"}\\\"}\"},\"y\":1}", "{\"x\":null,\"y\":1}"},
		/* Kept: short, no object, no key, another key, not closed. */
		{"{\"x\":{}}", "{\"x\":{}}"},
		{"{\"x\":\"long enough\"}", "{\"x\":\"long enough\"}"},
		{"[\"x\", {\"y\":1}]", "[\"x\", {\"y\":1}]"},
		{"{\"x\" {\"y\":1}}", "{\"x\" {\"y\":1}}"},
		{"{\"xx\":{\"y\":1}}", "{\"xx\":{\"y\":1}}"},
		{"{\"a\":\"x\\\"x\",\"b\":[1,2,3]}", "{\"a\":\"x\\\"x\",\"b\":[1,2,3]}"},
		{"{\"x\":{\"y\":1", "{\"x\":{\"y\":1"},
		{"{\"x", "{\"x"},
		{"{\"x\"", "{\"x\""},
		{"{\"x\":", "{\"x\":"},
		{"\"", "\""},
		{"", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t n;
		_cleanup_free_ char *data = xmalloc(strlen(cases[i][0]) + 1);
		_cleanup_free_ char *text = NULL;

		memcpy(data, cases[i][0], strlen(cases[i][0]));
		text = json_without(data, strlen(cases[i][0]), "x", &n);
		assert_string_equal(text, cases[i][1]);
		assert_int_equal(n, strlen(text));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_nul_inside),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_estimate_is_an_upper_bound),
		cmocka_unit_test(test_long_string_and_small_budget),
		cmocka_unit_test(test_budget_counts_what_is_held),
		cmocka_unit_test(test_text_leaves_the_budget_alone),
		cmocka_unit_test(test_stream_in_pieces),
		cmocka_unit_test(test_stream_faults),
		cmocka_unit_test(test_stream_stops_when_told),
		cmocka_unit_test(test_stream_line_is_bounded),
		cmocka_unit_test(test_getters),
		cmocka_unit_test(test_keys_as_go_reads_them),
		cmocka_unit_test(test_without),
		cmocka_unit_test(test_string_lossy),
		cmocka_unit_test(test_string_or_null),
		cmocka_unit_test(test_put_and_append),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
