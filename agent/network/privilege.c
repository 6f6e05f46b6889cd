/* SPDX-License-Identifier: MIT */
#include "privilege.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define USER "pullet-fetch"

static const struct passwd *find_user(void)
{
	const struct passwd *pw = getpwnam(USER);

	return pw ? pw : getpwnam("nobody");
}

void privilege_make_dir(const char *path)
{
	const struct passwd *pw = mkdir(path, 0700) == 0 ? find_user() : NULL;

	/* session.c does not use a directory of another user. */
	if (pw)
		(void)!chown(path, pw->pw_uid, pw->pw_gid);
}

static int change_user(struct error *ret_error)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
	const struct passwd *pw = find_user();

	if (!pw)
		return error_set(ret_error, -ENOENT, "there is no user " USER " or nobody");
	if (setgroups(0, NULL) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
		return error_set(ret_error, -errno, "cannot become the user %s: %s", pw->pw_name,
				 strerror(errno));
	if (syscall(SYS_capset, &header, none) < 0)
		return error_set(ret_error, -errno, "cannot drop capabilities: %s",
				 strerror(errno));
	return 0;
}

int privilege_drop(pid_t parent, struct error *ret_error)
{
	int r = geteuid() == 0 || getuid() == 0 ? change_user(ret_error) : 0;

	if (r < 0)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return error_set(ret_error, -errno, "no_new_privs: %s", strerror(errno));
	/* A change of the user clears this. */
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	return getppid() == parent ? 0 : error_set(ret_error, -ESRCH, "the parent has ended");
}
