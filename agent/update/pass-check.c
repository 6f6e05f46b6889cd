/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>

#include "clock.h"
#include "followers.h"
#include "log.h"
#include "candidate.h"
#include "pass-internal.h"
#include "disk-space.h"
#include "store.h"
#include "successor.h"

static void drop_next(struct pass *p, const struct container_view *new)
{
	struct error ignored;

	if (view_exists(new))
		(void)!engine_remove(p->act.context.engine, new->id, &ignored);
}

int pass_abandon(struct pass *p, struct error *ret_error)
{
	struct error ignored;

	if (p->record.phase != PHASE_PREPARE)
		return 0;
	for (size_t i = FOLLOWERS_MAX; i-- > 0;)
		drop_next(p, &p->world.followers[i].new);
	drop_next(p, &p->world.new);
	if (p->record.target.brought &&
	    !digest_eq(&p->record.target.digest, &p->record.previous.digest))
		(void)!act_do(&p->act, (struct step){ACT_DROP_TARGET, 0}, &p->record, &p->world,
			      &p->state, &ignored);
	/* That was this target's. */
	p->state.drop_tried = p->state.dropped = false;
	p->record.phase = PHASE_IDLE;
	return pass_save(p, ret_error);
}

int pass_find_followers(struct pass *p, struct error *ret_error)
{
	p->record.n_followers = 0;
	return view_exists(&p->world.old)
		       ? followers_find(&p->act.context, p->world.old.id, "", &p->record, ret_error)
		       : 0;
}

static int note_current(struct pass *p, struct error *ret_error)
{
	struct release *current = &p->record.current;
	struct release now = {.digest = p->reply.digest, .manifest = p->reply.manifest};
	bool known = candidate_current_is_true(&p->record, &p->world);

	if (known && digest_eq(&current->digest, &now.digest))
		return 0;
	copy_text(now.image, sizeof(now.image), p->world.old.image);
	now.brought = known && current->brought;
	if (now.brought)
		now.pulled = *release_pulled(current);
	*current = now;
	return pass_save(p, ret_error);
}

static int image_is_present(struct pass *p, const struct digest *d, bool *ret,
			    struct error *ret_error)
{
	_cleanup_free_ char *pinned = ref_pinned(&p->ref, d);
	_cleanup_json_ json_t *j = NULL;
	int r = engine_inspect_image(p->act.context.engine, pinned, &j, ret_error);

	*ret = r == 0;
	return r == -ENOENT || (r < 0 && store_judge(ret_error->text, 0) == STORE_DAMAGED) ? 0 : r;
}

/* 1 when there is none: the result has the numbers. */
static int find_disk_space(struct pass *p, uint64_t layer_bytes, struct error *ret_error)
{
	int r = disk_space_check(p->fetch, &p->act.context, &p->record, &p->world, &p->reply.digest,
				 layer_bytes, ret_error);

	if (r != -ENOSPC)
		return r;
	pass_finish(p, OUTCOME_DEFERRED, "%s", ret_error->text);
	return 1;
}

static int may_bring(struct pass *p, bool *ret_present, struct error *ret_error)
{
	int r = image_is_present(p, &p->reply.digest, ret_present, ret_error);

	return r == 0 && !*ret_present && !p->act.saved_plan ? pass_may_download(p) : r;
}

/* A pull that a power cut ended, and of which layers may be there that the next version has, too. */
static bool pull_was_cut(const struct pass *p)
{
	return p->record.phase == PHASE_PREPARE && !p->record.synced &&
	       !streq(p->record.boot_id, p->world.boot_id);
}

/* The first durable decision: this target, and whether its image will be ours to remove. */
static int begin(struct pass *p, struct error *ret_error)
{
	struct release target = {.digest = p->reply.digest, .manifest = p->reply.manifest};
	bool present = false, cut = pull_was_cut(p);
	bool begun = p->record.phase == PHASE_PREPARE &&
		     digest_eq(&p->record.target.digest, &target.digest);
	int r = begun ? 0 : pass_abandon(p, ret_error);

	/* Nobody knows what went on before, and how it ended; or it did not end well. */
	p->state.doubted = p->recovered || p->act.saved_plan ||
			   digest_eq(&target.digest, &p->record.damage.digest);
	if (r == 0)
		r = may_bring(p, &present, ret_error);
	if (r == 0)
		r = find_disk_space(p, present ? 0 : p->reply.layer_bytes, ret_error);
	if (r != 0 || begun)
		return r;
	target.brought = !present || (digest_eq(&target.digest, &p->record.previous.digest) &&
				      p->record.previous.brought);
	plan_begin(&p->record, &target, cut && !present ? "" : p->world.boot_id);
	r = pass_save(p, ret_error);
	if (r == 0)
		pass_announce_phase(p);
	return r;
}

static int refuse_rejected(struct pass *p, const struct rejected *x, struct error *ret_error)
{
	char reason[RECORD_TEXT_MAX];
	struct release target = {.digest = p->reply.digest, .manifest = p->reply.manifest};
	int r = pass_abandon(p, ret_error);

	memcpy(reason, x->reason, sizeof(reason));
	/* The same manifest in another index: next time one request will do. */
	if (r == 0 && !digest_eq(&x->digest, &target.digest) &&
	    digest_eq(&x->manifest, &target.manifest)) {
		record_reject(&p->record, &target, reason);
		r = pass_save(p, ret_error);
	}
	if (r < 0)
		return r;
	p->result->to = target.digest;
	p->already_reported = true;
	return error_set(ret_error, -EKEYREJECTED, "this digest was rejected before: %s", reason);
}

