/* SPDX-License-Identifier: MIT */
/* Records and saved specs: what is read, written and read again is the same. */
#include <fcntl.h>
#include <stdio.h>

#include "json.h"
#include "record.h"
#include "saved-spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int dir = -1;
static char path[] = "/dev/shm/fuzz-recordXXXXXX";

static void put(const char *name, const uint8_t *data, size_t n)
{
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write_all(fd, data, n) < 0)
		abort();
}

static void check_record(void)
{
	static struct record r, again;
	struct error e;

	record_init(&r);
	record_init(&again);
	if (record_read(dir, "x", &r, &e) < 0)
		return;
	if (record_save(dir, "y", &r, &e) < 0 || record_read(dir, "y", &again, &e) < 0)
		abort();
	if (memcmp(&r.rejected, &again.rejected, sizeof(r.rejected)) != 0 ||
	    r.phase != again.phase || r.rollout_sequence != again.rollout_sequence)
		abort();
}

static void remove_files(void)
{
	static const char names[][16] = {"x.json", "x.json.kept", "y.json", "z.json.kept"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		(void)unlinkat(dir, names[i], 0);
	(void)rmdir(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct saved_spec k;
	struct error e;

	if (dir < 0) {
		if (!mkdtemp(path) || (dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
			abort();
		(void)atexit(remove_files);
	}
	put("x.json", data, n);
	check_record();
	put("x.json.kept", data, n);
	if (saved_spec_load(dir, "x", &k, &e) == 0) {
		if (saved_spec_save(dir, "z", &k, &e) < 0)
			abort();
		saved_spec_free(&k);
	}
	return 0;
}
