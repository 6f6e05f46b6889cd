/* SPDX-License-Identifier: MIT */
/* Not every device at once, and not at any time: what stands between news and taking it. */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "calendar.h"
#include "cohort.h"
#include "clock.h"
#include "device.h"
#include "log.h"
#include "pass-internal.h"
#include "schedule.h"

#define POLICY_FRESH_MS 60000 /* a download that took longer asks again before the swap */

static const struct tm *local_time(int64_t now_s, struct tm *buf)
{
	time_t t = (time_t)now_s;

	return now_s > 0 ? localtime_r(&t, buf) : NULL;
}

void pass_announce_retry_after(struct pass *p, unsigned int seconds)
{
	json_t *event;

	if (seconds == 0)
		return;
	event = json_pack("{s:s, s:s, s:i}", "event", "retry-after", "container", p->c->name,
			  "seconds", (int)seconds);
	p->o->on_event(event);
	json_decref(event);
}

/* Since when this device knows of it: an image's own date is what its builder wrote, 1970 for one that
 * can be built again. */
static int check_age(struct pass *p, const struct digest *d, struct error *ret_error)
{
	struct record *r = &p->record;
	int64_t now_s = clock_now(), from_s;
	char text[32];
	int q = 0;

	if (p->c->min_age_ms == 0)
		return 0;
	if (now_s == 0) {
		pass_finish(p, OUTCOME_DEFERRED, "the clock is not set, and min-age goes by it");
		return 1;
	}
	if (!digest_eq(&r->seen, d) || r->seen_s == 0 || r->seen_s > now_s) {
		r->seen = *d;
		r->seen_s = now_s;
		q = pass_save(p, ret_error);
	}
	from_s = r->seen_s + (int64_t)(p->c->min_age_ms / 1000);
	if (q < 0 || now_s >= from_s)
		return q;
	pass_finish(p, OUTCOME_DEFERRED, "min-age: it is taken from %s on",
		    calendar_rfc3339(from_s, text, sizeof(text)));
	return 1;
}

/* A policy that was seen counts from then on: what is older is a replay, whoever plays it. */
static int note_sequence(struct pass *p, const struct rollout *policy, struct error *ret_error)
{
	if (policy->sequence <= p->record.rollout_sequence)
		return 0;
	p->record.rollout_sequence = policy->sequence;
	return pass_save(p, ret_error);
}

static int obey(struct pass *p, const struct rollout *policy, const struct digest *d,
		struct error *ret_error)
{
	struct rollout_device device = {
		.version = PULLET_VERSION,
		.position = COHORT_ALL - 1, /* who has no name comes last */
		.sequence = p->record.rollout_sequence,
		.digest = *d,
		.now_s = clock_now(),
	};
	char id[DEVICE_ID_SIZE], why[300];
	int r = note_sequence(p, policy, ret_error);

	if (r < 0)
		return r;
	device_id(p->o->config->device_id, id);
	if (id[0])
		device.position = cohort_position(id, d);
	if (rollout_admits(policy, &device, why, sizeof(why)))
		return 0;
	pass_finish(p, OUTCOME_DEFERRED, "%s", why);
	return 1;
}

/* What the fleet's owner says, beside the image. When that cannot be read nothing is taken: it may say
 * to stop. */
static int check_policy(struct pass *p, const struct digest *d, struct error *ret_error)
{
	const struct rollout_request request = {.image = p->c->image, .ring = p->o->config->ring};
	struct rollout_reply reply;
	int r;

	if (p->c->rollout == ROLLOUT_NO || digest_is_set(&p->ref.digest))
		return 0;
	if (digest_eq(d, &p->admitted) && now_ms() - p->admitted_ms <= POLICY_FRESH_MS)
		return 0;
	r = fetch_ask_rollout(p->fetch, &request, &reply, ret_error);
	if (r == -ECANCELED)
		return r;
	if (r < 0) {
		pass_announce_retry_after(p, reply.retry_after_s);
		pass_finish(p, OUTCOME_DEFERRED, "the rollout policy cannot be had: %s",
			    ret_error->text);
		return 1;
	}
	if (reply.found)
		r = obey(p, &reply.rollout, d, ret_error);
	else if (p->c->rollout == ROLLOUT_REQUIRED) {
		pass_finish(p, OUTCOME_DEFERRED,
			    "rollout = required, and there is no policy beside %s", p->c->image);
		r = 1;
	}
	if (r == 0) {
		p->admitted = *d;
		p->admitted_ms = now_ms();
	}
	return r;
}

int pass_may_take(struct pass *p, const struct digest *d, struct error *ret_error)
{
	int r = check_age(p, d, ret_error);

	return r == 0 ? check_policy(p, d, ret_error) : r;
}

int pass_may_download(struct pass *p)
{
	const char *why;
	struct tm buf;

	if (schedule_download(p->c, local_time(clock_now(), &buf), &why))
		return 0;
	pass_finish(p, OUTCOME_DEFERRED, "%s", why);
	return 1;
}

int pass_open_gate(struct pass *p, struct error *ret_error)
{
	const char *why = NULL;
	struct tm buf;
	int r = 0;

	/* What is down waits for no window. */
	p->state.gate_open =
		p->act.saved_plan || schedule_gate(p->c, local_time(clock_now(), &buf), &why);
	if (!p->state.gate_open) {
		pass_finish(p, OUTCOME_DEFERRED, "%s", why);
		return 0;
	}
	if (digest_is_set(&p->admitted))
		r = check_policy(p, &p->record.target.digest, ret_error);
	p->state.gate_open = r == 0;
	return r < 0 ? r : 0;
}
