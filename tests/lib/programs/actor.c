/* SPDX-License-Identifier: MIT */
/* actor: the program of the test images. Its arguments are a script, played from left to right:
 *   say TEXT    print TEXT and a newline
 *   cry TEXT    the same on standard error
 *   sleep N     sleep N milliseconds, or until SIGTERM or SIGINT (then exit 0)
 *   wait        sleep until SIGTERM or SIGINT, then exit 0
 *   stubborn    sleep for ever, whatever signal comes
 *   exists FILE exit 1 unless FILE is there
 *   touch FILE  make FILE
 *   first FILE  make FILE; if it was there, the next two words are skipped
 *   env NAME    print NAME=VALUE from the environment
 *   exit N      exit with status N
 * At the end of the script it exits 0. No libc, so that an image is a few kilobytes: built with
 * gcc -static -nostdlib -Os. */
#include <asm/unistd.h>
#include <fcntl.h>
#include <stddef.h>

#define SIGNAL_INT  2
#define SIGNAL_TERM 15

struct moment {
	long seconds;
	long nanoseconds;
};

#if defined(__x86_64__)
static long call(long nr, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return ret;
}
__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call play\n");
#elif defined(__aarch64__)
static long call(long nr, long a, long b, long c, long d)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
}
__asm__(".globl _start\n_start: mov x0, sp\n bl play\n");
#elif defined(__arm__)
static long call(long nr, long a, long b, long c, long d)
{
	register long r7 __asm__("r7") = nr;
	register long r0 __asm__("r0") = a;
	register long r1 __asm__("r1") = b;
	register long r2 __asm__("r2") = c;
	register long r3 __asm__("r3") = d;

	__asm__ volatile("svc 0" : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2), "r"(r3) : "memory");
	return r0;
}
__asm__(".globl _start\n_start: mov r0, sp\n bl play\n");
#else
#error "no system calls for this machine yet"
#endif

static size_t length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

static int same(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

static long number(const char *s)
{
	long n = 0;

	for (; *s >= '0' && *s <= '9'; s++)
		n = n * 10 + (*s - '0');
	return n;
}

static void leave(long status)
{
	for (;;)
		call(__NR_exit_group, status, 0, 0, 0);
}

static void say(long fd, const char *text)
{
	call(__NR_write, fd, (long)text, (long)length(text), 0);
	call(__NR_write, fd, (long)"\n", 1, 0);
}

/* A blocked signal reaches even process 1, which has no handlers: no race with the script. */
static void pause_for(const struct moment *limit)
{
	unsigned long long set = 1ULL << (SIGNAL_TERM - 1) | 1ULL << (SIGNAL_INT - 1);

	if (call(__NR_rt_sigtimedwait, (long)&set, 0, (long)limit, sizeof(set)) > 0)
		leave(0);
}

static void show(char **environment, const char *name)
{
	size_t n = length(name);

	for (; *environment; environment++) {
		size_t i = 0;

		while (i < n && (*environment)[i] == name[i])
			i++;
		if (i == n && (*environment)[i] == '=')
			say(1, *environment);
	}
}

/* -> words that are to be skipped */
static long act(const char *verb, const char *what, char **environment)
{
	struct moment moment = {number(what) / 1000, number(what) % 1000 * 1000000};

	if (same(verb, "say"))
		say(1, what);
	else if (same(verb, "cry"))
		say(2, what);
	else if (same(verb, "sleep"))
		pause_for(&moment);
	else if (same(verb, "exists")) {
		if (call(__NR_faccessat, AT_FDCWD, (long)what, 0, 0) < 0)
			leave(1);
	} else if (same(verb, "touch"))
		call(__NR_openat, AT_FDCWD, (long)what, O_CREAT | O_WRONLY, 0644);
	else if (same(verb, "env"))
		show(environment, what);
	else if (same(verb, "exit"))
		leave(number(what));
	else if (same(verb, "first"))
		return call(__NR_openat, AT_FDCWD, (long)what, O_CREAT | O_EXCL | O_WRONLY, 0644) <
				       0
			       ? 2
			       : 0;
	else
		leave(2);
	return 0;
}

__attribute__((used)) void play(long *stack)
{
	long n = stack[0];
	char **argument = (char **)(stack + 1);
	char **environment = argument + n + 1;
	unsigned long long set = 1ULL << (SIGNAL_TERM - 1) | 1ULL << (SIGNAL_INT - 1);

	call(__NR_rt_sigprocmask, 0 /* SIG_BLOCK */, (long)&set, 0, sizeof(set));
	for (long i = 1; i < n; i++) {
		if (same(argument[i], "wait"))
			pause_for(NULL);
		else if (same(argument[i], "stubborn"))
			for (;;) {
				struct moment day = {86400, 0};

				call(__NR_nanosleep, (long)&day, 0, 0, 0);
			}
		else if (i + 1 < n) {
			i += 1 + act(argument[i], argument[i + 1], environment);
		} else
			leave(2);
	}
	leave(0);
}