/* It goes on being the store's fault; nothing is written, and nothing stopped for one more try. */
static int refuse_hopeless(struct pass *p, struct error *ret_error)
{
	const char *said = after_prefix(p->record.last_error, RESULT_STORE_DAMAGED ": ");

	p->already_reported = true;
	p->result->to = p->reply.digest;
	return error_set(ret_error, -EIO,
			 RESULT_STORE_DAMAGED ": %.400s; it is tried again after a reboot, or once "
					      "that is mended: pullet retry %s",
			 said ? said : "the engine cannot keep the image", p->c->name);
}

/* What is here already needs no registry, unless a rollout may have been halted meanwhile. */
static bool may_go_on(const struct pass *p, int code)
{
	return code != -EKEYREJECTED && code != -ENOENT && p->record.phase == PHASE_PREPARE &&
	       p->record.synced && p->o->operation != OPERATION_CHECK &&
	       (p->record.rollout_sequence == 0 || p->c->rollout == ROLLOUT_NO);
}

/* No answer from the registry. */
static int take_no_answer(struct pass *p, int code, struct error *ret_error)
{
	pass_announce_retry_after(p, p->reply.retry_after_s);
	if (may_go_on(p, code)) {
		log_warning("%s: %s; going on with %s", p->c->name, ret_error->text,
			    p->record.target.digest.text);
		return 0;
	}
	/* Certificates are valid from a time on. */
	if (code == -EPROTO && clock_now() == 0) {
		pass_finish(p, OUTCOME_DEFERRED, "the clock is not set: %s", ret_error->text);
		return 1;
	}
	return code;
}

static bool is_waited_for(const struct pass *p)
{
	return digest_eq(&p->reply.digest, &p->record.seen) &&
	       !record_rejected(&p->record, &p->reply.digest) &&
	       !candidate_runs_already(p->act.context.engine, &p->record, &p->world, &p->reply);
}

static int may_go(struct pass *p, struct error *ret_error)
{
	const char *why =
		p->o->operation == OPERATION_CHECK ? NULL : candidate_left_alone(&p->world.old);

	p->result->to = p->reply.digest;
	/* It ran here before. */
	if (p->act.saved_plan)
		return 0;
	if (!why)
		return pass_may_take(p, &p->reply.digest, ret_error);
	pass_finish(p, OUTCOME_DEFERRED, "%s", why);
	return 1;
}

/* Where does the tag point, and what is there? 1: to what this device goes on waiting for. */
static int ask(struct pass *p, struct error *ret_error)
{
	_cleanup_free_ char *pinned =
		p->act.saved_plan ? ref_pinned(&p->ref, &p->saved.digest) : NULL;
	bool present;
	int r = candidate_ask(p->fetch, &p->act.context, pinned ? pinned : p->c->image, &p->record,
			      &p->world, &p->reply, ret_error);

	if (r < 0 || !is_waited_for(p))
		return r;
	r = may_go(p, ret_error);
	if (r == 0 && p->o->operation != OPERATION_CHECK)
		r = may_bring(p, &present, ret_error);
	if (r == 0)
		r = candidate_ask_details(p->fetch, &p->act.context, &p->record.seen, &p->record,
					  &p->world, &p->reply, ret_error);
	return r;
}

static int check(struct pass *p, struct error *ret_error)
{
	const struct rejected *rejected;
	bool hopeless;
	int r = ask(p, ret_error);

	if (r < 0)
		return take_no_answer(p, r, ret_error);
	if (r > 0)
		return r;
	if (candidate_runs_already(p->act.context.engine, &p->record, &p->world, &p->reply)) {
		r = pass_abandon(p, ret_error);
		if (r == 0)
			r = note_current(p, ret_error);
		p->result->from = p->result->to = p->record.current.digest;
		if (r == 0 && candidate_is_broken(&p->world.old)) {
			r = pass_repair(p, ret_error);
			return r != 0 ? r : check(p, ret_error);
		}
		p->result->outcome = OUTCOME_UP_TO_DATE;
		return r < 0 ? r : 1;
	}
	rejected = candidate_rejected(&p->record, &p->reply);
	hopeless = record_is_hopeless(&p->record, &p->reply.digest, p->world.boot_id);
	if ((rejected || hopeless) && candidate_is_broken(&p->world.old) &&
	    candidate_current_is_true(&p->record, &p->world)) {
		r = pass_repair(p, ret_error);
		return r != 0 ? r : check(p, ret_error);
	}
	if (rejected)
		return refuse_rejected(p, rejected, ret_error);
	if (hopeless)
		return refuse_hopeless(p, ret_error);
	r = may_go(p, ret_error);
	if (r == 0 && p->o->operation == OPERATION_CHECK) {
		pass_finish(p, OUTCOME_DEFERRED, "there is an update; only a check was asked for");
		r = 1;
	}
	if (r != 0)
		return r;
	r = pass_find_followers(p, ret_error);
	if (r == 0)
		r = successor_check(&p->act, &p->world.old, &p->record, p->reply.digest.text,
				    ret_error);
	verified_free(p->verified);
	p->verified = NULL;
	if (r == 0)
		r = verify_image(p->c, &p->reply.digest, &p->verified, ret_error);
	p->act.verified = p->verified;
	p->act.pull.bytes_max = p->reply.layer_bytes;
	return r < 0 ? r : begin(p, ret_error);
}

int pass_check(struct pass *p, struct error *ret_error)
{
	int r = check(p, ret_error);

	if (r != 1 || p->result->outcome != OUTCOME_DEFERRED ||
	    p->o->operation == OPERATION_CHECK || !digest_is_set(&p->reply.digest) ||
	    digest_eq(&p->reply.digest, &p->record.seen))
		return r;
	p->record.seen = p->reply.digest;
	p->record.seen_s = clock_now();
	r = pass_save(p, ret_error);
	return r < 0 ? r : 1;
}
