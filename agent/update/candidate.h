/* SPDX-License-Identifier: MIT */
/* candidate: learns about the version that the tag points to, from the registry and the engine. Each action
 * sets facts in the state and changes nothing. */
#pragma once

#include "pass.h"

/* Asks where the tag points. A digest that is current, rejected or waited for needs no details: one request. */
act_fn candidate_ask;
/* Asks for the details of plan_candidate(). */
act_fn candidate_ask_details;
/* Asks what the rollout policy says to this device. A policy that cannot be read is a fact, not an error. With a key, one
 * that is not signed is none. */
act_fn candidate_ask_policy;
/* Whether the engine has the image of plan_candidate(). */
act_fn candidate_find_image;

/* Verifies plan_candidate(): by the record, if it was verified before, else by its signatures in the registry, which may sign it or
 * this platform's manifest. -EKEYREJECTED, and RESULT_SIGNATURE in front: it is not signed as the configuration requires. */
act_fn candidate_verify;
/* Asks the registry for the sequence with which the version that runs is signed. */
act_fn candidate_ask_floor;
act_fn candidate_ask_renewal;
/* The digest under which the engine gets and lists plan_candidate(): the one that is signed, once it is verified. */
const struct digest *candidate_pulled(const struct pass *p);
/* Verifies a version that runs, or is on trial: by the record alone, whatever was revoked or has expired since. */
int candidate_verify_again(const struct pass *p, const struct release *release,
			   struct verified **ret, struct error *ret_error) warn_unused;
/* The rule by which its signatures are judged. exempt: what runs, or what an operator orders back. */
struct verify_rule candidate_rule(const struct pass *p, bool exempt);

/* Pulls a version that the container runs, or is to run, again: others removed its image. -EAGAIN: downloads are not
 * allowed now. */
int candidate_pull_again(const struct pass *p, const struct release *release,
			 struct error *ret_error) warn_unused;

/* Which is asked for: the one that the operator chose, else the machine's own. Borrowed. */
const struct oci_platform *candidate_platform(const struct pass *p);
/* The DiffIDs of the running image's layers, lowest first, as far as the engine tells; their number. */
size_t candidate_running_layers(const struct pass *p, struct digest ret[OCI_LAYERS_MAX]);
/* Whether the engine runs images of that platform, or emulates them for the container as it is. -EKEYREJECTED. */
int candidate_check_platform(const struct pass *p, const struct oci_platform *platform,
			     struct error *ret_error) warn_unused;
/* The refusal in *e is final about that version: nothing is asked or downloaded for it again. Returns e's code. */
int candidate_refuse(struct pass *p, const struct digest *d, const struct digest *manifest,
		     const struct error *e);

/* The digest under which an image's inspect answer lists it, of ref's repository if there is one; empty: none. Pure. */
struct digest candidate_find_digest(const json_t *image, const struct ref *ref);
/* Whether an image's inspect answer is of the manifest that was chosen; what is not known tells nothing. Pure. */
bool candidate_is_chosen(const struct fetch_reply *reply, const json_t *image);
