/* SPDX-License-Identifier: MIT */
/* plan-agree: asks the code about the model's states. Included by the verifier that spin makes of plan.pml, so
 * that in every state the real plan_next(), plan_decide() and plan_recover() can be asked for their opinion.
 * Also prints a state for people. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan.h"

extern int readtrail; /* of the verifier: it shows what it found */

static struct {
	struct record r;
	struct world w;
	struct pass_state m;
	struct container_config c;
} real;

static const char *const policies[] = {"no", "always", "unless-stopped", "on-failure"};
static const char *const images[] = {"image-old", "image-new", "", "image-older"};
static const char *const digests[] = {"sha256:old", "sha256:new", "", "sha256:older"};

static int from_environment(const char *name)
{
	const char *text = getenv(name);

	return text ? atoi(text) : 0;
}

static void set_id(char *id, int box)
{
	id[0] = box == 6 ? '\0' : (char)('a' + box);
	id[1] = '\0';
}

static void view(struct container_view *v, int i)
{
	v->id[0] = '\0';
	v->state = STATE_CREATED;
	v->slot = SLOT_MAIN;
	v->image[0] = v->policy[0] = v->target.text[0] = v->final_policy[0] = '\0';
	if (now.box[i].state == 5)
		return;
	set_id(v->id, i);
	v->state = (enum container_state)now.box[i].state;
	v->slot = (enum slot)now.box[i].slot;
	v->exit_code = now.box[i].ok ? 0 : 1;
	strcpy(v->image, i < 3 ? images[now.box[i].image] : "image-follower");
	strcpy(v->policy, policies[now.box[i].policy]);
	if (!now.box[i].ours)
		return;
	strcpy(v->target.text, digests[now.box[i].image]);
	strcpy(v->final_policy, policies[now.own_policy]);
}

/* plan_decide() has written to it since. */
static void clear_record(struct record *r)
{
	r->target = r->current = r->previous = (struct release){0};
	r->damage = (struct damage){0};
	r->seen = (struct digest){0};
	r->signed_candidate = (struct signed_candidate){0};
	r->n_sequences = 0;
	r->last_error[0] = '\0';
	/* The model has no sequences: this state neither changes nor stands for a policy. */
	strcpy(r->rollout_state, ROLLOUT_LOST);
}

static void fill_record(struct record *r)
{
	clear_record(r);
	r->phase = (enum phase)now.phase;
	strcpy(r->target.digest.text, digests[now.target]);
	r->target.brought = now.target_brought;
	strcpy(r->current.digest.text, digests[now.current]);
	r->current.brought = now.current_brought;
	strcpy(r->current.image, images[now.current]);
	strcpy(r->previous.digest.text, digests[now.previous]);
	r->previous.brought = now.previous_brought;
	strcpy(r->previous.image, images[now.previous]);
	r->synced = now.synced;
	strcpy(r->boot_id, now.doubted ? "" : now.same_boot ? "boot" : "boot before");
	set_id(r->old_id, now.old_id[0]);
	set_id(r->new_id, now.new_id[0]);
	strcpy(r->policy, policies[now.policy_of[0]]);
	r->serving = now.serving[0];
	r->starts = now.starts;
	r->rollback = now.rollback;
	r->reject_target = now.reject_target;
	r->n_followers = now.followed;
	set_id(r->followers[0].old_id, now.old_id[1]);
	set_id(r->followers[0].new_id, now.new_id[1]);
	strcpy(r->followers[0].policy, policies[now.policy_of[1]]);
	r->followers[0].serving = now.serving[1];
	r->n_rejected = r->n_rejected_before = 0;
	r->disturbed = (struct disturbed){0}; /* times are not in the model */
	r->deferred.times = now.put_off;
	strcpy(r->deferred.digest.text, now.put_off ? digests[1] : "");
	strcpy(r->signed_candidate.digest.text, now.noted ? digests[!now.back] : "");
	r->signed_candidate.pulled = r->signed_candidate.digest;
	for (int i = 0; i < 2; i++) {
		if (now.rejected[i])
			strcpy(r->rejected[r->n_rejected++].digest.text, digests[i]);
	}
}

