/* SPDX-License-Identifier: MIT */
#include "json-filter.h"

#include <errno.h>
#include <stdio.h>

#include "test.h"

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

/* The text that is left when data comes in pieces of size bytes, or the error's. Caller frees. */
static char *filter(const char *data, size_t n, size_t size, struct json_filter_rules rules,
		    size_t text_max, int *ret)
{
	struct json_filter f = {.rules = rules, .text_max = text_max, .total_max = 10 << 20};
	struct error e = {0};
	char *text;

	*ret = 0;
	for (size_t i = 0; *ret == 0 && i < n; i += size)
		*ret = json_filter_push(&f, data + i, n - i < size ? n - i : size, "inspect", &e);
	text = *ret < 0 ? xstrdup(e.text) : xstrndup(f.text ?: "", f.len);
	json_filter_free(&f);
	return text;
}

static void test_what_is_left(void **state)
{
	const struct {
		const char *data;
		struct json_filter_rules rules;
		const char *left;
	} documents[] = {
		{" { \"a\" : [ 1 , true , \"x y\" , { } , [ ] ] } \n",
		 {0},
		 "{\"a\":[1,true,\"x y\",{},[]]}"},
		{"null", {0}, "null"},
		{"[]\n", {0}, "[]"},
		{"{\"a\":{\"b\":1,\"c\":2},\"d\":3}",
		 {.drop = LIST("a.b")},
		 "{\"a\":{\"c\":2},\"d\":3}"},
		{"{\"a\":{\"b\":1,\"c\":2},\"d\":3}", {.drop = LIST("a")}, "{\"d\":3}"},
		{"{\"a\":{\"b\":1,\"c\":2},\"d\":3}",
		 {.drop = LIST("a.c", "d")},
		 "{\"a\":{\"b\":1}}"},
		{"{\"a\":\"}]\\\"{,\",\"b\":\"\\\\\",\"c\":[\"]\"]}",
		 {.drop = LIST("a", "c")},
		 "{\"b\":\"\\\\\"}"},
		{"{\"a\":null,\"b\":{\"a\":[{\"a\":[]}]},\"ab\":1}",
		 {.drop = LIST("a")},
		 "{\"b\":{\"a\":[{\"a\":[]}]},\"ab\":1}"},
		{"{\"a\":{\"b\":{\"x\":1},\"c\":2},\"bb\":3}",
		 {.keep = LIST("a.b")},
		 "{\"a\":{\"b\":{\"x\":1}}}"},
		{"[{\"Id\":\"1\",\"Labels\":{\"Id\":\"2\"}},{\"Labels\":{},\"Id\":\"3\"}]",
		 {.keep = LIST("*.Id")},
		 "[{\"Id\":\"1\"},{\"Id\":\"3\"}]"},
		{"{\"l\":{\"a.b\":1,\"c\":2}}", {.keep = LIST("l.a.b")}, "{\"l\":{\"a.b\":1}}"},
		{"{\"p\":{\"80/tcp\":{},\"81/tcp\":{},\"odd\":{},\"9/udp\":{}},\"q\":1}",
		 {.ports = "p"},
		 "{\"p\":{\"odd\":{},\"80/tcp\":{},\"81/tcp\":{},\"9/udp\":{}},\"q\":1}"},
		{"{\"p\":{},\"x\":{\"p\":{\"8/tcp\":{}}}}",
		 {.ports = "p"},
		 "{\"p\":{},\"x\":{\"p\":{\"8/tcp\":{}}}}"},
		{"{\"p\":null}", {.ports = "p"}, "{\"p\":null}"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(documents); i++) {
		for (size_t size = 1; size < 40; size += 6) {
			const char *data = documents[i].data;
			int r;
			_cleanup_free_ char *left =
				filter(data, strlen(data), size, documents[i].rules, 1000, &r);

			assert_int_equal(r, 0);
			assert_string_equal(left, documents[i].left);
		}
	}
}

static void test_no_json(void **state)
{
	static const char *const bad[] = {"{]", "[}", "}", "{\"a\" 1}", "{1:2}", "{}{}", "[1]]"};
	char deep[JSON_FILTER_DEPTH + 1];

	memset(deep, '[', sizeof(deep));
	for (size_t i = 0; i <= ARRAY_SIZE(bad); i++) {
		const char *data = i < ARRAY_SIZE(bad) ? bad[i] : deep;
		size_t n = i < ARRAY_SIZE(bad) ? strlen(data) : sizeof(deep);
		int r;
		_cleanup_free_ char *left =
			filter(data, n, 100, (struct json_filter_rules){0}, 1000, &r);

		assert_int_equal(r, -EBADMSG);
	}
}

static char *document(size_t ports, size_t labels)
{
	char *text = xcalloc(1, 100 + ports * 20 + labels), *p = text;

	p += sprintf(p, "{\"Id\":\"1\",\"Config\":{\"ExposedPorts\":{");
	for (size_t i = 0; i < ports; i++)
		p += sprintf(p, "%s\"%zu/tcp\":{}", i ? "," : "", i + 1);
	p += sprintf(p, "},\"Labels\":{\"a\":\"");
	memset(p, 'x', labels);
	strcpy(p + labels, "\"}}}");
	return text;
}

/* An honest answer with 65,535 ports fits; of one that does not the message names the largest part. */
static void test_sizes(void **state)
{
	_cleanup_free_ char *ports = document(65535, 10), *labels = document(10, 3000);
	const struct json_filter_rules rules = {.ports = "Config.ExposedPorts"};
	int r;
	_cleanup_free_ char *left = filter(ports, strlen(ports), 1000, rules, 200, &r);
	_cleanup_free_ char *said = filter(labels, strlen(labels), 1000, rules, 1000, &r);

	assert_string_equal(left, "{\"Id\":\"1\",\"Config\":{\"ExposedPorts\":{\"1-65535/tcp\":{}},"
				  "\"Labels\":{\"a\":\"xxxxxxxxxx\"}}}");
	assert_int_equal(r, -EFBIG);
	assert_string_equal(said, "inspect: the answer is over 0.0 MB, most of it Config.Labels");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_left),
		cmocka_unit_test(test_no_json),
		cmocka_unit_test(test_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
