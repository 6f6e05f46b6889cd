/* SPDX-License-Identifier: MIT */
#include "verify-image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "calendar.h"
#include "clock.h"
#include "log.h"
#include "result.h"
#include "signed.h"

static const char *const format_names[] = {
	[SIGNATURE_SIMPLE] = "signature",
	[SIGNATURE_BUNDLE] = "bundle",
};

/* The image, as the registry has it, and what is asked of it. */
struct look {
	const struct verify_image *v;
	const struct config *config;
	struct fetch *fetch;
	struct oci_platform asked;
	struct fetch_reply reply;
	/* Why a machine of the platform asked for cannot run the image, or gets no login to pull it with; "": it can. */
	char foreign[512];
};

/* Only root may read records, and they say nothing of another machine. Caller frees; NULL: there is none. */
static struct record *read_record(const struct verify_image *v, const char *name)
{
	_cleanup_close_ int dir =
		v->platform ? -1 : open(v->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ struct record *record = xmalloc(sizeof(*record));
	struct error ignored;

	record_init(record);
	if (dir < 0 || record_read(dir, name, record, &ignored) < 0)
		return NULL;
	return steal(record);
}

/* Why this device does not take the image for the container: it was rejected here. */
static int check_rejected(const struct record *record, const struct fetch_reply *reply,
			  struct error *ret_error)
{
	/* Some were rejected for one version of the engine, which is not known here. */
	const char *reason = record ? record_rejected(record, &reply->digest, NULL)
					      ?: record_rejected(record, &reply->manifest, NULL)
				    : NULL;

	return reason ? error_set(ret_error, -EKEYREJECTED, RESULT_REJECTED, reason) : 0;
}

/* --- signatures --- */

/* One signature, as pullet(1) lists it. The caller owns it. */
static json_t *judgement_to_json(const struct judgement *j, const struct digest *of)
{
	char expires[32];

	return json_need(json_pack(
		"{s:s, s:s, s:o, s:o, s:o, s:o, s:b, s:o}", "digest", of->text, "format",
		format_names[j->format], "key", j->key[0] ? json_string_lossy(j->key) : json_null(),
		"key_id", json_string_or_null(j->key_id.text), "seq",
		j->seq ? json_integer((json_int_t)j->seq) : json_null(), "expires",
		j->expires_s ? json_string(calendar_rfc3339(j->expires_s, expires, sizeof(expires)))
			     : json_null(),
		"counts", !j->fault[0], "reason",
		j->fault[0] ? json_string_lossy(j->fault) : json_null()));
}

/* An update of what was not verified here asks first which sequence must not be gone below. */
static int find_floor(const struct look *l, const struct container_config *c, const struct ref *ref,
		      struct record *record, struct error *ret_error)
{
	enum signature_place ignored;

	return record && record_lacks_floor(record) &&
			       !digest_eq(&record->current.digest, &l->reply.digest)
		       ? signed_ask_floor(l->fetch, c, ref, record, &ignored, ret_error)
		       : 0;
}

/* Asks for all signatures and judges them as an update would. Appends each to signatures, and the name of each key that counts to
 * signers. */
static int check_signatures(const struct look *l, const struct container_config *c,
			    struct record *record, json_t *signatures, json_t *signers,
			    size_t *ret_left, struct error *ret_error)
{
	_cleanup_free_ struct signed_answer *answer = xcalloc(1, sizeof(*answer));
	_cleanup_(ref_free) struct ref ref = {0};
	struct verify_rule rule = {
		.config = c, .ref = &ref, .record = record, .now_s = clock_now()};
	const char *why;
	int r;

	if (ref_parse(c->image, &ref, &why) < 0)
		return error_set(ret_error, -EINVAL, "%s: %s", c->image, why);
	r = find_floor(l, c, &ref, record, ret_error);
	if (r < 0)
		return r;
	r = signed_ask(l->fetch, l->v->image, &rule, &l->reply.digest, &l->reply.manifest,
		       record ? record->place : SIGNATURES_TAG, true, answer, ret_error);
	for (size_t i = 0; i < answer->n_judged; i++)
		json_append(signatures, judgement_to_json(&answer->judged[i], &answer->of[i]));
	for (size_t i = 0; r == 0 && i < answer->signature.n_keys; i++)
		json_append(signers, json_string_lossy(answer->signature.keys[i].name));
	*ret_left = answer->left;
	free(answer->verified);
	return r;
}

static int check_unsigned(const struct look *l, const struct container_config *c,
			  struct error *ret_error)
{
	_cleanup_free_ struct verified *verified = NULL;

