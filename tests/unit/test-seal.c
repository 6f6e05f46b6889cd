/* SPDX-License-Identifier: MIT */
#include "seal.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "test.h"

/* The status of a child that seals itself and then does it. */
static int status_of(void (*act)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		struct error e;

		if (seal(&e) < 0)
			_exit(99);
		act();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int file;

static void work(void)
{
	char *memory = malloc(1 << 20), byte;
	struct timespec now;

	memset(memory, 1, 1 << 20);
	if (pwrite(file, memory, 1 << 20, 0) != 1 << 20 || lseek(file, 0, SEEK_SET) != 0 ||
	    read(file, &byte, 1) != 1 || pread(file, &byte, 1, 7) != 1 || ftruncate(file, 5) < 0 ||
	    fdatasync(file) < 0 || clock_gettime(CLOCK_BOOTTIME, &now) < 0)
		_exit(1);
	free(memory);
}

static void open_socket(void)
{
	(void)!socket(AF_UNIX, SOCK_STREAM, 0);
}

static void open_file(void)
{
	(void)!open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void send_message(void)
{
	struct msghdr m = {0};

	(void)sendmsg(file, &m, 0);
}

static void run(void)
{
	(void)execl("/bin/true", "true", NULL);
}

static void start(void)
{
	(void)fork();
}

static void kill_parent(void)
{
	(void)kill(getppid(), 0);
}

static void trace(void)
{
	(void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static void change_name(void)
{
	(void)prctl(PR_SET_NAME, "other");
}

#ifdef __x86_64__
/* The same number means exit in the table of 32 bits, and write in ours. */
static void call_32(void)
{
	__asm__ volatile("int $0x80" : : "a"(1), "b"(0) : "memory");
}

static void call_x32(void)
{
	(void)syscall(0x40000000 + SYS_write, file, "", 0);
}
#endif

static void test_seal(void **state)
{
	static const struct {
		const char *name;
		void (*act)(void);
	} killed[] = {
		{"socket", open_socket}, {"open", open_file},	 {"sendmsg", send_message},
		{"exec", run},		 {"fork", start},	 {"kill", kill_parent},
		{"ptrace", trace},	 {"prctl", change_name},
#ifdef __x86_64__
		{"32 bits", call_32},	 {"x32", call_x32},
#endif
	};

	file = memfd_create("file", MFD_CLOEXEC);
	assert_int_equal(status_of(work), 0);
	for (size_t i = 0; i < ARRAY_SIZE(killed); i++) {
		int status = status_of(killed[i].act);

		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
			fail_msg("%s: %x", killed[i].name, status);
	}
	close(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
