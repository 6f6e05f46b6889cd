/* SPDX-License-Identifier: MIT */

#include <errno.h>
#include <stdio.h>
#include <sys/param.h>

#include "candidate.h"
#include "clock.h"
#include "download-internal.h"
#include "image-config.h"
#include "log.h"
#include "schedule.h"
#include "spool.h"

/* The longest time for which one download keeps the other containers waiting; never longer than the interval. */
#define SLICE_MIN_MS ((uint64_t)5 * 1000)
#define SLICE_MAX_MS ((uint64_t)5 * 60 * 1000)
/* For a registry that cannot resume: what came of a blob would come again in each slice. Less than a pullet-fetch of systemd
 * may run. */
#define WHOLE_MAX_MS ((uint64_t)50 * 60 * 1000)
#define LOADS_MAX    2

static void image_free(struct image *i)
{
	oci_document_free(&i->content);
	free(i->diff_ids);
	free(i->running);
	free(i->data);
	cleanup_close_p(&i->spool);
}

/* --- documents --- */

bool download_is_spooled(const struct pass *p)
{
	return p->documents && !p->state.by_engine;
}

void download_recall(struct pass *p)
{
	_cleanup_free_ struct spool_blob *blobs = xcalloc(SPOOL_BLOBS_MAX, sizeof(*blobs));
	_cleanup_close_ int spool = -1;
	struct error ignored;
	size_t n;

	if (!p->documents || p->record.phase != PHASE_PREPARE)
		return;
	spool = spool_open(p->task->state_dir, &ignored);
	n = spool < 0 ? 0 : spool_list(spool, p->c->name, blobs);
	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *text = NULL;
		_cleanup_close_ int fd = -1;

		if (!blobs[i].document)
			continue;
		fd = spool_read(spool, &blobs[i].digest, "", blobs[i].size);
		if (fd >= 0 && read_file(fd, OCI_DOCUMENT_MAX, &text, NULL) == 0)
			(void)json_object_set_new(p->documents, blobs[i].digest.text,
						  json_string(text));
	}
}

/* A document of that digest, by its hash; false: it is not at hand. */
static bool find_document(const struct pass *p, const struct digest *d, struct load_document *ret)
{
	const char *text = json_get_string(p->documents, d->text);
	struct error ignored;

	*ret = (struct load_document){.digest = *d, .text = text, .n = text ? strlen(text) : 0};
	return text && oci_check_hash(text, ret->n, d, &ignored) == 0;
}

/* Reads the documents, hashed before they are parsed. The index, if that is pulled, has to list the manifest that was
 * chosen. -ENODATA: one of them is not at hand. */
static int read_documents(struct pass *p, struct image *i, struct error *ret_error)
{
	const struct release *target = &p->record.target;
	const struct digest *pulled = release_pulled(target);
	_cleanup_(oci_document_free) struct oci_document top = {0};
	struct image_config config = {0};
	bool found;
	int r;

	found = find_document(p, pulled, &i->top) &&
		find_document(p, &target->manifest, &i->manifest);
	if (!found)
		return error_set(ret_error, -ENODATA, "its documents are too large");
	r = oci_parse(i->manifest.text, i->manifest.n, NULL, &target->manifest, &i->content,
		      ret_error);
	if (r == 0)
		r = oci_parse(i->top.text, i->top.n, NULL, pulled, &top, ret_error);
	if (r < 0)
		return r;
	found = digest_eq(pulled, &target->manifest) && !top.is_index;
	for (size_t n = 0; n < top.n_entries; n++)
		found |= digest_eq(&top.entries[n].digest, &target->manifest);
	if (!found || i->content.is_index)
		return error_set(ret_error, -EKEYREJECTED, "%s does not list the manifest %s",
				 pulled->text, target->manifest.text);
	memcpy(i->top_type, top.media_type, sizeof(i->top_type));
	if (!find_document(p, &i->content.config, &i->config))
		return error_set(ret_error, -ENODATA, "its config is too large");
	i->running = xcalloc(OCI_LAYERS_MAX, sizeof(*i->running));
	i->n_running = candidate_running_layers(p, i->running);
	r = image_config_parse(i->config.text, i->config.n, &i->content.config, i->content.n_layers,
			       i->running, i->n_running, &config, ret_error);
	i->shared = config.shared;
	i->diff_ids = xcalloc(i->content.n_layers + 1, sizeof(*i->diff_ids));
	return r < 0 ? r
		     : image_config_diff_ids(i->config.text, i->config.n, i->diff_ids,
					     i->content.n_layers, ret_error);
}

/* --- the spool --- */

