/* SPDX-License-Identifier: MIT */
#include "bulk-poll.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "clock.h"
#include "engine.h"
#include "hold.h"
#include "log.h"
#include "record.h"
#include "ref.h"
#include "saved-spec.h"
#include "sequence.h"
#include "survey.h"
#include "traffic.h"
#include "world.h"

#define RENEWAL_S (8 * 3600)

/* A container whose registry is asked. Its record is read again when more of it is needed, since a thousand records
 * do not fit into the memory of a small machine. */
struct asked {
	const struct container_config *config;
	struct ref ref;
	struct digest current;
	char version[VERSION_TEXT_MAX];
	bool had_error;	    /* last_error is set */
	bool waits;	    /* seen is set */
	bool held, tell;    /* nothing is taken */
	struct digest told; /* update = tell: the digest that only waits for an operator */
	bool done;
};

struct candidate {
	const struct container_config *config;
	struct digest digest; /* empty: not known */
	enum operation operation;
};

struct poll {
	const struct task *task;
	struct candidate *candidates;
	size_t n_candidates;
	struct asked *asked;
	size_t n;
	char engine[RECORD_ENGINE_MAX]; /* its version */
};

static struct result result_of(const struct container_config *c, const struct digest *from,
			       const char *version)
{
	struct result r = {
		.container = c->name, .image = c->image, .from = *from, .downtime_ms = -1};

	copy_text(r.from_version, sizeof(r.from_version), version);
	return r;
}

/* digest: NULL if it is not known. */
static void add_candidate(struct poll *p, const struct container_config *c,
			  const struct digest *digest, bool held, bool tell)
{
	struct candidate *added = &p->candidates[p->n_candidates++];

	*added = (struct candidate){.config = c,
				    .operation = held	? OPERATION_CHECK
						 : tell ? OPERATION_LOOK
							: OPERATION_UPDATE};
	if (digest)
		added->digest = *digest;
}

/* after: the names of other candidates, or NULL; taken over. */
static void report_candidate(const struct poll *p, const struct candidate *c, json_t *after)
{
	p->task->on_event(
		json_pack("{s:s, s:s, s:s, s:s*, s:o*}", "event", "candidate", "container",
			  c->config->name, "operation", operations[c->operation].name, "to",
			  digest_is_set(&c->digest) ? c->digest.text : NULL, "after", after));
}

static const struct candidate *find_candidate(const struct poll *p, size_t number)
{
	for (size_t i = 0; i < p->n_candidates; i++) {
		if (p->candidates[i].config == &p->task->config->containers[number])
			return &p->candidates[i];
	}
	return NULL;
}

/* The candidates that are updated before c. Caller owns it. */
static json_t *list_before(const struct poll *p, const struct sequence *s, size_t number)
{
	size_t n = p->task->config->n_containers;
	_cleanup_free_ bool *before = xcalloc(n, sizeof(*before));
	json_t *names = json_need(json_array());

	order_find_before(number, s->after, s->n_after, before);
	for (size_t i = 0; i < n; i++) {
		const struct candidate *c = before[i] ? find_candidate(p, i) : NULL;

		if (c && c->operation == OPERATION_UPDATE)
			json_append(names, json_string(c->config->name));
	}
	return names;
}

/* A single candidate, and quiet polls, cost no look at labels. */
static void report_candidates(const struct poll *p)
{
	struct sequence s;

	if (p->n_candidates < 2 || p->task->operation == OPERATION_CHECK) {
		for (size_t i = 0; i < p->n_candidates; i++)
			report_candidate(p, &p->candidates[i], NULL);
		return;
	}
	sequence_find(p->task, &s);
	if (s.fault)
		p->task->on_event(json_pack("{s:s, s:s}", "event", "order", "fault", s.fault));
	for (size_t i = 0; i < p->task->config->n_containers; i++) {
		const struct candidate *c = find_candidate(p, s.order[i]);

		if (c)
			report_candidate(p, c, list_before(p, &s, s.order[i]));
	}
	sequence_free(&s);
}

