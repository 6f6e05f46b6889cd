/* SPDX-License-Identifier: MIT */
#include "layers.h"

#include <errno.h>
#include <sys/mman.h>

#include "crypto.h"
#include "inflate.h"

#define PIECE ((size_t)128 * 1024)

struct bringing {
	void (*on_progress)(void *userdata, uint64_t bytes, uint64_t whole);
	void *userdata;
	uint64_t before, whole;
};

static void on_bytes(void *userdata, uint64_t bytes)
{
	const struct bringing *b = userdata;

	b->on_progress(b->userdata, b->before + bytes, b->whole);
}

uint64_t layers_plain(const struct source_image *i, size_t shared)
{
	uint64_t sum = 0;

	for (size_t k = shared; k < i->manifest.n_layers; k++)
		sum += i->manifest.layers[k].size;
	return sum;
}

static int on_tar(void *userdata, const char *data, size_t n)
{
	struct layers *l = userdata;

	if (n > FETCH_DELTA_NEW_MAX - l->size)
		return -EFBIG;
	l->size += n;
	return write_all(l->fd, data, n);
}

/* Appends to l->fd what the file was before it was compressed. */
static int inflate_file(int fd, struct layers *l)
{
	struct inflate i = {.on_data = on_tar, .userdata = l, .generous = true};
	char *piece = xmalloc(PIECE);
	uint64_t at = 0;
	ssize_t n;
	int r = 0;

	inflate_begin(&i);
	while (r == 0 && (n = pread(fd, piece, PIECE, (off_t)at)) != 0) {
		r = n < 0 ? -errno : inflate_push(&i, piece, (size_t)n);
		at += n > 0 ? (uint64_t)n : 0;
	}
	if (r == 0)
		r = inflate_end(&i);
	inflate_free(&i);
	free(piece);
	return r;
}

static int bring_layer(struct fetch *f, const struct source *s, const struct oci_layer *layer,
		       struct bringing *b, struct layers *l, struct error *ret_error)
{
	const uint64_t before = l->size;
	_cleanup_close_ int fd =
		source_bring(f, s, &layer->digest, layer->size, on_bytes, b, ret_error);
	int r;

	if (fd < 0)
		return fd;
	b->before += layer->size;
	r = inflate_file(fd, l);
	if (r < 0)
		return error_set(ret_error, r, "layer %s: %s", layer->digest.text,
				 r == -EBADMSG ? "not valid gzip, zstd or tar, or cut short"
				 : r == -EFBIG ? "the layers unpack to more than 16 GiB"
					       : strerror(-r));
	l->sizes[l->n++] = l->size - before;
	return 0;
}

static int map(struct layers *l, struct error *ret_error)
{
	void *data;

	if (l->size == 0)
		return 0;
	data = l->size <= SIZE_MAX ? mmap(NULL, (size_t)l->size, PROT_READ, MAP_PRIVATE, l->fd, 0)
				   : MAP_FAILED;
	if (data == MAP_FAILED)
		return error_set(ret_error, -errno, "cannot map the layers: %m");
	l->data = data;
	return 0;
}

static int check(const struct source_image *i, size_t shared, const struct layers *l,
		 struct error *ret_error)
{
	const uint8_t *at = l->data;

	for (size_t k = 0; k < l->n; at += l->sizes[k++]) {
		struct digest got = hash_bytes(at, (size_t)l->sizes[k]);

		if (!digest_eq(&got, &i->diffs[shared + k]))
			return error_set(ret_error, -EBADMSG,
					 "layer %s: its tar hashes to %s, but the config says %s",
					 i->manifest.layers[shared + k].digest.text, got.text,
					 i->diffs[shared + k].text);
	}
	return 0;
}

int layers_bring(struct fetch *f, const struct source *s, const struct source_image *i,
		 size_t shared, void (*on_progress)(void *userdata, uint64_t bytes, uint64_t whole),
		 void *userdata, struct layers *ret, struct error *ret_error)
{
	struct bringing b = {on_progress, userdata, 0, layers_plain(i, shared)};
	int r;

	*ret = (struct layers){.fd = source_temporary(ret_error)};
	r = ret->fd;
	for (size_t k = shared; r >= 0 && k < i->manifest.n_layers; k++)
		r = bring_layer(f, s, &i->manifest.layers[k], &b, ret, ret_error);
	if (r >= 0)
		r = map(ret, ret_error);
	if (r >= 0)
		r = check(i, shared, ret, ret_error);
	return r < 0 ? r : 0;
}

void layers_free(struct layers *l)
{
	if (l->data)
		(void)munmap((void *)(uintptr_t)l->data, (size_t)l->size);
	cleanup_close_p(&l->fd);
	*l = (struct layers){.fd = -1};
}
