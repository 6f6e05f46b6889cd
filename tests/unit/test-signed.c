/* SPDX-License-Identifier: MIT */
/* Which places are asked for whose signatures, and what of them is verified. Registry and verifier are this file's. */
#include <errno.h>

#include "signed.h"
#include "test.h"

#define HEX_63 "000000000000000000000000000000000000000000000000000000000000000"

static const struct digest d = {"sha256:" HEX_63 "1"}, m = {"sha256:" HEX_63 "2"}, none;

/* What the registry has, a signer a letter: of d, then of m, by place. A '!' is an error. */
static const char *has[2][SIGNATURE_PLACES];
static const char *wanted; /* all of these have to sign */
static char asked[64];	   /* the questions: a digest's number, and the place's first letter */

int fetch_ask_signatures(struct fetch *f, const char *image, const struct digest *digest,
			 enum signature_place place, struct signatures *ret,
			 struct error *ret_error)
{
	bool second = digest_eq(digest, &m);
	const char *signers = has[second][place] ?: "";
	size_t n = strlen(asked);

	assert_string_equal(image, "r.io/app:1");
	asked[n] = second ? '2' : '1';
	asked[n + 1] = signature_place_names[place][0];
	*ret = (struct signatures){.left = strlen(signers) > 2};
	if (signers[0] == '!')
		return error_set(ret_error, signers[1] == 'k' ? -EKEYREJECTED : -ETIMEDOUT,
				 "no answer");
	for (; *signers; signers++) {
		struct signature_pair *p = &ret->pairs[ret->n++];

		p->payload = xasprintf("%c", *signers);
		p->bytes = xstrdup("");
	}
	return 0;
}

static size_t verified_with; /* pairs */
static size_t keys = 1;	     /* that can count */

int verify_count_keys(const struct container_config *c, size_t *ret, struct error *ret_error)
{
	*ret = keys;
	return 0;
}

int verify_signatures(const struct verify_rule *rule, const struct digest *digest,
		      const struct signature_pair *pairs, size_t n, struct judgement *judged,
		      struct signature *ret_signature, struct verified **ret,
		      struct error *ret_error)
{
	verified_with = n;
	for (size_t i = 0; i < n; i++) {
		judged[i] = (struct judgement){.seq = i + 1};
		judged[i].key[0] = pairs[i].payload[0];
	}
	for (const char *w = wanted; *w; w++) {
		size_t i = 0;

		while (i < n && pairs[i].payload[0] != *w)
			i++;
		if (i == n)
			return error_set(ret_error, -EKEYREJECTED, "%s: %zu", digest->text + 70, n);
	}
	*ret_signature = (struct signature){.n_keys = strlen(wanted)};
	if (keys > strlen(wanted) && n > strlen(wanted))
		ret_signature->n_keys++;
	*ret = xcalloc(1, 1);
	return 0;
}

static struct verify_rule rule;

/* Asks, and forgets what was there. */
static int ask(const struct digest *of_m, enum signature_place first, bool all,
	       struct signed_answer *answer, struct error *e)
{
	int r;

	memset(asked, 0, sizeof(asked));
	*e = (struct error){0};
	r = signed_ask(NULL, "r.io/app:1", &rule, &d, of_m, first, all, answer, e);
	memset(has, 0, sizeof(has));
	assert_true((answer->verified != NULL) == (r == 0));
	assert_true(digest_is_set(&answer->digest) == (r == 0));
	free(steal(answer->verified));
	return r;
}

