/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/random.h>

#include "clock.h"
#include "device.h"
#include "hold.h"
#include "log.h"
#include "ref.h"
#include "schedule.h"

/* The shortest time between checks of one container by a client that is not root. */
#define CHECK_EACH_MS  30000
#define SLICE_LEAST_MS 10000
#define RATE_SPAN_MS   1000 /* a shorter one says nothing of the link */
/* The poll after an hour may come a little early. */
#define UNSIGNED_MS ((uint64_t)55 * 60 * 1000)

struct unit *unit_find(const struct unit_table *t, const char *name)
{
	for (size_t i = 0; name && i < t->n; i++) {
		if (streq(t->units[i].config->name, name))
			return &t->units[i];
	}
	return NULL;
}

struct registry_state *unit_find_registry(const struct unit_table *t, const char *host)
{
	for (size_t i = 0; host && i < t->n_registries; i++) {
		if (streq(t->registries[i].host, host))
			return &t->registries[i];
	}
	return NULL;
}

/* There are no more registries than containers, so the array never moves. */
static struct registry_state *add_registry(struct unit_table *t, const char *image)
{
	struct registry_state *r;
	struct ref ref;
	const char *why;

	/* The configuration was checked. */
	if (ref_parse(image, &ref, &why) < 0)
		abort();
	r = unit_find_registry(t, ref.host);
	if (!r) {
		r = &t->registries[t->n_registries++];
		r->host = xstrdup(ref.host);
	}
	ref_free(&ref);
	return r;
}

void unit_table_clear(struct unit_table *t)
{
	for (size_t i = 0; i < t->n; i++) {
		free(t->units[i].last_result);
		free(t->units[i].error);
		free(t->units[i].available);
		free(t->units[i].available_version);
		free(t->units[i].step);
		free(t->units[i].refusal);
	}
	for (size_t i = 0; i < t->n_registries; i++)
		free(t->registries[i].host);
	free(t->units);
	free(t->registries);
	config_free(t->config);
	free(t->fault);
	json_decref(t->unfollowed);
	*t = (struct unit_table){0};
}

static uint64_t find_device(const struct config *config)
{
	char id[DEVICE_ID_SIZE];
	uint64_t n = 0;

	device_id(config->device_id, id);
	if (id[0])
		return device_number(id);
	/* Without a machine id the place in the interval is random. */
	if (getrandom(&n, sizeof(n), 0) < 0)
		n = (uint64_t)getpid();
	return n;
}

/* The operation that runs goes on, whatever the configuration says now. */
static void inherit(struct unit *u, struct unit *old)
{
	u->operation = old->operation;
	u->under_way = old->under_way;
	u->half_way = old->half_way;
	u->urgent = old->urgent;
	u->current = old->current;
	u->total = old->total;
	u->step = steal(old->step);
	u->step_began_ms = old->step_began_ms;
	u->step_ms = old->step_ms;
	u->began_ms = old->began_ms;
	u->began = old->began;
	/* What the record says is about the image before. */
	if (!streq(u->config->image, old->config->image)) {
		u->error = xstrdup("");
		return;
	}
	u->download = old->download;
	u->continued = old->continued;
	u->last_result = steal(old->last_result);
	u->error = steal(old->error);
	u->available = steal(old->available);
	u->available_version = steal(old->available_version);
}

void unit_table_load(struct unit_table *t, struct config *config)
{
	struct unit_table before = *t;

	*t = (struct unit_table){.config = config,
				 .unfollowed = steal(before.unfollowed),
				 .traffic_known = before.traffic_known,
				 .traffic_day = before.traffic_day,
				 .traffic_month = before.traffic_month};
	t->device = find_device(config);
	t->n = config->n_containers;
	t->units = xcalloc(t->n, sizeof(*t->units));
	t->registries = xcalloc(t->n, sizeof(*t->registries));
	for (size_t i = 0; i < t->n; i++) {
		const struct container_config *c = &config->containers[i];
		struct unit *old;

		t->units[i] = (struct unit){
			.config = c, .registry = add_registry(t, c->image), .operation = ""};
		tally_init(&t->units[i].tally, now_ms());
		old = unit_find(&before, c->name);
		t->units[i].is_new = before.config && !old;
		if (old)
			inherit(&t->units[i], old);
	}
	unit_table_clear(&before);
}

