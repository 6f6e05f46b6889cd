/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "basis.h"
#include "crypto.h"
#include "download-internal.h"
#include "log.h"
#include "rebuild.h"
#include "spool.h"

/* A layer in zstd as plain tar, for an engine that cannot unpack it: HEX.tar of the file in. */
static int make_tar(struct pass *p, const struct image *i, const struct oci_layer *layer, int in,
		    struct error *ret_error)
{
	struct statvfs s;
	uint64_t size;
	_cleanup_close_ int out = spool_write(i->spool, &layer->digest, ".tar", &size, ret_error);
	int r;

	if (out < 0)
		return out;
	if (fstatvfs(out, &s) < 0)
		return error_set(ret_error, -errno, "%s: %m", layer->digest.text);
	r = fetch_unpack(&p->task->fetch, p->ref.host, in, out, (uint64_t)s.f_bavail * s.f_frsize,
			 &size, ret_error);
	if (r < 0) {
		/* Its bytes would be missing in the next check of the room. */
		(void)!ftruncate(out, 0);
		return r;
	}
	return spool_finish(i->spool, &layer->digest, ".tar", ret_error);
}

static int open_tar(const struct image *i, const struct oci_layer *layer, struct load_layer *ret)
{
	_cleanup_close_ int fd = spool_read(i->spool, &layer->digest, ".tar", 0);
	struct stat st;
	int r;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	ret->size = (uint64_t)st.st_size;
	r = hash_file(fd, ret->size, &ret->digest);
	if (r == 0)
		ret->fd = steal_fd(&fd);
	return r;
}

/* Of the layer with that DiffID. What an earlier pass has left may have changed on the disk. */
static int unpack(struct pass *p, const struct image *i, const struct oci_layer *layer,
		  const struct digest *diff_id, int in, struct load_layer *ret,
		  struct error *ret_error)
{
	int r = open_tar(i, layer, ret);

	if (r == 0 && digest_eq(&ret->digest, diff_id))
		return 0;
	cleanup_close_p(&ret->fd);
	ret->fd = -1;
	r = make_tar(p, i, layer, in, ret_error);
	if (r < 0)
		return r;
	r = open_tar(i, layer, ret);
	return r < 0 ? error_set(ret_error, r, "%s: %s", layer->digest.text, strerror(-r)) : 0;
}

static int open_layers(struct pass *p, const struct image *i, struct load_layer *ret,
		       struct error *ret_error)
{
	bool zstd = engine_version(p->context.engine)->zstd;

	for (size_t k = 0; k < i->content.n_layers; k++) {
		const struct oci_layer *layer = &i->content.layers[k];
		_cleanup_close_ int fd = -1;

		ret[k] =
			(struct load_layer){.digest = layer->digest, .size = layer->size, .fd = -1};
		if (k < i->shared || image_is_by_delta(i))
			continue;
		fd = spool_read(i->spool, &layer->digest, "", layer->size);
		if (fd < 0)
			return error_set(ret_error, fd, "%s: %s", layer->digest.text,
					 strerror(-fd));
		if (layer->compression != OCI_ZSTD || zstd)
			ret[k].fd = steal_fd(&fd);
		else if (unpack(p, i, layer, &i->diff_ids[k], fd, &ret[k], ret_error) < 0)
			return ret_error->code;
	}
	return 0;
}

/* The layers out of the patch and the running image's. What a crash cuts is tried a few times: the layers, which take
 * longer to come, may end better. */
static int rebuild(struct pass *p, struct image *i, struct load_layer *ret, json_t **ret_shared,
		   struct error *ret_error)
{
	bool local;
	_cleanup_free_ char *basis = basis_choose(p, i->running, i->n_running, &local);
	_cleanup_close_ int patch = spool_read(i->spool, &i->patch.digest, "", i->patch.size);
	const struct rebuilding b = {
		.engine = p->context.engine,
		.fetch = &p->task->fetch,
		.host = p->ref.host,
		.spool = i->spool,
		/* Without old layers it is only asked how it has the shared ones. */
		.basis = i->n_running > i->shared || local ? basis : NULL,
		.old = i->running + i->shared,
		.n_old = i->n_running - i->shared,
		.shared = i->shared,
		.new = i->diff_ids + i->shared,
		.sizes = i->delta.sizes,
		.n_new = i->delta.n_sizes,
		.patch = patch,
		.zstd = engine_version(p->context.engine)->zstd,
		.progress = p->pull.progress,
		.userdata = p,
	};
	int r;

	if (patch < 0)
		return error_set(ret_error, patch, "%s: %s", i->patch.digest.text,
				 strerror(-patch));
	i->delta.tries++;
	delta_write(i->spool, p->c->name, &i->delta);
	pass_announce_step(p, STEP_REBUILD, now_ms(), 0);
	r = rebuild_layers(&b, ret + i->shared, ret_shared, ret_error);
	/* A stop is no crash. */
	if (r == -ECANCELED) {
		i->delta.tries--;
		delta_write(i->spool, p->c->name, &i->delta);
	}
	return r;
}

/* Layers that are left out of the load, and that a delta made: the engine has them by other files than the registry's. What
 * cannot be told is left to the engine, which then lacks a layer. */
