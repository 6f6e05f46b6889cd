/* SPDX-License-Identifier: MIT */
#include "candidate.h"

#include <errno.h>

#include "download.h"
#include "image-config.h"
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
		p->state.answer.listed = world_has_digest(j, &p->state.answer.reply.digest);
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

static void read_platform(const json_t *image, struct oci_platform *ret)
{
	const char *variant = json_get_string(image, "Variant");
	_cleanup_free_ char *text = xasprintf("%s/%s%s%s", json_get_string(image, "Os") ?: "",
					      json_get_string(image, "Architecture") ?: "",
					      variant && variant[0] ? "/" : "", variant ?: "");

	if (platform_parse(text, ret) < 0)
		*ret = (struct oci_platform){0};
}

/* The platform of the image that the container runs; empty: unknown. *ret_image (may be NULL): its inspect answer, or
 * NULL. */
static int find_running_platform(const struct pass *p, struct oci_platform *ret, json_t **ret_image,
				 struct error *ret_error)
{
	const struct container_view *old = &p->world.old;
	_cleanup_json_ json_t *image = NULL;
	int q = -ENOENT;

	*ret = old->platform;
	if (view_exists(old))
		q = engine_identify_image(p->context.engine, old->image, &image, ret_error);
	if (q < 0 && q != -ENOENT && ret_error->origin != ERROR_STORE)
		return q;
	if (image && !old->platform.os[0])
		read_platform(image, ret);
	if (ret_image)
		*ret_image = steal(image);
	return 0;
}

static const struct oci_platform *host_of(const struct pass *p)
{
	return &engine_version(p->context.engine)->platform;
}

const struct oci_platform *candidate_platform(const struct pass *p)
{
	return p->state.platform.os[0] ? &p->state.platform : host_of(p);
}

size_t candidate_running_layers(const struct pass *p, struct digest ret[OCI_LAYERS_MAX])
{
	const char *image = p->world.old.image;
	_cleanup_json_ json_t *j = NULL;
	struct error ignored;
	const json_t *v;
	size_t i, n = 0;

	if (!image[0] || engine_identify_image(p->context.engine, image, &j, &ignored) < 0)
		return 0;
	json_array_foreach (json_get_path(j, "RootFS", "Layers", NULL), i, v) {
		if (n == OCI_LAYERS_MAX || digest_parse(json_string_value(v), &ret[n]) < 0)
			break;
		n++;
	}
	return n;
}

static bool is_same_choice(const struct oci_platform *host, const struct oci_platform *a,
			   const struct oci_platform *b)
{
	unsigned int rank = oci_platform_rank(host, a);

	return rank > 0 && rank == oci_platform_rank(host, b);
}

/* The digest by which the running image came; empty: unknown. */
static struct digest running_digest(const struct pass *p, const json_t *image)
{
	_cleanup_free_ char *repository = ref_repository(p->context.ref);
	struct digest d = {0};
	const json_t *v;
	size_t i;

	if (world_runs_current(&p->world, &p->record))
		return p->record.current.digest;
	json_array_foreach (json_object_get(image, "RepoDigests"), i, v) {
		const char *name = json_is_string(v) ? json_string_value(v) : "";
		const char *at = strchrnul(name, '@');
		_cleanup_free_ char *end = xasprintf("/%.*s", (int)(at - name), name);

		/* The engine leaves docker.io/library/ out. */
		if (*at && digest_parse(at + 1, &d) == 0 &&
		    (streq(repository, end + 1) || has_suffix(repository, end)))
			break;
	}
	return d;
}

/* Whether the operator chose the platform that runs: the machine would have taken another manifest of the same index.
 * What nobody can tell any more counts as chosen. */
static int was_chosen(struct pass *p, const struct oci_platform *running, const json_t *image,
		      bool *ret, struct error *ret_error)
{
	const struct container_view *old = &p->world.old;
	const struct digest d = running_digest(p, image);
	_cleanup_free_ char *pinned = digest_is_set(&d) ? ref_pinned(p->context.ref, &d) : NULL;
	struct fetch_request request = {
		.image = pinned, .platform = *host_of(p), .read_config = true};
	struct fetch_reply then = {0};
	int q = pinned ? fetch_ask(p->fetch, &request, &then, ret_error) : -ENOENT;

	*ret = true;
	if (q == -ENOENT || q == -EKEYREJECTED)
		return 0;
	if (q < 0)
		return q;
	*ret = !digest_eq(&then.manifest, &then.digest) &&
	       !is_same_choice(host_of(p), &then.platform, running) &&
	       !digest_eq(&then.manifest, &old->manifest) && !streq(then.config.text, old->image) &&
	       !streq(then.manifest.text, old->image);
	return 0;
}

/* What is known without a request: the choice is in the record as long as that platform runs. */
static int recall_choice(struct pass *p, struct error *ret_error)
{
	struct oci_platform running = {0};
	char text[PLATFORM_TEXT_MAX];
	int q = 0;

	p->state.platform = (struct oci_platform){0};
	if (!p->record.platform[0])
		return 0;
	if (view_exists(&p->world.old))
		q = find_running_platform(p, &running, NULL, ret_error);
	else if (digest_is_set(&p->state.saved_spec))
		(void)!platform_parse(p->record.platform, &running);
	if (q == 0 && running.os[0] &&
	    streq(oci_platform_text(&running, text, sizeof(text)), p->record.platform))
		p->state.platform = running;
	return q;
}

