/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "statement.h"
#include "test.h"

#define HEX    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST "sha256:" HEX

#define CRITICAL(rest)                                     \
	"{\"identity\":{\"docker-reference\":\"r.example/" \
	"app\"},\"image\":{\"docker-manifest-digest\":\"" DIGEST "\"}," rest "}"
#define TYPE		 "\"type\":\"cosign container image signature\""
#define SIMPLE(optional) "{\"critical\":" CRITICAL(TYPE) ",\"optional\":" optional "}"
#define SUBJECT \
	"{\"digest\":{\"sha256\":\"" HEX "\"},\"annotations\":{\"image\":\"r.example/app\"}}"
#define STATEMENT	 "\"_type\":\"https://in-toto.io/Statement/v1\""
#define PREDICATE	 "\"predicateType\":\"https://sigstore.dev/cosign/sign/v1\""
#define BUNDLE(subjects) "{" STATEMENT ",\"subject\":" subjects "," PREDICATE ",\"predicate\":{}}"

static void expect(enum signature_format format, const char *payload, size_t n, const char *fault)
{
	_cleanup_(statement_free) struct statement s = {0};
	struct error e = {0};
	int r = statement_parse(format, payload, n, &s, &e);

	if (r != -EBADMSG || !strstr(e.text, fault))
		fail_msg("%s\n got: %s\nwant: %s", payload, e.text, fault);
	assert_null(s.image);
	assert_string_equal(s.subject.text, "");
}

struct row {
	const char *payload, *fault;
};

static void expect_all(enum signature_format format, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		expect(format, rows[i].payload, strlen(rows[i].payload), rows[i].fault);
}

static void test_simple(void **state)
{
	static const char payload[] =
		SIMPLE("{\"image\":\"r.example/"
		       "app\",\"tag\":\"v1\",\"seq\":\"42\",\"expires\":\"2027-01-15T08:00:00Z\","
		       "\"creator\":\"x\",\"timestamp\":1,\"more\":{\"a\":[null]}}");
	_cleanup_(statement_free) struct statement s = {0}, t = {0};
	struct error e;

	assert_int_equal(statement_parse(SIGNATURE_SIMPLE, payload, strlen(payload), &s, &e), 0);
	assert_string_equal(s.subject.text, DIGEST);
	assert_string_equal(s.reference, "r.example/app");
	assert_string_equal(s.image, "r.example/app");
	assert_string_equal(s.tag, "v1");
	assert_int_equal(s.seq, 42);
	assert_int_equal(s.expires_s, 1800000000);
	assert_int_equal(
		statement_parse(SIGNATURE_SIMPLE, SIMPLE("null"), strlen(SIMPLE("null")), &t, &e),
		0);
	assert_true(!t.image && !t.tag && t.seq == 0 && t.expires_s == 0);
}

static void test_bundle(void **state)
{
	static const char payload[] = BUNDLE("[" SUBJECT "]"),
			  bare[] = BUNDLE("[{\"digest\":{\"sha256\":\"" HEX "\"}}]");
	_cleanup_(statement_free) struct statement s = {0}, t = {0};
	struct error e;

	assert_int_equal(statement_parse(SIGNATURE_BUNDLE, payload, strlen(payload), &s, &e), 0);
	assert_string_equal(s.subject.text, DIGEST);
	assert_string_equal(s.image, "r.example/app");
	assert_null(s.reference);
	assert_int_equal(statement_parse(SIGNATURE_BUNDLE, bare, strlen(bare), &t, &e), 0);
	assert_null(t.image);
}