void unit_table_take_traffic(struct unit_table *t, const json_t *event)
{
	t->traffic_known = true;
	t->traffic_day = (uint64_t)json_integer_value(json_object_get(event, "day"));
	t->traffic_month = (uint64_t)json_integer_value(json_object_get(event, "month"));
}

uint64_t registry_held_until(const struct registry_state *r)
{
	return r->retry_after_ms > r->back_off_ms ? r->retry_after_ms : r->back_off_ms;
}

void registry_hold(const struct unit_table *t, const struct unit *u, const json_t *event,
		   uint64_t now_ms)
{
	struct registry_state *r =
		u ? u->registry : unit_find_registry(t, json_get_string(event, "registry"));
	json_int_t seconds = json_integer_value(json_object_get(event, "seconds"));

	if (r && seconds > 0)
		r->retry_after_ms = now_ms + (uint64_t)seconds * 1000;
}

/* A candidate that was not taken is shown until something else is known. */
static void note_available(struct unit *u, const json_t *result)
{
	const char *from = json_get_string(result, "from"), *to = json_get_string(result, "to");
	const char *version = json_get_string(result, "version_to");
	enum outcome outcome = result_outcome(result);
	bool waits = outcome == OUTCOME_DEFERRED && to && !streq_null(from, to);

	/* A pass that did not get as far as the candidate says nothing of it. */
	if (outcome == OUTCOME_FAILED || (outcome == OUTCOME_DEFERRED && !to))
		return;
	/* A pass that ended before it read the image again has no version of it. */
	if (!waits || version || !streq_null(to, u->available))
		replace_string(&u->available_version, waits ? version : NULL);
	replace_string(&u->available, waits ? to : NULL);
}

/* What a retry frees is taken by the next poll. False: what is wrong has nothing to do with it. */
static bool note_retry(struct unit *u)
{
	_cleanup_json_ json_t *last = NULL;
	const char *text = u->last_result ? u->last_result : "", *to, *reason;
	enum outcome outcome;
	struct error ignored;

	(void)!json_parse(text, strlen(text), "result", &last, &ignored);
	outcome = result_outcome(last);
	to = json_get_string(last, "to");
	reason = json_get_string(last, "reason");
	if (outcome == OUTCOME_FAILED && !after_prefix(reason ? reason : "", RESULT_STORE_DAMAGED))
		return false;
	if (result_is_bad(last) && to && !streq_null(json_get_string(last, "from"), to))
		replace_string(&u->available, to);
	return true;
}

/* An order that writes the record asks neither the engine nor the registry: what is wrong stays wrong. */
static bool note_order(struct unit *u, enum operation operation)
{
	bool failing = u->error && u->error[0];

	if (operation == OPERATION_RETRY && note_retry(u)) {
		replace_string(&u->error, NULL);
		return true;
	}
	return !failing;
}

const char *unit_error(const struct unit_table *t, const struct unit *u, const struct record *r)
{
	return t->fault ? t->fault : u->error ? u->error : r->last_error;
}

const char *unit_target(const struct unit *u, const struct record *r)
{
	/* After a start the record knows what waited. */
	const char *waits = u->available ? u->available : u->error ? "" : r->seen.text;

	return r->phase != PHASE_IDLE ? r->target.digest.text : waits;
}

const char *unit_target_version(const struct unit *u, const struct record *r)
{
	return r->phase != PHASE_IDLE ? r->target.version : u->available_version;
}

static bool is_step(const struct unit *u, const char *step)
{
	return u->step && streq(u->step, step);
}

