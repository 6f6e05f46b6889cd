/* SPDX-License-Identifier: MIT */
/* pullet delta make: brings the layers of both images, makes the patch, tries it, and pushes it if it pays. */
#include <errno.h>
#include <stdio.h>

#include "artifact.h"
#include "crypto.h"
#include "delta.h"
#include "layers.h"
#include "log.h"
#include "old-list.h"
#include "patch-make.h"
#include "patch.h"

#define PLAIN_MIN  65536 /* bytes to come below which a device asks for no delta */
#define PAYS_BELOW 0.8	 /* of the plain bytes */

struct make {
	const struct delta_options *o;
	struct fetch *fetch;
	struct bar bar;
	struct source new;
	const struct oci_platform *only; /* NULL: all */
	json_t *results;		 /* of each platform and each old image */
	bool names_old;			 /* there are several */
};

/* One platform of one old image. */
struct pair {
	struct make *make;
	const struct source *old;
	char *platform;
	struct source_image old_image, new_image;
	struct artifact a;
	char tag[FETCH_DELTA_TAG_SIZE];
	uint64_t plain; /* compressed bytes of the new layers */
	int patch;	/* -1: not made */
};

/* The result of a pair: a word for scripts, and a sentence for people. */
static void report(struct pair *p, const char *word, const char *text)
{
	struct make *m = p->make;
	const struct artifact *a = &p->a;

	bar_clear(&m->bar);
	json_append(m->results,
		    json_need(json_pack(
			    "{s:s, s:s, s:s, s:s?, s:s?, s:s?, s:I, s:I, s:I, s:s}", "platform",
			    p->platform, "old", p->old->digest.text, "result", word, "from",
			    a->from.text[0] ? a->from.text : NULL, "to",
			    a->to.text[0] ? a->to.text : NULL, "tag", p->tag[0] ? p->tag : NULL,
			    "shared", (json_int_t)a->shared, "bytes", (json_int_t)a->size, "plain",
			    (json_int_t)p->plain, "text", text)));
	if (m->o->json)
		return;
	printf("%s%s%.19s: %s\n", p->platform, m->names_old ? " from " : "",
	       m->names_old ? p->old->digest.text : "", text);
	(void)fflush(stdout);
}

static void report_size(struct pair *p, const char *word, const char *behind)
{
	const struct artifact *a = &p->a;
	_cleanup_free_ char *size = text_bytes(a->size), *plain = text_bytes(p->plain),
			    *ratio = delta_ratio(a->size, p->plain);
	_cleanup_free_ char *text =
		xasprintf("%zu layer%s shared, %s instead of %s (%s), %s", a->shared,
			  a->shared == 1 ? "" : "s", size, plain, ratio, behind);

	report(p, word, text);
}

static int make_patch(struct pair *p, const struct layers *old, const struct layers *new,
		      struct error *ret_error)
{
	struct patch_making making = {.old = old->data,
				      .old_size = (size_t)old->size,
				      .new = new->data,
				      .new_size = (size_t) new->size,
				      .on_progress = bar_part,
				      .userdata = &p->make->bar};
	int r;

	p->patch = making.out = source_temporary(ret_error);
	if (p->patch < 0)
		return p->patch;
	bar_begin(&p->make->bar, "sorting the old layers");
	r = patch_make(&making, &p->a.size, ret_error);
	if (r == 0)
		r = hash_file(p->patch, p->a.size, &p->a.digest);
	return r < 0 && r != ret_error->code
		       ? error_set(ret_error, r, "cannot read the patch: %s", strerror(-r))
		       : r;
}

/* Applies the patch as a device does, and compares. */
static int try_patch(struct pair *p, const struct layers *old, const struct layers *new,
		     struct error *ret_error)
{
	const struct patch_extent all = {0, old->size};
	struct patching patching = {.old = old->fd,
				    .extents = &all,
				    .n_extents = 1,
				    .patch = p->patch,
				    .max = new->size};
	_cleanup_close_ int out = source_temporary(ret_error);
	struct digest got, want = hash_bytes(new->data, (size_t) new->size);
	uint64_t size = 0;
	int r = out;

	bar_begin(&p->make->bar, "trying the patch");
	patching.out = out;
	if (r >= 0)
		r = patch_apply(&patching, &size, ret_error);
	if (r < 0)
		return error_prefix(ret_error,
				    "the patch does not pass its test, nothing is pushed");
	if (size != new->size || hash_file(out, size, &got) < 0 || !digest_eq(&got, &want))
		return error_set(ret_error, -EBADMSG,
				 "the patch does not pass its test, nothing is pushed: it makes "
				 "something else");
	return 0;
}