/* Reports the result, and saves what it says about last_error. */
static void take(const struct poll *p, const struct result *r)
{
	_cleanup_free_ struct record *record = xmalloc(sizeof(*record));
	struct error ignored;

	if (record_read(p->task->state_dir, r->container, record, &ignored) == 0)
		result_save_error(r, p->task->state_dir, record);
	p->task->on_result(r);
}

/* to: the version that waits; NULL: it is not known. A container that is held says so, and nothing else. */
static void defer(const struct poll *p, const struct asked *a, const struct digest *to,
		  const char *reason)
{
	_cleanup_free_ struct record *record = xmalloc(sizeof(*record));
	struct result r = result_of(a->config, &a->current, a->version);
	struct error ignored;

	r.outcome = OUTCOME_DEFERRED;
	if (to)
		r.to = *to;
	copy_text(r.reason, sizeof(r.reason),
		  a->held && a->config->hold ? RESULT_HELD_CONFIG : reason);
	if (a->held && !a->config->hold &&
	    record_read(p->task->state_dir, a->config->name, record, &ignored) == 0)
		hold_explain(&record->hold, r.reason, sizeof(r.reason));
	take(p, &r);
}

/* --- containers and records --- */

static const json_t *find_container(const json_t *list, const char *base, enum slot slot)
{
	_cleanup_free_ char *name = world_slot_name(base, slot);
	const json_t *container, *alias;
	size_t i, j;

	json_array_foreach (list, i, container) {
		json_array_foreach (json_object_get(container, "Names"), j, alias) {
			const char *s = json_string_value(alias);

			/* A link of another container is "/OTHER/ALIAS". */
			if (s && streq(s + (s[0] == '/'), name))
				return container;
		}
	}
	return NULL;
}

/* A container that runs, or ended well, needs no repair. */
static bool is_well(const json_t *container)
{
	const char *state = json_get_string(container, "State");
	const char *status = json_get_string(container, "Status");

	return state && (streq(state, "running") ||
			 (streq(state, "exited") && status && after_prefix(status, "Exited (0)")));
}

/* Whether the signature of what runs has expired, and nobody has asked for another one for a while. */
static bool renewal_is_due(const struct container_config *c, const struct record *record)
{
	int64_t now_s = clock_now();

	return c->keys && record_has_expired(record, now_s) &&
	       (now_s < record->renewal_s || now_s - record->renewal_s >= RENEWAL_S);
}

/* Whether only a new digest can make work. An update that waits has set seen, and its pass asks the registry, unless
 * only an operator can take it. */
static bool is_at_rest(const struct poll *p, const struct container_config *c, const json_t *list,
		       const struct record *record, bool held)
{
	const json_t *container = find_container(list, c->name, SLOT_MAIN);
	const char *image = json_get_string(container, "ImageID");
	/* The pass tells of it. */
	bool in_the_way = find_container(list, c->name, SLOT_NEXT) ||
			  find_container(list, c->name, SLOT_PREV);
	bool told = c->update == UPDATE_TELL && digest_eq(&record->told, &record->seen);

	if (!digest_is_set(&record->current.digest) || !image ||
	    !streq(image, record->current.image))
		return false;
	if (held)
		return record->phase == PHASE_IDLE || record->phase == PHASE_PREPARE;
	return record->phase == PHASE_IDLE && (!digest_is_set(&record->seen) || told) &&
	       !renewal_is_due(c, record) && is_well(container) && !in_the_way &&
	       !saved_spec_exists(p->task->state_dir, c->name);
}

/* Whether the schedule only looks. An update that an operator ordered is finished. */
static bool is_told(const struct container_config *c, const struct record *record)
{
	return c->update == UPDATE_TELL &&
	       (record->phase == PHASE_IDLE ||
		(record->phase == PHASE_PREPARE && !record->ordered && !record->rollback));
}