/* What the engine is given, and what is made for it, does not come over the link. */
static bool is_local(const char *step)
{
	return streq_null(step, STEP_LOAD) || streq_null(step, STEP_REBUILD);
}

/* Each of these steps counts bytes of its own. */
void unit_set_step(struct unit *u, const char *text, uint64_t began_ms, uint64_t ms)
{
	if (!streq_null(text, u->step) &&
	    (is_step(u, STEP_DOWNLOAD) || is_local(u->step) || is_local(text)))
		u->current = u->total = u->plain = 0;
	if (is_local(text))
		u->download = (struct download_state){0};
	replace_string(&u->step, text);
	u->step_began_ms = began_ms;
	u->step_ms = ms;
}

void unit_set_progress(struct unit *u, uint64_t current, uint64_t total, uint64_t now_ms)
{
	bool first = u->total == 0;

	if (first || current < u->began) {
		u->began_ms = now_ms;
		u->began = current;
	}
	/* What came before this pass was counted then. */
	if (!is_local(u->step) && !(first && is_step(u, STEP_DOWNLOAD)))
		tally_bytes(&u->tally, u->current, current);
	u->current = current;
	u->total = total;
}

struct download_state unit_download(const struct unit *u, uint64_t now_ms)
{
	struct download_state d = u->download;
	uint64_t ms = now_ms > u->began_ms ? now_ms - u->began_ms : 0;

	if (is_step(u, STEP_DOWNLOAD) && u->total)
		d = (struct download_state){
			.bytes = u->current,
			.of = u->total,
			.plain = u->plain,
			.bytes_s = ms < RATE_SPAN_MS ? d.bytes_s
						     : (uint64_t)((double)(u->current - u->began) *
								  1000 / (double)ms)};
	else if (u->operation[0] && !u->continued)
		d = (struct download_state){0};
	return d;
}

bool unit_goes_on(const struct unit *u, const json_t *result, uint64_t pass_ms)
{
	struct download_state d = result_download(result);

	return d.again &&
	       (pass_ms >= SLICE_LEAST_MS || !u->continued || d.bytes > u->download.bytes);
}

bool unit_take_slice(struct unit *u, const json_t *result, uint64_t now_ms)
{
	bool first = !u->continued;

	u->continued = true;
	u->half_way = u->urgent = false;
	u->download = result_download(result);
	u->tally.contact_ms = now_ms;
	replace_string(&u->error, "");
	note_available(u, result);
	return first;
}

void unit_note_half_way(struct unit *u, const json_t *result)
{
	bool broken = result_outcome(result) == OUTCOME_FAILED ||
		      streq_null(result_download(result).waits, WAITS_LINK);

	u->half_way = broken && (u->under_way || u->half_way || u->continued);
}

/* A download that waits for the same as before has other numbers at most. */
static bool waits_as_before(const struct unit *u, const json_t *result)
{
	const char *waits = result_download(result).waits;

	return waits && streq_null(waits, u->download.waits) &&
	       streq_null(json_get_string(result, "to"), u->available);
}

bool unit_take_result(struct unit *u, const json_t *result, enum operation operation,
		      uint64_t now_ms, uint64_t pass_ms)
{
	_cleanup_free_ char *text = json_text(result, JSON_COMPACT);
	const char *reason = json_get_string(result, "reason"), *error;
	enum outcome outcome = result_outcome(result);
	bool asked = operation == OPERATION_CHECK || operation == OPERATION_POLL ||
		     operation == OPERATION_LOOK || operation_is_update(operation);
	bool changed = !streq_null(text, u->last_result) && !waits_as_before(u, result);

	/* Such an order asks no registry, and one that failed changed nothing. */
	if (!operations[operation].record_only)
		tally_result(&u->tally, result, now_ms, pass_ms);
	else if (outcome == OUTCOME_FAILED)
		return changed;
	error = result_error(outcome, reason ? reason : "");
	/* A rollback that is refused answers the operator, and changes nothing. */
	if (operation == OPERATION_ROLLBACK && outcome == OUTCOME_REFUSED)
		error = NULL;
	if (operations[operation].record_only ? !note_order(u, operation) : !error)
		return changed;
	u->checked_ms = asked ? now_ms : 0;
	replace_string(&u->last_result, text);
	if (operations[operation].record_only)
		return changed;
	replace_string(&u->error, error);
	/* A look at the registry ends no download that waits or has its turn later. */
	if (outcome != OUTCOME_DEFERRED || operation_is_update(operation) ||
	    operation == OPERATION_FINISH || result_download(result).of) {
		u->download = result_download(result);
		u->continued = false;
	}
	note_available(u, result);
	return changed;
}

