/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "crypto.h"
#include "engine-internal.h"
#include "inflate.h"
#include "memory.h"
#include "save-tar.h"

#define SAVE_STALL_S \
	(60u * 60) /* a graph driver writes the whole tar to its disk before the first byte */
#define DOCUMENT_MAX	((size_t)64 * 1024)
#define DOCUMENTS_MAX	((size_t)512 * 1024)
#define DOCUMENT_CHARGE ((size_t)256) /* of each, besides its bytes */
#define BLOB_NAME	"blobs/sha256/"

struct document {
	struct digest digest;
	char *text;
	size_t n;
};

/* A save, as far as it has come. */
struct saving {
	struct save_layer *layers;
	size_t n_layers;
	struct save_tar tar;
	struct inflate inflate;
	int fd;
	uint64_t end, max; /* bytes of the file fd that are kept, and that it may have */
	/* Of the file at hand. */
	struct digest named; /* by which its name says what it has; empty: another name */
	struct evp_md_ctx_st
		*hash; /* of what comes out of inflate; NULL: the file is passed over */
	uint64_t size;
	char *text; /* of a small one; else NULL */
	size_t n_text;
	/* All that may be a document of an image. */
	struct document *documents;
	size_t n_documents, documents_size;
	struct error error; /* of the file fd, and of the tar */
};

static bool is_wanted(const struct saving *s, const struct digest *d)
{
	for (size_t i = 0; i < s->n_layers; i++) {
		if (!s->layers[i].found && digest_eq(&s->layers[i].diff_id, d))
			return true;
	}
	return false;
}

/* The file at hand is none of the wanted layers: the room that it took is given back. */
static int pass_over(struct saving *s)
{
	if (s->hash)
		(void)hash_end(s->hash);
	s->hash = NULL;
	if (s->size > 0 && ftruncate(s->fd, (off_t)s->end) < 0)
		return error_set(&s->error, -errno, "cannot cut the file of the old layers: %m");
	s->size = 0;
	return 0;
}

/* Takes what comes out of inflate. -EBADMSG: it is none of the wanted layers. */
static int on_content(void *userdata, const char *data, size_t n)
{
	struct saving *s = userdata;

	/* A blob that is not compressed is named by its DiffID, so that another one costs no writing. */
	if (s->n_layers == 0 ||
	    (s->inflate.compression == OCI_PLAIN && digest_is_set(&s->named) &&
	     !is_wanted(s, &s->named)) ||
	    n > s->max - s->end - s->size)
		return -EBADMSG;
	hash_add(s->hash, data, n);
	while (n > 0) {
		ssize_t w = pwrite(s->fd, data, n, (off_t)(s->end + s->size));

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return error_set(&s->error, -errno, "cannot write the old layers: %m");
		data += w;
		n -= (size_t)w;
		s->size += (uint64_t)w;
	}
	return 0;
}

static int on_file(void *userdata, const char *name, uint64_t size)
{
	struct saving *s = userdata;
	const char *hex = after_prefix(name, BLOB_NAME);
	char digest[DIGEST_TEXT_LEN + 1];

	s->named = (struct digest){0};
	if (hex && snprintf(digest, sizeof(digest), "sha256:%s", hex) == DIGEST_TEXT_LEN)
		(void)!digest_parse(digest, &s->named);
	inflate_begin(&s->inflate);
	/* A megabyte of zeros in front may be less than fifty bytes of zstd. */
	s->inflate.size = size;
	s->hash = hash_begin();
	s->size = 0;
	s->n_text = 0;
	if (size < DOCUMENT_MAX && s->documents_size + size + DOCUMENT_CHARGE <= DOCUMENTS_MAX)
		s->text = xmalloc((size_t)size + 1);
	return 0;
}

static int push(struct saving *s, const char *data, size_t n)
{
	int r = s->hash ? inflate_push(&s->inflate, data, n) : 0;

	return r == -EBADMSG ? pass_over(s) : r;
}

static int on_data(void *userdata, const char *data, size_t n)
{
	struct saving *s = userdata;

	if (!s->text)
		return push(s, data, n);
	memcpy(s->text + s->n_text, data, n);
	s->n_text += n;
	return 0;
}

/* A small file is whole: a document is kept, and what is none may be a layer. */
static int take_text(struct saving *s)
{
	_cleanup_free_ char *text = steal(s->text);

	if (s->n_text == 0 || text[0] != '{')
		return push(s, text, s->n_text);
	if (s->n_documents % 64 == 0)
		s->documents =
			xrealloc(s->documents, (s->n_documents + 64) * sizeof(*s->documents));
	s->documents[s->n_documents++] = (struct document){
		.digest = hash_bytes(text, s->n_text), .n = s->n_text, .text = steal(text)};
	s->documents_size += s->n_text + DOCUMENT_CHARGE;
	return pass_over(s);
}

static void note_layer(struct saving *s, const struct digest *digest)
{
	if (!is_wanted(s, digest))
		return;
	for (size_t i = 0; i < s->n_layers; i++) {
		if (digest_eq(&s->layers[i].diff_id, digest))
			s->layers[i] = (struct save_layer){*digest, s->end, s->size, true};
	}
	s->end += s->size;
	s->size = 0;
}