static void test_places(void **state)
{
	static struct signed_answer answer;
	struct error e;

	wanted = "a";
	has[0][SIGNATURES_TAG] = "a";
	assert_int_equal(ask(&m, SIGNATURES_TAG, false, &answer, &e), 0);
	assert_string_equal(asked, "1t");
	assert_true(digest_eq(&answer.digest, &d) && answer.place == SIGNATURES_TAG);
	has[0][SIGNATURES_FALLBACK] = "a";
	assert_int_equal(ask(&m, SIGNATURES_FALLBACK, false, &answer, &e), 0);
	assert_string_equal(asked, "1f");
	has[0][SIGNATURES_FALLBACK] = "a";
	assert_int_equal(ask(&m, SIGNATURES_REFERRERS, false, &answer, &e), 0);
	assert_string_equal(asked, "1r1t1f");
	assert_int_equal(answer.place, SIGNATURES_FALLBACK);
	has[1][SIGNATURES_REFERRERS] = "a";
	assert_int_equal(ask(&m, SIGNATURES_FALLBACK, false, &answer, &e), 0);
	assert_string_equal(asked, "1f1t1r2f2t2r");
	assert_true(digest_eq(&answer.digest, &m) && answer.place == SIGNATURES_REFERRERS);
	assert_int_equal(answer.n_judged, 1);
	assert_true(digest_eq(&answer.of[0], &m));
}

/* Two signers, each with a format of its own. */
static void test_places_are_added_up(void **state)
{
	static struct signed_answer answer;
	struct error e;

	wanted = "ab";
	has[0][SIGNATURES_TAG] = "xa";
	has[0][SIGNATURES_REFERRERS] = "byz";
	assert_int_equal(ask(&m, SIGNATURES_TAG, false, &answer, &e), 0);
	assert_string_equal(asked, "1t1r");
	assert_int_equal(verified_with, 5);
	assert_int_equal(answer.signature.n_keys, 2);
	assert_int_equal(answer.n_judged, 5);
	assert_int_equal(answer.judged[4].key[0], 'z');
	assert_int_equal(answer.left, 1);
	/* But not those of d and m: they are two things. */
	has[0][SIGNATURES_TAG] = "a";
	has[1][SIGNATURES_TAG] = "b";
	assert_int_equal(ask(&m, SIGNATURES_TAG, false, &answer, &e), -EKEYREJECTED);
	assert_int_equal(answer.n_judged, 2);
	assert_true(digest_eq(&answer.of[0], &d) && digest_eq(&answer.of[1], &m));
}

static void test_refusals(void **state)
{
	static const struct {
		const char *of_d, *of_m, *said;
	} cases[] = {{NULL, NULL, "1: 0"},
		     {"x", NULL, "1: 1"},
		     {NULL, "xx", "2: 2"},
		     {"x", "xx", "1: 1"}};
	static struct signed_answer answer;
	struct error e;

	wanted = "a";
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		has[0][SIGNATURES_REFERRERS] = cases[i].of_d;
		has[1][SIGNATURES_REFERRERS] = cases[i].of_m;
		assert_int_equal(ask(&m, SIGNATURES_TAG, false, &answer, &e), -EKEYREJECTED);
		assert_string_equal(e.text, cases[i].said);
		assert_string_equal(asked, "1t1r1f2t2r2f");
	}
	assert_int_equal(ask(&none, SIGNATURES_TAG, false, &answer, &e), -EKEYREJECTED);
	assert_string_equal(asked, "1t1r1f");
	assert_int_equal(ask(&d, SIGNATURES_TAG, false, &answer, &e), -EKEYREJECTED);
	assert_string_equal(asked, "1t1r1f");
}

/* A registry that does not answer is neither a refusal nor an absence, whatever the network half calls it. */
static void test_no_answer(void **state)
{
	static struct signed_answer answer;
	struct error e;

	wanted = "a";
	has[0][SIGNATURES_TAG] = "!";
	has[0][SIGNATURES_REFERRERS] = "a";
	assert_int_equal(ask(&m, SIGNATURES_TAG, false, &answer, &e), -ETIMEDOUT);
	assert_string_equal(asked, "1t");
	has[0][SIGNATURES_TAG] = "x";
	has[0][SIGNATURES_REFERRERS] = "!k";
	assert_int_equal(ask(&m, SIGNATURES_TAG, false, &answer, &e), -EREMOTEIO);
	assert_string_equal(asked, "1t1r");
	assert_int_equal(e.code, -EREMOTEIO);
	assert_int_equal(answer.n_judged, 1);
	has[1][SIGNATURES_FALLBACK] = "!";
	assert_int_equal(ask(&m, SIGNATURES_TAG, false, &answer, &e), -ETIMEDOUT);
	assert_string_equal(asked, "1t1r1f2t2r2f");
}

