/* SPDX-License-Identifier: MIT */
/* What the rollout policy says to this device. With a key the network half's reading of it is not believed. */
#include <errno.h>

#include "candidate.h"
#include "cohort.h"
#include "crypto.h"
#include "device.h"
#include "log.h"
#include "oci.h"
#include "signed.h"

/* The policy is refused: it counts as none. Said once. */
static int refuse_policy(const struct pass *p, struct policy_answer *answer, const char *why)
{
	answer->refused = true;
	answer->reply.found = false;
	if (!digest_eq(&answer->manifest, &p->record.rollout_refused))
		log_warning("%s: the rollout policy beside %s counts as none: %s", p->c->name,
			    p->c->image, why);
	return 0;
}

/* Whether the artifact is signed as an image is. What was verified before asks no registry, unless its key was retired or revoked
 * since. -EKEYREJECTED: it is not. */
static int verify_artifact(const struct pass *p, const struct digest *d, bool named,
			   struct signature *ret, struct error *ret_error)
{
	_cleanup_free_ struct verified *verified = NULL;
	_cleanup_free_ struct signed_answer *answer = xmalloc(sizeof(*answer));
	struct verify_rule rule = candidate_rule(p, false);
	int q;

	rule.policy = true;
	rule.named = named;
	if (digest_eq(d, &p->record.rollout_manifest) &&
	    verify_recorded(&rule, d, &p->record.rollout_signature, false, &verified, ret_error) ==
		    0) {
		*ret = p->record.rollout_signature;
		return 0;
	}
	q = signed_ask(p->fetch, p->c->image, &rule, d, d, p->record.place, false, answer,
		       ret_error);
	free(answer->verified);
	*ret = answer->signature;
	return q;
}

/* Reads the digest of the policy's text from the artifact. -EKEYREJECTED: it is not the artifact of a policy. */
static int read_artifact(const char *manifest, struct digest *ret, struct error *ret_error)
{
	struct oci_artifact artifact = {0};
	int q = oci_parse_artifact(manifest, strlen(manifest), NULL, ROLLOUT_MEDIA_TYPE, &artifact,
				   ret_error);

	free(artifact.data);
	*ret = artifact.digest;
	return q < 0 ? ret_error->code = -EKEYREJECTED : 0;
}

/* -EKEYREJECTED: text is not the policy of that artifact. Precedes all parsing of it. *ret: its digest. */
static int check_text(const char *manifest, const char *text, struct digest *ret,
		      struct error *ret_error)
{
	struct digest d = hash_bytes(text, strlen(text));
	int q = read_artifact(manifest, ret, ret_error);

	if (q == 0 && !digest_eq(&d, ret))
		q = error_set(ret_error, -EKEYREJECTED, "its text is not %s, which is signed",
			      ret->text);
	return q;
}

/* Of the artifact, whose signature holds. -EKEYREJECTED: it is for another tag. -ENOENT: it does not name this repository, which its
 * signature must do then. */
static int check_name(const struct pass *p, const char *manifest, struct error *ret_error)
{
	_cleanup_free_ char *repository = ref_repository(p->context.ref);
	_cleanup_json_ json_t *j = NULL;
	const json_t *annotations;
	const char *tag;

	if (json_parse(manifest, strlen(manifest), "manifest", &j, ret_error) < 0)
		return ret_error->code = -EKEYREJECTED;
	annotations = json_object_get(j, "annotations");
	tag = json_get_string(annotations, ROLLOUT_ANNOTATION_TAG);
	if (tag && !streq_null(p->context.ref->tag, tag))
		return error_set(ret_error, -EKEYREJECTED, "it is for the tag %.128s", tag);
	return tag && streq_null(json_get_string(annotations, ROLLOUT_ANNOTATION_IMAGE), repository)
		       ? 0
		       : -ENOENT;
}