static int on_end(void *userdata)
{
	struct saving *s = userdata;
	struct digest digest;
	int r = s->text ? take_text(s) : 0;

	if (r == 0 && s->hash)
		r = inflate_end(&s->inflate);
	if (r == 0 && s->hash) {
		digest = hash_end(steal(s->hash));
		note_layer(s, &digest);
	}
	return r == 0 || r == -EBADMSG ? pass_over(s) : r;
}

static int on_save_data(void *userdata, const char *data, size_t n)
{
	struct saving *s = userdata;

	return save_tar_push(&s->tar, data, n, &s->error);
}

/* Whether the config lists n_all layers of which the wanted ones are the last. */
static bool ends_with_layers(const struct saving *s, const struct document *config, size_t n_all)
{
	_cleanup_json_ json_t *j = NULL;
	const json_t *ids;
	struct error ignored;

	if (json_parse(config->text, config->n, "config", &j, &ignored) < 0)
		return false;
	ids = json_get_path(j, "rootfs", "diff_ids", NULL);
	if (json_array_size(ids) != n_all || n_all < s->n_layers)
		return false;
	for (size_t i = 0; i < s->n_layers; i++) {
		if (!streq_null(json_string_value(json_array_get(ids, n_all - s->n_layers + i)),
				s->layers[i].diff_id.text))
			return false;
	}
	return true;
}

static bool is_manifest(const struct saving *s, const struct document *d)
{
	struct oci_document m = {0};
	struct error ignored;
	bool fits = false;

	if (!memmem(d->text, d->n, "\"layers\"", strlen("\"layers\"")) ||
	    oci_parse(d->text, d->n, NULL, &d->digest, &m, &ignored) < 0)
		return false;
	for (size_t i = 0; i < s->n_documents && !fits && !m.is_index; i++)
		fits = digest_eq(&s->documents[i].digest, &m.config) &&
		       ends_with_layers(s, &s->documents[i], m.n_layers);
	oci_document_free(&m);
	return fits;
}

/* The manifest by which the engine itself knows the image; NULL: it knows none. */
static json_t *find_manifest(const struct saving *s)
{
	json_t *manifest = NULL;
	struct error ignored;

	for (size_t i = 0; i < s->n_documents && !manifest; i++) {
		const struct document *d = &s->documents[i];

		if (is_manifest(s, d))
			(void)!json_parse(d->text, d->n, "manifest", &manifest, &ignored);
	}
	return manifest;
}

static int save(struct engine *e, const char *image, struct saving *s, struct error *ret_error)
{
	_cleanup_free_ char *escaped = engine_escape(image);
	_cleanup_free_ char *path = xasprintf("/images/%s/get", escaped);
	struct call c = {"GET",
			 path,
			 .what = "GET /images/NAME/get",
			 .stall_s = SAVE_STALL_S,
			 .on_data = on_save_data,
			 .userdata = s};
	struct stat st = {0};
	int r;

	if (s->n_layers > 0 && fstat(s->fd, &st) < 0)
		return error_set(ret_error, -errno, "the file of the old layers: %m");
	s->end = (uint64_t)st.st_size;
	s->max = s->max > s->end ? s->max : s->end;
	r = engine_call(e, c, NULL, ret_error);
	if (r == 0)
		r = save_tar_end(&s->tar, &s->error);
	if (s->error.code < 0) {
		*ret_error = s->error;
		r = s->error.code;
	}
	if (r == -EBADMSG)
		r = ret_error->code = -EIO; /* says nothing about a patch */
	for (size_t i = 0; r == 0 && i < s->n_layers; i++) {
		if (!s->layers[i].found)
			r = error_set(
				ret_error, -ENODATA, "the engine does not give the layer %s%s",
				s->layers[i].diff_id.text,
				s->inflate.too_wide ? ", or in zstd with a window over 8 MiB" : "");
	}
	return r;
}

int engine_save(struct engine *e, const char *image, int fd, struct save_layer *layers, size_t n,
		uint64_t max, json_t **ret_manifest, struct error *ret_error)
{
	struct saving s = {.layers = layers, .n_layers = n, .fd = fd, .max = max};
	int r;

	s.tar = (struct save_tar){
		.on_file = on_file, .on_data = on_data, .on_end = on_end, .userdata = &s};
	s.inflate = (struct inflate){.on_data = on_content, .userdata = &s};
	for (size_t i = 0; i < n; i++)
		layers[i].found = false;
	/* A helper may take 16 MB in all, of which a window is half. */
	if (n > 0)
		memory_give_back();
	r = save(e, image, &s, ret_error);
	*ret_manifest = r == 0 ? find_manifest(&s) : NULL;
	if (s.hash)
		(void)hash_end(s.hash);
	inflate_free(&s.inflate);
	free(s.text);
	for (size_t i = 0; i < s.n_documents; i++)
		free(s.documents[i].text);
	free(s.documents);
	return r < 0 ? error_prefix(ret_error, "save %s", image) : 0;
}
