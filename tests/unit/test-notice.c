/* SPDX-License-Identifier: MIT */
#include "notice.h"
#include "result.h"
#include "test.h"

#define V1	"sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define V2	"sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define V3	"sha256:3333333333333333333333333333333333333333333333333333333333333333"
#define DAY	(24 * 3600)
#define REFUSED "connect to 10.0.0.7:443: connection refused"
#define BROKEN	"it exited with status 3; last log line: no database"

/* One result of a sequence, and the event it makes: "KIND" or "". */
struct turn {
	const char *expected;
	enum outcome outcome;
	const char *to, *reason;
	int64_t after_s; /* since the turn before */
	enum operation operation;
};

/* The pass before a turn failed if its result says so, as the tally has it. */
static json_t *play(json_t *state, const struct turn *t, bool again, int64_t now_s)
{
	_cleanup_json_ json_t *result =
		result_make("web", "reg/web:1", t->outcome, t->to ? t->to : "", t->reason);
	struct notice_facts f = {t->operation, again, now_s, "pi"};

	json_put(result, "from", json_string(V1));
	return notice_take(state, result, &f);
}

/* Each turn also survives a restart: the state goes through its text. */
static void assert_sequence(const struct turn *turns, size_t n)
{
	_cleanup_json_ json_t *state = json_object();
	int64_t now_s = 1800000000;
	bool again = false;

	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *text = json_text(state, 0);
		_cleanup_json_ json_t *event = NULL;
		const char *kind;
		struct error e;

		json_decref(state);
		assert_int_equal(json_parse(text, strlen(text), "state", &state, &e), 0);
		now_s += turns[i].after_s;
		event = play(state, &turns[i], again, now_s);
		again = turns[i].outcome == OUTCOME_FAILED;
		kind = json_get_string(event, "event");
		if (!streq(kind ? kind : "", turns[i].expected))
			fail_msg("turn %zu: '%s', not '%s'", i, kind ? kind : "",
				 turns[i].expected);
	}
}

#define assert_events(...)                                 \
	do {                                               \
		const struct turn turns[] = {__VA_ARGS__}; \
		assert_sequence(turns, ARRAY_SIZE(turns)); \
	} while (0)

static void test_a_rollback_is_told_once_and_ends_with_the_next_version(void **state)
{
	assert_events({.expected = "", .outcome = OUTCOME_UP_TO_DATE, .to = V1, .reason = NULL},
		      {.expected = "updated", .outcome = OUTCOME_UPDATED, .to = V1, .reason = NULL},
		      {.expected = "rolled-back",
		       .outcome = OUTCOME_ROLLED_BACK,
		       .to = V2,
		       .reason = BROKEN},
		      {.expected = "",
		       .outcome = OUTCOME_REFUSED,
		       .to = V2,
		       .reason = RESULT_REJECTED_PREFIX BROKEN},
		      {.expected = "",
		       .outcome = OUTCOME_REFUSED,
		       .to = V2,
		       .reason = RESULT_REJECTED_PREFIX BROKEN,
		       .after_s = DAY * 9},
		      {.expected = "updated", .outcome = OUTCOME_UPDATED, .to = V3, .reason = NULL},
		      {.expected = "", .outcome = OUTCOME_UP_TO_DATE, .to = V3, .reason = NULL});
	/* The tag goes back to what runs; and an operator tries the same version again. */
	assert_events({.expected = "rolled-back",
		       .outcome = OUTCOME_ROLLED_BACK,
		       .to = V2,
		       .reason = BROKEN},
		      {.expected = "over", .outcome = OUTCOME_UP_TO_DATE, .to = V1, .reason = NULL},
		      {.expected = "", .outcome = OUTCOME_UP_TO_DATE, .to = V1, .reason = NULL},
		      {.expected = "rolled-back",
		       .outcome = OUTCOME_ROLLED_BACK,
		       .to = V2,
		       .reason = BROKEN},
		      {.expected = "rolled-back",
		       .outcome = OUTCOME_ROLLED_BACK,
		       .to = V2,
		       .reason = BROKEN});
}

