/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "test.h"
#include "util.h"

/* The system calls of write_file_atomic_at and write_all pass through here: in their order they are
 * written down, and at the one in question they fail or the process dies, before it or behind it. */
static struct {
	int fd; /* whose writes are meant; -1: nobody's */
	size_t calls;
	char trace[64];
	size_t die_before, die_after, fail; /* counted from 1; 0: never */
	size_t write_at_most;
	size_t read_at_most;
	bool interrupt;
} calls = {.fd = -1};

static bool is_failing(char letter)
{
	if (calls.calls < sizeof(calls.trace) - 1)
		calls.trace[calls.calls] = letter;
	if (++calls.calls == calls.die_before)
		_exit(0);
	errno = EIO;
	return calls.calls == calls.fail;
}

static int done(long r)
{
	if (calls.calls == calls.die_after)
		_exit(0);
	return (int)r;
}

int fsync(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	if (is_failing(S_ISDIR(st.st_mode) ? 'D' : 'f'))
		return -1;
	return done(syscall(SYS_fsync, fd));
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	if (is_failing('r'))
		return -1;
	return done(syscall(SYS_renameat2, from_dir, from, to_dir, to, 0));
}

int unlinkat(int dir, const char *name, int flags)
{
	if (is_failing('u'))
		return -1;
	return done(syscall(SYS_unlinkat, dir, name, flags));
}

ssize_t write(int fd, const void *data, size_t n)
{
	/* Only files of ours: cmocka writes too. */
	if (calls.fd < 0 || fd < calls.fd)
		return syscall(SYS_write, fd, data, n);
	if (calls.interrupt && calls.calls % 2 == 0) {
		calls.calls++;
		errno = EINTR;
		return -1;
	}
	if (is_failing('w'))
		return -1;
	if (calls.write_at_most && n > calls.write_at_most)
		n = calls.write_at_most;
	return done(syscall(SYS_write, fd, data, n));
}

ssize_t read(int fd, void *data, size_t n)
{
	if (calls.read_at_most && calls.interrupt && ++calls.calls % 2) {
		errno = EINTR;
		return -1;
	}
	if (calls.read_at_most && n > calls.read_at_most)
		n = calls.read_at_most;
	return syscall(SYS_read, fd, data, n);
}

static void forget_calls(void)
{
	memset(&calls, 0, sizeof(calls));
	calls.fd = -1;
}

static int empty_dir(void **state)
{
	static const char *const names[] = {"file", ".file.new", "fifo", "link", "sub"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		(void)unlinkat(scratch, names[i], 0);
		(void)unlinkat(scratch, names[i], AT_REMOVEDIR);
	}
	forget_calls();
	return 0;
}

/* Of "file": all of it. */
static void expect_content(const char *content)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;

	assert_int_equal(read_file_at(scratch, "file", 1000, &text, &len), 0);
	assert_int_equal(len, strlen(content));
	assert_string_equal(text, content);
}

static void test_read_bounds(void **state)
{
	static const struct {
		size_t size, max;
		int result;
	} rows[] = {{0, 0, 0},	      {0, 10, 0},	   {1, 0, -EFBIG},	   {10, 10, 0},
		    {11, 10, -EFBIG}, {100000, 100000, 0}, {100000, 99999, -EFBIG}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char *const untouched = scratch_path;
		_cleanup_free_ char *data = xmalloc(rows[i].size);
		char *text = untouched;
		size_t len = 4711;

		memset(data, 'x', rows[i].size);
		if (rows[i].size > 2)
			data[2] = '\0';
		assert_int_equal(write_file_atomic_at(scratch, "file", 0640, data, rows[i].size),
				 0);
		assert_int_equal(read_file_at(scratch, "file", rows[i].max, &text, &len),
				 rows[i].result);
		if (rows[i].result < 0) {
			assert_true(text == untouched && len == 4711);
			continue;
		}
		assert_int_equal(len, rows[i].size);
		assert_memory_equal(text, data, len);
		assert_int_equal(text[len], '\0');
		free(text);
		assert_int_equal(read_file_at(scratch, "file", rows[i].max, &text, NULL), 0);
		free(text);
	}
}

static void test_read_in_pieces(void **state)
{
	assert_int_equal(write_file_atomic_at(scratch, "file", 0640, "0123456789", 10), 0);
	calls.read_at_most = 3;
	calls.interrupt = true;
	calls.calls = 0;
	expect_content("0123456789");
	assert_int_equal(calls.calls, 8);
}

