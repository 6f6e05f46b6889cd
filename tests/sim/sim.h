/* SPDX-License-Identifier: MIT */
/* sim: an engine, a registry and a clock made of plain data, with faults on demand. Everything above
 * engine.h is the real code; the linker puts these functions in place of the real ones. */
#pragma once

#include <setjmp.h>

#include "config.h"
#include "result.h"

enum sim_nature {		  /* of an image */
		  SIM_SERVES,	  /* stays up */
		  SIM_FINISHES,	  /* a one-shot: exits 0 */
		  SIM_FAILS,	  /* exits 1 at once */
		  SIM_WONT_START, /* the engine cannot start it */
		  SIM_SICK,	  /* HEALTHCHECK turns unhealthy */
		  SIM_HEALTHY,	  /* HEALTHCHECK turns healthy */
		  SIM_UNFIT,	  /* stays up, and health-unit says no */
		  SIM_KILLS_HOST, /* takes the machine down whenever it starts */
};

enum sim_fault {
	SIM_CRASH,	  /* the agent dies */
	SIM_POWER_CUT,	  /* everything dies; what was not synced is torn */
	SIM_LOSE_RECORD,  /* the agent dies and the record is gone */
	SIM_ENGINE_ERROR, /* a call of the engine fails: not done, or done and its answer lost */
};

struct sim_setup {
	const char *policy; /* of the old container */
	enum sim_nature old_nature, new_nature;
	bool first;    /* no old container: created from a file */
	bool follower; /* a second container shares its network */
	bool allergic; /* which does not start beside the new image */
	bool hooks;    /* with all three, which before-unit never defers */
	bool key;      /* a key is set: both images are signed, the old one with a lower seq */
	bool rollback; /* the new image is the version before, and an operator orders it back */
};

void sim_reset(const struct sim_setup *setup);

/* At the nth change of the world from now on, or the nth call of the engine for SIM_ENGINE_ERROR (0: none), let
 * this happen once, before or after it. */
void sim_plant(unsigned int at, bool after, enum sim_fault fault);
/* Changes and calls seen since sim_plant. */
unsigned int sim_changes(void);
unsigned int sim_calls(void);
/* Whether the planted fault happened. */
bool sim_struck(void);

/* One pass; false when a fault ended it. */
bool sim_pass(struct result *ret);

/* From now on the tag points to the old image again. */
void sim_replay(void);
/* How often signatures were asked for. */
unsigned int sim_asked_signatures(void);

/* NULL, or what is wrong with the world for good now. */
const char *sim_verify_end(bool expect_new);
/* NULL, or the promise that was broken on the way. */
const char *sim_broken_promise(void);
/* Bytes of state written by passes since the last call. */
unsigned int sim_saves(void);
bool sim_serves(void);
