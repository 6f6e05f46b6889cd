/* SPDX-License-Identifier: MIT */
/* delta: whether the registry has a patch that makes the candidate's layers out of those of the running image
 * (pullet-delta(5)). The answer is in the spool's file NAME.delta until the list of the update goes: each update asks once. */
#pragma once

#include "fetch.h"
#include "oci.h"

#define DELTA_MIN \
	((uint64_t)64 * 1024) /* bytes of layers; for fewer the question costs more than it saves */
#define DELTA_TRIES  4	      /* that may have been cut, each by a crash or a power cut */
#define DELTA_STALLS 8	      /* passes in a row in which the link brought no byte of the patch */

/* What is known for a pair of images. */
struct delta {
	struct digest from,
		to;	      /* ChainIDs of all layers of the running image and of the candidate */
	bool bad;	      /* there is one, and it, or its basis, cannot be used */
	struct digest digest; /* of the patch; empty: there is none to use */
	uint64_t size;	      /* of the patch, in bytes */
	uint64_t
		plain; /* bytes of the layers that the patch stands for, as the registry has them */
	size_t shared; /* number of the lowest layers that both images have */
	size_t n_sizes; /* the others of the candidate; their bytes as tar */
	uint64_t sizes[OCI_LAYERS_MAX];
	unsigned int tries;  /* to apply it, begun */
	unsigned int stalls; /* the last passes that brought nothing of it */
};

static inline bool delta_is_usable(const struct delta *d)
{
	return digest_is_set(&d->digest);
}

/* The fact in the spool of container name; -ENOENT if there is none, or none that can be read. */
int delta_read(int spool, const char *name, struct delta *ret) warn_unused;
/* What cannot be written is logged: the next pass asks again. */
void delta_write(int spool, const char *name, const struct delta *d);
/* Notes that the link was lost in the patch: after DELTA_STALLS passes without a byte the layers come, for the registry, or
 * what is before it, may cut this blob alone. */
void delta_note_stall(int spool, const char *name, struct delta *d, bool any_came);
/* Writes that the delta cannot be used. */
void delta_give_up(int spool, const char *name, struct delta *d);

/* Fills in d, of which from, to, plain, shared and n_sizes are set, with what the registry says. -EBADMSG: it does not fit
 * these. Pure. */
int delta_take(const struct fetch_delta *said, struct delta *d,
	       struct error *ret_error) warn_unused;

/* The bytes of the layers that the patch on the container's list stands for; 0: there is none. */
uint64_t delta_note(int state_dir, const char *name);
