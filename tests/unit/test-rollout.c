/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>

#include "calendar.h"
#include "rollout.h"
#include "test.h"

#define D     "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER "sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
#define HEAD  "{\"version\":1,\"sequence\":5,\"target\":\"" D "\""
#define CLEAR "{\"version\":1,\"sequence\":5"
#define NOON  "2026-12-01T12:00:00Z"
#define ONE   "2026-12-01T13:00:00Z"

static struct rollout parse(const char *text, const char *ring)
{
	struct rollout r = {0};
	struct error e = {0};

	if (rollout_parse(text, strlen(text), ring, &r, &e) < 0)
		fail_msg("%s: %s", text, e.text);
	return r;
}

static int64_t seconds(const char *s)
{
	struct timespec t;

	assert_int_equal(calendar_parse_rfc3339(s, &t), 0);
	return t.tv_sec;
}

static void test_whole(void **state)
{
	static const char text[] = HEAD
		",\"x-ticket\":{\"any\":[\"thing\"]},\"halt\":true,\"minimum-version\":\"1.2\","
		"\"not-before\":\"" NOON "\",\"percent\":12.3456,"
		"\"rings\":{\"canary\":{\"percent\":100,\"x-who\":\"us\"},\"slow_1.b\":{\"ramp\":["
		"{\"at\":\"" NOON
		"\",\"percent\":0},{\"at\":\"2026-12-01T15:00:00+02:00\",\"percent\":50}]}}}";
	struct rollout r = parse(text, NULL);

	assert_int_equal(r.sequence, 5);
	assert_string_equal(r.target.text, D);
	assert_true(r.halt);
	assert_string_equal(r.minimum_version, "1.2");
	assert_int_equal(r.not_before_s, 1796126400);
	assert_int_equal(r.n_points, 1);
	assert_int_equal(r.points[0].at_s, 0);
	assert_int_equal(r.points[0].share, 123456);

	/* A ring has its own who and when, and all the rest in common. */
	r = parse(text, "canary");
	assert_int_equal(r.not_before_s, 0);
	assert_int_equal(r.points[0].share, COHORT_ALL);
	assert_true(r.halt);
	r = parse(text, "slow_1.b");
	assert_int_equal(r.n_points, 2);
	assert_int_equal(r.points[1].at_s, seconds(ONE));
	assert_int_equal(r.points[1].share, 500000);
	/* One that is not mentioned is the rest of the fleet. */
	r = parse(text, "other");
	assert_int_equal(r.points[0].share, 123456);
}

