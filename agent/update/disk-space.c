/* SPDX-License-Identifier: MIT */
#include "disk-space.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "candidate.h"
#include "download.h"
#include "log.h"

/* For the engine's metadata, the new container's own layer, and the record. */
#define MARGIN ((uint64_t)16 * 1000 * 1000)

/* A layer takes its compressed size until it is unpacked (with containerd even then), and 2.2 to 2.9 times as much
 * unpacked: measured with debian, python, node, postgres. */
uint64_t disk_space_need(uint64_t layer_bytes)
{
	uint64_t need;

	if (__builtin_mul_overflow(layer_bytes, (uint64_t)7, &need))
		return UINT64_MAX;
	return need / 2 + MARGIN;
}

/* The bytes that df calls available; UINT64_MAX if the engine's disk cannot be seen from here. */
static uint64_t free_bytes_of(const char *directory)
{
	struct statvfs s;

	if (!directory || statvfs(directory, &s) < 0)
		return UINT64_MAX;
	return (uint64_t)s.f_bavail * s.f_frsize;
}

/* Compressed bytes of the candidate's layers, without those that it shares with the running image. Takes two or
 * three requests, the image's config among them, unless its documents are at hand. */
static int ask_bytes_to_come(const struct pass *p, uint64_t *ret, struct error *ret_error)
{
	_cleanup_free_ char *pinned = ref_pinned(p->context.ref, pass_candidate(p));
	_cleanup_free_ struct digest *layers = xcalloc(OCI_LAYERS_MAX, sizeof(*layers));
	struct fetch_request request = {
		.image = pinned,
		.platform = *candidate_platform(p),
		.layers = layers,
		.n_layers = candidate_running_layers(p, layers),
		.documents = p->documents,
	};
	struct fetch_reply reply;
	int r = fetch_ask(p->fetch, &request, &reply, ret_error);

	if (r == 0)
		*ret = reply.layer_bytes;
	return r;
}

/* Removes the previous image if Pullet brought it and it is as large as the missing space; a check only looks. */
static bool give_up_previous(const struct pass *p, uint64_t missing)
{
	_cleanup_free_ char *pinned =
		ref_pinned(p->context.ref, release_pulled(&p->record.previous));
	_cleanup_free_ char *kept = xasprintf("%s:%s", WORLD_KEEP_REPOSITORY, p->context.name);
	_cleanup_json_ json_t *image = NULL;
	const char *id;
	json_int_t size;
	struct error e;

	if (!p->record.previous.brought ||
	    engine_identify_image(p->context.engine, pinned, &image, &e) < 0)
		return false;
	id = json_get_string(image, "Id");
	size = json_integer_value(json_object_get(image, "Size"));
	if (!id || streq(id, p->world.old.image) || size < 0 || (uint64_t)size < missing)
		return false;
	if (p->task->operation == OPERATION_CHECK)
		return true;
	(void)!engine_remove_image(p->context.engine, kept, &e);
	if (engine_remove_image(p->context.engine, pinned, &e) < 0)
		return false;
	log_info("%s: removed the previous image, %.19s, to free disk space", p->context.name,
		 p->record.previous.digest.text);
	return true;
}

static const char *size_text(uint64_t bytes, char *buf, size_t n)
{
	double mb = (double)bytes / 1e6;

	(void)snprintf(buf, n, mb < 10000 ? "%.0f MB" : "%.0f GB", mb < 10000 ? mb : mb / 1000);
	return buf;
}

/* The room for the download beside the engine's: on its file system, or on one of its own. */
struct room {
	uint64_t spool; /* bytes to come */
	bool apart;	/* another file system */
	uint64_t available;
};

static struct room find_room(const struct pass *p, const char *directory, uint64_t layer_bytes)
{
	uint64_t here = download_here(p);
	struct room r = {.apart = true, .available = UINT64_MAX};
	struct stat spool, store;
	struct statvfs s;

	if (!download_is_spooled(p) || layer_bytes == 0)
		return r;
	r.spool = layer_bytes > here ? layer_bytes - here : 0;
	if (fstat(p->task->state_dir, &spool) == 0 && directory && stat(directory, &store) == 0)
		r.apart = spool.st_dev != store.st_dev;
	if (fstatvfs(p->task->state_dir, &s) == 0)
		r.available = (uint64_t)s.f_bavail * s.f_frsize;
	return r;
}

static bool room_suffices(const struct room *r, uint64_t need, uint64_t available)
{
	if (!r->apart && __builtin_add_overflow(need, r->spool, &need))
		return false;
	return available >= need && (!r->apart || r->available >= r->spool);
}

/* Where there is too little, and whether it would do without the room for the download. */
static int lacks_room(const struct pass *p, const struct room *r, const char *directory,
		      uint64_t need, uint64_t available, struct error *ret_error)
{
	bool enough = available >= need, records = r->apart && enough;
	_cleanup_free_ char *link = xasprintf("/proc/self/fd/%d", p->task->state_dir);
	char path[200] = "", a[32], b[32];

	if (records && readlink(link, path, sizeof(path) - 1) < 0)
		path[0] = '\0';
	if (records)
		(void)error_set(ret_error, -ENOSPC,
				"the download needs about %s, and %s has %s free",
				size_text(r->spool, a, sizeof(a)), path,
				size_text(r->available, b, sizeof(b)));
	else
		(void)error_set(ret_error, -ENOSPC,
				"the new image needs about %s, and %.200s has %s free",
				size_text(need + (r->apart ? 0 : r->spool), a, sizeof(a)),
				directory ? directory : "the engine's disk",
				size_text(available, b, sizeof(b)));
	error_append(ret_error, "free disk space there, and the next poll continues");
	if (r->spool > 0)
		error_append(ret_error, "download = engine %s",
			     enough ? "would fit, without a spool" : "would not fit either");
	return ret_error->code;
}

int disk_space_check(struct pass *p, uint64_t layer_bytes, struct error *ret_error)
{
	uint64_t need = disk_space_need(layer_bytes), available, wanted;
	struct room room;
	_cleanup_json_ json_t *info = NULL;
	const char *directory;
	int q = 0;

	/* The check only avoids a download that is bound to fail: without facts it passes. */
	if (engine_info(p->context.engine, &info, ret_error) < 0)
		return 0;
	directory = store_directory(info);
	available = free_bytes_of(directory);
	room = find_room(p, directory, layer_bytes);
	if (room_suffices(&room, need, available))
		return 0;
	/* Which layers are here costs requests, so it is asked only now. */
	if (layer_bytes > 0)
		q = ask_bytes_to_come(p, &layer_bytes, ret_error);
	if (q < 0)
		return q;
	need = disk_space_need(layer_bytes);
	room = find_room(p, directory, layer_bytes);
	wanted = need + (room.apart ? 0 : room.spool);
	if (available < wanted && give_up_previous(p, wanted - available)) {
		available =
			p->task->operation == OPERATION_CHECK ? wanted : free_bytes_of(directory);
		room = find_room(p, directory, layer_bytes);
	}
	if (room_suffices(&room, need, available))
		return 0;
	return lacks_room(p, &room, directory, need, available, ret_error);
}
