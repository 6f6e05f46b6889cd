/* SPDX-License-Identifier: MIT */
/* recreate: the create body of a successor, from the engine's answers about the old container and both
 * images, or from the operator's create body for the first container of a name; or a refusal before
 * anything is changed. Inspect mixes the operator's settings, the defaults of the old image and run-time
 * state; only the first go into the body, so that the new image's defaults apply. Pure. */
#pragma once

#include <jansson.h>

#include "error.h"

#define RECREATE_LABEL_TARGET "pullet.target"
#define RECREATE_LABEL_POLICY "pullet.policy"
#define RECREATE_LABEL_OWN    "pullet.own"

/* The label of the container, unless its image has the same: an image can write any, and what it says must neither lock
 * out its successor nor switch off a guard. image: inspect answer, or NULL. Borrowed; NULL: none. Pure. */
const char *recreate_own_label(const json_t *container, const json_t *image, const char *key);

struct recreate_input {
	const json_t *first;	 /* the operator's create body; NULL: there is an old container */
	const json_t *container; /* GET /containers/ID/json of the old one */
	const json_t *old_image; /* GET /images/<container.Image>/json; NULL: unreadable, refused */
	/* GET /images/REF/json of the new one; NULL for a first container: a check before the image is there. */
	const json_t *new_image;
	const char *image;     /* goes into Image */
	const char *target;    /* digest, goes into label pullet.target */
	const char *host_name; /* of this machine; NULL: unknown. Distinguishes a host name that the
				  * engine filled in (host network) from one that was configured */
	int api_minor;	       /* API version spoken: 41 is 1.41; the answers must be of the same */
	/* Objects: each of recreate_references() -> that container's name. names: of one that this update replaces, the
	 * successor's id instead. volumes: always the name, for VolumesFrom; NULL: as names. */
	const json_t *names, *volumes;
};

struct recreate_plan {
	json_t *body;	 /* of POST /containers/create; its RestartPolicy is always `no` or unset */
	json_t *connect; /* [{"Network":NAME,"Body":{"EndpointConfig":{...}}}]: after create and before
			  * start, POST Body plus "Container" to /networks/NAME/connect. Empty from API 1.44 on */
	char *policy; /* the real restart policy, as in label pullet.policy: "always", "on-failure:3" */
};

/* -EKEYREJECTED with the reason when the container cannot be reproduced. */
int recreate_spec(const struct recreate_input *in, struct recreate_plan *ret,
		  struct error *ret_error) warn_unused;

void recreate_plan_free(struct recreate_plan *plan);

/* Array of the other containers (ids, id prefixes or names, as written) whose namespaces or volumes the
 * container uses, or to which it has a link. The caller looks each up, and leaves those that are gone out of `names`. Caller owns it. */
json_t *recreate_references(const json_t *container);

/* HostConfig.RestartPolicy as text and back: no, always, unless-stopped, on-failure, on-failure:N. NULL for
 * anything else; an absent or empty policy is "no". Caller owns both. */
char *recreate_policy_text(const json_t *restart_policy);
json_t *recreate_policy_json(const char *text);

/* The keys of HostConfig that may name another container: "container:" and its id or name. */
#define RECREATE_MODES 3
extern const char recreate_modes[RECREATE_MODES][12];
/* Whether a container with this HostConfig would not start again, or could not be recreated, once the container id, which
 * the engine calls name now, is removed: it shares a namespace, has a link, or names its volumes by the id. known_as: a
 * further name that stands for it in what shares a namespace; or NULL. Pure. */
bool recreate_depends_on(const json_t *host, const char *id, const char *name,
			 const char *known_as);
/* The container whose namespace recreate_modes[i] of this HostConfig shares; NULL: none. Borrowed. */
const char *recreate_shared_with(const json_t *host, size_t i);
