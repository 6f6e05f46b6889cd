/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <sys/stat.h>

#include "crypto.h"
#include "delta.h"
#include "spool.h"
#include "test.h"

static struct digest digest_of(const char *text)
{
	return hash_bytes(text, strlen(text));
}

/* The new image has three layers, and shares the lowest one. */
static struct delta wanted(void)
{
	return (struct delta){.from = digest_of("old"),
			      .to = digest_of("new"),
			      .plain = 1000000,
			      .shared = 1,
			      .n_sizes = 2};
}

static struct fetch_delta answer(void)
{
	struct fetch_delta said = {
		.digest = digest_of("patch"), .size = 1234, .shared = 1, .n_sizes = 2};

	said.sizes[0] = 3000000;
	said.sizes[1] = 0;
	return said;
}

static void test_a_delta_fits(void **state)
{
	const struct fetch_delta said = answer();
	struct delta d = wanted();
	struct error e;

	assert_int_equal(delta_take(&said, &d, &e), 0);
	assert_true(delta_is_usable(&d) && digest_eq(&d.digest, &said.digest));
	assert_int_equal(d.size, 1234);
	assert_int_equal(d.sizes[0], 3000000);
	assert_int_equal(d.plain, 1000000);
}

static void test_a_delta_does_not_fit(void **state)
{
	static const struct {
		uint64_t size, first;
		size_t shared, n_sizes;
		const char *said;
	} cases[] = {
		{1234, 1, 0, 2, "it is for images that share 0 layers"},
		{1234, 1, 2, 2, "it is for images that share 2 layers"},
		{1234, 1, 1, 3, "of which the new one has 3 more; these share 1 and have 2 more"},
		{1234, 1, 1, 1, "of which the new one has 1 more"},
		{1000000, 1, 1, 2, "it has 1000000 bytes, the layers have 1000000"},
		{0, 1, 1, 2, "it has 0 bytes"},
		{1234, FETCH_DELTA_NEW_MAX, 1, 2, "it makes more than 17179869184 bytes"},
		{1234, UINT64_MAX, 1, 2, "it makes more than 17179869184 bytes"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fetch_delta said = answer();
		struct delta d = wanted();
		struct error e;

		said.size = cases[i].size;
		said.sizes[0] = cases[i].first;
		said.sizes[1] = 1;
		said.shared = cases[i].shared;
		said.n_sizes = cases[i].n_sizes;
		assert_int_equal(delta_take(&said, &d, &e), -EBADMSG);
		assert_non_null(strstr(e.text, cases[i].said));
		assert_false(delta_is_usable(&d));
	}
}

static int open_spool(void)
{
	struct error e;
	int spool = spool_open(scratch, &e);

	assert_true(spool >= 0);
	return spool;
}

static void remove_spool(int spool)
{
	assert_int_equal(unlinkat(spool, "boot", 0), 0);
	assert_int_equal(unlinkat(scratch, SPOOL_DIR, AT_REMOVEDIR), 0);
}

static void test_the_answer_is_remembered(void **state)
{
	const struct spool_blob list[] = {{.digest = digest_of("patch"), .size = 1234}};
	_cleanup_close_ int spool = open_spool();
	const struct fetch_delta said = answer();
	struct delta d = wanted(), back;
	struct error e;

	assert_int_equal(delta_read(spool, "app", &back), -ENOENT);
	/* There is none. */
	delta_write(spool, "app", &d);
	assert_int_equal(delta_read(spool, "app", &back), 0);
	assert_true(digest_eq(&back.from, &d.from) && digest_eq(&back.to, &d.to));
	assert_true(!back.bad && !delta_is_usable(&back));
	/* There is one. */
	assert_int_equal(delta_take(&said, &d, &e), 0);
	d.tries = 2;
	delta_write(spool, "app", &d);
	assert_int_equal(delta_read(spool, "app", &back), 0);
	assert_memory_equal(&back, &d, sizeof(d));
	/* The link brought nothing of it twice, then something. */
	for (unsigned int pass = 1; pass <= 3; pass++) {
		delta_note_stall(spool, "app", &d, pass == 3);
		assert_int_equal(delta_read(spool, "app", &back), 0);
		assert_int_equal(back.stalls, pass == 3 ? 0 : pass);
	}
	assert_int_equal(delta_note(scratch, "app"), 0); /* not on the list */
	assert_int_equal(spool_need(spool, "app", list, 1, &e), 0);
	assert_int_equal(delta_note(scratch, "app"), 1000000);
	/* It is bad. */
	delta_give_up(spool, "app", &d);
	assert_int_equal(delta_read(spool, "app", &back), 0);
	assert_true(back.bad && !delta_is_usable(&back));
	assert_int_equal(delta_note(scratch, "app"), 0);
	spool_drop(scratch, "app");
	assert_int_equal(delta_read(spool, "app", &back), -ENOENT);
	remove_spool(spool);
}

/* What a disk has changed counts as not known. */
static void test_a_broken_file(void **state)
{
#define PAIR                                                                                    \
	"\"from\":\"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"," \
	"\"to\":"                                                                               \
	"\"sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\""
#define PATCH                                                                                      \
	",\"digest\":\"sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc\"," \
	"\"size\":1"
	static const struct {
		const char *text;
		int r;
	} cases[] = {
		{"", -ENOENT},
		{"[]", -ENOENT},
		{"{}", -ENOENT},
		{"{" PAIR "}", -ENOENT},
		{"{" PAIR ",\"none\":true}", 0},
		{"{" PAIR ",\"bad\":true}", 0},
		{"{" PAIR PATCH ",\"plain\":2,\"shared\":0,\"tries\":0,\"sizes\":[5]}", 0},
		{"{" PAIR PATCH ",\"plain\":2,\"shared\":0,\"tries\":0,\"sizes\":[]}", -ENOENT},
		{"{" PAIR PATCH ",\"plain\":2,\"shared\":0,\"tries\":0,\"sizes\":[-5]}", -ENOENT},
		{"{" PAIR PATCH ",\"plain\":2,\"shared\":513,\"tries\":0,\"sizes\":[5]}", -ENOENT},
		{"{" PAIR PATCH ",\"plain\":\"2\",\"shared\":0,\"tries\":0,\"sizes\":[5]}",
		 -ENOENT},
		{"{" PAIR
		 ",\"digest\":\"x\",\"size\":1,\"plain\":2,\"shared\":0,\"tries\":0,\"sizes\":[5]}",
		 -ENOENT},
	};
	_cleanup_close_ int spool = open_spool();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct delta back;

		assert_int_equal(write_file_atomic_at(spool, "app" SPOOL_DELTA_SUFFIX, 0600,
						      cases[i].text, strlen(cases[i].text)),
				 0);
		assert_int_equal(delta_read(spool, "app", &back), cases[i].r);
	}
	spool_drop(scratch, "app");
	remove_spool(spool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_delta_fits),
		cmocka_unit_test(test_a_delta_does_not_fit),
		cmocka_unit_test(test_the_answer_is_remembered),
		cmocka_unit_test(test_a_broken_file),
	};

	return cmocka_run_group_tests(tests, open_scratch, close_scratch);
}
