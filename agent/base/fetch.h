/* SPDX-License-Identifier: MIT */
/* fetch: a session with the network half, for requests to one registry. */
#pragma once

#include <sys/types.h>

#include "message.h"
#include "protocol.h"

struct fetch_options {
	const char *socket; /* of a socket-activated pullet-fetch; NULL: start a child */
	const char *config; /* path given to the child */
	const char *
		role; /* of the child: "--publish", "--operator", "--login"; NULL: as the service */
	const volatile sig_atomic_t *cancel; /* as of wait_readable() */
};

struct fetch;

/* A session for the registry host (as in struct ref). The first request connects. o is borrowed. The caller frees with
 * fetch_free(). */
struct fetch *fetch_new(const struct fetch_options *o, const char *host);
/* Closes the connection, which ends the network half. A child that has not exited a second later, or when a signal
 * comes, is killed. NULL is allowed. */
void fetch_free(struct fetch *f);

/* A socket to the network half, for a caller that uses it itself, with MSG_DONTWAIT; connecting does not block.
 * *ret_pid: the child, 0: none. */
int fetch_connect(const struct fetch_options *o, pid_t *ret_pid,
		  struct error *ret_error) warn_unused;

/* Resolves the tags of n images of this registry: ret[0..n-1]. The network half resolves PROTOCOL_BATCH_MAX at the same
 * time. Fails only if the network half itself failed. */
int fetch_resolve(struct fetch *f, const char *const *images, size_t n, struct fetch_resolved *ret,
		  struct error *ret_error) warn_unused;

/* Returns the code of the network half's error, or -EPIPE if it ended without an answer. A failure too sets
 * ret->retry_after_s. */
int fetch_ask(struct fetch *f, const struct fetch_request *request, struct fetch_reply *ret,
	      struct error *ret_error) warn_unused;
/* Appends what is missing of a blob to b->fd, and returns when it is whole, when b->ms or b->allowance is used up, or when
 * the registry gives nothing more. ret->bytes is set by an error too. The code of fetch_ask(); -EBADMSG: the bytes did
 * not hash, or were too many, and the file is empty; -ENOENT: the registry does not have it (any more);
 * -EREMOTEIO: also, it cannot resume; -EBUSY with ret->retry_after_s; -ENOSPC and others of the file. */
int fetch_bring(struct fetch *f, const struct fetch_blob *b, struct fetched *ret,
		struct error *ret_error) warn_unused;
/* Of the last reply; id "": none yet. */
void fetch_traffic(const struct fetch *f, struct traffic *ret);
/* Turns a layer in zstd into a plain tar: from in, from its beginning, to out, which is emptied before, and on disk after
 * it. Takes a connection of its own. *ret_size: bytes of out. -EKEYREJECTED: unpacking takes more memory than a helper may
 * take; -EFBIG: more than max bytes, or 1032 times those of in; -EBADMSG: no valid zstd; -errno of a file. */
int fetch_unpack(const struct fetch_options *o, const char *host, int in, int out, uint64_t max,
		 uint64_t *ret_size, struct error *ret_error) warn_unused;
struct fetch_patch {
	int old, patch;			    /* files */
	const struct patch_extent *extents; /* the parts of old that OLD is put together from */
	size_t n_extents;		    /* OCI_LAYERS_MAX at most */
	uint64_t max;			    /* bytes of NEW */
	/* Takes NEW in order, in pieces; a negative errno ends all. */
	int (*on_data)(void *userdata, const char *data, size_t n);
	void *userdata;
};

/* Applies a patch (pullet-delta(5)), in a process that has given up everything but its descriptors. Takes a connection
 * of its own. What on_data() got before an error is no use. -EBADMSG: the patch is malformed, or not one for OLD; -EFBIG:
 * NEW has more than p->max bytes; -ETIMEDOUT; -ECANCELED; on_data()'s error; -errno of a file. */
int fetch_patch(const struct fetch_options *o, const char *host, const struct fetch_patch *p,
		struct error *ret_error) warn_unused;
/* Asks for the delta between two ChainIDs beside the image. The caller frees ret with fetch_delta_free(). -ENOENT: there
 * is none; -EBADMSG: there is one, but it is not valid, as the error says; else the code of fetch_ask(). */
int fetch_ask_delta(struct fetch *f, const char *image, const struct digest *from,
		    const struct digest *to, struct fetch_delta *ret,
		    struct error *ret_error) warn_unused;
/* *ret is the answer unchanged, unless it is an error. */
int fetch_ask_publish(struct fetch *f, json_t *question, json_t **ret,
		      struct error *ret_error) warn_unused;
/* The same with the file b->fd beside the question, as whose progress b->on_progress is called; of b, size and userdata count,
 * too. */
int fetch_ask_push(struct fetch *f, const json_t *question, const struct fetch_blob *b,
		   json_t **ret, struct error *ret_error) warn_unused;
/* ring may be NULL. with_text: the policy and the artifact's manifest come along, beside -EBADMSG of an invalid policy too. The
 * caller frees ret with rollout_reply_free(), after an error too. */
int fetch_ask_rollout(struct fetch *f, const char *image, const char *ring, bool with_text,
		      struct rollout_reply *ret, struct error *ret_error) warn_unused;
/* Asks one place for the signatures of d, an index or a manifest in the repository of image; none there is no error. The
 * caller frees ret with signatures_free(). The code of fetch_ask(). */
int fetch_ask_signatures(struct fetch *f, const char *image, const struct digest *d,
			 enum signature_place place, struct signatures *ret,
			 struct error *ret_error) warn_unused;

static inline void cleanup_fetch_p(struct fetch **f)
{
	fetch_free(*f);
}
#define _cleanup_fetch_ _cleanup_(cleanup_fetch_p)