static void test_simple_faults(void **state)
{
	static const struct row rows[] = {
		{"", "it is no JSON"},
		{"[]", "it is not an object"},
		{"{}", "it has no \"critical\""},
		{"null", "it is no JSON"},
		{SIMPLE("null") "x", "it is no JSON"},
		{SIMPLE("null") "{}", "it is no JSON"},
		{"\xef\xbb\xbf" SIMPLE("null"), "it is no JSON"},
		{SIMPLE("{\"a\":\"\xff\"}"), "it is no JSON"},
		{SIMPLE("{\"a\":\"\xc0\xaf\"}"), "it is no JSON"},
		{SIMPLE("{\"a\":\"\\u0000\"}"), "it is no JSON"},
		{SIMPLE("{\"a\":01}"), "it is no JSON"},
		{SIMPLE("{\"a\":1,}"), "it is no JSON"},
		{SIMPLE("{\"a\":1,\"a\":1}"), "duplicate"},
		{SIMPLE("{\"a\":1,\"\\u0061\":1}"), "duplicate"},
		{SIMPLE("{\"x\":[{\"a\":1,\"A\":1}]}"), "it has a key in two spellings"},
		{SIMPLE("{\"seq\":\"1\",\"SEQ\":\"2\"}"), "it has a key in two spellings"},
		{SIMPLE("{\"seq\":\"1\",\"\xc5\xbf"
			"eq\":\"2\"}"),
		 "it has a key in two spellings"},
		{SIMPLE("{\"Seq\":\"1\"}"), "its annotation \"Seq\" is misspelled"},
		{SIMPLE("{\"IMAGE\":\"x\"}"), "its annotation \"IMAGE\" is misspelled"},
		{SIMPLE("{\"image\":1}"), "\"image\" is not a string"},
		{SIMPLE("{\"image\":null}"), "\"image\" is not a string"},
		{SIMPLE("{\"tag\":[]}"), "\"tag\" is not a string"},
		{SIMPLE("{\"seq\":1}"), "\"seq\" is not a number"},
		{SIMPLE("{\"expires\":1}"), "\"expires\" is not a time"},
		{SIMPLE("[]"), "its annotations are not an object"},
		{SIMPLE("\"\""), "its annotations are not an object"},
		{SIMPLE("false"), "its annotations are not an object"},
		{"{\"critical\":" CRITICAL(TYPE) "}", "it has no \"optional\""},
		{"{\"critical\":" CRITICAL(TYPE) ",\"optional\":null,\"more\":1}",
		 "it has an unknown key"},
		{"{\"Critical\":" CRITICAL(TYPE) ",\"optional\":null}", "it has no \"critical\""},
		{"{\"critical\":" CRITICAL(TYPE) ",\"critical\":{},\"optional\":null}",
		 "duplicate"},
		{"{\"critical\":[],\"optional\":null}", "\"critical\" is not an object"},
		{"{\"critical\":" CRITICAL(TYPE ",\"more\":1") ",\"optional\":null}",
		 "\"critical\" has an unknown key"},
		{"{\"critical\":" CRITICAL(
			 "\"type\":\"atomic container signature\"") ",\"optional\":null}",
		 "its type is not"},
		{"{\"critical\":" CRITICAL(
			 "\"type\":\"cosign container image signature \"") ",\"optional\":null}",
		 "its type is not"},
		{"{\"critical\":" CRITICAL("\"type\":1") ",\"optional\":null}", "its type is not"},
		{"{\"critical\":{\"identity\":{\"docker-reference\":\"a\",\"x\":1},\"image\":{"
		 "\"docker-manifest-digest\":\"" DIGEST "\"}," TYPE "},\"optional\":null}",
		 "\"identity\" has an unknown key"},
		{"{\"critical\":{\"identity\":{\"docker-reference\":\"a\"},\"image\":{\"docker-"
		 "manifest-digest\":\"" DIGEST "\",\"x\":1}," TYPE "},\"optional\":null}",
		 "\"image\" has an unknown key"},
		{"{\"critical\":{\"identity\":{\"docker-reference\":1},\"image\":{\"docker-"
		 "manifest-digest\":\"" DIGEST "\"}," TYPE "},\"optional\":null}",
		 "\"docker-reference\" is not a string"},
		{"{\"critical\":{\"identity\":{\"docker-reference\":\"a\"},\"image\":{\"docker-"
		 "manifest-digest\":\"" HEX "\"}," TYPE "},\"optional\":null}",
		 "its digest is not valid"},
		{"{\"critical\":{\"identity\":{\"docker-reference\":\"a\"},\"image\":{\"docker-"
		 "manifest-digest\":[\"" DIGEST "\"]}," TYPE "},\"optional\":null}",
		 "its digest is not valid"},
	};

	expect_all(SIGNATURE_SIMPLE, rows, ARRAY_SIZE(rows));
	expect(SIGNATURE_SIMPLE, SIMPLE("null") "\0", strlen(SIMPLE("null")) + 1, "it is no JSON");
}

