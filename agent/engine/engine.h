/* SPDX-License-Identifier: MIT */
/* engine: the Docker Engine API over its unix socket, one function a call. Speaks one version per
 * connection, negotiated over /version: from 1.41 (Docker 20.10, podman) to 1.51.
 * Errors carry what the engine said. Codes: -ENOENT 404, -EEXIST 409, -EINVAL 400, -EIO any other
 * refusal, -EPROTO when it speaks another version by now; those of http.h when it is not there. */
#pragma once

#include <signal.h>

#include "digest.h"
#include "json.h"
#include "oci.h"
#include "verify.h"

struct engine;
struct ref;

/* socket: path. cancel as in http.h: only pulls and waits end by it; short calls run to their end. */
int engine_open(const char *socket, const volatile sig_atomic_t *cancel, struct engine **ret,
		struct error *ret_error) warn_unused;
void engine_close(struct engine *e);

/* GET /info. The caller owns *ret. */
int engine_info(struct engine *e, json_t **ret, struct error *ret_error) warn_unused;

bool engine_is_podman(const struct engine *e);
int engine_api_minor(const struct engine *e);
/* What the engine's host runs; the variant of an arm comes from uname(2). Borrowed. */
const struct oci_platform *engine_platform(const struct engine *e);

/* Inspect answers as the engine gives them; the caller owns *ret. A name is looked up exactly: an id
 * that begins like it is not taken for it, unless it is a short id (12 characters) at least. */
int engine_inspect_container(struct engine *e, const char *name_or_id, json_t **ret,
			     struct error *ret_error) warn_unused;
/* All containers, stopped ones too, as the list gives them: an array. */
int engine_list(struct engine *e, json_t **ret, struct error *ret_error) warn_unused;
int engine_inspect_image(struct engine *e, const char *reference, json_t **ret,
			 struct error *ret_error) warn_unused;
int engine_list_images(struct engine *e, json_t **ret, struct error *ret_error) warn_unused;
int engine_changes(struct engine *e, const char *id, json_t **ret,
		   struct error *ret_error) warn_unused;
/* What one path in a container is, links not followed: {"mode":as Go has it,"mtime":..,"size":..}. */
int engine_stat(struct engine *e, const char *id, const char *path, json_t **ret,
		struct error *ret_error) warn_unused;

/* Bytes of all layers so far, and of all that are known; both may grow. */
typedef void engine_progress_fn(void *userdata, uint64_t current, uint64_t total);

struct pull_options {
	const char *auth;   /* value of X-Registry-Auth, or NULL */
	uint64_t bytes_max; /* of all layers, as their manifest says */
	engine_progress_fn *progress;
	void *userdata;
};

/* Waits until what the engine wrote is on the disk: syncfs(2) on the file systems of its directories.
 * sync(2) waits for every file system of the machine, for ever when one is a dead NFS mount; only when
 * the engine's cannot be opened there is nothing else. */
void engine_sync(struct engine *e);

/* Pulls by digest, and syncs on each finished layer and at the end: without it a power cut after a successful pull leaves an image that neither starts nor heals by pulling again.
 * ret_found: how many layers the engine says it had. Errors inside the 200 stream are errors
 * here; -EFBIG: the registry sent more than there is, which the engine itself takes until the disk is
 * full. */
int engine_pull(struct engine *e, const struct ref *ref, const struct verified *v,
		const struct pull_options *o, size_t *ret_found,
		struct error *ret_error) warn_unused;

/* Points repository:tag at the image. */
int engine_tag(struct engine *e, const char *image, const char *repository, const char *tag,
	       struct error *ret_error) warn_unused;
/* Takes one name away from an image; the image goes with its last name, never while it is used. */
int engine_remove_image(struct engine *e, const char *reference,
			struct error *ret_error) warn_unused;

int engine_create(struct engine *e, const char *name, const json_t *body, char **ret_id,
		  struct error *ret_error) warn_unused;
int engine_connect(struct engine *e, const char *network, const char *id, const json_t *body,
		   struct error *ret_error) warn_unused;
int engine_start(struct engine *e, const char *id, struct error *ret_error) warn_unused;
/* timeout_s until SIGKILL; -1: what the container itself says. */
int engine_stop(struct engine *e, const char *id, int timeout_s,
		struct error *ret_error) warn_unused;
int engine_rename(struct engine *e, const char *id, const char *name,
		  struct error *ret_error) warn_unused;
/* policy: HostConfig.RestartPolicy. Works on a running container too. */
int engine_set_policy(struct engine *e, const char *id, const json_t *policy,
		      struct error *ret_error) warn_unused;
/* Never removes volumes: the successor may hold them. */
int engine_remove(struct engine *e, const char *id, struct error *ret_error) warn_unused;

/* Waits until the engine reports something about the container (it died, its health changed, ...)
 * that happened after since_ns (nanoseconds of Unix time), or timeout_ms passed: both are 0. */
int engine_wait_event(struct engine *e, const char *id, int64_t since_ns, unsigned int timeout_ms,
		      struct error *ret_error) warn_unused;

/* Whether the container, which was started at since_ns and has ended, was neither stopped nor killed by an
 * operator, nor by the engine when it was itself stopped. false when the engine does not answer: what
 * is not known is not held against a release. */
bool engine_ended_by_itself(struct engine *e, const char *id, int64_t since_ns);

/* The last line that the container wrote, printable, cut to size; empty when there is none. */
int engine_last_log(struct engine *e, const char *id, char *ret, size_t size) warn_unused;

static inline void cleanup_engine_p(struct engine **e)
{
	engine_close(*e);
}
#define _cleanup_engine_ _cleanup_(cleanup_engine_p)