static void test_a_link_that_comes_and_goes(void **state)
{
	/* One poll without the registry is silent; so is another port or time in the same words. */
	assert_events(
		{.expected = "", .outcome = OUTCOME_FAILED, .to = NULL, .reason = REFUSED},
		{.expected = "", .outcome = OUTCOME_UP_TO_DATE, .to = V1, .reason = NULL},
		{.expected = "", .outcome = OUTCOME_FAILED, .to = NULL, .reason = REFUSED},
		{.expected = "failed", .outcome = OUTCOME_FAILED, .to = NULL, .reason = REFUSED},
		{.expected = "",
		 .outcome = OUTCOME_FAILED,
		 .to = NULL,
		 .reason = "connect to 10.0.0.9:80: connection refused"},
		{.expected = "failed",
		 .outcome = OUTCOME_FAILED,
		 .to = NULL,
		 .reason = "timed out"},
		{.expected = "", .outcome = OUTCOME_FAILED, .to = NULL, .reason = REFUSED},
		{.expected = "", .outcome = OUTCOME_FAILED, .to = NULL, .reason = "timed out"},
		{.expected = "over", .outcome = OUTCOME_UP_TO_DATE, .to = V1, .reason = NULL},
		{.expected = "", .outcome = OUTCOME_FAILED, .to = NULL, .reason = REFUSED},
		{.expected = "failed", .outcome = OUTCOME_FAILED, .to = NULL, .reason = REFUSED});
	/* A failed update is told at once. */
	assert_events(
		{.expected = "failed",
		 .outcome = OUTCOME_FAILED,
		 .to = V2,
		 .reason = "cannot create"},
		{.expected = "", .outcome = OUTCOME_FAILED, .to = V2, .reason = "cannot create"},
		{.expected = "updated", .outcome = OUTCOME_UPDATED, .to = V2, .reason = NULL});
}

static void test_a_registry_that_answers_again_while_the_version_waits(void **state)
{
	assert_events(
		{.expected = "", .outcome = OUTCOME_FAILED, .to = NULL, .reason = REFUSED},
		{.expected = "failed", .outcome = OUTCOME_FAILED, .to = NULL, .reason = REFUSED},
		/* It was not asked. */
		{.expected = "",
		 .outcome = OUTCOME_DEFERRED,
		 .to = NULL,
		 .reason = "held by the operator"},
		{.expected = "over",
		 .outcome = OUTCOME_DEFERRED,
		 .to = V2,
		 .reason = "outside its window"},
		{.expected = "",
		 .outcome = OUTCOME_DEFERRED,
		 .to = V2,
		 .reason = "outside its window"},
		{.expected = "waiting",
		 .outcome = OUTCOME_DEFERRED,
		 .to = V2,
		 .reason = "outside its window",
		 .after_s = DAY});
	/* A rollback is not over because the next version waits. */
	assert_events(
		{.expected = "rolled-back",
		 .outcome = OUTCOME_ROLLED_BACK,
		 .to = V2,
		 .reason = BROKEN},
		{.expected = "",
		 .outcome = OUTCOME_DEFERRED,
		 .to = V3,
		 .reason = "outside its window"},
		{.expected = "updated", .outcome = OUTCOME_UPDATED, .to = V3, .reason = NULL});
}

static void test_a_refusal_is_told_for_each_version(void **state)
{
	assert_events(
		{.expected = "refused",
		 .outcome = OUTCOME_REFUSED,
		 .to = V2,
		 .reason = "for linux/arm64"},
		{.expected = "", .outcome = OUTCOME_REFUSED, .to = V2, .reason = "for linux/arm64"},
		{.expected = "refused",
		 .outcome = OUTCOME_REFUSED,
		 .to = V3,
		 .reason = "for linux/arm64"},
		{.expected = "", .outcome = OUTCOME_REFUSED, .to = V3, .reason = "for linux/arm64"},
		{.expected = "over", .outcome = OUTCOME_UP_TO_DATE, .to = V1, .reason = NULL});
	/* The operator who asks gets the answer himself. */
	assert_events(
		{.expected = "",
		 .outcome = OUTCOME_REFUSED,
		 .to = V2,
		 .reason = "no previous",
		 .operation = OPERATION_ROLLBACK},
		{.expected = "",
		 .outcome = OUTCOME_UP_TO_DATE,
		 .to = V1,
		 .reason = NULL,
		 .operation = OPERATION_RETRY},
		{.expected = "", .outcome = OUTCOME_FAILED, .to = V2, .reason = RESULT_STOPPED});
}

#define UNSIGNED "signature: none of the keys of the configuration has signed it"

