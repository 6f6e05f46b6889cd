/* SPDX-License-Identifier: MIT */
#include "platform.h"
#include "test.h"

static void test_machines(void **state)
{
	static const struct {
		const char *machine;
		unsigned int bits;
		const char *platform;
	} rows[] = {
		{"x86_64", 64, "linux/amd64"},	  {"x86_64", 32, "linux/386"},
		{"i686", 32, "linux/386"},	  {"aarch64", 64, "linux/arm64"},
		{"aarch64", 32, "linux/arm/v7"},  {"armv8l", 32, "linux/arm/v7"},
		{"armv7l", 32, "linux/arm/v7"},	  {"armv6l", 32, "linux/arm/v6"},
		{"armv5tel", 32, "linux/arm/v5"}, {"riscv64", 64, "linux/riscv64"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct oci_platform p, again;
		char text[96];

		platform_of_machine(rows[i].machine, rows[i].bits, &p);
		assert_string_equal(oci_platform_text(&p, text, sizeof(text)), rows[i].platform);
		assert_int_equal(platform_parse(text, &again), 0);
		assert_string_equal(again.os, p.os);
		assert_string_equal(again.architecture, p.architecture);
		assert_string_equal(again.variant, p.variant);
	}
}

static void test_what_is_no_platform(void **state)
{
	static const char *const texts[] = {"",
					    "arm",
					    "linux/",
					    "linux//v7",
					    "linux/arm/",
					    "linux/arm/v7/x",
					    "linux/arm v7",
					    "/arm",
					    "linux/arm/v7 ",
					    "LINUX/arm",
					    "linux/\xc3\xa4"};
	struct oci_platform p;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		assert_true(platform_parse(texts[i], &p) < 0);
}

static void test_host(void **state)
{
	struct oci_platform p;

	platform_of_host(&p);
	assert_string_equal(p.os, "linux");
	assert_true(p.architecture[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_machines),
		cmocka_unit_test(test_what_is_no_platform),
		cmocka_unit_test(test_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