/* A container that is to be asked about goes to p->asked; of any other the pass tells. */
static void look_at(struct poll *p, const struct container_config *c, const json_t *list,
		    struct record *record)
{
	struct asked *a = &p->asked[p->n];
	bool check = p->task->operation == OPERATION_CHECK, held;
	const char *why;
	struct error ignored;

	record_init(record);
	(void)!record_read(p->task->state_dir, c->name, record, &ignored);
	held = !check && (c->hold || record_is_held(record, clock_now()));
	if (!is_at_rest(p, c, list, record, held) || ref_parse(c->image, &a->ref, &why) < 0) {
		/* A held container that was never looked at: the version that runs is written down. */
		bool adopt =
			held && record->phase == PHASE_IDLE && !release_is_set(&record->current);

		add_candidate(p, c, NULL, adopt, is_told(c, record));
		return;
	}
	a->config = c;
	a->current = record->current.digest;
	copy_text(a->version, sizeof(a->version), record->current.version);
	a->had_error = record->last_error[0];
	a->held = held;
	a->waits = digest_is_set(&record->seen);
	a->tell = is_told(c, record);
	a->told = a->tell && !check ? record->told : (struct digest){0};
	p->n++;
}

static int look(struct poll *p, const struct container_config *const *containers, size_t n,
		struct error *ret_error)
{
	_cleanup_free_ struct record *record = xmalloc(sizeof(*record));
	_cleanup_json_ json_t *list = NULL;
	_cleanup_engine_ struct engine *engine = NULL;
	int r = engine_open(p->task->config->engine, p->task->cancel, &engine, ret_error);

	if (r < 0)
		return r;
	copy_text(p->engine, sizeof(p->engine), engine_version(engine)->release);
	/* Without a list each container becomes a candidate, whose pass needs no list. */
	if (engine_list(engine, NULL, &list, ret_error) < 0)
		log_debug("%s", ret_error->text);
	else
		survey_tell_unfollowed(p->task, list);
	for (size_t i = 0; i < n; i++)
		look_at(p, containers[i], list, record);
	return 0;
}

/* --- registries --- */

/* What the signal ended, which is no failure. */
static const struct error stopped = {.code = -ECANCELED, .text = "stopped"};

static void take_failure(const struct poll *p, const struct asked *a, const struct error *e)
{
	struct result r = result_of(a->config, &a->current, a->version);

	if (a->held && !*p->task->cancel) {
		defer(p, a, NULL, "");
		return;
	}
	result_set_error(&r, *p->task->cancel ? &stopped : e);
	/* A certificate is not valid yet while the clock is behind. */
	if (e->code == -EPROTO && clock_now() == 0) {
		r.outcome = OUTCOME_DEFERRED;
		(void)snprintf(r.reason, sizeof(r.reason), RESULT_CLOCK_NOT_SET ": %.740s",
			       e->text);
	}
	take(p, &r);
}

static void take_digest(struct poll *p, const struct asked *a, const struct digest *d)
{
	_cleanup_free_ struct record *record = xmalloc(sizeof(*record));
	struct result r = result_of(a->config, &a->current, a->version);
	bool same = digest_eq(d, &a->current);
	const char *x = NULL;
	struct error ignored;

	if (!same && record_read(p->task->state_dir, a->config->name, record, &ignored) == 0)
		x = record_rejected(record, d, p->engine);
	r.to = *d;
	if (same)
		copy_text(r.to_version, sizeof(r.to_version), a->version);
	r.outcome = x ? OUTCOME_REFUSED : OUTCOME_UP_TO_DATE;
	if (x)
		(void)snprintf(r.reason, sizeof(r.reason), RESULT_REJECTED, x);
	if (a->held && !(same && a->waits)) {
		defer(p, a, x ? &a->current : d, "");
	} else if (x) {
		take(p, &r);
	} else if (same && !a->had_error && !a->waits) {
		p->task->on_result(&r);
	} else if (!same && digest_eq(d, &a->told)) {
		(void)snprintf(r.reason, sizeof(r.reason), RESULT_TELL "pullet update %s takes it",
			       a->config->name);
		defer(p, a, d, r.reason);
	} else {
		add_candidate(p, a->config, d, a->held, a->tell);
	}
}