static void test_a_refusal_for_the_signature_has_a_kind_of_its_own(void **state)
{
	assert_events(
		{.expected = "signature-refused",
		 .outcome = OUTCOME_REFUSED,
		 .to = V2,
		 .reason = UNSIGNED},
		{.expected = "", .outcome = OUTCOME_REFUSED, .to = V2, .reason = UNSIGNED},
		{.expected = "signature-refused",
		 .outcome = OUTCOME_REFUSED,
		 .to = V2,
		 .reason = "signature: it is for another repository"},
		/* The words elsewhere say nothing of a signature. */
		{.expected = "refused",
		 .outcome = OUTCOME_REFUSED,
		 .to = V2,
		 .reason = "no signature: of the engine"},
		{.expected = "updated", .outcome = OUTCOME_UPDATED, .to = V2, .reason = NULL},
		{.expected = "signature-refused",
		 .outcome = OUTCOME_REFUSED,
		 .to = V3,
		 .reason = UNSIGNED},
		{.expected = "over", .outcome = OUTCOME_UP_TO_DATE, .to = V2, .reason = NULL});
}

/* The event of a version with that expiry, as its message; "" for none. Between two calls a result takes away all other
 * trouble. Caller frees. */
static char *expire(json_t *state, int64_t expires_s, int64_t now_s)
{
	struct release current = {
		.digest = {V2}, .version = "1.4.2", .signature = {.expires_s = expires_s}};
	_cleanup_json_ json_t *result = result_make("web", "reg/web:1", OUTCOME_UP_TO_DATE, V1, "");
	struct notice_facts f = {OPERATION_POLL, false, now_s, "pi"};
	_cleanup_json_ json_t *other = notice_take(state, result, &f);
	_cleanup_json_ json_t *event = notice_take_expiry(state, result, &current, &f);

	assert_null(other);
	if (!event)
		return xstrdup("");
	assert_string_equal(json_get_string(event, "event"), "signature-expired");
	assert_string_equal(json_get_string(event, "to"), V2);
	assert_string_equal(json_get_string(event, "version"), "1.4.2");
	assert_string_equal(json_get_string(event, "container"), "web");
	return xstrdup(json_get_string(event, "message"));
}

static void test_a_signature_that_expired_is_told_once(void **state)
{
	static const struct {
		int64_t expires_s, now_s;
		bool told;
	} turns[] =
		{
			{0, 2000, false},    {1000, 999, false},
			{1000, 0, false}, /* the clock is not set */
			{1000, 1000, true},  {1000, 5000, false},
			{1000, 0, false}, /* after a start without a clock it is no news */
			{1000, 6000, false}, {9000, 6000, false},
			{9000, 9001, true},  {0, 9002, false},
			{1000, 9003, true}, /* by a rollback */
		};
	_cleanup_json_ json_t *told = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(turns); i++) {
		_cleanup_free_ char *message = expire(told, turns[i].expires_s, turns[i].now_s);

		if ((message[0] != '\0') != turns[i].told)
			fail_msg("turn %zu: '%s'", i, message);
		if (i == 3)
			assert_string_equal(message,
					    "web on pi: 1.4.2 (sha256:222222222222) runs, and its "
					    "signature has expired: 1970-01-01T00:16:40Z");
	}
}

static void test_a_version_that_waits_for_long(void **state)
{
	assert_events({.expected = "",
		       .outcome = OUTCOME_DEFERRED,
		       .to = V2,
		       .reason = "outside its window"},
		      {.expected = "",
		       .outcome = OUTCOME_DEFERRED,
		       .to = V2,
		       .reason = "disk space",
		       .after_s = DAY - 1},
		      {.expected = "waiting",
		       .outcome = OUTCOME_DEFERRED,
		       .to = V2,
		       .reason = "outside its window",
		       .after_s = 1},
		      {.expected = "",
		       .outcome = OUTCOME_DEFERRED,
		       .to = V2,
		       .reason = "disk space",
		       .after_s = DAY},
		      {.expected = "",
		       .outcome = OUTCOME_DEFERRED,
		       .to = V3,
		       .reason = "disk space",
		       .after_s = DAY},
		      {.expected = "waiting",
		       .outcome = OUTCOME_DEFERRED,
		       .to = V3,
		       .reason = "disk space",
		       .after_s = DAY},
		      {.expected = "", .outcome = OUTCOME_UP_TO_DATE, .to = V1, .reason = NULL},
		      {.expected = "",
		       .outcome = OUTCOME_DEFERRED,
		       .to = V3,
		       .reason = "disk space",
		       .after_s = DAY});
	/* Before the clock is set no time counts. */
	assert_events({.expected = "",
		       .outcome = OUTCOME_DEFERRED,
		       .to = V2,
		       .reason = "the clock is not set",
		       .after_s = -1800000000},
		      {.expected = "",
		       .outcome = OUTCOME_DEFERRED,
		       .to = V2,
		       .reason = "min-age",
		       .after_s = 1800000000},
		      {.expected = "waiting",
		       .outcome = OUTCOME_DEFERRED,
		       .to = V2,
		       .reason = "min-age",
		       .after_s = DAY});
	/* update = tell */
	assert_events({.expected = "available",
		       .outcome = OUTCOME_DEFERRED,
		       .to = V2,
		       .reason = "update = tell: pullet update web"},
		      {.expected = "",
		       .outcome = OUTCOME_DEFERRED,
		       .to = V2,
		       .reason = "update = tell: pullet update web",
		       .after_s = DAY * 2},
		      {.expected = "available",
		       .outcome = OUTCOME_DEFERRED,
		       .to = V3,
		       .reason = "update = tell: pullet update web"});
}

