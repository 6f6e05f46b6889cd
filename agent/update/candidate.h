/* SPDX-License-Identifier: MIT */
/* news: what the registry says, held against what is here. */
#pragma once

#include "fetch.h"
#include "world.h"

/* Whether r->current says what the container runs (an operator may have replaced it). */
bool candidate_current_is_true(const struct record *r, const struct world *w);

/* Asks where the tag points. Of what we run, rejected or wait for no details are wanted: one request. */
int candidate_ask(struct fetch *f, const struct context *s, const char *image,
		  const struct record *r, const struct world *w, struct fetch_reply *ret,
		  struct error *ret_error) warn_unused;
/* The details of d, which is no longer waited for. */
int candidate_ask_details(struct fetch *f, const struct context *s, const struct digest *d,
			  const struct record *r, const struct world *w, struct fetch_reply *ret,
			  struct error *ret_error) warn_unused;

/* How many compressed bytes of layers are to come for d: those that it shares with the image that runs
 * are here. Two or three requests, the image's config among them. */
int candidate_bytes_to_come(struct fetch *f, const struct context *s, const struct world *w,
			    const struct digest *d, uint64_t *ret,
			    struct error *ret_error) warn_unused;

/* The container may run that image already without our knowing: it was pulled by hand, or only the
 * index around this platform's manifest changed. */
bool candidate_runs_already(struct engine *e, const struct record *r, const struct world *w,
			    const struct fetch_reply *reply);

/* The entry that forbids it, by digest or by manifest; NULL if none. */
const struct rejected *candidate_rejected(const struct record *r, const struct fetch_reply *reply);

/* It is down for the engine could not start it, and says that it is for its store. */
bool candidate_is_broken(const struct container_view *v);

/* Why the container is left alone (static text): an operator stopped or paused it, or made and never
 * started it; NULL when it may be updated. */
const char *candidate_left_alone(const struct container_view *v);
