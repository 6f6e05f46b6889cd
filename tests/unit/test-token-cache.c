/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "test.h"
#include "token-cache.h"

static void add(struct token_cache *c, const char *value, const char *repositories, bool push,
		uint64_t expires_ms)
{
	token_cache_add(c, xstrdup(value), xstrdup(repositories), push, expires_ms);
}

static void test_find(void **state)
{
	struct token_cache c = {0};

	add(&c, "old", " team/app team/base ", false, 1000);
	add(&c, "new", " team/app ", false, 1000);
	add(&c, "push", " other ", true, 2000);
	assert_string_equal(token_cache_find(&c, "team/app", false, 999), "new");
	assert_string_equal(token_cache_find(&c, "team/base", false, 999), "old");
	assert_null(token_cache_find(&c, "team/base", false, 1000));
	assert_null(token_cache_find(&c, "team/app", true, 0));
	assert_string_equal(token_cache_find(&c, "other", true, 0), "push");
	assert_string_equal(token_cache_find(&c, "other", false, 0), "push");
	assert_null(token_cache_find(&c, "app", false, 0));
	assert_null(token_cache_find(&c, "team", false, 0));
	assert_null(token_cache_find(&c, "team/ap", false, 0));
	token_cache_free(&c);
}

static void test_forget(void **state)
{
	struct token_cache c = {0};

	add(&c, "1", " a b c ", false, 1000);
	add(&c, "2", " b ", false, 1000);
	c.changed = false;
	token_cache_forget(&c, "x");
	assert_false(c.changed);
	token_cache_forget(&c, "b");
	assert_true(c.changed);
	assert_int_equal(c.n, 1);
	assert_string_equal(c.tokens[0].repositories, " a c ");
	token_cache_forget(&c, "c");
	token_cache_forget(&c, "a");
	assert_int_equal(c.n, 0);
	token_cache_free(&c);
}

static void test_the_oldest_makes_room(void **state)
{
	struct token_cache c = {0};

	for (int i = 0; i < TOKENS_MAX + 2; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), " r%d ", i);
		add(&c, "t", name, false, 1000);
	}
	assert_int_equal(c.n, TOKENS_MAX);
	assert_string_equal(c.tokens[0].repositories, " r2 ");
	token_cache_free(&c);
}

/* What is large, for pushing or expired stays out of the file. */
static void test_file(void **state)
{
	char directory[] = "/tmp/pullet-test-XXXXXX";
	_cleanup_free_ char *big = xcalloc(32 * 1024 + 1, 1);
	struct challenge challenge = {.realm = xstrdup("https://r/t"), .service = xstrdup("s")};
	struct token_file f = {.name = "token-1", .credential = {"x"}};
	struct token_cache c = {0}, back = {0};
	struct stat st;

	assert_non_null(mkdtemp(directory));
	f.dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	memset(big, 't', 32 * 1024);
	token_cache_learn(&c, &challenge);
	add(&c, "expired", " a ", false, 10);
	add(&c, "push", " a ", true, 1000);
	for (int i = 0; i < 20; i++)
		add(&c, big, " b ", false, 1000);
	add(&c, "newest", " c ", false, 1000);
	token_cache_save(&c, &f, 100);
	assert_int_equal(fstatat(f.dir, f.name, &st, 0), 0);
	assert_in_range(st.st_size, 100 * 1024, 256 * 1024);
	assert_int_equal(st.st_mode & 0777, 0600);
	token_cache_load(&back, &f, 100);
	assert_string_equal(back.challenge.realm, "https://r/t");
	assert_string_equal(token_cache_find(&back, "c", false, 100), "newest");
	assert_non_null(token_cache_find(&back, "b", false, 100));
	assert_null(token_cache_find(&back, "a", false, 100));
	token_cache_free(&back);
	/* Of another credential only the challenge is of use. */
	f.credential.text[0] = 'y';
	token_cache_load(&back, &f, 100);
	assert_int_equal(back.n, 0);
	assert_non_null(back.challenge.realm);
	token_cache_free(&back);
	token_cache_free(&c);
	(void)unlinkat(f.dir, f.name, 0);
	close(f.dir);
	(void)rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_forget),
		cmocka_unit_test(test_the_oldest_makes_room),
		cmocka_unit_test(test_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