static void describe_shared(const struct pass *p, const struct image *i, json_t **ret_shared)
{
	bool local;
	_cleanup_free_ char *basis = basis_choose(p, i->running, i->n_running, &local);
	_cleanup_json_ json_t *manifest = NULL;
	struct error ignored;

	if (local &&
	    engine_save(p->context.engine, basis, -1, NULL, 0, 0, &manifest, &ignored) == 0)
		*ret_shared = json_incref(json_object_get(manifest, "layers"));
}

/* A load that ended was not cut: after power cuts the pass may have to do it again. */
static void note_delta(const struct pass *p, struct image *i)
{
	_cleanup_free_ char *patch = text_bytes(i->delta.size), *plain = text_bytes(i->delta.plain);

	log_info("%s: loaded the image by a delta of %s in place of layers of %s", p->c->name,
		 patch, plain);
	i->delta.tries = 0;
	delta_write(i->spool, p->c->name, &i->delta);
}

static int load(struct pass *p, struct image *i, struct error *ret_error)
{
	_cleanup_json_ json_t *shared = NULL;
	size_t n = i->content.n_layers, found = 0;
	_cleanup_free_ struct load_layer *layers = xcalloc(n, sizeof(*layers));
	struct load l = {.verified = p->verified,
			 .ref = p->context.ref,
			 .keep = p->context.name,
			 .platform = p->record.platform[0] ? p->record.platform : NULL,
			 .top = i->top,
			 .manifest = i->manifest,
			 .config = i->config,
			 .layers = layers,
			 .n_layers = n,
			 .progress = p->pull.progress,
			 .userdata = p};
	int r;

	memcpy(l.top_type, i->top_type, sizeof(l.top_type));
	for (size_t k = 0; k < n; k++)
		layers[k].fd = -1;
	r = open_layers(p, i, layers, ret_error);
	if (r == 0 && image_is_by_delta(i))
		r = rebuild(p, i, layers, &shared, ret_error);
	else if (r == 0 && i->shared > 0 && i->shared < n && !i->by_other)
		describe_shared(p, i, &shared);
	l.shared = shared;
	if (r == 0)
		r = spool_note_load(i->spool, p->c->name, NULL, ret_error);
	if (r == 0)
		pass_announce_step(p, STEP_LOAD, now_ms(), 0);
	if (r == 0)
		r = engine_load(p->context.engine, &l, &found, ret_error);
	/* Those that it was not given are of the running image, and below the others. */
	if (found > 0)
		found += i->shared;
	if (r == 0)
		r = spool_note_load(i->spool, p->c->name, &found, ret_error);
	if (r == 0 && image_is_by_delta(i))
		note_delta(p, i);
	for (size_t k = 0; k < n; k++)
		cleanup_close_p(&layers[k].fd);
	return r;
}

/* Docker's own stores list an image under a digest only after a pull, which moves nothing but manifests then. */
static int name_by_digest(struct pass *p, const char *pinned, struct error *ret_error)
{
	struct pull_options pull = p->pull;
	_cleanup_json_ json_t *image = NULL;
	size_t found;
	int r = engine_identify_image(p->context.engine, pinned, &image, ret_error);

	if (r != -ENOENT)
		return r;
	pull.nothing_to_come = true;
	copy_text(pull.platform, sizeof(pull.platform), p->record.platform);
	return engine_pull(p->context.engine, p->context.ref, p->verified, &pull, &found,
			   ret_error);
}

/* Caller frees. */
static char *name_of_load(const struct pass *p)
{
	return xasprintf("%s:%s", LOAD_KEEP_REPOSITORY, p->context.name);
}

void download_drop_name(const struct pass *p)
{
	_cleanup_free_ char *name = name_of_load(p);
	struct error ignored;

	if (!p->documents)
		return;
	(void)!engine_remove_image(p->context.engine, name, &ignored);
}

/* The image is in the engine, maybe by a load of an earlier pass. */
static bool is_loaded(const struct pass *p, const struct image *i)
{
	_cleanup_free_ char *name = name_of_load(p);
	_cleanup_json_ json_t *image = NULL;
	struct error ignored;
	size_t found;

	return !p->state.dropped && spool_get_load(i->spool, p->c->name, &found) == 0 &&
	       streq(p->record.boot_id, p->world.boot_id) &&
	       engine_identify_image(p->context.engine, name, &image, &ignored) == 0 &&
	       streq_null(json_get_string(image, "Id"), i->content.config.text);
}

/* What the disk has changed since it came is to come again. */
static void remove_bad_blobs(const struct image *i)
{
	size_t n;
	const struct oci_layer *blobs = image_blobs(i, &n);

	for (size_t k = 0; k < n; k++) {
		_cleanup_close_ int fd = spool_read(i->spool, &blobs[k].digest, "", blobs[k].size);
		struct digest d;

		if (fd >= 0 &&
		    (hash_file(fd, blobs[k].size, &d) < 0 || !digest_eq(&d, &blobs[k].digest)))
			spool_remove(i->spool, &blobs[k].digest);
	}
}

int load_image(struct pass *p, struct image *i, bool again, struct error *ret_error)
{
	_cleanup_free_ char *pinned = ref_pinned(p->context.ref, release_pulled(&p->record.target));
	int r = again || !is_loaded(p, i) ? load(p, i, ret_error) : 0;

	if (r == -EBADMSG)
		remove_bad_blobs(i);
	return r < 0 ? r : name_by_digest(p, pinned, ret_error);
}