static void test_faults(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{"", "it"},
		{"[]", "not a JSON object"},
		{"{}", "\"version\""},
		{"{\"version\":2,\"sequence\":1,\"new\":3}", "version 2, this pullet supports 1"},
		{"{\"version\":0}", "\"version\""},
		{"{\"version\":\"1\"}", "\"version\""},
		{"{\"version\":1,\"target\":\"" D "\",\"percent\":1}", "\"sequence\""},
		{"{\"version\":1,\"sequence\":0,\"target\":\"" D "\",\"percent\":1}",
		 "\"sequence\""},
		{"{\"version\":1,\"sequence\":-3,\"target\":\"" D "\",\"percent\":1}",
		 "\"sequence\""},
		{"{\"version\":1,\"sequence\":1.5,\"target\":\"" D "\",\"percent\":1}",
		 "\"sequence\""},
		{"{\"version\":1,\"sequence\":9007199254740993,\"target\":\"" D "\",\"percent\":1}",
		 "\"sequence\""},
		{"{\"version\":1,\"sequence\":1,\"percent\":1}", "\"target\""},
		{"{\"version\":1,\"sequence\":1,\"target\":\"stable\",\"percent\":1}",
		 "\"target\""},
		{"{\"version\":1,\"sequence\":1,\"sequence\":2,\"target\":\"" D "\",\"percent\":1}",
		 "duplicate"},
		{HEAD ",\"clear\":true}", "unknown key \"target\""},
		{CLEAR ",\"clear\":false}", "\"clear\" is not true"},
		{CLEAR ",\"clear\":true,\"halt\":true}", "unknown key \"halt\""},
		{CLEAR ",\"clear\":true,\"percent\":0}", "unknown key \"percent\""},
		{CLEAR ",\"Clear\":true}", "\"target\""},
		{"{\"version\":1,\"clear\":true}", "\"sequence\""},
		{HEAD "}", "exactly one of \"percent\" and \"ramp\""},
		{HEAD ",\"percent\":1,\"ramp\":[{\"at\":\"" NOON "\",\"percent\":1}]}",
		 "exactly one of \"percent\" and \"ramp\""},
		{HEAD ",\"percent\":1,\"Halt\":true}", "unknown key \"Halt\""},
		{HEAD ",\"percent\":1,\"pause\":true}", "unknown key \"pause\""},
		{HEAD ",\"percent\":1,\"halt\":\"yes\"}", "\"halt\""},
		{HEAD ",\"percent\":1,\"halt\":null}", "\"halt\""},
		{HEAD ",\"percent\":\"10\"}", "\"percent\""},
		{HEAD ",\"percent\":-1}", "\"percent\""},
		{HEAD ",\"percent\":100.0001}", "\"percent\""},
		{HEAD ",\"percent\":1e300}", "\"percent\""},
		{HEAD ",\"percent\":0.00001}", "four decimals"},
		{HEAD ",\"ramp\":[]}", "\"ramp\""},
		{HEAD ",\"ramp\":{}}", "\"ramp\""},
		{HEAD ",\"ramp\":[5]}", "a point of \"ramp\" is not an object"},
		{HEAD ",\"ramp\":[{\"percent\":5}]}", "\"at\""},
		{HEAD ",\"ramp\":[{\"at\":\"" NOON "\"}]}", "\"percent\""},
		{HEAD ",\"ramp\":[{\"at\":\"" NOON "\",\"percent\":5,\"per\":1}]}", "unknown key"},
		{HEAD ",\"ramp\":[{\"at\":\"tomorrow\",\"percent\":5}]}", "\"at\""},
		{HEAD ",\"ramp\":[{\"at\":\"" NOON "\",\"percent\":5},{\"at\":\"" ONE
		      "\",\"percent\":4}]}",
		 "decreases"},
		{HEAD ",\"ramp\":[{\"at\":\"" ONE "\",\"percent\":5},{\"at\":\"" NOON
		      "\",\"percent\":6}]}",
		 "decreases"},
		{HEAD ",\"percent\":1,\"not-before\":1796126400}", "\"not-before\""},
		{HEAD ",\"percent\":1,\"not-before\":\"2026-02-30T00:00:00Z\"}", "\"not-before\""},
		{HEAD ",\"percent\":1,\"minimum-version\":\"\"}", "\"minimum-version\""},
		{HEAD ",\"percent\":1,\"minimum-version\":\"1.2-rc1\"}", "\"minimum-version\""},
		{HEAD ",\"percent\":1,\"minimum-version\":1.2}", "\"minimum-version\""},
		{HEAD ",\"percent\":1,\"rings\":[]}", "\"rings\""},
		{HEAD ",\"percent\":1,\"rings\":{\"a b\":{\"percent\":1}}}",
		 "not a valid ring name"},
		{HEAD ",\"percent\":1,\"rings\":{\"\":{\"percent\":1}}}", "not a valid ring name"},
		/* Also of rings that are others'. */
		{HEAD ",\"percent\":1,\"rings\":{\"a\":{\"percent\":101}}}", "ring a: \"percent\""},
		{HEAD ",\"percent\":1,\"rings\":{\"a\":{}}}", "ring a: exactly one of"},
		{HEAD ",\"percent\":1,\"rings\":{\"a\":{\"percent\":1,\"halt\":true}}}",
		 "ring a: the ring has an unknown key \"halt\""},
		{HEAD ",\"percent\":1} {}", "it"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct rollout r, before;
		struct error e = {0};

		memset(&r, 0x55, sizeof(r));
		before = r;
		assert_int_equal(rollout_parse(rows[i].text, strlen(rows[i].text), "mine", &r, &e),
				 -EBADMSG);
		if (!strstr(e.text, rows[i].why))
			fail_msg("%s: %s, not about %s", rows[i].text, e.text, rows[i].why);
		assert_memory_equal(&r, &before, sizeof(r));
	}
}

static void test_limits(void **state)
{
	_cleanup_free_ char *big = xmalloc(ROLLOUT_BYTES_MAX + 2);
	char *p = big;
	struct rollout r;
	struct error e;

	memset(big, ' ', ROLLOUT_BYTES_MAX + 1);
	memcpy(big, HEAD ",\"percent\":1}", sizeof(HEAD ",\"percent\":1}") - 1);
	assert_int_equal(rollout_parse(big, ROLLOUT_BYTES_MAX, NULL, &r, &e), 0);
	assert_int_equal(rollout_parse(big, ROLLOUT_BYTES_MAX + 1, NULL, &r, &e), -EBADMSG);
	for (int points = ROLLOUT_POINTS_MAX; points <= ROLLOUT_POINTS_MAX + 1; points++) {
		p = big + sprintf(big, HEAD ",\"ramp\":[");
		for (int i = 0; i < points; i++)
			p += sprintf(p, "%s{\"at\":\"" NOON "\",\"percent\":%d}", i ? "," : "", i);
		p += sprintf(p, "]}");
		assert_int_equal(rollout_parse(big, (size_t)(p - big), NULL, &r, &e),
				 points <= ROLLOUT_POINTS_MAX ? 0 : -EBADMSG);
	}
}

