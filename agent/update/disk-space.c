/* SPDX-License-Identifier: MIT */
#include "disk-space.h"

#include <errno.h>
#include <stdio.h>
#include <sys/statvfs.h>

#include "candidate.h"
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

/* The DiffIDs of an image's layers, lowest first. */
static size_t list_layers(struct engine *e, const char *image, struct digest layers[OCI_LAYERS_MAX])
{
	_cleanup_json_ json_t *j = NULL;
	struct error ignored;
	const json_t *v;
	size_t i, n = 0;

	/* Unknown layers only make the estimate larger. */
	if (!image[0] || engine_identify_image(e, image, &j, &ignored) < 0)
		return 0;
	json_array_foreach (json_get_path(j, "RootFS", "Layers", NULL), i, v) {
		if (n == OCI_LAYERS_MAX || !json_is_string(v) ||
		    digest_parse(json_string_value(v), &layers[n]) < 0)
			break;
		n++;
	}
	return n;
}

/* Compressed bytes of the candidate's layers, without those that it shares with the running image. Takes two or
 * three requests, the image's config among them. */
static int ask_bytes_to_come(const struct pass *p, uint64_t *ret, struct error *ret_error)
{
	_cleanup_free_ char *pinned = ref_pinned(p->context.ref, pass_candidate(p));
	_cleanup_free_ struct digest *layers = xcalloc(OCI_LAYERS_MAX, sizeof(*layers));
	struct fetch_request request = {
		.image = pinned,
		.platform = *candidate_platform(p),
		.layers = layers,
		.n_layers = list_layers(p->context.engine, p->world.old.image, layers),
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

int disk_space_check(struct pass *p, uint64_t layer_bytes, struct error *ret_error)
{
	uint64_t need = disk_space_need(layer_bytes), available;
	_cleanup_json_ json_t *info = NULL;
	const char *directory;
	char a[32], b[32];
	int q = 0;

	/* The check only avoids a download that is bound to fail: without facts it passes. */
	if (engine_info(p->context.engine, &info, ret_error) < 0)
		return 0;
	directory = store_directory(info);
	available = free_bytes_of(directory);
	if (available >= need)
		return 0;
	/* Which layers are here costs requests, so it is asked only now. */
	if (layer_bytes > 0)
		q = ask_bytes_to_come(p, &layer_bytes, ret_error);
	if (q < 0)
		return q;
	need = disk_space_need(layer_bytes);
	if (available < need && give_up_previous(p, need - available))
		available = p->task->operation == OPERATION_CHECK ? need : free_bytes_of(directory);
	if (available >= need)
		return 0;
	return error_set(ret_error, -ENOSPC,
			 "the new image needs about %s, and %.200s has %s free: free disk space "
			 "there, and the next poll continues",
			 size_text(need, a, sizeof(a)), directory,
			 size_text(available, b, sizeof(b)));
}