static void test_bundle_faults(void **state)
{
	static const struct row rows[] = {
		{BUNDLE("[]"), "it has not exactly one subject"},
		{BUNDLE("[" SUBJECT "," SUBJECT "]"), "it has not exactly one subject"},
		{BUNDLE(SUBJECT), "it has not exactly one subject"},
		{BUNDLE("null"), "it has not exactly one subject"},
		{BUNDLE("[null]"), "\"subject\" is not an object"},
		{BUNDLE("[{}]"), "\"subject\" has no \"digest\""},
		{BUNDLE("[{\"digest\":\"" HEX "\"}]"), "\"digest\" is not an object"},
		{BUNDLE("[{\"digest\":{}}]"), "\"digest\" has no \"sha256\""},
		{BUNDLE("[{\"digest\":{\"sha256\":\"" HEX "\",\"sha512\":\"0\"}}]"),
		 "\"digest\" has an unknown key"},
		{BUNDLE("[{\"digest\":{\"sha256\":\"" HEX "\",\"SHA256\":\"0\"}}]"),
		 "it has a key in two spellings"},
		{BUNDLE("[{\"digest\":{\"sha512\":\"" HEX "\"}}]"), "\"digest\" has no \"sha256\""},
		{BUNDLE("[{\"digest\":{\"sha256\":\"" DIGEST "\"}}]"), "its digest is not valid"},
		{BUNDLE("[{\"digest\":{\"sha256\":\"" HEX "0\"}}]"), "its digest is not valid"},
		{BUNDLE("[{\"digest\":{\"sha256\":1}}]"), "its digest is not valid"},
		{BUNDLE("[{\"digest\":{\"sha256\":"
			"\"0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef\"}}]"),
		 "its digest is not valid"},
		{BUNDLE("[{\"digest\":{\"sha256\":\"" HEX "\"},\"name\":\"x\"}]"),
		 "\"subject\" has an unknown key"},
		{BUNDLE("[{\"digest\":{\"sha256\":\"" HEX "\"},\"annotations\":[]}]"),
		 "its annotations are not an object"},
		{"{\"_type\":\"https://in-toto.io/Statement/v0.1\",\"subject\":[" SUBJECT
		 "]," PREDICATE ",\"predicate\":{}}",
		 "its _type is not https://in-toto.io/Statement/v1"},
		{"{" STATEMENT ",\"subject\":[" SUBJECT
		 "],\"predicateType\":\"https://slsa.dev/provenance/v1\",\"predicate\":{}}",
		 "it is an attestation and not a signature"},
		{"{" STATEMENT ",\"subject\":[" SUBJECT "]," PREDICATE ",\"predicate\":null}",
		 "\"predicate\" is not an object"},
		{"{" STATEMENT ",\"subject\":[" SUBJECT "]," PREDICATE "}",
		 "it has no \"predicate\""},
		{"{" STATEMENT ",\"subject\":[" SUBJECT "]," PREDICATE ",\"predicate\":{},\"x\":1}",
		 "it has an unknown key"},
		{"{" STATEMENT ",\"subject\":[" SUBJECT "]," PREDICATE
		 ",\"predicate\":{},\"predicatetype\":1}",
		 "it has a key in two spellings"},
		{"{" STATEMENT ",\"Subject\":[" SUBJECT "]," PREDICATE ",\"predicate\":{}}",
		 "it has no \"subject\""},
	};

	expect_all(SIGNATURE_BUNDLE, rows, ARRAY_SIZE(rows));
}

/* A signer may write what he likes, but it costs no stack. */
static void test_deep(void **state)
{
	_cleanup_free_ char *deep = xcalloc(1, 4001);

	memset(deep, '[', 2000);
	memset(deep + 2000, ']', 2000);
	expect(SIGNATURE_BUNDLE, deep, 4000, "nested deeper");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_simple),	      cmocka_unit_test(test_bundle),
		cmocka_unit_test(test_simple_faults), cmocka_unit_test(test_bundle_faults),
		cmocka_unit_test(test_deep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