/* Asks for n images of one registry, and takes the answers if there are any. */
static int ask(struct poll *p, struct fetch *f, struct asked *const *batch, size_t n,
	       unsigned int *ret_wait_s, struct error *ret_error)
{
	_cleanup_free_ const char **images = xcalloc(n, sizeof(*images));
	_cleanup_free_ struct fetch_resolved *resolved = xcalloc(n, sizeof(*resolved));
	int r;

	for (size_t i = 0; i < n; i++)
		images[i] = batch[i]->config->image;
	r = fetch_resolve(f, images, n, resolved, ret_error);
	for (size_t i = 0; r == 0 && i < n; i++) {
		batch[i]->done = true;
		if (resolved[i].error.code == 0) {
			take_digest(p, batch[i], &resolved[i].digest);
			continue;
		}
		if (resolved[i].retry_after_s > *ret_wait_s)
			*ret_wait_s = resolved[i].retry_after_s;
		take_failure(p, batch[i], &resolved[i].error);
	}
	return r;
}

/* Asks for one container first: a registry that sends Retry-After gets no request for the others. */
static void ask_registry(struct poll *p, struct asked **batch, size_t n)
{
	_cleanup_fetch_ struct fetch *f = fetch_new(&p->task->fetch, batch[0]->ref.host);
	char reason[RECORD_TEXT_MAX];
	unsigned int wait_s = 0;
	struct error e;
	int r = ask(p, f, batch, 1, &wait_s, &e);

	if (r == 0 && wait_s == 0 && n > 1)
		r = ask(p, f, batch + 1, n - 1, &wait_s, &e);
	if (wait_s > 0)
		p->task->on_event(json_pack("{s:s, s:s, s:i}", "event", "retry-after", "registry",
					    batch[0]->ref.host, "seconds", (int)wait_s));
	(void)snprintf(reason, sizeof(reason), RESULT_RETRY_AFTER, batch[0]->ref.host,
		       (uint64_t)wait_s);
	for (size_t i = 0; i < n; i++) {
		if (batch[i]->done)
			continue;
		batch[i]->done = true;
		if (r < 0)
			take_failure(p, batch[i], &e);
		else
			defer(p, batch[i], NULL, reason);
	}
	traffic_tell(p->task, f);
}

static void ask_registries(struct poll *p)
{
	_cleanup_free_ struct asked **batch = xcalloc(p->n, sizeof(*batch));

	for (size_t i = 0; i < p->n; i++) {
		size_t n = 0;

		if (p->asked[i].done)
			continue;
		for (size_t j = i; j < p->n; j++) {
			if (streq(p->asked[j].ref.host, p->asked[i].ref.host))
				batch[n++] = &p->asked[j];
		}
		if (*p->task->cancel)
			take_failure(p, &p->asked[i], &stopped);
		else
			ask_registry(p, batch, n);
	}
}

int bulk_poll_run(const struct task *task, const struct container_config *const *containers,
		  size_t n, struct error *ret_error)
{
	struct poll p = {
		.task = task,
		.candidates = xcalloc(n, sizeof(*p.candidates)),
		.asked = xcalloc(n, sizeof(*p.asked)),
	};
	bool poll = task->operation == OPERATION_POLL || task->operation == OPERATION_CHECK;
	int r = poll ? look(&p, containers, n, ret_error) : 0;

	/* An operator ordered these: only their order is asked for. */
	for (size_t i = 0; !poll && i < n; i++)
		add_candidate(&p, containers[i], NULL, false, false);
	if (r == 0)
		ask_registries(&p);
	if (r == 0)
		report_candidates(&p);
	for (size_t i = 0; i < p.n; i++)
		ref_free(&p.asked[i].ref);
	free(p.asked);
	free(p.candidates);
	return r;
}
