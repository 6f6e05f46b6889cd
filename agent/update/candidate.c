/* SPDX-License-Identifier: MIT */
#include "candidate.h"

#include <errno.h>

#include "cohort.h"
#include "device.h"
#include "schedule.h"

#define KNOWN_MAX (RECORD_KNOWN_MAX + 3)

static size_t list_known(const struct pass *p, struct digest known[KNOWN_MAX])
{
	const struct record *r = &p->record;
	size_t n = 0;

	if (world_runs_current(&p->world, r) && digest_is_set(&r->current.digest)) {
		known[n++] = r->current.digest;
		if (digest_is_set(&r->current.manifest))
			known[n++] = r->current.manifest;
	}
	return n + record_list_rejected(r, p->state.engine, known + n);
}

struct digest candidate_find_digest(const json_t *image, const struct ref *ref)
{
	struct digest found = {0};
	const char *ignored;
	const json_t *v;
	size_t i;

	json_array_foreach (json_object_get(image, "RepoDigests"), i, v) {
		struct ref listed = {0};
		bool same;

		if (!json_is_string(v) || ref_parse(json_string_value(v), &listed, &ignored) < 0)
			continue;
		same = streq(listed.host, ref->host) && streq(listed.path, ref->path);
		if (digest_is_set(&listed.digest) && (same || !digest_is_set(&found)))
			found = listed.digest;
		ref_free(&listed);
		if (same)
			break;
	}
	return found;
}

/* Whether the engine lists the container's image under that digest, else under which. */
static int find_listed(struct pass *p, struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	int q;

	p->state.answer.listed = false;
	p->state.answer.runs = (struct digest){0};
	if (!view_exists(&p->world.old) || plan_runs_already(&p->record, &p->world, &p->state))
		return 0;
	q = engine_identify_image(p->context.engine, p->world.old.image, &j, ret_error);
	if (q == 0) {
		p->state.answer.listed = candidate_has_digest(j, &p->state.answer.reply.digest);
		p->state.answer.runs = candidate_find_digest(j, p->context.ref);
	}
	return q == -ENOENT || (q < 0 && ret_error->origin == ERROR_STORE) ? 0 : q;
}

int candidate_refuse(struct pass *p, const struct digest *d, const struct digest *manifest,
		     const struct error *e)
{
	p->state.unusable = (struct release){.digest = *d, .manifest = *manifest};
	return e->code;
}

int candidate_check_platform(const struct pass *p, const struct oci_platform *platform,
			     struct error *ret_error)
{
	const struct oci_platform *host = &engine_version(p->context.engine)->platform;
	_cleanup_json_ json_t *old = NULL;
	char a[80], b[80];
	int q = -ENOENT;

	if (!platform->os[0] || !platform->architecture[0] || oci_platform_rank(host, platform) > 0)
		return 0;
	/* The operator emulates that architecture (binfmt) if the running image has it, too. */
	if (view_exists(&p->world.old))
		q = engine_identify_image(p->context.engine, p->world.old.image, &old, ret_error);
	if (q < 0 && q != -ENOENT)
		return q;
	if (q == 0 && streq_null(json_get_string(old, "Architecture"), platform->architecture))
		return 0;
	return error_set(ret_error, -EKEYREJECTED, "the image is for %s, this machine is %s",
			 oci_platform_text(platform, a, sizeof(a)),
			 oci_platform_text(host, b, sizeof(b)));
}

/* Refuses what this machine cannot run, before a layer is downloaded. */
static int check(struct pass *p, const struct fetch_reply *reply, struct error *ret_error)
{
	const struct version *engine = engine_version(p->context.engine);
	int q = candidate_check_platform(p, &reply->platform, ret_error);

	if (q == 0 && reply->zstd && !engine->zstd)
		q = error_set(ret_error, -EKEYREJECTED,
			      "a layer is compressed by zstd: Docker %s cannot unpack it, 23.0 and "
			      "newer can",
			      engine->release);
	return q;
}

/* A registry that does not answer is a fact for the plan; an answer that policy refuses is an error. */
static int ask(struct pass *p, const char *image, const struct digest *seen,
	       struct error *ret_error)
{
	struct digest known[KNOWN_MAX];
	struct fetch_request request = {
		.image = image,
		.platform = engine_version(p->context.engine)->platform,
		.known = known,
		.read_config = true,
		.n_known = list_known(p, known),
	};
	struct answer *answer = &p->state.answer;
	struct error said;
	bool final;
	int q, r;

