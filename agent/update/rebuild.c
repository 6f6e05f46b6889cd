/* SPDX-License-Identifier: MIT */
#include "rebuild.h"

#include <errno.h>
#include <sys/param.h>
#include <sys/statvfs.h>
#include <zstd.h>

#include "crypto.h"
#include "delta.h"
#include "spool.h"

#define LEVEL \
	1 /* the layers are written once and read once: more would take longer than it saves */
#define MARGIN ((uint64_t)16 * 1000 * 1000) /* bytes that stay free */

/* NEW, as it comes out of the patch, cut into layers. */
struct cutting {
	const struct rebuilding *b;
	struct load_layer *layers;
	size_t k;			  /* the layer under way; n_new: all are whole */
	uint64_t left;			  /* bytes of it to come */
	uint64_t done, total;		  /* bytes of all */
	struct evp_md_ctx_st *tar, *file; /* hashes of the layer, and of its file */
	ZSTD_CCtx *zstd;		  /* NULL: the file is the tar itself */
	char *out;			  /* of ZSTD_CStreamOutSize() bytes */
	struct error fault;
};

static uint64_t free_bytes(int spool)
{
	struct statvfs s;

	return fstatvfs(spool, &s) < 0 ? 0 : (uint64_t)s.f_bavail * s.f_frsize;
}

static int put(struct cutting *c, const void *data, size_t n)
{
	struct load_layer *layer = &c->layers[c->k];
	int r = write_all(layer->fd, data, n);

	if (r < 0)
		return error_set(&c->fault, r, "cannot write a layer: %s", strerror(-r));
	hash_add(c->file, data, n);
	layer->size += n;
	return 0;
}

static int compress(struct cutting *c, const void *data, size_t n, ZSTD_EndDirective end)
{
	ZSTD_inBuffer in = {.src = data, .size = n};
	size_t left;
	int r = 0;

	do {
		ZSTD_outBuffer out = {.dst = c->out, .size = ZSTD_CStreamOutSize()};

		left = ZSTD_compressStream2(c->zstd, &out, &in, end);
		if (ZSTD_isError(left))
			return error_set(&c->fault, -EIO, "cannot compress a layer: %s",
					 ZSTD_getErrorName(left));
		r = put(c, c->out, out.pos);
	} while (r == 0 && (in.pos < in.size || (end == ZSTD_e_end && left > 0)));
	return r;
}

static int begin_layer(struct cutting *c)
{
	struct load_layer *layer = &c->layers[c->k];

	c->left = c->b->sizes[c->k];
	*layer = (struct load_layer){
		.rebuilt = true,
		.compression = c->zstd ? OCI_ZSTD : OCI_PLAIN,
		.fd = spool_temporary(c->b->spool, &c->fault),
	};
	if (layer->fd < 0)
		return c->fault.code;
	c->tar = hash_begin();
	c->file = hash_begin();
	if (c->zstd)
		(void)ZSTD_CCtx_setPledgedSrcSize(c->zstd, c->left);
	return 0;
}

static int end_layer(struct cutting *c)
{
	const struct digest *wanted = &c->b->new[c->k];
	struct digest d = hash_end(steal(c->tar));
	int r = 0;

	if (!digest_eq(&d, wanted))
		return error_set(&c->fault, -EBADMSG,
				 "layer %zu comes out as %s, and the image's config says %s",
				 c->b->shared + c->k + 1, d.text, wanted->text);
	if (c->zstd)
		r = compress(c, NULL, 0, ZSTD_e_end);
	c->layers[c->k].digest = hash_end(steal(c->file));
	return r;
}

/* Ends the layer if all of it is there, and each after it that is empty. */
static int go_on(struct cutting *c)
{
	int r = 0;

	while (r == 0 && c->left == 0 && c->k < c->b->n_new) {
		r = end_layer(c);
		if (r == 0 && ++c->k < c->b->n_new)
			r = begin_layer(c);
	}
	return r;
}