/* The turn is the first second at which the share is above the position, wherever the line bends. */
static void test_turn_is_when_the_share_arrives(void **state)
{
	static const char text[] = HEAD ",\"not-before\":\"2026-12-01T12:00:30Z\",\"ramp\":["
					"{\"at\":\"" NOON "\",\"percent\":1},"
					"{\"at\":\"2026-12-01T12:01:40Z\",\"percent\":1},"
					"{\"at\":\"2026-12-01T12:01:40Z\",\"percent\":10},"
					"{\"at\":\"2026-12-01T12:05:00Z\",\"percent\":33.3333},"
					"{\"at\":\"" ONE "\",\"percent\":90}]}";
	struct rollout r = parse(text, NULL);
	int64_t from = seconds(NOON);
	uint32_t before = 0;

	for (int64_t t = from - 60; t < from + 4000; t++) {
		uint32_t share = rollout_share(&r, t);

		assert_true(share >= before); /* a rising percentage only adds devices */
		if (share > 0) {
			assert_true(rollout_turn(&r, share - 1) <= t);
			assert_true(rollout_turn(&r, share) > t);
		} else {
			assert_true(rollout_turn(&r, 0) > t);
		}
		before = share;
	}
	assert_int_equal(before, 900000);
	assert_int_equal(rollout_turn(&r, 0), from + 30);
	assert_int_equal(rollout_turn(&r, 10000), from + 100);
	assert_int_equal(rollout_turn(&r, 899999), seconds(ONE));
	assert_int_equal(rollout_turn(&r, 900000), ROLLOUT_NEVER);
}