static void add_blob(struct spool_blob *blobs, size_t *n, const struct digest *d, uint64_t size,
		     bool document)
{
	for (size_t i = 0; i < *n; i++) {
		if (digest_eq(&blobs[i].digest, d))
			return;
	}
	blobs[(*n)++] = (struct spool_blob){.digest = *d, .size = size, .document = document};
}

/* Writes down what is needed, and what of it is at hand already. */
static int prepare_spool(struct pass *p, const struct image *i, struct error *ret_error)
{
	const struct load_document *documents[] = {&i->top, &i->manifest, &i->config};
	_cleanup_free_ struct spool_blob *blobs = xcalloc(SPOOL_BLOBS_MAX, sizeof(*blobs));
	size_t n = 0, n_coming;
	const struct oci_layer *coming = image_blobs(i, &n_coming);
	int r;

	for (size_t k = 0; k < ARRAY_SIZE(documents); k++)
		add_blob(blobs, &n, &documents[k]->digest, documents[k]->n, true);
	for (size_t k = 0; k < n_coming; k++)
		add_blob(blobs, &n, &coming[k].digest, coming[k].size, false);
	r = spool_need(i->spool, p->c->name, blobs, n, ret_error);
	for (size_t k = 0; r == 0 && k < ARRAY_SIZE(documents); k++)
		r = spool_put(i->spool, &documents[k]->digest, documents[k]->text, documents[k]->n,
			      ret_error);
	for (size_t k = 0; r == 0 && k < n_coming; k++) {
		if (coming[k].data)
			r = spool_put(i->spool, &coming[k].digest, coming[k].data,
				      (size_t)coming[k].size, ret_error);
	}
	return r;
}

uint64_t download_here(const struct pass *p)
{
	uint64_t bytes, of;

	spool_progress(p->task->state_dir, p->c->name, &bytes, &of);
	return bytes;
}

/* --- limits --- */

/* Nothing that defers an update defers the repair of a container that is missing. */
static bool is_urgent(const struct pass *p)
{
	return p->task->operation == OPERATION_UPDATE_NOW || digest_is_set(&p->state.saved_spec);
}

/* Until when this pass may download. */
static uint64_t slice_end(struct pass *p)
{
	struct download *d = &p->download;
	uint64_t ms = MIN(p->task->config->interval_ms, SLICE_MAX_MS);

	if (d->began_ms == 0)
		d->began_ms = now_ms();
	return d->began_ms + MAX(ms, SLICE_MIN_MS);
}

/* Until the window closes, in ms: a download outlasts the time of the last decision. */
static uint64_t window_left(const struct pass *p, struct tm *ret_local)
{
	time_t now_s = (time_t)clock_now();

	if (is_urgent(p) || now_s <= 0 || !localtime_r(&now_s, ret_local))
		return UINT64_MAX;
	return schedule_closes_ms(&p->c->download_windows, ret_local);
}

/* How long it may go on from now, in ms; 0: not at all. */
static uint64_t time_left(const struct pass *p, uint64_t end)
{
	uint64_t now = now_ms();
	struct tm local;

	return MIN(end > now ? end - now : 0, window_left(p, &local));
}

static void count_traffic(struct pass *p, int spool, bool write)
{
	struct download *d = &p->download;
	struct traffic traffic;

	fetch_traffic(p->fetch, &traffic);
	d->unwritten |= budget_add(&d->budget, &traffic, clock_now());
	if (write && d->unwritten) {
		spool_write_budget(spool, &d->budget);
		d->unwritten = false;
	}
}

static uint64_t bytes_left(const struct pass *p)
{
	return is_urgent(p) ? UINT64_MAX : budget_left(&p->download.budget, p->task->config);
}

/* --- layers --- */

struct bringing {
	struct pass *p;
	int spool;
	uint64_t written; /* traffic when the budget was written last */
};

static void on_bytes(void *userdata, uint64_t bytes)
{
	struct bringing *b = userdata;
	struct traffic now;
	bool write;

	/* What comes again grows no file, and counts. */
	fetch_traffic(b->p->fetch, &now);
	write = now.bytes < b->written || now.bytes - b->written >= FETCH_SYNC_BYTES;
	count_traffic(b->p, b->spool, write);
	if (write)
		b->written = now.bytes;
	if (b->p->pull.progress)
		b->p->pull.progress(b->p, b->p->download.before + bytes, b->p->download.of);
}

