/* SPDX-License-Identifier: MIT */
#include "source.h"

#include <errno.h>
#include <fcntl.h>

#define BRING_MS ((uint64_t)1000 * 3600 * 24)

int source_read_text(struct fetch *f, const char *image, char **ret, struct digest *ret_digest,
		     struct error *ret_error)
{
	_cleanup_json_ json_t *question = json_need(json_pack("{s:s, s:o}", "op", "read-manifest",
							      "image", json_string_lossy(image))),
			      *answer = NULL;
	const char *text;
	int r = fetch_ask_publish(f, question, &answer, ret_error);

	if (r < 0)
		return r;
	text = json_get_string(answer, "document");
	if (!text || digest_parse(json_get_string(answer, "digest"), ret_digest) < 0)
		return error_set(ret_error, -EBADMSG,
				 "%s: the answer of pullet-fetch has no digest", image);
	*ret = xstrdup(text);
	return 0;
}

/* The platform of a single image is in its config. */
static int take_single(struct fetch *f, struct source *s, const struct oci_document *d,
		       struct error *ret_error)
{
	struct source_image *image = xcalloc(1, sizeof(*image));
	int r = source_read_image(f, s, &s->digest, NULL, image, ret_error);

	if (r == 0) {
		s->images = xcalloc(1, sizeof(*s->images));
		s->images[s->n_images++] = (struct oci_entry){
			.digest = s->digest, .size = d->size, .platform = image->config.platform};
	}
	source_image_free(image);
	free(image);
	return r;
}

/* Docker's build writes attestations beside the images, for the platform unknown/unknown. */
static void take_entries(struct source *s, const struct oci_document *d)
{
	s->images = xcalloc(d->n_entries, sizeof(*s->images));
	for (size_t i = 0; i < d->n_entries; i++) {
		const struct oci_platform *p = &d->entries[i].platform;

		if (p->os[0] && !streq(p->os, "unknown") && !source_find(s, p))
			s->images[s->n_images++] = d->entries[i];
	}
}

int source_read(struct fetch *f, const char *image, struct source *ret, struct error *ret_error)
{
	_cleanup_(oci_document_free) struct oci_document d = {0};
	_cleanup_free_ char *text = NULL;
	const char *why;
	int r;

	*ret = (struct source){0};
	if (ref_parse(image, &ret->ref, &why) < 0)
		return error_set(ret_error, -EINVAL, "%s: %s", image, why);
	ret->repository = ref_repository(&ret->ref);
	r = source_read_text(f, image, &text, &ret->digest, ret_error);
	if (r < 0)
		return r;
	r = oci_parse(text, strlen(text), NULL, &ret->digest, &d, ret_error);
	if (r < 0)
		return error_prefix(ret_error, "%s", image);
	if (!d.is_index)
		return take_single(f, ret, &d, ret_error);
	take_entries(ret, &d);
	return ret->n_images > 0
		       ? 0
		       : error_set(ret_error, -EBADMSG,
				   "%s: the index lists no image with its platform", image);
}

void source_free(struct source *s)
{
	ref_free(&s->ref);
	free(s->repository);
	free(s->images);
	*s = (struct source){0};
}

int source_temporary(struct error *ret_error)
{
	const char *wanted = getenv("TMPDIR"), *dir = wanted && *wanted ? wanted : "/tmp";
	_cleanup_free_ char *path = xasprintf("%s/pullet-delta-XXXXXX", dir);
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	/* Not every file system has it. */
	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
		fd = mkostemp(path, O_CLOEXEC);
		if (fd >= 0)
			(void)unlink(path);
	}
	return fd >= 0 ? fd
		       : error_set(ret_error, -errno, "%s: cannot make a temporary file: %m", dir);
}

int source_bring(struct fetch *f, const struct source *s, const struct digest *d, uint64_t size,
		 void (*on_progress)(void *userdata, uint64_t bytes), void *userdata,
		 struct error *ret_error)
{
	_cleanup_free_ char *image = ref_pinned(&s->ref, d);
	_cleanup_close_ int fd = source_temporary(ret_error);
	const struct fetch_blob b = {.image = image,
				     .digest = *d,
				     .size = size,
				     .fd = fd,
				     .allowance = UINT64_MAX,
				     .ms = BRING_MS,
				     .on_progress = on_progress,
				     .userdata = userdata};
	struct fetched fetched;
	int r;

	if (fd < 0)
		return fd;
	r = fetch_bring(f, &b, &fetched, ret_error);
	if (r == 0 && fetched.end != FETCH_WHOLE)
		r = error_set(ret_error, -ETIMEDOUT, "it took more than a day");
	return r < 0 ? error_prefix(ret_error, "%s", image) : steal_fd(&fd);
}

static int read_config(struct fetch *f, const struct source *s, const struct source_image *old,
		       struct source_image *i, struct error *ret_error)
{
	const struct oci_document *m = &i->manifest;
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *text = NULL;
	size_t n;
	int r;

	if (m->n_layers > OCI_LAYERS_MAX)
		return error_set(ret_error, -EBADMSG, "it has more than %d layers", OCI_LAYERS_MAX);
	fd = source_bring(f, s, &m->config, m->config_size, NULL, NULL, ret_error);
	if (fd < 0)
		return fd;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return error_set(ret_error, -errno, "temporary file: %m");
	r = read_file(fd, OCI_DOCUMENT_MAX, &text, &n);
	if (r < 0)
		return error_set(ret_error, r, "config: %s", strerror(-r));
	r = image_config_parse(text, n, &m->config, m->n_layers, old ? old->diffs : NULL,
			       old ? old->manifest.n_layers : 0, &i->config, ret_error);
	return r < 0 ? r : image_config_diff_ids(text, n, i->diffs, m->n_layers, ret_error);
}

int source_read_image(struct fetch *f, const struct source *s, const struct digest *manifest,
		      const struct source_image *old, struct source_image *ret,
		      struct error *ret_error)
{
	_cleanup_free_ char *image = ref_pinned(&s->ref, manifest), *text = NULL;
	int r = source_read_text(f, image, &text, &ret->digest, ret_error);

	if (r < 0)
		return r;
	r = oci_parse(text, strlen(text), NULL, manifest, &ret->manifest, ret_error);
	if (r == 0 && ret->manifest.is_index)
		r = error_set(ret_error, -EBADMSG, "an index in an index");
	if (r == 0)
		r = read_config(f, s, old, ret, ret_error);
	return r < 0 ? error_prefix(ret_error, "%s", image) : 0;
}

void source_image_free(struct source_image *i)
{
	oci_document_free(&i->manifest);
	*i = (struct source_image){0};
}

static const char *variant_of(const struct oci_platform *p)
{
	if (p->variant[0])
		return p->variant;
	return streq(p->architecture, "arm64") ? "v8" : streq(p->architecture, "arm") ? "v7" : "";
}

const struct oci_entry *source_find(const struct source *s, const struct oci_platform *p)
{
	for (size_t i = 0; i < s->n_images; i++) {
		const struct oci_platform *other = &s->images[i].platform;

		if (streq(p->os, other->os) && streq(p->architecture, other->architecture) &&
		    streq(variant_of(p), variant_of(other)))
			return &s->images[i];
	}
	return NULL;
}
