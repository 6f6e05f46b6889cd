/* SPDX-License-Identifier: MIT */
/* Records: what is read, written and read again is the same. */
#include <fcntl.h>
#include <stdio.h>

#include "json.h"
#include "record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define ENGINE "28.5.1"

static int dir = -1;
static char path[] = "/dev/shm/fuzz-recordXXXXXX";

static void put(const char *name, const uint8_t *data, size_t n)
{
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write_all(fd, data, n) < 0)
		abort();
}

static void save(const struct record *r)
{
	static struct record again;
	struct error e;

	record_init(&again);
	if (record_save(dir, "y", r, &e) < 0 || record_read(dir, "y", &again, &e) < 0)
		abort();
	if (memcmp(&r->rejected, &again.rejected, sizeof(again.rejected)) != 0 ||
	    memcmp(&r->rejected_before, &again.rejected_before, sizeof(again.rejected_before)) !=
		    0 ||
	    memcmp(&r->followers, &again.followers, sizeof(again.followers)) != 0 ||
	    !streq(r->disturbed.digest.text, again.disturbed.digest.text) ||
	    r->phase != again.phase || r->rollout_sequence != again.rollout_sequence)
		abort();
}

static void set_digest(struct digest *d, size_t i)
{
	(void)snprintf(d->text, sizeof(d->text), "sha256:%064zx", i);
}

/* What is rejected is found by all of its names, whatever was rejected before. */
static void check_rejections(struct record *r)
{
	static struct digest known[RECORD_KNOWN_MAX];
	struct release target = {0};
	size_t n = record_list_rejected(r, ENGINE, known);

	for (size_t i = 0; i < n; i++) {
		if (!record_rejected(r, &known[i], ENGINE))
			abort();
	}
	for (size_t i = 1; i < RECORD_REJECTED_MAX + RECORD_BEFORE_MAX + 2; i++) {
		set_digest(&target.digest, i);
		set_digest(&target.manifest, 1000 + i);
		record_reject(r, &target, i % 2 ? ENGINE : "", "reason");
		record_disturbed(r, &target.digest, ENGINE);
		if (!streq_null(record_rejected(r, &target.manifest, ENGINE), "reason") ||
		    record_is_disturbed(r, &target.digest, ENGINE) ||
		    r->n_rejected > RECORD_REJECTED_MAX || r->n_rejected_before > RECORD_BEFORE_MAX)
			abort();
	}
	(void)record_is_hopeless(r, &r->target.digest, "boot");
	record_damage(r, "boot");
	if (digest_is_set(&r->target.digest) && r->damage.tries < 1)
		abort();
	save(r);
}

static void remove_files(void)
{
	static const char names[][16] = {"x.json", "y.json"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		(void)unlinkat(dir, names[i], 0);
	(void)rmdir(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct record r;
	struct error e;

	if (dir < 0) {
		if (!mkdtemp(path) || (dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
			abort();
		(void)atexit(remove_files);
	}
	put("x.json", data, n);
	record_init(&r);
	if (record_read(dir, "x", &r, &e) < 0)
		return 0;
	save(&r);
	check_rejections(&r);
	return 0;
}
