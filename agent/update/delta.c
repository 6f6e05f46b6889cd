/* SPDX-License-Identifier: MIT */
#include "delta.h"

#include <errno.h>
#include <fcntl.h>

#include "crypto.h"
#include "download-internal.h"
#include "image-config.h"
#include "log.h"
#include "spool.h"

#define FILE_MAX ((size_t)32 * 1024)

static json_t *sizes_to_json(const struct delta *d)
{
	json_t *sizes = json_need(json_array());

	for (size_t i = 0; i < d->n_sizes; i++)
		json_append(sizes, json_integer((json_int_t)d->sizes[i]));
	return sizes;
}

static json_t *to_json(const struct delta *d)
{
	json_t *j = json_need(json_pack("{s:s, s:s}", "from", d->from.text, "to", d->to.text));

	if (!delta_is_usable(d)) {
		json_put(j, d->bad ? "bad" : "none", json_true());
		return j;
	}
	json_put(j, "digest", json_string(d->digest.text));
	json_put(j, "size", json_integer((json_int_t)d->size));
	json_put(j, "plain", json_integer((json_int_t)d->plain));
	json_put(j, "shared", json_integer((json_int_t)d->shared));
	json_put(j, "sizes", sizes_to_json(d));
	json_put(j, "tries", json_integer((json_int_t)d->tries));
	json_put(j, "stalls", json_integer((json_int_t)d->stalls));
	return j;
}

static int get_digest(const json_t *j, const char *key, struct digest *ret)
{
	const char *text = json_get_string(j, key);

	return text ? digest_parse(text, ret) : -EBADMSG;
}

static int get_number(const json_t *v, uint64_t max, uint64_t *ret)
{
	json_int_t n = json_integer_value(v);

	*ret = (uint64_t)n;
	return json_is_integer(v) && n >= 0 && (uint64_t)n <= max ? 0 : -EBADMSG;
}

static int read_patch(const json_t *j, struct delta *ret)
{
	const json_t *sizes = json_object_get(j, "sizes"), *v;
	uint64_t shared, tries, stalls;
	size_t i;

	ret->n_sizes = json_array_size(sizes);
	if (get_digest(j, "digest", &ret->digest) < 0 ||
	    get_number(json_object_get(j, "size"), INT64_MAX, &ret->size) < 0 ||
	    get_number(json_object_get(j, "plain"), INT64_MAX, &ret->plain) < 0 ||
	    get_number(json_object_get(j, "shared"), OCI_LAYERS_MAX, &shared) < 0 ||
	    get_number(json_object_get(j, "tries"), UINT16_MAX, &tries) < 0 || ret->n_sizes == 0 ||
	    ret->n_sizes > OCI_LAYERS_MAX)
		return -EBADMSG;
	ret->shared = (size_t)shared;
	ret->tries = (unsigned int)tries;
	/* Files of older versions have none. */
	if (get_number(json_object_get(j, "stalls"), UINT16_MAX, &stalls) == 0)
		ret->stalls = (unsigned int)stalls;
	json_array_foreach (sizes, i, v) {
		if (get_number(v, FETCH_DELTA_NEW_MAX, &ret->sizes[i]) < 0)
			return -EBADMSG;
	}
	return 0;
}

int delta_read(int spool, const char *name, struct delta *ret)
{
	_cleanup_free_ char *file = xasprintf("%s" SPOOL_DELTA_SUFFIX, name), *text = NULL;
	_cleanup_json_ json_t *j = NULL;
	struct error ignored;
	struct delta d = {0};
	size_t n;

	if (read_file_at(spool, file, FILE_MAX, &text, &n) < 0 ||
	    json_parse(text, n, file, &j, &ignored) < 0 || get_digest(j, "from", &d.from) < 0 ||
	    get_digest(j, "to", &d.to) < 0)
		return -ENOENT;
	d.bad = json_is_true(json_object_get(j, "bad"));
	if (!d.bad && !json_is_true(json_object_get(j, "none")) && read_patch(j, &d) < 0)
		return -ENOENT;
	*ret = d;
	return 0;
}