static void fill_world(struct world *w)
{
	view(&w->old, now.old_one[0]);
	view(&w->new, now.new_one[0]);
	view(&w->followers[0].old, now.old_one[1]);
	view(&w->followers[0].new, now.new_one[1]);
	view(&w->blocker, now.another);
	strcpy(w->image, now.target == 1 && now.new_here ? images[1] : "");
	strcpy(w->tag, images[now.tag]);
	strcpy(w->previous_image, images[now.kept]);
	w->older_present = now.older_here && now.previous == 3 && now.previous_brought;
	strcpy(w->boot_id, "boot");
}

static void fill_memory(struct pass_state *m)
{
	for (int i = 0; i < 2; i++) {
		m->member[i].created = now.created[i];
		m->member[i].started_new = now.started_new[i];
		m->member[i].started_old = now.started_old[i];
		set_id(m->member[i].created_from, now.created_from[i]);
	}
	m->member[0].restart_due = now.restart_due;
	m->fetched = now.fetched;
	m->untrusted = now.untrusted;
	m->dropped = now.dropped;
	m->counted = now.counted;
	m->drop_tried = now.drop_tried;
	m->older_tried = now.older_tried;
	m->verdict = (enum verdict)now.verdict;
}

static void fill_facts(struct container_config *c, struct pass_state *m)
{
	static struct window never_open;
	const struct container_view *old = &real.w.old;
	const char *answer = digests[!now.back];

	c->create = now.first ? (char *)"create.json" : NULL;
	c->hold = now.obstacle == 1;
	c->min_age_ms = now.obstacle == 3; /* while the clock is not set */
	c->download_windows = (struct window_list){&never_open, now.obstacle == 4};
	c->windows = (struct window_list){&never_open, now.obstacle == 5};
	c->hooks[HOOK_BEFORE].unit = c->hooks[HOOK_HEALTH].unit = c->hooks[HOOK_AFTER].unit =
		now.own_policy == 1 ? (char *)"hook.service" : NULL;
	c->before_deferrals = now.obstacle > 6;
	c->before_then = now.obstacle == 8 ? HOOK_GIVE_UP : HOOK_GO_ON;
	m->before = (struct hook_answer){.asked = now.before_asked,
					 .final = now.obstacle == 8,
					 .written = now.put_off_written};
	strcpy(m->before.refusal, now.before_asked && now.obstacle >= 6 ? "no" : "");
	m->health.asked = now.health_asked;
	m->after_asked = now.after_asked;
	m->operation = now.op_back	   ? OPERATION_ROLLBACK
		       : now.obstacle == 2 ? OPERATION_CHECK
					   : OPERATION_UPDATE;
	m->refusal.code = -now.refusal;
	m->spec_known = now.spec_known;
	m->answer.known = now.asked;
	m->answer.error.code = -5 * now.no_answer;
	strcpy(m->answer.reply.digest.text, now.asked ? answer : "");
	strcpy(m->answer.reply.manifest.text, now.asked && now.details ? answer : "");
	m->answer.listed = now.asked && streq(old->image, images[!now.back]);
	strcpy(m->answer.runs.text, view_exists(old) ? digests[now.box[now.old_one[0]].image] : "");
	m->policy.known = now.policy_known;
	m->policy.reply.found = m->policy.reply.rollout.halt = now.halted;
	m->now_ms = now.stale ? PLAN_POLICY_FRESH_MS + 1 : 0;
	m->image_known = now.image_known;
	m->image_present = now.image_present;
	m->followers_known = now.followers_known;
	m->successor_checked = now.checked;
	m->host_is_known = true;
	m->space_known = now.space_known;
	m->no_space.code = -now.no_space;
	m->signature = (struct signed_candidate){0};
	if (now.verified && now.own_policy == 3)
		m->signature.digest = m->signature.pulled = *plan_candidate(&real.r, &real.w, m);
	m->verified = now.verified ? *plan_candidate(&real.r, &real.w, m) : (struct digest){0};
}

/* After the model chose a step: would the code choose the same? */
static void agree_on_step(void)
{
	struct step step;

	if (mutant != 0)
		return;
	fill_record(&real.r);
	fill_world(&real.w);
	fill_memory(&real.m);
	fill_facts(&real.c, &real.m);
	step = plan_next(&real.c, &real.r, &real.w, &real.m);
	now.head_differs = step.action != now.step || (step.action && step.member != now.p);
	if (readtrail && now.head_differs)
		printf("the code would: %s, of member %zu; the model: %s, of %d\n",
		       action_name(step.action), step.member, action_name(now.step), now.p);
}

