/* SPDX-License-Identifier: MIT */
#include "load-tar.h"

#include <errno.h>
#include <stdio.h>
#include <sys/param.h>

#include "crypto.h"
#include "engine-internal.h"
#include "ref.h"
#include "tar-header.h"

#define OCTAL_MAX  ((uint64_t)1 << 33) /* 8 GiB: no room for more in eleven octal digits */
#define IMAGE_NAME "io.containerd.image.name"

static void add(struct load_tar *t, const char *name, const char *text, int fd, uint64_t size)
{
	/* Two layers, or the two documents of an image without an index, may be the same blob. */
	for (size_t i = 0; i < t->n_files; i++) {
		if (streq(t->files[i].name, name))
			return;
	}
	t->files[t->n_files] = (struct load_file){.text = text, .fd = fd, .size = size};
	copy_text(t->files[t->n_files++].name, sizeof(t->files->name), name);
	t->size += TAR_BLOCK + (size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
}

static char *blob_name(const struct digest *d)
{
	return xasprintf("blobs/sha256/%s", after_prefix(d->text, "sha256:"));
}

static void add_document(struct load_tar *t, const struct load_document *d)
{
	_cleanup_free_ char *name = blob_name(&d->digest);

	add(t, name, d->text, -1, d->n);
}

/* of: the image whose content it has; NULL: none. */
static void append_entry(json_t *entries, const char *type, const struct load_document *d,
			 const char *name, const char *of)
{
	json_append(entries,
		    json_need(json_pack("{s:s, s:s, s:I, s:{s:s, s:s*}}", "mediaType", type,
					"digest", d->digest.text, "size", (json_int_t)d->n,
					"annotations", IMAGE_NAME, name, IMAGE_ANNOTATION, of)));
}

/* index.json. The name with a digest makes the image what a pull by digest makes. A local manifest comes first: only its layers
 * can be unpacked, and are then found for the other one. */
static char *make_index(const struct load *l, const struct load_document *local, const char *keep,
			bool one_name)
{
	_cleanup_free_ char *pinned = ref_pinned(l->ref, &l->top.digest);
	json_t *entries = json_need(json_array());
	_cleanup_json_ json_t *index =
		json_need(json_pack("{s:i, s:o}", "schemaVersion", 2, "manifests", entries));

	if (local->text)
		append_entry(entries, OCI_MANIFEST, local, keep, l->top.digest.text);
	append_entry(entries, l->top_type, &l->top, pinned, NULL);
	if (!local->text && !one_name)
		append_entry(entries, l->top_type, &l->top, keep, NULL);
	return json_text(index, JSON_COMPACT);
}

/* manifest.json names all layers; those that the engine has it does not open. */
static char *make_names(const struct load *l, const char *keep)
{
	_cleanup_free_ char *config = blob_name(&l->config.digest);
	json_t *layers = json_need(json_array());
	_cleanup_json_ json_t *names = json_need(json_pack("[{s:s, s:[s], s:o}]", "Config", config,
							   "RepoTags", keep, "Layers", layers));

	for (size_t i = 0; i < l->n_layers; i++) {
		_cleanup_free_ char *name = blob_name(&l->layers[i].digest);

		json_append(layers, json_string(name));
	}
	return json_text(names, JSON_COMPACT);
}

void load_tar_make(const struct load *l, const char *local, bool one_name, struct load_tar *ret)
{
	static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
	_cleanup_free_ char *keep = xasprintf("%s:%s", LOAD_KEEP_REPOSITORY, l->keep);
	struct load_tar t = {.files = xcalloc(7 + l->n_layers, sizeof(*t.files))};
	struct load_document ours = {.text = local, .n = local ? strlen(local) : 0};

	if (local)
		ours.digest = hash_bytes(local, ours.n);
	t.index = make_index(l, &ours, keep, one_name);
	t.names = make_names(l, keep);
	add(&t, "oci-layout", layout, -1, strlen(layout));
	add(&t, "index.json", t.index, -1, strlen(t.index));
	add(&t, "manifest.json", t.names, -1, strlen(t.names));
	if (local)
		add_document(&t, &ours);
	add_document(&t, &l->manifest);
	add_document(&t, &l->top);
	add_document(&t, &l->config);
	for (size_t i = 0; i < l->n_layers; i++) {
		_cleanup_free_ char *name = blob_name(&l->layers[i].digest);

		if (l->layers[i].fd >= 0)
			add(&t, name, NULL, l->layers[i].fd, l->layers[i].size);
	}
	t.size += (uint64_t)2 * TAR_BLOCK; /* the end of a tar */
	*ret = t;
}

void load_tar_free(struct load_tar *t)
{
	free(t->files);
	free(t->index);
	free(t->names);
	*t = (struct load_tar){0};
}

static struct tar_header make_header(const struct load_file *f)
{
	struct tar_header h = {.mode = "0000644",
			       .uid = "0000000",
			       .gid = "0000000",
			       .mtime = "00000000000",
			       .checksum = "       ",
			       .type = '0',
			       .magic = "ustar  "};
	const unsigned char *bytes = (const unsigned char *)&h;
	unsigned int sum = 0;

	copy_text(h.name, sizeof(h.name), f->name);
	if (f->size < OCTAL_MAX) {
		(void)snprintf(h.size, sizeof(h.size), "%011jo", (uintmax_t)f->size);
	} else {
		h.size[0] = (char)0x80; /* in binary */
		for (size_t i = 0; i < 8; i++)
			h.size[sizeof(h.size) - 1 - i] = (char)(f->size >> (8 * i));
	}
	h.checksum[7] = ' ';
	for (size_t i = 0; i < sizeof(h); i++)
		sum += bytes[i];
	(void)snprintf(h.checksum, sizeof(h.checksum) - 1, "%06o", sum);
	return h;
}

/* Fills buffer with n bytes of the file's content, all of which are there. */
static int read_content(const struct load_file *f, uint64_t offset, char *buffer, size_t n,
			struct error *ret_error)
{
	if (f->text) {
		memcpy(buffer, f->text + offset, n);
		return 0;
	}
	while (n > 0) {
		ssize_t r = pread(f->fd, buffer, n, (off_t)offset);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return error_set(ret_error, -errno, "cannot read %s: %m", f->name);
		if (r == 0)
			return error_set(ret_error, -EBADMSG,
					 "the file of %s is shorter than its %ju bytes", f->name,
					 (uintmax_t)f->size);
		buffer += r;
		offset += (uint64_t)r;
		n -= (size_t)r;
	}
	return 0;
}

/* Bytes of a header, a content or its padding from offset on, which is within the file; their number. */
static ssize_t read_piece(const struct load_file *f, uint64_t offset, char *buffer, size_t n,
			  struct error *ret_error)
{
	int r = 0;

	if (offset < TAR_BLOCK) {
		struct tar_header h = make_header(f);

		n = MIN(n, TAR_BLOCK - offset);
		memcpy(buffer, (const char *)&h + offset, n);
		return (ssize_t)n;
	}
	offset -= TAR_BLOCK;
	if (offset < f->size) {
		n = (size_t)MIN(n, f->size - offset);
		r = read_content(f, offset, buffer, n, ret_error);
		return r < 0 ? r : (ssize_t)n;
	}
	n = MIN(n, TAR_BLOCK - offset % TAR_BLOCK);
	memset(buffer, 0, n);
	return (ssize_t)n;
}

ssize_t load_tar_read(const struct load_tar *t, uint64_t offset, char *buffer, size_t n,
		      struct error *ret_error)
{
	uint64_t end = 0; /* of the file, in the tar */
	size_t done = 0;

	for (size_t i = 0; i < t->n_files; i++) {
		const struct load_file *f = &t->files[i];
		uint64_t start = end;

		end += TAR_BLOCK + (f->size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
		while (done < n && offset + done < end) {
			ssize_t r = read_piece(f, offset + done - start, buffer + done, n - done,
					       ret_error);

			if (r < 0)
				return r;
			done += (size_t)r;
		}
	}
	if (done < n && offset + done < t->size) {
		n = (size_t)MIN(n - done, t->size - offset - done);
		memset(buffer + done, 0, n);
		done += n;
	}
	return (ssize_t)done;
}