void delta_write(int spool, const char *name, const struct delta *d)
{
	_cleanup_free_ char *file = xasprintf("%s" SPOOL_DELTA_SUFFIX, name);
	_cleanup_json_ json_t *j = to_json(d);
	_cleanup_free_ char *text = json_text(j, JSON_COMPACT);
	int r = write_file_atomic_at(spool, file, 0600, text, strlen(text));

	if (r < 0)
		log_warning(SPOOL_DIR "/%s: %s", file, strerror(-r));
}

void delta_note_stall(int spool, const char *name, struct delta *d, bool any_came)
{
	unsigned int stalls = any_came ? 0 : d->stalls + 1;

	if (stalls == d->stalls)
		return;
	d->stalls = stalls;
	delta_write(spool, name, d);
}

void delta_give_up(int spool, const char *name, struct delta *d)
{
	d->bad = true;
	d->digest = (struct digest){0};
	delta_write(spool, name, d);
}

int delta_take(const struct fetch_delta *said, struct delta *d, struct error *ret_error)
{
	uint64_t sum = 0;

	if (said->shared != d->shared || said->n_sizes != d->n_sizes)
		return error_set(ret_error, -EBADMSG,
				 "it is for images that share %zu layers, of which the new one has "
				 "%zu more; these share %zu and have %zu more",
				 said->shared, said->n_sizes, d->shared, d->n_sizes);
	for (size_t i = 0; i < said->n_sizes; i++) {
		if (said->sizes[i] > FETCH_DELTA_NEW_MAX ||
		    (sum += said->sizes[i]) > FETCH_DELTA_NEW_MAX)
			return error_set(ret_error, -EBADMSG,
					 "it makes more than %ju bytes, the most that are taken",
					 (uintmax_t)FETCH_DELTA_NEW_MAX);
	}
	if (said->size == 0 || said->size >= d->plain)
		return error_set(ret_error, -EBADMSG, "it has %ju bytes, the layers have %ju",
				 (uintmax_t)said->size, (uintmax_t)d->plain);
	d->digest = said->digest;
	d->size = said->size;
	memcpy(d->sizes, said->sizes, said->n_sizes * sizeof(*d->sizes));
	return 0;
}