/* The digest in a result; NULL: none. Caller frees. */
static char *find_target(const char *result)
{
	_cleanup_json_ json_t *j = NULL;
	const char *to;
	struct error ignored;

	if (!result || json_parse(result, strlen(result), "result", &j, &ignored) < 0)
		return NULL;
	to = json_get_string(j, "to");
	return to ? xstrdup(to) : NULL;
}

void unit_note_refusal(struct unit *u, const json_t *result, uint64_t now)
{
	const char *to = json_get_string(result, "to"), *reason = json_get_string(result, "reason");
	_cleanup_free_ char *before = find_target(u->refusal), *text = NULL;
	uint64_t wait_ms;

	if (result_outcome(result) == OUTCOME_REFUSED && to && reason &&
	    after_prefix(reason, RESULT_SIGNATURE ": "))
		text = json_text(result, JSON_COMPACT);
	replace_string(&u->refusal, text);
	if (!streq_null(to, before))
		u->refused_ms = now;
	wait_ms = (now - u->refused_ms) / 2;
	u->refused_until_ms = now + (wait_ms < UNSIGNED_MS ? wait_ms : UNSIGNED_MS);
}

json_t *unit_repeat_refusal(const struct unit *u, const struct job *job, uint64_t now)
{
	const char *to = json_get_string(job->candidate, "to");
	_cleanup_free_ char *refused = u ? find_target(u->refusal) : NULL;
	json_t *result = NULL;
	struct error ignored;

	if (refused && streq_null(to, refused) && now < u->refused_until_ms && !job->requested &&
	    job->operation != OPERATION_CHECK)
		(void)!json_parse(u->refusal, strlen(u->refusal), "result", &result, &ignored);
	return result;
}

int unit_read_record(const struct unit *u, const char *state_dir, struct record *ret)
{
	/* Without the directory no record can be opened. */
	_cleanup_close_ int dir = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct error e;
	int r;

	record_init(ret);
	r = record_read(dir, u->config->name, ret, &e);
	if (r < 0)
		log_debug("%s: %s", u->config->name, e.text);
	return r;
}

char *unit_held(const struct unit *u, const char *state_dir)
{
	_cleanup_free_ struct record *record = xmalloc(sizeof(*record));
	char text[RECORD_TEXT_MAX];

	(void)unit_read_record(u, state_dir, record);
	if (u->config->hold)
		return xstrdup(RESULT_HELD_CONFIG);
	if (!record_is_held(record, clock_now()))
		return NULL;
	hold_explain(&record->hold, text, sizeof(text));
	return xstrdup(text);
}

char *unit_answer(const struct unit *u, enum operation operation, bool privileged, uint64_t now)
{
	uint64_t until = u->registry->retry_after_ms;
	bool check = operation == OPERATION_CHECK;

	if (!check && (!operation_is_update(operation) || privileged))
		return NULL;
	if (now < until) {
		_cleanup_free_ char *reason = xasprintf(RESULT_RETRY_AFTER, u->registry->host,
							(until - now + 999) / 1000);
		_cleanup_json_ json_t *j = result_make(u->config->name, u->config->image,
						       OUTCOME_DEFERRED, NULL, reason);

		return json_text(j, JSON_COMPACT);
	}
	if (check && !privileged && u->last_result && u->checked_ms &&
	    now < u->checked_ms + CHECK_EACH_MS)
		return xstrdup(u->last_result);
	return NULL;
}