static void test_read_no_file(void **state)
{
	char *text = NULL;

	assert_int_equal(mkfifoat(scratch, "fifo", 0600), 0);
	assert_int_equal(mkdirat(scratch, "sub", 0700), 0);
	assert_int_equal(symlinkat("link", scratch, "link"), 0);
	alarm(60); /* a FIFO without a writer must not hold us */
	assert_int_equal(read_file_at(scratch, "fifo", 10, &text, NULL), -EINVAL);
	alarm(0);
	assert_int_equal(read_file_at(scratch, "sub", 10, &text, NULL), -EISDIR);
	assert_int_equal(read_file_at(scratch, "link", 10, &text, NULL), -ELOOP);
	assert_int_equal(read_file_at(scratch, "none", 10, &text, NULL), -ENOENT);
	assert_int_equal(read_file_at(AT_FDCWD, "/dev/zero", 10, &text, NULL), -EINVAL);
	assert_null(text);
}

static void test_write_order(void **state)
{
	struct stat st;

	calls.fd = scratch + 1;
	assert_int_equal(write_file_atomic_at(scratch, "file", 0640, "content", 7), 0);
	assert_string_equal(calls.trace, "uwfrD");
	expect_content("content");
	assert_int_equal(fstatat(scratch, "file", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(faccessat(scratch, ".file.new", F_OK, 0), -1);
}

/* Whatever call fails, the old content stays until the rename, and nothing is left lying about. */
static void test_write_fails(void **state)
{
	for (size_t fail = 1; fail <= 5; fail++) {
		forget_calls();
		assert_int_equal(write_file_atomic_at(scratch, "file", 0640, "old", 3), 0);
		forget_calls();
		calls.fd = scratch + 1;
		calls.fail = fail;
		assert_int_equal(write_file_atomic_at(scratch, "file", 0640, "new content", 11),
				 -EIO);
		expect_content(fail <= 4 ? "old" : "new content");
		assert_int_equal(faccessat(scratch, ".file.new", F_OK, 0), -1);
	}
}

static void die_in_write(size_t before, size_t after, size_t at_most)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		forget_calls();
		calls.fd = scratch + 1;
		calls.die_before = before;
		calls.die_after = after;
		calls.write_at_most = at_most;
		_exit(write_file_atomic_at(scratch, "file", 0640, "new content", 11) == 0 ? 2 : 3);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0); /* it died where it should */
}

/* Death at any call leaves the old or the new, whole; the next write minds no leftovers. */
static void test_write_dies(void **state)
{
	/* Three writes of four bytes at most: u w w w f r D. */
	for (size_t n = 1; n <= 7; n++) {
		assert_int_equal(write_file_atomic_at(scratch, "file", 0640, "old", 3), 0);
		die_in_write(n, 0, 4);
		expect_content(n <= 6 ? "old" : "new content");
		assert_int_equal(write_file_atomic_at(scratch, "file", 0640, "old", 3), 0);
		die_in_write(0, n, 4);
		expect_content(n <= 5 ? "old" : "new content");
	}
}

static void test_write_leftover(void **state)
{
	assert_int_equal(symlinkat("file", scratch, ".file.new"), 0);
	assert_int_equal(write_file_atomic_at(scratch, "file", 0640, "a", 1), 0);
	expect_content("a");
	assert_int_equal(mkdirat(scratch, ".file.new", 0700), 0);
	assert_true(write_file_atomic_at(scratch, "file", 0640, "b", 1) < 0);
	expect_content("a");
	assert_int_equal(unlinkat(scratch, ".file.new", AT_REMOVEDIR), 0);
}

/* Root writes for the service's user, whose directory it is. */
static void test_write_owner(void **state)
{
	struct stat st;

	if (geteuid() != 0)
		skip();
	assert_int_equal(fchown(scratch, 12345, 23456), 0);
	assert_int_equal(write_file_atomic_at(scratch, "file", 0640, "a", 1), 0);
	assert_int_equal(fstatat(scratch, "file", &st, 0), 0);
	assert_int_equal(st.st_uid, 12345);
	assert_int_equal(st.st_gid, 23456);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(fchown(scratch, 0, 0), 0);
}