static int build(struct pair *p, struct error *ret_error)
{
	struct make *m = p->make;
	_cleanup_(layers_free) struct layers old = {.fd = -1}, new = {.fd = -1};
	int r;

	bar_begin(&m->bar, "old layers");
	r = layers_bring(m->fetch, p->old, &p->old_image, p->a.shared, bar_bytes, &m->bar, &old,
			 ret_error);
	if (r == 0) {
		bar_begin(&m->bar, "new layers");
		r = layers_bring(m->fetch, &m->new, &p->new_image, p->a.shared, bar_bytes, &m->bar,
				 &new, ret_error);
	}
	if (r == 0)
		r = make_patch(p, &old, &new, ret_error);
	if (r == 0)
		r = try_patch(p, &old, &new, ret_error);
	p->a.n_sizes = new.n;
	memcpy(p->a.sizes, new.sizes, new.n * sizeof(*new.sizes));
	return r;
}

static void on_pushed(void *userdata, uint64_t bytes)
{
	struct pair *p = userdata;

	bar_bytes(&p->make->bar, bytes, p->a.size);
}

static int push(struct pair *p, struct error *ret_error)
{
	struct make *m = p->make;
	const struct artifact_subject subject = {p->new_image.digest, p->new_image.manifest.size,
						 p->new_image.manifest.media_type};
	const struct fetch_blob blob = {
		.fd = p->patch, .size = p->a.size, .on_progress = on_pushed, .userdata = p};
	_cleanup_free_ char *image = ref_pinned(&m->new.ref, &p->new_image.digest);
	_cleanup_json_ json_t *question = NULL, *answer = NULL;
	char data[ARTIFACT_DATA_MAX];
	bool embeds = p->a.size <= sizeof(data);

	if (embeds && pread(p->patch, data, (size_t)p->a.size, 0) != (ssize_t)p->a.size)
		return error_set(ret_error, -EIO, "cannot read the patch");
	question =
		json_need(json_pack("{s:s, s:s, s:s, s:s, s:o}", "op", "push-delta", "image", image,
				    "from", p->a.from.text, "to", p->a.to.text, "manifest",
				    artifact_to_json(&p->a, embeds ? data : NULL, &subject)));
	bar_begin(&m->bar, "pushing");
	return fetch_ask_push(m->fetch, question, &blob, &answer, ret_error);
}

/* The delta may be in the registry from an earlier run. One that is not valid is made and pushed over. */
static int look_for(struct pair *p, bool *ret, struct error *ret_error)
{
	struct make *m = p->make;
	_cleanup_free_ char *image = NULL, *text = NULL;
	const struct artifact_place place = {p->tag, &p->a.to, p->new_image.manifest.n_layers,
					     p->plain};
	struct artifact there;
	struct digest digest;
	struct error ignored;
	int r;

	message_delta_tag(&p->a.from, &p->a.to, p->tag);
	image = xasprintf("%s:%s", m->new.repository, p->tag);
	r = source_read_text(m->fetch, image, &text, &digest, ret_error);
	*ret = r == 0 && artifact_parse(text, &there, &ignored) == 0 &&
	       digest_eq(&there.from, &p->a.from) && there.shared == p->a.shared &&
	       artifact_check(&there, &place, &ignored) == 0;
	if (*ret)
		p->a = there;
	return r == -ENOENT || r == -EBADMSG ? 0 : r;
}

/* Whether there is something to do; if not, says why. */
static bool may_pay(struct pair *p)
{
	size_t n_new = p->new_image.manifest.n_layers;

	p->a.from = p->old_image.config.chain;
	p->a.to = p->new_image.config.chain;
	p->a.shared = p->new_image.config.shared;
	p->plain = layers_plain(&p->new_image, p->a.shared);
	if (digest_eq(&p->old_image.digest, &p->new_image.digest))
		report(p, "not-needed", "OLD and NEW are the same image, no delta is needed");
	else if (n_new == p->a.shared)
		report(p, "not-needed", "OLD has all layers of NEW, no delta is needed");
	else if (!digest_is_set(&p->a.from))
		report(p, "not-needed", "OLD has no layers, no delta can be made");
	else if (p->plain <= PLAIN_MIN)
		report(p, "does-not-pay",
		       "no delta: devices ask for none when at most 65536 bytes are to come");
	else
		return true;
	return false;
}

static int run_pair(struct pair *p, const struct digest *old, const struct digest *new,
		    struct error *ret_error)
{
	struct make *m = p->make;
	bool there = false;
	int r = source_read_image(m->fetch, p->old, old, NULL, &p->old_image, ret_error);