/* Brings one layer, or the patch, as far as time and budget allow. */
static int bring_layer(struct pass *p, const struct image *i, const struct oci_layer *layer,
		       struct error *ret_error)
{
	_cleanup_free_ char *image = ref_pinned(p->context.ref, &p->record.target.digest);
	uint64_t began_ms = now_ms(), slice = slice_end(p);
	struct bringing bringing = {.p = p, .spool = i->spool};
	struct fetch_blob blob = {.image = image,
				  .digest = layer->digest,
				  .size = layer->size,
				  .speed = is_urgent(p) ? 0 : p->task->config->speed,
				  .allowance = bytes_left(p),
				  .ms = time_left(p, slice),
				  .ms_whole = time_left(p, p->download.began_ms + WHOLE_MAX_MS),
				  .on_progress = on_bytes,
				  .userdata = &bringing};
	_cleanup_close_ int fd = spool_write(i->spool, &layer->digest, "", &blob.offset, ret_error);
	struct fetched got = {0};
	struct traffic before;
	int r;

	if (fd < 0)
		return fd;
	/* A file that is longer is not of this blob, and would begin again in each pass. */
	if (blob.offset > blob.size) {
		blob.offset = 0;
		if (ftruncate(fd, 0) < 0)
			return error_set(ret_error, -errno, "%s: cannot empty its file: %m",
					 layer->digest.text);
	}
	blob.fd = fd;
	got.bytes = blob.offset;
	fetch_traffic(p->fetch, &before);
	bringing.written = before.bytes;
	got.end = blob.ms == 0 ? FETCH_TIME : FETCH_ALLOWANCE;
	r = blob.ms == 0 || blob.allowance == 0 ? 0 : fetch_bring(p->fetch, &blob, &got, ret_error);
	/* The pass tells pulletd, which asks nothing of that registry until then. */
	if (got.retry_after_s > 0)
		p->state.answer.reply.retry_after_s = got.retry_after_s;
	count_traffic(p, i->spool, true);
	if (got.bytes > blob.offset) {
		p->download.came += got.bytes - blob.offset;
		p->download.took_ms += now_ms() - began_ms;
	}
	if (r == 0 && got.end == FETCH_WHOLE)
		return spool_finish(i->spool, &layer->digest, "", ret_error);
	p->download.broken = r < 0;
	if (r == 0)
		p->download.end = got.end;
	return r < 0 ? r : -EAGAIN;
}

/* An image may have a layer twice, which comes and counts once. */
static bool is_repeated(const struct oci_layer *layers, size_t k)
{
	for (size_t i = 0; i < k; i++) {
		if (digest_eq(&layers[i].digest, &layers[k].digest))
			return true;
	}
	return false;
}

/* Brings the patch, or all layers, lowest first. -EAGAIN: not yet. */
static int bring_layers(struct pass *p, const struct image *i, struct error *ret_error)
{
	struct download *d = &p->download;
	uint64_t ignored;
	size_t n;
	const struct oci_layer *coming = image_blobs(i, &n);
	int r = 0;

	spool_progress(p->task->state_dir, p->c->name, &ignored, &d->of);
	d->before = 0;
	for (size_t k = 0; r == 0 && k < n; k++) {
		const struct oci_layer *layer = &coming[k];
		_cleanup_close_ int here = -1;

		if (is_repeated(coming, k))
			continue;
		here = spool_read(i->spool, &layer->digest, "", layer->size);
		if (here < 0)
			r = bring_layer(p, i, layer, ret_error);
		d->before += layer->size;
	}
	return r;
}

static uint64_t image_bytes(const struct image *i)
{
	uint64_t bytes = 0;

	for (size_t k = i->shared; k < i->content.n_layers; k++)
		bytes += i->content.layers[k].size;
	return bytes;
}

/* Whether the layers may come where the delta failed. The link, and an engine that is restarted or full, serve it again later. A
 * damaged store says nothing of the delta: the pass repairs it, and loads once more. */
static bool is_of_delta(const struct image *i, int code, bool came, const struct error *e)
{
	if (!image_is_by_delta(i) || code == 0 || code == -ECANCELED)
		return false;
	if (!came)
		return code == -EBADMSG || code == -ENOENT || code == -EREMOTEIO ||
		       code == -EKEYREJECTED || code == -EACCES;
	return (code != -ECONNRESET && code != -ECONNREFUSED && e->origin != ERROR_STORE &&
		e->origin != ERROR_PASSING) ||
	       i->delta.tries >= DELTA_TRIES;
}

/* An engine does not pull a layer that another image has, too. What a load of this one has left may be cut: it does not count. */
static void share_with_others(struct pass *p, struct image *i)
{
	const char *const own[] = {i->content.config.text, p->record.target.manifest.text,
				   p->record.target.digest.text, NULL};
	bool doubted = digest_is_set(&p->state.saved_spec) ||
		       digest_eq(&p->record.damage.digest, &p->record.target.digest);
	size_t n;

	if (i->whole || doubted || image_is_by_delta(i) || image_bytes(i) <= DELTA_MIN)
		return;
	n = engine_count_layers(p->context.engine, i->diff_ids, i->content.n_layers, own);
	if (n <= i->shared)
		return;
	i->shared = n;
	i->by_other = true;
}