/* A lost record is rebuilt from the engine, where an update may be under way. */
void round_queue_unfinished(const struct unit_table *t, const char *state_dir, struct job_queue *q)
{
	_cleanup_free_ struct record *record = xmalloc(sizeof(*record));

	for (size_t i = 0; i < t->n; i++) {
		const struct unit *u = &t->units[i];

		if (unit_read_record(u, state_dir, record) < 0 || record->phase != PHASE_IDLE)
			job_append(q, OPERATION_FINISH, false, u->config->name);
	}
}

void round_queue_poll(struct unit_table *t, uint64_t now_ms, struct job_queue *q)
{
	struct job *job = NULL;

	for (size_t i = 0; i < t->n; i++) {
		struct unit *u = &t->units[i];

		if (now_ms < registry_held_until(u->registry))
			continue;
		u->registry->polled = true;
		u->registry->failed = false;
		if (job)
			job_add(job, u->config->name);
		else
			job = job_append(q, OPERATION_POLL, false, u->config->name);
	}
}

/* While the registry accepts no request, only the part that needs none is finished. */
void round_queue_half_way(const struct unit_table *t, uint64_t now_ms, struct job_queue *q)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct unit *u = &t->units[i];
		enum operation operation = OPERATION_UPDATE;

		if (now_ms < u->registry->retry_after_ms)
			operation = OPERATION_FINISH;
		else if (u->urgent)
			operation = OPERATION_UPDATE_NOW;
		else if (u->config->update == UPDATE_TELL)
			operation = OPERATION_POLL; /* the record knows what was ordered */
		if (u->half_way)
			(void)job_append(q, operation, false, u->config->name);
	}
}

void round_queue_once(struct unit_table *t, const char *const *names, bool now, struct job_queue *q)
{
	enum operation operation = now ? OPERATION_UPDATE_NOW : OPERATION_POLL;

	if (!now && !names[0])
		round_queue_poll(t, now_ms(), q);
	for (const char *const *name = names; *name; name++)
		job_join(q, operation, *name);
	for (size_t i = 0; now && !names[0] && i < t->n; i++)
		job_join(q, operation, t->units[i].config->name);
}

void round_queue_new(const struct unit_table *t, struct job_queue *q)
{
	struct job *job = NULL;

	for (size_t i = 0; i < t->n; i++) {
		const char *name = t->units[i].config->name;

		if (!t->units[i].is_new)
			continue;
		if (job)
			job_add(job, name);
		else
			job = job_append(q, OPERATION_CHECK, false, name);
	}
}

void round_end(struct unit_table *t, uint64_t now_ms)
{
	const struct config *c = t->config;

	for (size_t i = 0; i < t->n_registries; i++) {
		struct registry_state *r = &t->registries[i];

		if (!r->polled)
			continue;
		r->failures = r->failed ? r->failures + 1 : 0;
		r->back_off_ms = r->failures > 1
					 ? schedule_retry_poll(now_ms, r->failures, c->interval_ms,
							       c->jitter_percent, t->device)
					 : 0;
		r->polled = r->failed = false;
	}
}

uint64_t round_next(const struct unit_table *t, uint64_t now_ms)
{
	const struct config *c = t->config;
	uint64_t from = UINT64_MAX;

	for (size_t i = 0; i < t->n_registries; i++) {
		uint64_t held = registry_held_until(&t->registries[i]);

		from = held < from ? held : from;
	}
	/* The end of a back-off is a place in the schedule itself. */
	from = from == UINT64_MAX || from <= now_ms ? now_ms : from - 1;
	return schedule_next_poll(from, c->interval_ms, c->jitter_percent, t->device);
}