	if (r == 0)
		r = source_read_image(m->fetch, &m->new, new, &p->old_image, &p->new_image,
				      ret_error);
	if (r < 0 || !may_pay(p))
		return r;
	r = look_for(p, &there, ret_error);
	if (r == 0 && there) {
		_cleanup_free_ char *text = xasprintf("%s is there already", p->tag);

		report_size(p, "present", text);
		return 0;
	}
	if (r == 0)
		r = build(p, ret_error);
	if (r < 0)
		return r;
	if ((double)p->a.size >= PAYS_BELOW * (double)p->plain) {
		report_size(p, "does-not-pay", "does not pay: nothing is pushed");
		return 0;
	}
	if (m->o->dry_run) {
		report_size(p, "dry-run", "not pushed (--dry-run)");
		return 0;
	}
	r = push(p, ret_error);
	if (r == 0)
		report_size(p, "pushed", p->tag);
	return r;
}

/* Exit status. */
static int make_pair(struct make *m, const struct source *old, const struct oci_entry *new)
{
	const struct oci_entry *entry = source_find(old, &new->platform);
	struct pair *p = xcalloc(1, sizeof(*p));
	struct error e = {0};
	int r = 0;

	p->make = m;
	p->old = old;
	p->patch = -1;
	p->platform = delta_platform_text(&new->platform);
	if (entry)
		r = run_pair(p, &entry->digest, &new->digest, &e);
	else
		report(p, "missing", "OLD has no image of this platform, no delta can be made");
	if (r < 0) {
		bar_clear(&m->bar);
		if (r == -ENOSPC)
			error_append(&e, "set TMPDIR to a directory with more room");
		log_error("%s: %s", p->platform, e.text);
		p->a.size = 0;
		if (m->o->json)
			report(p, "failed", e.text);
	}
	cleanup_close_p(&p->patch);
	source_image_free(&p->old_image);
	source_image_free(&p->new_image);
	free(p->platform);
	free(p);
	return r < 0 || (!entry && m->only) ? 1 : 0;
}

/* All platforms of one old image. Exit status. */
static int make_from(struct make *m, const char *image)
{
	_cleanup_(source_free) struct source old = {0};
	struct error e;
	int r, status = 0;

	r = source_read(m->fetch, image, &old, &e);
	/* A registry may have removed the oldest ones of a list. */
	if (r == -ENOENT && m->names_old) {
		log_warning("%s; it is left out", e.text);
		return 0;
	}
	if (r < 0) {
		log_error("%s", e.text);
		return 1;
	}
	for (size_t i = 0; i < m->new.n_images; i++) {
		const struct oci_entry *new = &m->new.images[i];

		if (!m->only || new == source_find(&m->new, m->only))
			status |= make_pair(m, &old, new);
	}
	return status;
}

static int make_all(struct make *m, const struct old_list *list)
{
	int status = 0;

	if (m->only && !source_find(&m->new, m->only)) {
		log_error("%s has no image of the platform %s", m->new.ref.text, m->o->platform);
		return 1;
	}
	for (size_t i = 0; i < list->n; i++)
		status |= make_from(m, list->images[i]);
	if (m->o->json)
		delta_print_json(
			json_pack("{s:s, s:O}", "new", m->new.digest.text, "deltas", m->results));
	return status;
}

int delta_make(const struct delta_options *o, const char *old, const char *new)
{
	const struct fetch_options options = {.config = o->config, .role = "--publish"};
	_cleanup_json_ json_t *results = json_need(json_array());
	_cleanup_(old_list_free) struct old_list list = {0};
	struct make m = {.o = o, .results = results, .names_old = o->from != NULL};
	struct oci_platform platform;
	struct error e;
	int status = 1;

	if (o->platform && delta_parse_platform(o->platform, &platform) < 0) {
		log_error("--platform: '%s' is not of the form arm64, arm/v7 or linux/arm64",
			  o->platform);
		return 2;
	}
	m.only = o->platform ? &platform : NULL;
	if (old_list_read(old, o->from, new, &list, &e) < 0) {
		log_error("%s", e.text);
		return 2;
	}
	m.fetch = delta_connect(&options, new);
	if (!m.fetch)
		return 2;
	bar_init(&m.bar, o->json);
	if (source_read(m.fetch, new, &m.new, &e) < 0)
		log_error("%s", e.text);
	else
		status = make_all(&m, &list);
	source_free(&m.new);
	fetch_free(m.fetch);
	return status;
}