/* Sets state.platform if the container runs another platform's image than the machine would take of the candidate, by
 * the operator's choice. final: the candidate has none that the machine could run. */
static int find_choice(struct pass *p, const struct fetch_reply *reply, bool final,
		       struct error *ret_error)
{
	struct oci_platform running;
	_cleanup_json_ json_t *image = NULL;
	bool chosen = false;
	int q;

	if (p->state.platform.os[0] || reply->known || reply->manifest_known ||
	    !digest_is_set(&reply->digest))
		return 0;
	q = find_running_platform(p, &running, &image, ret_error);
	if (q < 0 || !running.os[0] || is_same_choice(host_of(p), host_of(p), &running) ||
	    (!final && is_same_choice(host_of(p), &reply->platform, &running)))
		return q;
	q = was_chosen(p, &running, image, &chosen, ret_error);
	if (q == 0 && chosen)
		p->state.platform = running;
	return q;
}

int candidate_check_platform(const struct pass *p, const struct oci_platform *platform,
			     struct error *ret_error)
{
	const struct oci_platform *wanted = candidate_platform(p);
	struct oci_platform running = {0};
	char a[80], b[80];
	int q;

	if (!platform->os[0] || !platform->architecture[0] ||
	    oci_platform_rank(wanted, platform) > 0)
		return 0;
	if (p->state.platform.os[0])
		return error_set(ret_error, -EKEYREJECTED, "the image is for %s",
				 oci_platform_text(platform, a, sizeof(a)));
	/* The operator emulates that architecture (binfmt) if the running image has it, too. */
	q = find_running_platform(p, &running, NULL, ret_error);
	if (q < 0)
		return q;
	if (streq(running.architecture, platform->architecture))
		return 0;
	return error_set(ret_error, -EKEYREJECTED, "the image is for %s, this machine is %s",
			 oci_platform_text(platform, a, sizeof(a)),
			 oci_platform_text(wanted, b, sizeof(b)));
}

/* Refuses what this machine cannot run, before a layer is downloaded. */
static int check(struct pass *p, const struct fetch_reply *reply, struct error *ret_error)
{
	const struct version *engine = engine_version(p->context.engine);
	int q = candidate_check_platform(p, &reply->platform, ret_error);

	if (q == 0 && reply->zstd && !engine->zstd && !download_is_spooled(p))
		q = error_set(
			ret_error, -EKEYREJECTED,
			"a layer is compressed by zstd: Docker %s cannot unpack it; use 23.0 or "
			"newer, or set download = spool",
			engine->release);
	return q;
}

static int ask_for_platform(struct pass *p, const char *image, const struct digest *seen,
			    struct error *ret_error)
{
	struct digest known[KNOWN_MAX];
	struct fetch_request request = {
		.image = image,
		.platform = *candidate_platform(p),
		.known = known,
		.read_config = true,
		.n_known = list_known(p, known),
	};

	if (seen && digest_is_set(seen))
		known[request.n_known++] = *seen;
	p->state.answer.reply = (struct fetch_reply){0};
	request.documents = p->documents;
	return fetch_ask(p->fetch, &request, &p->state.answer.reply, ret_error);
}

/* The engine lists no digest of a registry for an image that was built here. */
static void tell_if_local(const struct pass *p, struct error *e)
{
	_cleanup_json_ json_t *image = NULL;
	struct error ignored;

	if (view_exists(&p->world.old) &&
	    engine_identify_image(p->context.engine, p->world.old.image, &image, &ignored) == 0 &&
	    json_array_size(json_object_get(image, "RepoDigests")) == 0)
		error_append(e, "the image that runs came from no registry: it was built or loaded "
				"here");
}

/* A registry that does not answer is a fact for the plan; an answer that policy refuses is an error. */
static int ask(struct pass *p, const char *image, const struct digest *seen,
	       struct error *ret_error)
{
	struct answer *answer = &p->state.answer;
	char text[PLATFORM_TEXT_MAX];
	struct error said;
	bool final, recalled;
	int q = recall_choice(p, ret_error), r;

