/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "cohort.h"
#include "crypto.h"
#include "test.h"

#define DEVICES 10000u
#define DIGESTS 8

static struct digest digests[DIGESTS];
static uint32_t position[DIGESTS][DEVICES];

static int compute(void **state)
{
	char text[64];

	for (unsigned int v = 0; v < DIGESTS; v++) {
		(void)snprintf(text, sizeof(text), "version %u", v);
		digests[v] = hash_bytes(text, strlen(text));
		for (unsigned int i = 0; i < DEVICES; i++) {
			/* As neighbouring as machine ids can be. */
			(void)snprintf(text, sizeof(text), "%032x", i);
			position[v][i] = cohort_position(text, &digests[v]);
		}
	}
	return 0;
}

/* What pullet-rollout(5) says, computed by sha256sum and the shell. */
static void test_formula(void **state)
{
	static const struct {
		const char *device, *digest;
		uint32_t position;
	} rows[] = {
		{"3d1219c7c4c5404aaa1f6d2a48adfda4",
		 "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 168177},
		{"00000000000000000000000000000001",
		 "sha256:0000000000000000000000000000000000000000000000000000000000000000", 970357},
		{"kiosk-7",
		 "sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", 298687},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct digest d;

		assert_int_equal(digest_parse(rows[i].digest, &d), 0);
		assert_int_equal(cohort_position(rows[i].device, &d), rows[i].position);
	}
}

static unsigned int count_below(const uint32_t p[DEVICES], uint32_t share)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < DEVICES; i++)
		n += p[i] < share;
	return n;
}

/* Of 10,000 ids a share takes its part, within four standard deviations of chance. */
static void test_share(void **state)
{
	static const uint32_t shares[] = {10000, 100000, 250000, 500000, 900000, 990000};

	for (unsigned int v = 0; v < DIGESTS; v++) {
		for (size_t s = 0; s < ARRAY_SIZE(shares); s++) {
			int64_t want = (int64_t)DEVICES * shares[s] / COHORT_ALL;
			int64_t off = (int64_t)count_below(position[v], shares[s]) - want;
			int64_t variance = want * (COHORT_ALL - shares[s]) / COHORT_ALL;

			assert_true(off * off <= 16 * variance);
		}
		assert_int_equal(count_below(position[v], COHORT_ALL), DEVICES);
		assert_int_equal(count_below(position[v], 0), 0);
	}
}

/* The first tenth of one version is a tenth of every other's: nobody is the guinea pig for ever. */
static void test_independence(void **state)
{
	for (unsigned int v = 0; v < DIGESTS; v++) {
		for (unsigned int w = 0; w < v; w++) {
			int both = 0;

			for (unsigned int i = 0; i < DEVICES; i++)
				both += position[v][i] < COHORT_ALL / 10 &&
					position[w][i] < COHORT_ALL / 10;
			/* 100 expected, 4 * sqrt(99) off at most */
			assert_in_range(both, 60, 140);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_formula),
		cmocka_unit_test(test_share),
		cmocka_unit_test(test_independence),
	};

	return cmocka_run_group_tests(tests, compute, NULL);
}