static void test_reasons_are_bounded(void **state)
{
	_cleanup_json_ json_t *told = json_object();

	for (int i = 0; i < 100; i++) {
		_cleanup_free_ char *reason = xasprintf(
			"%.*s", 1 + i,
			"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
			"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
		const struct turn t = {
			.expected = "", .outcome = OUTCOME_FAILED, .to = V2, .reason = reason};

		json_decref(play(told, &t, true, 1));
	}
	assert_int_equal(json_array_size(json_object_get(told, "told")), 8);
}

static void test_the_sentences(void **state)
{
	static const struct turn turns[] = {
		{.expected = "web on pi: updated to sha256:222222222222",
		 .outcome = OUTCOME_UPDATED,
		 .to = V2,
		 .reason = NULL},
		{.expected = "web on pi: sha256:222222222222 was rolled back: " BROKEN,
		 .outcome = OUTCOME_ROLLED_BACK,
		 .to = V2,
		 .reason = BROKEN},
		{.expected = "web on pi: a new version is refused: created with --rm",
		 .outcome = OUTCOME_REFUSED,
		 .to = NULL,
		 .reason = "created with --rm"},
		{.expected = "web on pi: the trouble is over: created with --rm",
		 .outcome = OUTCOME_UP_TO_DATE,
		 .to = V1,
		 .reason = NULL},
		{.expected = "web on pi: failed: no space",
		 .outcome = OUTCOME_FAILED,
		 .to = V2,
		 .reason = "no space"},
	};
	_cleanup_json_ json_t *told = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(turns); i++) {
		_cleanup_json_ json_t *event = play(told, &turns[i], false, 1);

		assert_string_equal(json_get_string(event, "message"), turns[i].expected);
		assert_string_equal(json_get_string(event, "host"), "pi");
		assert_string_equal(json_get_string(event, "from"), V1);
		assert_true(json_is_null(json_object_get(event, "version")));
	}
}

static void test_a_version_that_has_a_name(void **state)
{
	_cleanup_json_ json_t *told = json_object(), *event = NULL;
	_cleanup_json_ json_t *result = result_make("web", "reg/web:1", OUTCOME_UPDATED, V2, NULL);
	struct notice_facts f = {OPERATION_UPDATE, false, 1, "pi"};

	json_put(result, "version_to", json_string("1.4.2"));
	event = notice_take(told, result, &f);
	assert_string_equal(json_get_string(event, "version"), "1.4.2");
	assert_string_equal(json_get_string(event, "message"),
			    "web on pi: updated to 1.4.2 (sha256:222222222222)");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_rollback_is_told_once_and_ends_with_the_next_version),
		cmocka_unit_test(test_a_link_that_comes_and_goes),
		cmocka_unit_test(test_a_registry_that_answers_again_while_the_version_waits),
		cmocka_unit_test(test_a_refusal_is_told_for_each_version),
		cmocka_unit_test(test_a_refusal_for_the_signature_has_a_kind_of_its_own),
		cmocka_unit_test(test_a_signature_that_expired_is_told_once),
		cmocka_unit_test(test_a_version_that_waits_for_long),
		cmocka_unit_test(test_reasons_are_bounded),
		cmocka_unit_test(test_the_sentences),
		cmocka_unit_test(test_a_version_that_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