	if (q < 0)
		return q;
	recalled = p->state.platform.os[0];
	q = ask_for_platform(p, image, seen, ret_error);
	final = q == -EKEYREJECTED;
	said = *ret_error;
	if (q == 0 || final) {
		r = find_choice(p, &answer->reply, final, ret_error);
		if (r < 0)
			q = r;
		else if (p->state.platform.os[0] && !recalled)
			q = ask_for_platform(p, image, seen, ret_error);
		else
			*ret_error = said;
	}
	if (q == 0)
		q = check(p, &answer->reply, ret_error);
	final = q == -EKEYREJECTED && digest_is_set(&answer->reply.digest);
	if (final && p->state.platform.os[0])
		(void)error_prefix(ret_error, "the container was created with --platform %s",
				   oci_platform_text(&p->state.platform, text, sizeof(text)));
	if (q == -ECANCELED || (q == -EKEYREJECTED && !final))
		return q;
	answer->known = true;
	answer->error = q < 0 && !final ? *ret_error : (struct error){0};
	if (answer->error.code < 0) {
		tell_if_local(p, &answer->error);
		return 0;
	}
	said = *ret_error;
	r = find_listed(p, ret_error);
	/* What the container runs already is as good as it was. */
	if (r < 0 || !final || plan_runs_already(&p->record, &p->world, &p->state))
		return r;
	answer->known = false;
	*ret_error = said;
	/* Whoever may push an index can name the owner's manifest in it. */
	if (p->c->keys)
		answer->reply.manifest = (struct digest){0};
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

int candidate_pull_again(const struct pass *p, const struct release *release,
			 struct error *ret_error)
{
	const struct tm *clock = p->state.now_s ? &p->state.local : NULL;
	_cleanup_free_ char *pinned = ref_pinned(p->context.ref, release_pulled(release));
	char closed[RECORD_TEXT_MAX];
	const struct fetch_request request = {.image = pinned, .platform = *candidate_platform(p)};
	_cleanup_free_ struct verified *verified = NULL;
	struct pull_options pull = p->pull;
	struct fetch_reply reply = {0};
	size_t found;
	int q;

	if (p->task->operation != OPERATION_UPDATE_NOW &&
	    !schedule_is_open(&p->c->download_windows, clock)) {
		schedule_explain(&p->c->download_windows, clock, "download-window", p->c->name,
				 closed, sizeof(closed));
		return error_set(ret_error, -EAGAIN, "%s", closed);
	}
	q = candidate_verify_again(p, release, &verified, ret_error);
	if (q == 0)
		q = fetch_ask(p->fetch, &request, &reply, ret_error);
	if (q == 0 && p->auth && reply.withheld[0])
		q = error_set(ret_error, -EKEYREJECTED, "%s", reply.withheld);
	if (q < 0)
		return q;
	pull.bytes_max = reply.layer_bytes;
	copy_text(pull.platform, sizeof(pull.platform), p->record.platform);
	return engine_pull(p->context.engine, p->context.ref, verified, &pull, &found, ret_error);
}

bool candidate_is_chosen(const struct fetch_reply *reply, const json_t *image)
{
	struct digest chain = image_config_chain(json_get_path(image, "RootFS", "Layers", NULL));
	const struct oci_platform *chosen = &reply->platform;
	const char *id = json_get_string(image, "Id");
	struct oci_platform got;

	if (!id || (digest_is_set(&reply->chain) && !digest_eq(&reply->chain, &chain)))
		return false;
	/* A graph driver names images by their config, containerd by index or manifest. */
	if (!streq(id, reply->digest.text) && !streq(id, reply->manifest.text))
		return !digest_is_set(&reply->config) || streq(id, reply->config.text);
	read_platform(image, &got);
	return !got.os[0] || !chosen->architecture[0] ||
	       (oci_platform_rank(chosen, &got) > 0 && oci_platform_rank(&got, chosen) > 0);
}

/* The engine has an image under the candidate's name, but of another platform than was chosen of the index, which somebody
 * pulled by hand. containerd's store has several under one name; others keep a digest's first image. */
static int check_present(struct pass *p, const json_t *image, struct error *ret_error)
{
	const struct fetch_reply *reply = &p->state.answer.reply;
	_cleanup_free_ char *pinned = ref_pinned(p->context.ref, candidate_pulled(p));
	const char *id = json_get_string(image, "Id");
	struct oci_platform got;
	char text[PLATFORM_TEXT_MAX];

	if (candidate_is_chosen(reply, image))
		return 0;
	p->state.image_present = false;
	if (streq_null(id, reply->digest.text) || !world_has_digest(image, candidate_pulled(p)))
		return 0;
	read_platform(image, &got);
	return error_set(ret_error, -EKEYREJECTED,
			 "the engine has an image for %s under that digest, and takes no other "
			 "one beside it: docker rmi %s",
			 oci_platform_text(&got, text, sizeof(text)), pinned);
}

int candidate_find_image(struct pass *p, struct error *ret_error)
{
	bool rollback = p->state.operation == OPERATION_ROLLBACK;
	_cleanup_free_ char *pinned = ref_pinned(p->context.ref, candidate_pulled(p));
	_cleanup_json_ json_t *j = NULL;
	int q = engine_identify_image(p->context.engine,
				      rollback ? p->record.previous.image : pinned, &j, ret_error);

	p->state.image_present = q == 0;
	p->state.image_known = q == 0 || q == -ENOENT || ret_error->origin == ERROR_STORE;
	if (!p->state.image_known)
		return q;
	if (rollback)
		return recall_choice(p, ret_error);
	if (q < 0)
		return 0;
	q = digest_is_set(&p->state.answer.reply.manifest) ? 0
							   : candidate_ask_details(p, ret_error);
	return q < 0 || p->state.answer.error.code < 0 ? q : check_present(p, j, ret_error);
}