static void test_admits(void **state)
{
	static const struct {
		const char *policy;
		uint32_t position;
		uint64_t sequence;
		const char *digest, *now;
		const char *why; /* NULL: taken */
	} rows[] = {
		{HEAD ",\"percent\":100}", COHORT_ALL - 1, 0, D, NULL, NULL},
		{HEAD ",\"percent\":100}", COHORT_ALL - 1, 5, D, NULL, NULL},
		{HEAD ",\"percent\":100}", 0, 6, D, NULL,
		 "too old: its sequence is 5, but 6 was seen"},
		{HEAD ",\"percent\":100}", 0, 5, OTHER, NULL,
		 "for another image, sha256:0123456789ab"},
		{HEAD ",\"percent\":0}", 0, 0, D, NULL, "covers 0 % of the devices"},
		{HEAD ",\"percent\":10}", 99999, 0, D, NULL, NULL},
		{HEAD ",\"percent\":10}", 100000, 0, D, NULL,
		 "covers 10 % of the devices, this device is at 10 %"},
		{HEAD ",\"percent\":0.0001}", 0, 0, D, NULL, NULL},
		{HEAD ",\"percent\":0.5}", 5000, 0, D, NULL, "covers 0.5 % of"},
		{HEAD ",\"percent\":100,\"halt\":true}", 0, 0, D, NULL, "halted (sequence 5)"},
		{HEAD ",\"percent\":100,\"halt\":false}", 0, 0, D, NULL, NULL},
		/* What is halted for another image is first of all for another image. */
		{HEAD ",\"percent\":100,\"halt\":true}", 0, 0, OTHER, NULL, "for another image"},
		{HEAD ",\"percent\":100,\"minimum-version\":\"0.10\"}", 0, 0, D, NULL, NULL},
		{HEAD ",\"percent\":100,\"minimum-version\":\"0.10.2\"}", 0, 0, D, NULL, NULL},
		{HEAD ",\"percent\":100,\"minimum-version\":\"0.10.2.1\"}", 0, 0, D, NULL,
		 "pullet 0.10.2.1 or newer, this is 0.10.2"},
		{HEAD ",\"percent\":100,\"minimum-version\":\"0.9.99\"}", 0, 0, D, NULL, NULL},
		{HEAD ",\"percent\":100,\"minimum-version\":\"1\"}", 0, 0, D, NULL,
		 "pullet 1 or newer"},
		{HEAD ",\"percent\":100,\"not-before\":\"" NOON "\"}", 0, 0, D, NULL,
		 "the clock is not set"},
		{HEAD ",\"percent\":100,\"not-before\":\"" NOON "\"}", 0, 0, D,
		 "2026-12-01T11:59:59Z", "at " NOON},
		{HEAD ",\"percent\":100,\"not-before\":\"" NOON "\"}", 0, 0, D, NOON, NULL},
		/* Whatever the time is. */
		{HEAD ",\"percent\":5,\"not-before\":\"" NOON "\"}", 600000, 0, D, NULL,
		 "is at 60 %"},
		{HEAD ",\"ramp\":[{\"at\":\"" NOON "\",\"percent\":0},{\"at\":\"" ONE
		      "\",\"percent\":100}]}",
		 499999, 0, D, NULL, "the clock is not set"},
		{HEAD ",\"ramp\":[{\"at\":\"" NOON "\",\"percent\":0},{\"at\":\"" ONE
		      "\",\"percent\":100}]}",
		 499999, 0, D, "2026-12-01T12:29:59Z", "(at 49.9999 %) at 2026-12-01T12:30:00Z"},
		{HEAD ",\"ramp\":[{\"at\":\"" NOON "\",\"percent\":0},{\"at\":\"" ONE
		      "\",\"percent\":100}]}",
		 499999, 0, D, "2026-12-01T12:30:00Z", NULL},
		{HEAD ",\"ramp\":[{\"at\":\"" NOON "\",\"percent\":0},{\"at\":\"" ONE
		      "\",\"percent\":50}]}",
		 500000, 0, D, "2036-12-01T12:30:00Z", "covers 50 %"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct rollout r = parse(rows[i].policy, NULL);
		struct rollout_device d = {
			.version = "0.10.2~dev",
			.position = rows[i].position,
			.sequence = rows[i].sequence,
			.now_s = rows[i].now ? seconds(rows[i].now) : 0,
		};
		char why[200];
		bool admits;

		assert_int_equal(digest_parse(rows[i].digest, &d.digest), 0);
		admits = rollout_admits(&r, &d, why, sizeof(why));
		if (admits != !rows[i].why || (rows[i].why && !strstr(why, rows[i].why)))
			fail_msg("row %zu: %s: %s", i, rows[i].policy, why);
	}
}

/* A sequence is accepted if it is a step above the last one, or a Unix time; the same only with the same document. */
static void test_sequence(void **state)
{
	static const int64_t now = 1796126400;
	static const struct {
		uint64_t last, sequence;
		int64_t now_s;
		const char *policy, *document; /* "": not known */
		const char *why;
	} rows[] = {
		{0, 1, 0, "", D, NULL},
		{0, ROLLOUT_STEP_MAX, 0, "", D, NULL},
		{0, ROLLOUT_STEP_MAX + 1, 0, "", D, "at most 1000000 is accepted while the clock"},
		{0, (uint64_t)now, now, "", D, NULL},
		{0, (uint64_t)now + ROLLOUT_AHEAD_S, now, "", D, NULL},
		{0, (uint64_t)now + ROLLOUT_AHEAD_S + 1, now, "", D, "too high"},
		{7, (uint64_t)1 << 53, now, D, OTHER, "too high"},
		{(uint64_t)now, (uint64_t)now + ROLLOUT_STEP_MAX, now, D, OTHER, NULL},
		{(uint64_t)1 << 53, (uint64_t)1 << 53, now, D, D, NULL},
		/* INT64_MAX, which a record of an earlier version may have */
		{INT64_MAX, 5, now, "", D, "too old: its sequence is 5, but 9223372036854775807"},
		{5, 4, now, D, OTHER, "too old"},
		{5, 5, now, D, D, NULL},
		{5, 5, now, "", D, NULL},
		{5, 5, now, D, OTHER, "was changed, but its sequence is still 5"},
		{5, 5, now, D, "", "was changed"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct rollout r = {.sequence = rows[i].sequence, .clear = true};
		struct rollout_device d = {.sequence = rows[i].last, .now_s = rows[i].now_s};
		char why[200];
		bool in;

		(void)strcpy(r.document.text, rows[i].document);
		(void)strcpy(d.policy.text, rows[i].policy);
		in = rollout_is_in_sequence(&r, &d, why, sizeof(why));
		if (in != !rows[i].why || (!in && !strstr(why, rows[i].why)))
			fail_msg("row %zu: '%s'", i, why);
		/* It ends all rollouts, for every device and image. */
		assert_int_equal(rollout_admits(&r, &d, why, sizeof(why)), in);
	}
}

static void test_clear(void **state)
{
	struct rollout r = parse(CLEAR ",\"clear\":true,\"x-why\":[1]}", "canary");

	assert_true(r.clear && r.sequence == 5 && !digest_is_set(&r.target));
	assert_true(rollout_turn(&r, 0) == ROLLOUT_NEVER && rollout_share(&r, seconds(NOON)) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_turn_is_when_the_share_arrives),
		cmocka_unit_test(test_admits),
		cmocka_unit_test(test_sequence),
		cmocka_unit_test(test_clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