	return verify_unsigned(c, &l->reply.digest, &verified, ret_error);
}

/* --- containers --- */

/* Keys and records belong to containers. The caller owns the result. */
static json_t *judge_container(const struct look *l, const struct container_config *c,
			       bool *ret_allowed)
{
	_cleanup_free_ struct record *record = read_record(l->v, c->name);
	_cleanup_json_ json_t *signatures = json_need(json_array()),
			      *signers = json_need(json_array());
	struct error e = {0};
	size_t left = 0;
	int r;

	r = c->keys ? check_signatures(l, c, record, signatures, signers, &left, &e)
		    : check_unsigned(l, c, &e);
	if (r == 0)
		r = check_rejected(record, &l->reply, &e);
	if (l->foreign[0])
		r = error_set(&e, -EKEYREJECTED, "%s", l->foreign);
	*ret_allowed = r == 0;
	return json_need(json_pack(
		"{s:s, s:b, s:o, s:O, s:O, s:o*}", "container", c->name, "allowed", r == 0,
		"reason", r < 0 ? json_string_lossy(e.text) : json_null(), "signed_by", signers,
		"signatures", signatures, "left", left ? json_integer((json_int_t)left) : NULL));
}

/* Each container that follows the image decides. The caller owns the array. */
static json_t *judge(const struct look *l, bool *ret_refused)
{
	json_t *containers = json_need(json_array());

	*ret_refused = l->foreign[0];
	for (size_t i = 0; i < l->config->n_containers; i++) {
		const struct container_config *c = &l->config->containers[i];
		bool allowed;

		if (!ref_is_same_tag(l->v->image, c->image))
			continue;
		json_append(containers, judge_container(l, c, &allowed));
		*ret_refused |= !allowed;
	}
	return containers;
}

/* --- the image --- */

/* The image's own platform where its config says one: a single manifest is answered for any. */
static const struct oci_platform *platform_of(const struct look *l)
{
	const struct oci_platform *own = &l->reply.platform;

	return own->os[0] && own->architecture[0] ? own : &l->asked;
}

static void explain_image(struct look *l)
{
	const struct oci_platform *own = platform_of(l);
	char a[96], b[96];

	copy_text(l->foreign, sizeof(l->foreign), l->reply.withheld);
	if (own != &l->asked && oci_platform_rank(&l->asked, own) <= 0)
		(void)snprintf(l->foreign, sizeof(l->foreign),
			       "the image is for %s, and %s was asked for",
			       oci_platform_text(own, a, sizeof(a)),
			       oci_platform_text(&l->asked, b, sizeof(b)));
}

/* Exit status. */
static int print_image(const struct look *l)
{
	const struct fetch_reply *reply = &l->reply;
	bool refused;
	_cleanup_json_ json_t *containers = judge(l, &refused);
	char platform[96];
	_cleanup_json_ json_t *j = json_need(json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:I, s:O, s:s*}", "image", l->v->image, "digest",
		reply->digest.text, "manifest", reply->manifest.text, "config", reply->config.text,
		"platform", oci_platform_text(platform_of(l), platform, sizeof(platform)),
		"layer_bytes", (json_int_t)reply->layer_bytes, "containers", containers, "fault",
		l->foreign[0] ? l->foreign : NULL));
	_cleanup_free_ char *text = json_text(j, JSON_COMPACT);

	puts(text);
	return refused ? 1 : 0;
}

/* What is wrong about the registry's answer names the image itself. */
static int ask(struct look *l)
{
	const struct fetch_request request = {
		.image = l->v->image, .platform = l->asked, .read_config = true};
	struct error e;
	bool named;

	if (fetch_ask(l->fetch, &request, &l->reply, &e) == 0)
		return 0;
	named = strstr(e.text, l->v->image);
	log_error("%s%s%s", named ? "" : l->v->image, named ? "" : ": ", e.text);
	return -EIO;
}

int verify_image_run(const struct verify_image *v)
{
	_cleanup_config_ struct config *config = NULL;
	_cleanup_fetch_ struct fetch *fetch = NULL;
	_cleanup_(ref_free) struct ref ref = {0};
	struct look l = {.v = v};
	struct error e;
	const char *why;

	if (ref_parse(v->image, &ref, &why) < 0) {
		log_error("%s: %s", v->image, why);
		return 2;
	}
	if (config_load(v->fetch.config, &config, &e) < 0) {
		log_error("%s", e.text);
		return 2;
	}
	platform_of_host(&l.asked);
	if (v->platform && platform_parse(v->platform, &l.asked) < 0) {
		log_error("--platform: '%s' is not of the form linux/arm/v7", v->platform);
		return 2;
	}
	l.config = config;
	l.fetch = fetch = fetch_new(&v->fetch, ref.host);
	if (ask(&l) < 0)
		return 1;
	explain_image(&l);
	return print_image(&l);
}