uint64_t delta_note(int state_dir, const char *name)
{
	_cleanup_free_ struct spool_blob *blobs = xcalloc(SPOOL_BLOBS_MAX, sizeof(*blobs));
	_cleanup_free_ struct delta *d = xcalloc(1, sizeof(*d));
	_cleanup_close_ int spool =
		openat(state_dir, SPOOL_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t n = spool < 0 ? 0 : spool_list(spool, name, blobs);

	if (n == 0 || delta_read(spool, name, d) < 0 || !delta_is_usable(d))
		return 0;
	/* The layers may be on the list nevertheless: of their download less was left. */
	for (size_t i = 0; i < n; i++) {
		if (digest_eq(&blobs[i].digest, &d->digest))
			return d->plain;
	}
	return 0;
}

/* --- the choice --- */

static struct digest chain_of(const struct digest *layers, size_t n)
{
	_cleanup_json_ json_t *list = json_need(json_array());

	for (size_t i = 0; i < n; i++)
		json_append(list, json_string(layers[i].text));
	return image_config_chain(list);
}

static bool may_use(const struct pass *p, const struct image *i)
{
	return !i->plain && p->task->config->deltas && !engine_version(p->context.engine)->podman &&
	       i->n_running > 0 && i->shared < i->content.n_layers;
}

/* Bytes of the layers to come, and how many of them are not here yet. */
static uint64_t count_plain(const struct image *i, uint64_t *ret_left)
{
	uint64_t plain = 0;

	*ret_left = 0;
	for (size_t k = i->shared; k < i->content.n_layers; k++) {
		const struct oci_layer *layer = &i->content.layers[k];
		uint64_t here = spool_here(i->spool, &layer->digest, layer->size);

		plain += layer->size;
		*ret_left += layer->size > here ? layer->size - here : 0;
	}
	return plain;
}

static bool fits(const struct fetch_delta *said)
{
	struct digest d;

	if (!said->data)
		return true;
	d = hash_bytes(said->data, (size_t)said->size);
	return digest_eq(&d, &said->digest);
}

/* Asks the registry, once. What it says of a delta that cannot be used is a warning: the layers are there, too. One that is busy is
 * asked again. */
static int ask(struct pass *p, struct image *i, struct error *ret_error)
{
	_cleanup_free_ char *image = ref_pinned(p->context.ref, &p->record.target.digest);
	_cleanup_free_ struct fetch_delta *said = xcalloc(1, sizeof(*said));
	struct delta *d = &i->delta;
	int r = fetch_ask_delta(p->fetch, image, &d->from, &d->to, said, ret_error);

	if (r == 0 && !fits(said))
		r = error_set(ret_error, -EBADMSG, "its data does not hash to %s",
			      said->digest.text);
	if (r == 0)
		r = delta_take(said, d, ret_error);
	if (r == 0)
		i->data = steal(said->data);
	fetch_delta_free(said);
	p->download.broken = is_of_link(r);
	if (r == -ECANCELED || r == -EBUSY || p->download.broken)
		return r;
	if (r < 0 && r != -ENOENT)
		log_warning("%s: the registry has no delta that can be used: %s; downloading the "
			    "layers",
			    p->c->name, ret_error->text);
	d->bad = r < 0 && r != -ENOENT;
	delta_write(i->spool, p->c->name, d);
	return 0;
}

int delta_choose(struct pass *p, struct image *i, struct error *ret_error)
{
	struct delta *d = &i->delta;
	struct digest from, to;
	uint64_t left, plain;
	int r = 0;

	i->patch = (struct oci_layer){0};
	p->download.plain = 0;
	if (!may_use(p, i))
		return 0;
	plain = count_plain(i, &left);
	from = chain_of(i->running, i->n_running);
	to = chain_of(i->diff_ids, i->content.n_layers);
	if (left <= DELTA_MIN)
		return 0;
	if (delta_read(i->spool, p->c->name, d) < 0 || !digest_eq(&d->from, &from) ||
	    !digest_eq(&d->to, &to)) {
		*d = (struct delta){.from = from,
				    .to = to,
				    .plain = plain,
				    .shared = i->shared,
				    .n_sizes = i->content.n_layers - i->shared};
		r = ask(p, i, ret_error);
	}
	if (r < 0 || !delta_is_usable(d) || d->size >= left || d->shared != i->shared ||
	    d->n_sizes != i->content.n_layers - i->shared)
		return r;
	if (d->tries >= DELTA_TRIES || d->stalls >= DELTA_STALLS) {
		if (d->tries >= DELTA_TRIES)
			(void)error_set(ret_error, -EIO, "it was tried %u times, and each was cut",
					d->tries);
		else
			(void)error_set(ret_error, -EIO,
					"the link was lost %u times without another byte of it",
					d->stalls);
		delta_fail(p, i, ret_error);
		return 0;
	}
	i->patch = (struct oci_layer){.digest = d->digest, .size = d->size, .data = i->data};
	p->download.plain = d->plain;
	return 0;
}

void delta_fail(struct pass *p, struct image *i, const struct error *why)
{
	log_warning("%s: the delta cannot be used: %s; downloading the layers", p->c->name,
		    why->text);
	pass_announce_step(p, STEP_DOWNLOAD, 0, 0);
	p->download.plain = 0;
	i->plain = true;
	i->patch = (struct oci_layer){0};
	delta_give_up(i->spool, p->c->name, &i->delta);
}
