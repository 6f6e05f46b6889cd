/* SPDX-License-Identifier: MIT */
/* pass-internal: what the files of pass share; nobody else includes it. */
#pragma once

#include "act.h"
#include "saved-spec.h"
#include "pass.h"
#include "ref.h"

#define PASS_HELD      RESULT_HELD
#define PASS_MADE_ANEW "made anew, since the engine's store was damaged"

struct pass {
	const struct pass_options *o;
	const struct container_config *c;
	struct result *result;
	struct record record;
	struct pass_state state;
	struct world world;
	struct act_context act;
	struct ref ref;
	struct fetch *fetch; /* with its registry */
	struct verified *verified;
	struct fetch_reply reply;
	struct saved_spec saved; /* of the container that is to be made anew; empty: none */
	uint64_t up_since_ms;	 /* since when the new one is known to be up; 0: not */
	uint64_t progress_ms;	 /* of the last progress event */
	struct digest admitted;	 /* by the rollout's policy in this pass */
	uint64_t admitted_ms;	 /* when */
	bool repaired;		 /* target's image was dropped, for the engine's store is damaged */
	bool recovered;		 /* the record was lost, and made anew from the engine */
	bool already_reported; /* the result is nothing to remember: the record knows, or nobody asks */
};

/* Ends the pass with an outcome; the text is for people. */
void pass_finish(struct pass *p, enum outcome outcome, const char *fmt, ...) format_printf(3, 4);
void pass_announce_phase(struct pass *p);
int pass_save(struct pass *p, struct error *ret_error) warn_unused;

/* The loop: look, decide, do, until there is nothing to do. 0 at idle; 1 when the pass ended for a
 * reason that is in the result. Refused before the swap, what was prepared is forgotten. */
int pass_work(struct pass *p, struct error *ret_error) warn_unused;

/* What is written down and touches no container: hold, release, retry. */
bool pass_is_note(enum operation operation);
int pass_note(struct pass *p, struct error *ret_error) warn_unused;
/* Back to the version before, or on with that; 1: the result says why not. */
int pass_roll_back(struct pass *p, struct error *ret_error) warn_unused;

/* Who follows goes into the record: nobody shall be overlooked, or made from stale facts. */
int pass_find_followers(struct pass *p, struct error *ret_error) warn_unused;

/* Is there news, and may it be taken? 0: an update is prepared; 1: the result says why not. */
int pass_check(struct pass *p, struct error *ret_error) warn_unused;
/* The container cannot start for the store: removes it when what it is made of is kept. 0: it is to be made
 * anew; 1: the result says why not. */
int pass_repair(struct pass *p, struct error *ret_error) warn_unused;
/* What is kept of a container that is not there; of one that is there again nothing is. */
int pass_find_kept(struct pass *p, struct error *ret_error) warn_unused;
/* May this device take that version? By min-age and by the rollout's policy; 1: the result says why not. */
int pass_may_take(struct pass *p, const struct digest *d, struct error *ret_error) warn_unused;
int pass_may_download(struct pass *p) warn_unused;
/* Sets memory.gate_open, and the result when it is shut; asks the policy again when that was long ago. */
int pass_open_gate(struct pass *p, struct error *ret_error) warn_unused;
/* The registry asked to be left alone for a while; the daemon holds to it. */
void pass_announce_retry_after(struct pass *p, unsigned int seconds);
/* Back to idle before the swap: nothing but the image and NAME.next to forget. */
int pass_abandon(struct pass *p, struct error *ret_error) warn_unused;
