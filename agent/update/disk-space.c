/* SPDX-License-Identifier: MIT */
#include "disk-space.h"

#include <errno.h>
#include <stdio.h>
#include <sys/statvfs.h>

#include "engine.h"
#include "log.h"
#include "candidate.h"
#include "ref.h"
#include "store.h"

/* The engine's books, the new container's own layer, our record. */
#define MARGIN ((uint64_t)16 * 1000 * 1000)

/* A layer lies there compressed until it is unpacked (containerd keeps it even then), and unpacks to
 * 2.2 to 2.9 times as much: debian, python, node, postgres. */
uint64_t disk_space_need(uint64_t layer_bytes)
{
	uint64_t need;

	if (__builtin_mul_overflow(layer_bytes, (uint64_t)7, &need))
		return UINT64_MAX;
	return need / 2 + MARGIN;
}

/* What df calls available; -ENOENT when the engine's disk cannot be seen from here. */
static int look_at_disk(const char *directory, uint64_t *ret_free)
{
	struct statvfs s;

	if (!directory || statvfs(directory, &s) < 0)
		return -ENOENT;
	*ret_free = (uint64_t)s.f_bavail * s.f_frsize;
	return 0;
}

/* The image to go back to, if it is ours to remove and as large as what is missing. */
static bool give_up_previous(const struct context *s, const struct record *r, const struct world *w,
			     uint64_t missing)
{
	_cleanup_free_ char *pinned = ref_pinned(s->ref, release_pulled(&r->previous));
	_cleanup_free_ char *kept = xasprintf("%s:%s", WORLD_KEEP_REPOSITORY, s->name);
	_cleanup_json_ json_t *image = NULL;
	const char *id;
	json_int_t size;
	struct error e;

	if (!r->previous.brought || engine_inspect_image(s->engine, pinned, &image, &e) < 0)
		return false;
	id = json_get_string(image, "Id");
	size = json_integer_value(json_object_get(image, "Size"));
	if (!id || streq(id, w->old.image) || size < 0 || (uint64_t)size < missing)
		return false;
	(void)!engine_remove_image(s->engine, kept, &e);
	if (engine_remove_image(s->engine, pinned, &e) < 0)
		return false;
	log_info("%s: removed the version before, %.19s, to make room", s->name,
		 r->previous.digest.text);
	return true;
}

static const char *size_text(uint64_t bytes, char *buf, size_t n)
{
	double mb = (double)bytes / 1e6;

	(void)snprintf(buf, n, mb < 10000 ? "%.0f MB" : "%.0f GB", mb < 10000 ? mb : mb / 1000);
	return buf;
}

static int refuse(const char *directory, uint64_t need, uint64_t free_bytes,
		  struct error *ret_error)
{
	char a[32], b[32];

	return error_set(ret_error, -ENOSPC,
			 "the new image needs about %s, %.200s has %s free: make room there, the "
			 "next poll takes it up",
			 size_text(need, a, sizeof(a)), directory,
			 size_text(free_bytes, b, sizeof(b)));
}

int disk_space_check(struct fetch *f, const struct context *s, const struct record *r,
		     const struct world *w, const struct digest *d, uint64_t layer_bytes,
		     struct error *ret_error)
{
	uint64_t need = disk_space_need(layer_bytes), free_bytes = 0;
	_cleanup_json_ json_t *info = NULL;
	const char *directory;
	struct error ignored;
	int q = 0;

	/* The check only spares a download that cannot end well: without facts there is none. */
	if (engine_info(s->engine, &info, &ignored) < 0)
		return 0;
	directory = store_directory(info);
	if (look_at_disk(directory, &free_bytes) < 0 || free_bytes >= need)
		return 0;
	/* Only now is it worth a question which layers are here. */
	if (layer_bytes > 0)
		q = candidate_bytes_to_come(f, s, w, d, &layer_bytes, ret_error);
	if (q < 0)
		return q;
	need = disk_space_need(layer_bytes);
	if (free_bytes < need && give_up_previous(s, r, w, need - free_bytes))
		(void)look_at_disk(directory, &free_bytes);
	return free_bytes >= need ? 0 : refuse(directory, need, free_bytes, ret_error);
}