static bool same_record(const struct record *a, const struct record *b)
{
	bool same = a->phase == b->phase;

	if (a->phase != PHASE_IDLE)
		same = same && a->synced == b->synced && streq(a->boot_id, b->boot_id) &&
		       streq(a->old_id, b->old_id) && streq(a->new_id, b->new_id) &&
		       (a->phase == PHASE_PREPARE || streq(a->policy, b->policy)) &&
		       a->serving == b->serving && a->starts == b->starts &&
		       streq(a->target.digest.text, b->target.digest.text) &&
		       (a->phase != PHASE_REVERT || a->reject_target == b->reject_target);
	if (a->phase != PHASE_IDLE && a->n_followers)
		same = same && a->n_followers == b->n_followers &&
		       streq(a->followers[0].old_id, b->followers[0].old_id) &&
		       streq(a->followers[0].new_id, b->followers[0].new_id) &&
		       streq(a->followers[0].policy, b->followers[0].policy) &&
		       a->followers[0].serving == b->followers[0].serving;
	same = same && !a->deferred.times == !b->deferred.times;
	same = same && streq(a->current.digest.text, b->current.digest.text) &&
	       streq(a->previous.digest.text, b->previous.digest.text) &&
	       a->n_rejected == b->n_rejected;
	for (size_t i = 0; same && i < a->n_rejected; i++)
		same = record_rejected(b, &a->rejected[i].digest, "") != NULL;
	return same;
}

/* After a decision, with what agree_on_step() saw before it. */
static void agree_on_decision(void)
{
	static struct record model;

	if (mutant != 0 || !action_is_decision((enum action)now.step))
		return;
	plan_decide(&real.r, &real.m, (enum action)now.step, &real.w);
	fill_record(&model);
	now.record_differs = !same_record(&real.r, &model);
	if (readtrail && now.record_differs)
		printf("the code would write another record\n");
}

/* After a lost record was made anew. */
static void agree_on_recovery(void)
{
	struct container_view slots[SLOT_MAX] = {0}, seen = {0};
	static struct record model;
	struct pair pair = {0};

	if (mutant != 0)
		return;
	for (int i = 0; i < 3; i++) {
		view(&seen, i);
		if (view_exists(&seen))
			slots[seen.slot] = seen;
	}
	fill_record(&model);
	record_init(&real.r);
	plan_recover(&real.r, slots);
	if (real.r.phase != PHASE_IDLE && now.followed) {
		real.r.n_followers = 1;
		view(&pair.old, now.old_id[1]);
		view(&pair.new, now.new_id[1]);
		plan_recover_follower(&real.r, 0, &pair);
	}
	strcpy(model.boot_id, real.r.boot_id);
	now.record_differs = !same_record(&real.r, &model);
	if (readtrail && now.record_differs)
		printf("the code would make another record\n");
}

/* A line of the trail. */

static void show_box(int i)
{
	static const char *const states[] = {"created", "running", "restarting", "paused",
					     "exited"};
	static const char *const names[] = {"NAME", "NAME.next", "NAME.prev", "?"};

	if (now.box[i].state == 5)
		return;
	printf(" | %s%s: %s, %s", i < 3 ? "" : "follower ", names[now.box[i].slot],
	       i < 3		 ? (now.box[i].image ? "new" : "old")
	       : now.box[i].ours ? "new"
				 : "old",
	       states[now.box[i].state]);
	if (now.box[i].state == 4)
		printf(" %d", now.box[i].ok ? 0 : 1);
	printf(", %s", policies[now.box[i].policy]);
}

static void show(void)
{
	static const char *const phases[] = {"idle", "prepare", "trial", "commit", "revert"};
	static const char *const tags[] = {"old", "new", "none", "older"};

	if (!readtrail)
		return;
	printf("      record: %s", now.lost ? "none" : phases[now.phase]);
	if (now.phase == 2)
		printf(" (%d starts)", now.starts);
	for (int i = 0; i < 6; i++)
		show_box(i);
	printf(" | tag: %s | new image: %s\n", tags[now.tag],
	       !now.new_here	 ? "not here"
	       : now.new_torn	 ? "torn"
	       : now.new_on_disk ? "on disk"
				 : "not synced");
}
