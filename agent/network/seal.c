/* SPDX-License-Identifier: MIT */
#include "seal.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "memory.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64 /* x32 has it, too, and other numbers, of which none is allowed */
#elif defined(__i386__)
#define ARCH AUDIT_ARCH_I386
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#elif defined(__arm__) && defined(__ARM_EABI__)
#define ARCH AUDIT_ARCH_ARM
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCH AUDIT_ARCH_RISCV64
#else
#define ARCH 0
#endif

/* Each number is in the table that the C library uses on some architecture. */
static const unsigned int allowed[] = {
	SYS_read,
	SYS_pread64,
	SYS_write,
	SYS_pwrite64,
	SYS_lseek,
	SYS_ftruncate,
	SYS_fdatasync,
	SYS_close,
	SYS_brk,
	SYS_munmap,
	SYS_mremap,
	SYS_madvise,
	SYS_mprotect,
	SYS_futex,
	SYS_ppoll,
	SYS_restart_syscall,
	SYS_rt_sigreturn,
	SYS_shutdown, /* the handler of signals */
	SYS_exit_group,
#ifdef SYS_mmap
	SYS_mmap,
#endif
#ifdef SYS_clock_gettime
	SYS_clock_gettime,
#endif
#ifdef SYS_poll
	SYS_poll,
#endif
#ifdef SYS__llseek /* 32 bits: */
	SYS__llseek,
	SYS_ftruncate64,
	SYS_mmap2,
	SYS_sigreturn,
	SYS_clock_gettime64,
	SYS_ppoll_time64,
	SYS_futex_time64,
#endif
#ifdef __SANITIZE_ADDRESS__
	SYS_sigaltstack,
	SYS_gettid,
	SYS_getpid,
	SYS_sched_yield,
#endif
};

static int set_filter(void)
{
	struct sock_filter filter[ARRAY_SIZE(allowed) + 6] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	};
	const struct sock_fprog program = {.len = ARRAY_SIZE(filter), .filter = filter};
	struct sock_filter *next = filter + 4;

	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
		*next++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i],
						       (unsigned char)(ARRAY_SIZE(allowed) - i), 0);
	*next++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	*next++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	/* Not seccomp(), which the unit does not allow. A parent may have set the first, or systemd. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		return -errno;
	return 0;
}

int seal(struct error *ret_error)
{
	int r = ARCH ? 0 : -ENOSYS;

	/* The code of libcurl and what it loads is as large as a window, and what is sealed calls none of it. */
	memory_give_back();
	if (r == 0)
		r = set_filter();
	return r < 0 ? error_set(ret_error, r, "cannot set a system call filter: %s", strerror(-r))
		     : 0;
}