static void test_all_for_people(void **state)
{
	static struct signed_answer answer;
	struct error e;

	wanted = "a";
	has[0][SIGNATURES_TAG] = "a";
	has[0][SIGNATURES_FALLBACK] = "ab";
	assert_int_equal(ask(&m, SIGNATURES_TAG, true, &answer, &e), 0);
	assert_string_equal(asked, "1t1r1f");
	assert_int_equal(answer.n_judged, 3);
	assert_int_equal(answer.place, SIGNATURES_TAG);
}

/* Another key may have signed it elsewhere, and its seq must be known. What does not answer is no worse than what has nothing. */
static void test_keys_that_are_missing(void **state)
{
	static struct signed_answer answer;
	static const struct record record;
	struct error e;

	wanted = "a";
	keys = 2;
	rule.record = &record;
	has[0][SIGNATURES_TAG] = "a";
	has[0][SIGNATURES_FALLBACK] = "b";
	assert_int_equal(ask(&m, SIGNATURES_TAG, false, &answer, &e), 0);
	assert_string_equal(asked, "1t1r1f");
	assert_int_equal(answer.signature.n_keys, 2);
	assert_int_equal(answer.place, SIGNATURES_TAG);
	assert_int_equal(answer.missed.code, 0);
	has[0][SIGNATURES_TAG] = "ab";
	assert_int_equal(ask(&m, SIGNATURES_TAG, false, &answer, &e), 0);
	assert_string_equal(asked, "1t");
	has[0][SIGNATURES_TAG] = "a";
	has[0][SIGNATURES_REFERRERS] = "!";
	assert_int_equal(ask(&m, SIGNATURES_TAG, false, &answer, &e), 0);
	assert_string_equal(asked, "1t1r");
	assert_int_equal(answer.missed.code, -ETIMEDOUT);
	/* Neither a policy nor an operator's rollback has a sequence. */
	rule.exempt = true;
	has[0][SIGNATURES_TAG] = "a";
	assert_int_equal(ask(&m, SIGNATURES_TAG, false, &answer, &e), 0);
	assert_string_equal(asked, "1t");
	rule = (struct verify_rule){.record = &record, .policy = true};
	has[0][SIGNATURES_TAG] = "a";
	assert_int_equal(ask(&m, SIGNATURES_TAG, false, &answer, &e), 0);
	assert_string_equal(asked, "1t");
	rule = (struct verify_rule){0};
	keys = 1;
}

/* Each place as full as the network half may make it. */
static void test_most(void **state)
{
	static struct signed_answer answer;
	struct error e;

	wanted = "a";
	for (size_t i = 0; i < 2; i++) {
		for (size_t k = 0; k < SIGNATURE_PLACES; k++)
			has[i][k] = "bcdefghijklmnopq";
	}
	assert_int_equal(ask(&m, SIGNATURES_TAG, true, &answer, &e), -EKEYREJECTED);
	assert_int_equal(answer.n_judged, SIGNED_MAX);
	assert_int_equal(answer.judged[SIGNED_MAX - 1].key[0], 'q');
	assert_int_equal(answer.left, 2 * SIGNATURE_PLACES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_places_are_added_up),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_no_answer),
		cmocka_unit_test(test_all_for_people),
		cmocka_unit_test(test_most),
		cmocka_unit_test(test_keys_that_are_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