static int on_data(void *userdata, const char *data, size_t n)
{
	struct cutting *c = userdata;
	int r = 0;

	while (r == 0 && n > 0) {
		size_t piece = (size_t)MIN(n, c->left);

		if (c->k == c->b->n_new)
			return error_set(&c->fault, -EBADMSG,
					 "the patch makes more bytes than the layers have");
		hash_add(c->tar, data, piece);
		r = c->zstd ? compress(c, data, piece, ZSTD_e_continue) : put(c, data, piece);
		data += piece;
		n -= piece;
		c->left -= piece;
		c->done += piece;
		if (r == 0)
			r = go_on(c);
	}
	if (r == 0 && c->b->progress)
		c->b->progress(c->b->userdata, c->done, c->total);
	return r;
}

static void end_cutting(struct cutting *c)
{
	if (c->tar)
		(void)hash_end(c->tar);
	if (c->file)
		(void)hash_end(c->file);
	ZSTD_freeCCtx(c->zstd);
	free(c->out);
}

static int apply(const struct rebuilding *b, int old, const struct patch_extent *extents,
		 struct load_layer *ret, struct error *ret_error)
{
	struct cutting c = {.b = b, .layers = ret};
	struct fetch_patch p = {.old = old,
				.extents = extents,
				.n_extents = b->n_old,
				.patch = b->patch,
				.on_data = on_data,
				.userdata = &c};
	int r;

	for (size_t i = 0; i < b->n_new; i++)
		c.total += b->sizes[i];
	p.max = c.total;
	if (free_bytes(b->spool) < c.total / (b->zstd ? 2 : 1) + MARGIN)
		return error_set(ret_error, -ENOSPC, "%ju bytes of layers may not fit on the disk",
				 (uintmax_t)c.total);
	if (b->zstd) {
		c.zstd = ZSTD_createCCtx();
		c.out = xmalloc(ZSTD_CStreamOutSize());
		if (!c.zstd ||
		    ZSTD_isError(ZSTD_CCtx_setParameter(c.zstd, ZSTD_c_compressionLevel, LEVEL)))
			abort();
	}
	r = begin_layer(&c);
	if (r == 0)
		r = go_on(&c);
	if (r == 0)
		r = fetch_patch(b->fetch, b->host, &p, ret_error);
	if (r == 0 && c.k < b->n_new)
		r = error_set(&c.fault, -EBADMSG, "the patch makes %ju bytes of %ju",
			      (uintmax_t)c.done, (uintmax_t)c.total);
	/* What went wrong here is the cause, whatever the network half says of the end of its pipe. */
	if (c.fault.code < 0)
		*ret_error = c.fault;
	end_cutting(&c);
	return r < 0 ? ret_error->code : 0;
}

int rebuild_layers(const struct rebuilding *b, struct load_layer *ret, json_t **ret_shared,
		   struct error *ret_error)
{
	_cleanup_close_ int old = spool_temporary(b->spool, ret_error);
	_cleanup_free_ struct save_layer *layers = xcalloc(b->n_old + 1, sizeof(*layers));
	_cleanup_free_ struct patch_extent *extents = xcalloc(b->n_old + 1, sizeof(*extents));
	_cleanup_json_ json_t *manifest = NULL;
	uint64_t room = free_bytes(b->spool);
	int r = 0;

	for (size_t i = 0; i < b->n_new; i++)
		ret[i].fd = -1;
	if (old < 0)
		return old;
	for (size_t i = 0; i < b->n_old; i++)
		layers[i].diff_id = b->old[i];
	if (b->basis)
		r = engine_save(b->engine, b->basis, old, layers, b->n_old,
				room > MARGIN ? MIN(room - MARGIN, FETCH_DELTA_NEW_MAX) : 0,
				&manifest, ret_error);
	if (r < 0)
		return error_prefix(ret_error, "layers of %s", b->basis);
	for (size_t i = 0; i < b->n_old; i++)
		extents[i] =
			(struct patch_extent){.offset = layers[i].offset, .size = layers[i].size};
	*ret_shared = json_incref(json_object_get(manifest, "layers"));
	return apply(b, old, extents, ret, ret_error);
}