	if (seen && digest_is_set(seen))
		known[request.n_known++] = *seen;
	answer->reply = (struct fetch_reply){0};
	q = fetch_ask(p->fetch, &request, &answer->reply, ret_error);
	if (q == 0)
		q = check(p, &answer->reply, ret_error);
	final = q == -EKEYREJECTED && digest_is_set(&answer->reply.digest);
	if (q == -ECANCELED || (q == -EKEYREJECTED && !final))
		return q;
	answer->known = true;
	answer->error = q < 0 && !final ? *ret_error : (struct error){0};
	if (answer->error.code < 0)
		return 0;
	said = *ret_error;
	r = find_listed(p, ret_error);
	/* What the container runs already is as good as it was. */
	if (r < 0 || !final || plan_runs_already(&p->record, &p->world, &p->state))
		return r;
	answer->known = false;
	*ret_error = said;
	return candidate_refuse(p, &answer->reply.digest, &answer->reply.manifest, ret_error);
}

int candidate_ask(struct pass *p, struct error *ret_error)
{
	_cleanup_free_ char *remade = digest_is_set(&p->state.saved_spec)
					      ? ref_pinned(p->context.ref, &p->state.saved_spec)
					      : NULL;

	return ask(p, remade ? remade : p->c->image, &p->record.seen, ret_error);
}

int candidate_ask_details(struct pass *p, struct error *ret_error)
{
	_cleanup_free_ char *pinned = ref_pinned(p->context.ref, pass_candidate(p));

	return ask(p, pinned, NULL, ret_error);
}

int candidate_ask_policy(struct pass *p, struct error *ret_error)
{
	struct policy_answer *answer = &p->state.policy;
	char id[DEVICE_ID_SIZE];
	int q;

	/* A device without an id has the last position. */
	*answer = (struct policy_answer){.position = COHORT_ALL - 1};
	q = fetch_ask_rollout(p->fetch, p->c->image, p->task->config->ring, &answer->reply,
			      ret_error);
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

int candidate_pull_again(const struct pass *p, const struct release *release,
			 struct error *ret_error)
{
	const char *closed = schedule_download(p->c, p->state.now_s ? &p->state.local : NULL);
	_cleanup_free_ char *pinned = ref_pinned(p->context.ref, release_pulled(release));
	const struct fetch_request request = {
		.image = pinned, .platform = engine_version(p->context.engine)->platform};
	_cleanup_free_ struct verified *verified = NULL;
	struct pull_options pull = p->pull;
	struct fetch_reply reply = {0};
	size_t found;
	int q;

	if (closed)
		return error_set(ret_error, -EAGAIN, "%s", closed);
	q = verify_image(p->c, release_pulled(release), &verified, ret_error);
	if (q == 0)
		q = fetch_ask(p->fetch, &request, &reply, ret_error);
	if (q == 0 && p->auth && reply.withheld[0])
		q = error_set(ret_error, -EKEYREJECTED, "%s", reply.withheld);
	if (q < 0)
		return q;
	pull.bytes_max = reply.layer_bytes;
	return engine_pull(p->context.engine, p->context.ref, verified, &pull, &found, ret_error);
}

int candidate_find_image(struct pass *p, struct error *ret_error)
{
	bool rollback = p->state.operation == OPERATION_ROLLBACK;
	_cleanup_free_ char *pinned = ref_pinned(p->context.ref, pass_candidate(p));
	_cleanup_json_ json_t *j = NULL;
	int q = engine_identify_image(p->context.engine,
				      rollback ? p->record.previous.image : pinned, &j, ret_error);

	p->state.image_present = q == 0;
	p->state.image_known = q == 0 || q == -ENOENT || ret_error->origin == ERROR_STORE;
	return p->state.image_known ? 0 : q;
}

bool candidate_has_digest(const json_t *image, const struct digest *d)
{
	const json_t *v;
	size_t i;

	json_array_foreach (json_object_get(image, "RepoDigests"), i, v)
		if (json_is_string(v) && has_suffix(json_string_value(v), d->text))
			return true;
	return false;
}