/* again: whatever an earlier load left. */
static int bring_and_load(struct pass *p, struct image *i, bool again, struct error *ret_error)
{
	bool came = false;
	int r = delta_choose(p, i, ret_error);

	if (r == 0) {
		share_with_others(p, i);
		r = prepare_spool(p, i, ret_error);
	}
	if (r == 0)
		r = bring_layers(p, i, ret_error);
	if (r < 0 && r != -EBUSY && r != -ECANCELED && p->download.broken && image_is_by_delta(i))
		delta_note_stall(i->spool, p->c->name, &i->delta, p->download.came > 0);
	if (r == 0) {
		came = true;
		r = load_image(p, i, again, ret_error);
	}
	if (!is_of_delta(i, r, came, ret_error))
		return r;
	delta_fail(p, i, ret_error);
	return bring_and_load(p, i, true, ret_error);
}

/* Why a download that is not whole ends here. fault: of the link; NULL: none. */
static void explain_pause(struct pass *p, const struct error *fault)
{
	struct download *d = &p->download;
	_cleanup_free_ char *text = NULL;
	char opens[CALENDAR_OPENING_MAX] = "", spent[128];
	const char *detail = NULL;
	struct result now = {0};
	struct tm local;

	if (fault) {
		d->waits = WAITS_LINK;
		detail = fault->text;
	} else if (d->end == FETCH_ALLOWANCE && bytes_left(p) == 0) {
		d->waits = WAITS_BUDGET;
		detail = budget_spent(&d->budget, p->task->config, spent, sizeof(spent));
	} else if (window_left(p, &local) == 0) {
		d->waits = WAITS_WINDOW;
		schedule_opens(&p->c->download_windows, &local, opens);
		detail = opens;
	} else if (d->came == 0) {
		/* A slice may be shorter than it takes to find out that the link is dead. */
		d->waits = WAITS_LINK;
		(void)snprintf(spent, sizeof(spent), "nothing came in %ju s",
			       (uintmax_t)(now_ms() - d->began_ms) / 1000);
		detail = spent;
	}
	d->again = !d->waits;
	download_note(p, &now);
	text = download_text(&now.download, detail);
	copy_text(p->state.pause, sizeof(p->state.pause), text);
}

int download_image(struct pass *p, size_t *ret_found, struct error *ret_error)
{
	_cleanup_(image_free) struct image i = {.spool = -1};
	int r;

	i.spool = spool_open(p->task->state_dir, ret_error);
	if (i.spool < 0)
		return i.spool;
	spool_read_budget(p->task->state_dir, &p->download.budget);
	r = read_documents(p, &i, ret_error);
	if (r < 0)
		return r;
	for (int n = 0; n < LOADS_MAX; n++) {
		r = bring_and_load(p, &i, n > 0, ret_error);
		if (r != -EIO && r != -ENODATA && r != -EBADMSG)
			break;
		log_warning("%s: %s; trying once more", p->c->name, ret_error->text);
		/* The engine may lack a layer that the running image has: it gets the whole image. What a cut load has
		 * left damaged is removed, and comes by the delta once more. */
		if (r != -EBADMSG && ret_error->origin != ERROR_PASSING &&
		    (n > 0 || !image_is_by_delta(&i) || ret_error->origin != ERROR_STORE)) {
			i.shared = 0;
			i.by_other = false;
			i.plain = i.whole = true;
		}
	}
	if (r == 0)
		r = spool_get_load(i.spool, p->c->name, ret_found);
	if (r != -EAGAIN && !(is_of_link(r) && p->download.broken))
		return r;
	explain_pause(p, r == -EAGAIN ? NULL : ret_error);
	return 0;
}

void download_note(const struct pass *p, struct result *ret)
{
	const struct download *d = &p->download;
	struct tm local;

	if (!download_is_spooled(p) || p->record.phase != PHASE_PREPARE || p->record.synced)
		return;
	spool_progress(p->task->state_dir, p->c->name, &ret->download.bytes, &ret->download.of);
	ret->download.plain = delta_note(p->task->state_dir, p->c->name);
	ret->download.bytes_s = d->took_ms > 0 ? d->came * 1000 / d->took_ms : 0;
	ret->download.waits = !d->waits && window_left(p, &local) == 0 ? WAITS_WINDOW : d->waits;
	ret->download.again = d->again;
}
