/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "log.h"
#include "test.h"

static int ends[2] = {-1, -1}, saved = -1;

/* Standard error is a pipe of packets meanwhile: each read gives what one write gave. */
static int catch_stderr(void **state)
{
	if (pipe2(ends, O_DIRECT | O_NONBLOCK | O_CLOEXEC) < 0)
		return -1;
	saved = dup(STDERR_FILENO);
	return saved < 0 || dup2(ends[1], STDERR_FILENO) < 0 ? -1 : 0;
}

static int release_stderr(void **state)
{
	(void)dup2(saved, STDERR_FILENO);
	close(saved);
	close(ends[0]);
	close(ends[1]);
	unsetenv("JOURNAL_STREAM");
	log_set_level(LOG_LEVEL_INFO);
	return 0;
}

/* As systemd tells a service that its standard error is the journal's. */
static void be_the_journal(void)
{
	_cleanup_free_ char *stream = NULL;
	struct stat st;

	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	stream = xasprintf("%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
}

static ssize_t take_packet(char *ret, size_t size)
{
	ssize_t n = read(ends[0], ret, size - 1);

	ret[n > 0 ? n : 0] = '\0';
	return n;
}

static void test_levels(void **state)
{
	static const enum log_level levels[] = {LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO,
						LOG_LEVEL_DEBUG};
	char line[100];

	be_the_journal();
	for (size_t max = 0; max < ARRAY_SIZE(levels); max++) {
		log_set_level(levels[max]);
		for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
			_cleanup_free_ char *expected = xasprintf("<%d>fact 1\n", (int)levels[i]);

			log_write(levels[i], "fact %d", 1);
			(void)take_packet(line, sizeof(line));
			assert_string_equal(line, i <= max ? expected : "");
		}
	}
}

static void test_default_level(void **state)
{
	char line[100];

	be_the_journal();
	log_debug("not shown");
	assert_int_equal(take_packet(line, sizeof(line)), -1);
	log_info("shown");
	assert_int_equal(take_packet(line, sizeof(line)), 9);
	log_warning("%s", "%s");
	(void)take_packet(line, sizeof(line));
	assert_string_equal(line, "<4>%s\n");
	log_error("shown");
	(void)take_packet(line, sizeof(line));
	assert_string_equal(line, "<3>shown\n");
}

/* Inherited from the service's environment, and standard error is a file by now. */
static void test_another_stream(void **state)
{
	static const char *const streams[] = {"8:1", "", "8", "x:y", "0:0"};
	char line[200];

	for (size_t i = 0; i < ARRAY_SIZE(streams); i++) {
		setenv("JOURNAL_STREAM", streams[i], 1);
		assert_false(log_to_journal());
		log_info("for people");
		(void)take_packet(line, sizeof(line));
		assert_true(has_suffix(line, ": for people\n"));
	}
}

static void test_terminal(void **state)
{
	_cleanup_free_ char *expected =
		xasprintf("%s: for people\n", program_invocation_short_name);
	char line[200];

	unsetenv("JOURNAL_STREAM");
	log_info("for people");
	(void)take_packet(line, sizeof(line));
	assert_string_equal(line, expected);
}

/* However long: one write, one line, cut at the end. */
static void test_length(void **state)
{
	char text[3000], line[4000];

	be_the_journal();
	for (size_t n = 0; n < sizeof(text); n += n < 1010 || n > 1030 ? 7 : 1) {
		size_t len;

		memset(text, 'x', n);
		text[n] = '\0';
		log_error("%s", text);
		len = (size_t)take_packet(line, sizeof(line));
		assert_in_range(len, 4, 1023);
		assert_int_equal(len, n + 4 <= 1023 ? n + 4 : 1023);
		assert_int_equal(strspn(line + 3, "x"), len - 4);
		assert_int_equal(line[len - 1], '\n');
		assert_int_equal(take_packet(line, sizeof(line)), -1);
	}
}

#define caught(test) cmocka_unit_test_setup_teardown(test, catch_stderr, release_stderr)

int main(void)
{
	const struct CMUnitTest tests[] = {
		caught(test_default_level), caught(test_levels), caught(test_another_stream),
		caught(test_terminal),	    caught(test_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