static void test_write_all(void **state)
{
	_cleanup_close_ int fd = openat(scratch, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	calls.fd = fd;
	calls.interrupt = true;
	calls.write_at_most = 3;
	assert_int_equal(write_all(fd, "0123456789", 10), 0);
	expect_content("0123456789");
	assert_int_equal(calls.calls, 8); /* four writes, each interrupted once */
	assert_int_equal(write_all(fd, NULL, 0), 0);
	forget_calls();
	calls.fd = fd;
	calls.fail = 2;
	calls.write_at_most = 3;
	assert_int_equal(write_all(fd, "0123456789", 10), -EIO);
	assert_int_equal(write_all(-1, "x", 1), -EBADF);
}

static void test_strings(void **state)
{
	const char *s = "prefix.suffix";
	char *p = NULL, *q, *text = xasprintf("%s-%d", "a", 1);
	int fd = 7;

	assert_string_equal(after_prefix(s, "prefix."), "suffix");
	assert_ptr_equal(after_prefix(s, ""), s);
	assert_string_equal(after_prefix("a", "a"), "");
	assert_null(after_prefix("pre", "prefix"));
	assert_true(has_suffix(s, ".suffix") && has_suffix(s, "") && has_suffix(s, s));
	assert_false(has_suffix("fix", "suffix") || has_suffix(s, "prefix"));
	assert_true(streq_null(NULL, NULL) && !streq_null("a", "b"));
	assert_false(streq_null("", NULL) || streq_null(NULL, ""));
	replace_string(&p, text);
	assert_string_equal(p, "a-1");
	replace_string(&p, p + 2); /* from within itself */
	assert_string_equal(p, "1");
	q = steal(p);
	assert_true(!p && q);
	replace_string(&q, NULL);
	assert_null(q);
	assert_true(steal_fd(&fd) == 7 && fd == -1);
	p = xstrndup("abc", 2);
	assert_string_equal(p, "ab");
	free(p);
	p = xmalloc(0);
	assert_non_null(p);
	p = xrealloc(p, 0);
	assert_non_null(p);
	free(p);
	free(text);
}

static void test_printable(void **state)
{
	static const struct {
		const char *text, *printable;
	} rows[] = {
		{"", ""},
		{"status 3; last log line: ~", "status 3; last log line: ~"},
		{"a\033[31mb\n\t\x7f", "a?[31mb???"},
		{"gr\xc3\xbc\xff", "gr\xc3\xbc?"},
		{"\xe2\x82\xac \xf0\x9f\x98\x80", "\xe2\x82\xac \xf0\x9f\x98\x80"},
		{"cut \xe2\x82", "cut ??"},
		{"\xe2\x80\xae right to left", "??? right to left"},
		{"\xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80", "?? ??? ????"},
		{"\xc2\x9b"
		 "31m",
		 "??31m"}, /* CSI in one character */
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *s = text_printable(xstrdup(rows[i].text));

		assert_string_equal(s, rows[i].printable);
	}
}

static void test_clock_and_boot(void **state)
{
	char id[BOOT_ID_SIZE], again[BOOT_ID_SIZE];
	uint64_t before = now_ms();
	struct timespec ts;

	memset(id, 'x', sizeof(id));
	boot_id(id);
	boot_id(again);
	assert_int_equal(strlen(id), 36);
	assert_int_equal(strspn(id, "0123456789abcdef-"), 36);
	assert_string_equal(id, again);
	assert_int_equal(clock_gettime(CLOCK_BOOTTIME, &ts), 0);
	assert_in_range((uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000, before,
			now_ms());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_read_bounds, empty_dir),
		cmocka_unit_test_teardown(test_read_in_pieces, empty_dir),
		cmocka_unit_test_teardown(test_read_no_file, empty_dir),
		cmocka_unit_test_teardown(test_write_order, empty_dir),
		cmocka_unit_test_teardown(test_write_fails, empty_dir),
		cmocka_unit_test_teardown(test_write_dies, empty_dir),
		cmocka_unit_test_teardown(test_write_leftover, empty_dir),
		cmocka_unit_test_teardown(test_write_owner, empty_dir),
		cmocka_unit_test_teardown(test_write_all, empty_dir),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_printable),
		cmocka_unit_test(test_clock_and_boot),
	};

	return cmocka_run_group_tests(tests, open_scratch, close_scratch);
}