/* Whether the artifact is signed, and for this image: it says so itself, or else its signature must. */
static int verify_named(const struct pass *p, const char *manifest, struct policy_answer *answer,
			struct error *ret_error)
{
	int q = verify_artifact(p, &answer->manifest, true, &answer->signature, ret_error);

	if (q == 0)
		q = check_name(p, manifest, ret_error);
	return q == -ENOENT
		       ? verify_artifact(p, &answer->manifest, false, &answer->signature, ret_error)
		       : q;
}

/* Takes the policy out of its text, if the artifact is signed. An error is about the registry, or about a policy that is signed and
 * not valid. */
static int read_signed(const struct pass *p, const struct rollout_reply *reply,
		       struct policy_answer *answer, struct error *ret_error)
{
	const char *text = reply->policy;
	struct digest document = {0};
	int q;

	answer->manifest = hash_bytes(reply->manifest, strlen(reply->manifest));
	q = verify_named(p, reply->manifest, answer, ret_error);
	if (q == 0)
		q = check_text(reply->manifest, text, &document, ret_error);
	if (q == -EKEYREJECTED)
		return refuse_policy(p, answer, ret_error->text);
	if (q == 0)
		q = rollout_parse(text, strlen(text), p->task->config->ring, &answer->reply.rollout,
				  ret_error);
	answer->reply.rollout.document = document;
	answer->reply.found = q == 0;
	return q < 0 ? error_prefix(ret_error, "the rollout policy beside %s", p->c->image) : 0;
}

/* A policy whose text did not come, or something else in its place. Whoever may push can put one there, so only one that is signed keeps
 * the device waiting. */
static int judge_broken(const struct pass *p, const struct rollout_reply *reply,
			struct policy_answer *answer, int fault, struct error *ret_error)
{
	struct error why = *ret_error;
	struct digest ignored;
	int q = -EKEYREJECTED;

	answer->manifest = hash_bytes(reply->manifest, strlen(reply->manifest));
	if (fault == 0)
		(void)error_set(&why, q, "its text was withheld");
	else if (read_artifact(reply->manifest, &ignored, &why) == 0)
		q = verify_named(p, reply->manifest, answer, &why);
	if (q == -EKEYREJECTED)
		return refuse_policy(p, answer, why.text);
	answer->manifest = (struct digest){0};
	if (q < 0)
		*ret_error = why;
	return q < 0 ? q : fault;
}

static int ask(const struct pass *p, struct policy_answer *answer, struct error *ret_error)
{
	bool signed_only = p->c->keys != NULL;
	_cleanup_(rollout_reply_free) struct rollout_reply reply = {0};
	int q = fetch_ask_rollout(p->fetch, p->c->image, p->task->config->ring, signed_only, &reply,
				  ret_error);

	answer->reply.retry_after_s = reply.retry_after_s;
	/* Whether it is valid is not the network half's to tell. */
	if (signed_only && reply.manifest && reply.policy)
		return read_signed(p, &reply, answer, ret_error);
	if (signed_only && reply.manifest)
		return judge_broken(p, &reply, answer, q, ret_error);
	if (signed_only && reply.found)
		return refuse_policy(p, answer, "its text was withheld");
	if (q == 0) {
		answer->reply.found = reply.found;
		answer->reply.rollout = reply.rollout;
	}
	return q;
}

int candidate_ask_policy(struct pass *p, struct error *ret_error)
{
	struct policy_answer *answer = &p->state.policy;
	char id[DEVICE_ID_SIZE];
	int q;

	/* A device without an id has the last position. */
	*answer = (struct policy_answer){.position = COHORT_ALL - 1};
	q = ask(p, answer, ret_error);
	if (q == -ECANCELED)
		return q;
	if (q < 0)
		answer->error = *ret_error;
	device_id(p->task->config->device_id, id);
	if (id[0])
		answer->position = cohort_position(id, pass_candidate(p));
	answer->known = true;
	answer->asked_ms = now_ms();
	return 0;
}
