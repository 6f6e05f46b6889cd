/* SPDX-License-Identifier: MIT */
/* A saved spec: what is read, written and read again is the same. */
#include <fcntl.h>

#include "json.h"
#include "saved-spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int dir = -1;
static char path[] = "/dev/shm/fuzz-saved-specXXXXXX";

static void remove_files(void)
{
	saved_spec_forget(dir, "x");
	saved_spec_forget(dir, "y");
	(void)rmdir(path);
}

static void put(const uint8_t *data, size_t n)
{
	_cleanup_close_ int fd =
		openat(dir, "x.json.kept", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write_all(fd, data, n) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct saved_spec k, again;
	struct error e;

	if (dir < 0) {
		if (!mkdtemp(path) || (dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
			abort();
		(void)atexit(remove_files);
	}
	put(data, n);
	if (saved_spec_load(dir, "x", &k, &e) < 0)
		return 0;
	if (saved_spec_save(dir, "y", &k, &e) < 0 || saved_spec_load(dir, "y", &again, &e) < 0)
		abort();
	if (!digest_eq(&k.digest, &again.digest) || !streq(k.plan.policy, again.plan.policy) ||
	    !json_equal(k.plan.body, again.plan.body) ||
	    !json_equal(k.plan.connect, again.plan.connect))
		abort();
	saved_spec_free(&k);
	saved_spec_free(&again);
	return 0;
}
