/* SPDX-License-Identifier: MIT */
/* Shows, writes and halts the policy beside an image. Any machine that may push to the registry can do it,
 * without pulletd. */
#include <stdio.h>
#include <time.h>

#include "calendar.h"
#include "command.h"
#include "config.h"
#include "fetch.h"
#include "log.h"
#include "ref.h"
#include "rollout.h"

/* The policy in the registry. Borrows from answer. */
struct present {
	json_t *answer;
	const char *digest; /* of the tag */
	json_t *policy;	    /* NULL: there is no valid one */
	const char *fault;  /* why the one that is there is not valid */
};

/* Reads the policy, or writes the given one. Exit status. The caller owns *ret. */
static int request(const struct command_options *o, const char *image, json_t *policy, json_t **ret)
{
	const struct fetch_options options = {.config = o->config, .role = "--publish"};
	_cleanup_fetch_ struct fetch *fetch = NULL;
	_cleanup_(ref_free) struct ref ref = {0};
	const char *why;
	_cleanup_json_ json_t *question =
		json_pack("{s:s, s:s, s:O*}", "op", "publish", "image", image, "policy", policy);
	struct error e;

	if (ref_parse(image, &ref, &why) < 0 || !question) {
		log_error("%s: %s", image, question ? why : "not UTF-8");
		return 2;
	}
	fetch = fetch_new(&options, ref.host);
	if (fetch_ask_publish(fetch, question, ret, &e) < 0) {
		log_error("%s", e.text);
		return 1;
	}
	return 0;
}

static int read_present(const struct command_options *o, const char *image, struct present *ret)
{
	int status = request(o, image, NULL, &ret->answer);

	if (status)
		return status;
	ret->digest = json_get_string(ret->answer, "digest");
	ret->policy = json_object_get(ret->answer, "policy");
	ret->fault = json_get_string(ret->answer, "fault");
	if (!json_is_object(ret->policy))
		ret->policy = NULL;
	if (ret->digest)
		return 0;
	log_error("%s: the answer of pullet-fetch has no digest", image);
	return 1;
}

static void print_stage(const json_t *policy, const char *ring)
{
	int64_t now = (int64_t)time(NULL), end;
	char share[16], last[16], when[32];
	struct rollout r;
	struct error ignored;
	uint32_t goal;

	if (rollout_from_json(policy, ring, &r, &ignored) < 0)
		return;
	goal = r.points[r.n_points - 1].share;
	end = goal ? rollout_turn(&r, goal - 1) : 0;
	printf("%8s: %s %% of the devices now", ring ? ring : "Share",
	       rollout_percent(rollout_share(&r, now), share, sizeof(share)));
	if (end > now)
		printf(", %s %% from %s", rollout_percent(goal, last, sizeof(last)),
		       calendar_rfc3339(end, when, sizeof(when)));
	putchar('\n');
}

static bool is_clear(const struct present *p)
{
	return json_is_true(json_object_get(p->policy, "clear"));
}

static void print_policy(const struct present *p)
{
	json_int_t sequence = json_integer_value(json_object_get(p->policy, "sequence"));
	const char *target = json_get_string(p->policy, "target");
	const char *minimum = json_get_string(p->policy, "minimum-version");
	json_t *ring;
	const char *name;

	printf("  Policy: sequence %" JSON_INTEGER_FORMAT, sequence);
	if (is_clear(p)) {
		puts(", ends all rollouts; devices update at once, except with rollout = required");
		return;
	}
	if (streq_null(target, p->digest))
		puts(", for this image");
	else
		printf(", for another image, %s: no device updates\n", target);
	if (json_is_true(json_object_get(p->policy, "halt")))
		puts("  Halted: yes, no device updates");
	print_stage(p->policy, NULL);
	json_object_foreach (json_object_get(p->policy, "rings"), name, ring)
		print_stage(p->policy, name);
	if (minimum)
		printf(" Minimum: pullet %s\n", minimum);
}

/* published: digest of the policy that was written; NULL: none was. */
static void print_present(const struct command_options *o, const char *image,
			  const struct present *p, const char *published)
{
	if (o->json) {
		command_print_json(json_pack("{s:s, s:s, s:O?, s:s?, s:s?}", "image", image,
					     "digest", p->digest, "policy", p->policy, "fault",
					     p->fault, "published", published));
		return;
	}
	printf("   Image: %s\n  Digest: %s\n", image, p->digest);
	if (p->policy)
		print_policy(p);
	else if (p->fault)
		printf("  Policy: not valid, no device updates: %s\n", p->fault);
	else
		puts("  Policy: none; devices update at once, except with rollout = required, and "
		     "except those that have seen one");
}

/* Whether a container here follows the image with a key. A publisher's machine may have no configuration. */
static bool needs_signature(const struct command_options *o, const char *image)
{
	_cleanup_config_ struct config *config = NULL;
	struct error ignored;

	if (config_load(o->config, &config, &ignored) < 0)
		return false;
	for (size_t i = 0; i < config->n_containers; i++) {
		if (config->containers[i].keys &&
		    ref_is_same_tag(image, config->containers[i].image))
			return true;
	}
	return false;
}

/* The next step, for devices that believe signed policies only. published: digest of the policy. */
static void print_signing(const struct command_options *o, const char *image, const char *published)
{
	_cleanup_(ref_free) struct ref ref = {0};
	_cleanup_free_ char *repository = NULL;
	const char *ignored;

	if (o->json || !published || !needs_signature(o, image) ||
	    ref_parse(image, &ref, &ignored) < 0)
		return;
	repository = ref_repository(&ref);
	printf("    Sign: devices with a key ignore this policy until it is signed; with cosign "
	       "2:\n"
	       "cosign sign --key KEY --tlog-upload=false -y %s@%s\n",
	       repository, published);
}

/* Puts the number of a text like "12.5" or "12.5%" under the key percent of object. Exit status. */
static int put_percent(const char *option, const char *text, json_t *object)
{
	_cleanup_free_ char *number = xstrndup(text, strlen(text) - has_suffix(text, "%"));
	json_t *j = json_loads(number, JSON_DECODE_ANY, NULL);
	double percent = json_is_number(j) ? json_number_value(j) : -1;

	if (percent >= 0 && percent <= 100) {
		json_put(object, "percent", j);
		return 0;
	}
	json_decref(j);
	log_error("--%s: '%s' is not a percentage from 0 to 100", option, text);
	return 2;
}

/* Puts list under key in policy, with a member for each part of "LEFT=PERCENT,LEFT=PERCENT": an object of rings, or an
 * array of points. Exit status. */
static int parse_list(const char *option, const char *text, json_t *policy, const char *key,
		      json_t *list)
{
	_cleanup_free_ char *copy = xstrdup(text);

	json_put(policy, key, list);
	for (char *next = copy, *item; (item = strsep(&next, ","));) {
		char *equals = strrchr(item, '=');
		struct timespec ignored;
		json_t *member;
		int r;

		if (!equals) {
			log_error("--%s: '%s' has no =NUMBER", option, item);
			return 2;
		}
		*equals = '\0';
		if (json_is_object(list)) {
			member = json_object();
			r = json_object_set_new(list, item, member);
		} else {
			member = json_pack("{s:s}", "at", item);
			r = json_array_append_new(list, member);
		}
		if (r < 0) {
			log_error("--%s: not UTF-8", option);
			return 2;
		}
		if (json_is_array(list) && calendar_parse_rfc3339(item, &ignored) < 0) {
			log_error("--%s: '%s' is not a time like 2026-12-01T08:00:00Z", option,
				  item);
			return 2;
		}
		if (put_percent(option, equals + 1, member) != 0)
			return 2;
	}
	return 0;
}

/* --sequence, or one more than that of the present policy. A number that no device accepts counts as none. Clear takes
 * the time if there is none: devices may have seen a policy that was removed. Exit status. */
static int next_sequence(const struct command_options *o, const char *image,
			 const struct present *p, json_int_t *ret)
{
	json_int_t present = json_integer_value(json_object_get(p->policy, "sequence"));
	bool is_too_high = (uint64_t)present > rollout_sequence_max(0, time(NULL));
	char *end = NULL;

	if (streq(o->command, "rollout clear")) {
		*ret = p->policy && !is_too_high ? present + 1 : (json_int_t)time(NULL);
		return 0;
	}
	*ret = o->sequence ? strtoll(o->sequence, &end, 10) : present + 1;
	if (end && (*end || *ret < 1)) {
		log_error("--sequence: '%s' is not a positive integer", o->sequence);
		return 2;
	}
	if (!o->sequence && p->fault) {
		log_error("%s: the present policy is not valid: %s; to replace it, give a higher "
			  "number than any before with --sequence N",
			  image, p->fault);
		return 1;
	}
	if (!o->sequence && is_too_high) {
		log_error("%s: devices do not accept the sequence %" JSON_INTEGER_FORMAT
			  " of the present policy; to replace it, give a number of your own with "
			  "--sequence N",
			  image, present);
		return 1;
	}
	if (*ret > present || is_too_high)
		return 0;
	log_error("--sequence: the present policy has %" JSON_INTEGER_FORMAT
		  ", and devices refuse lower numbers",
		  present);
	return 1;
}

/* Starts from an empty policy, so that no old setting stays in force unseen. Exit status. The caller owns *ret. */
static int make_policy(const struct command_options *o, const struct present *p,
		       json_int_t sequence, json_t **ret)
{
	int status;

	*ret = json_pack("{s:i, s:I, s:s, s:s*, s:s*}", "version", 1, "sequence", sequence,
			 "target", o->target ? o->target : p->digest, "not-before", o->not_before,
			 "minimum-version", o->minimum_version);
	if (!*ret) {
		log_error("the options are not UTF-8");
		return 2;
	}
	/* With rings alone the other devices have none. */
	status = o->ramp ? parse_list("ramp", o->ramp, *ret, "ramp", json_array())
			 : put_percent("percent", o->percent ? o->percent : "0", *ret);
	if (status == 0 && o->ring)
		status = parse_list("ring", o->ring, *ret, "rings", json_object());
	return status;
}

static json_t *make_clear(json_int_t sequence)
{
	return json_pack("{s:i, s:I, s:b}", "version", 1, "sequence", sequence, "clear", true);
}

/* Replaces the present policy, and shows the new one. Halt and resume change the key halt and nothing else. Exit
 * status. */
static int replace_policy(const struct command_options *o, const char *image,
			  const struct present *p)
{
	_cleanup_json_ json_t *policy = NULL, *written = NULL;
	struct rollout ignored;
	json_int_t sequence;
	struct error e;
	int status = next_sequence(o, image, p, &sequence);

	if (status == 0 && streq(o->command, "rollout set")) {
		status = make_policy(o, p, sequence, &policy);
	} else if (status == 0 && streq(o->command, "rollout clear")) {
		policy = make_clear(sequence);
	} else if (status == 0 && p->policy && !is_clear(p)) {
		policy = json_incref(p->policy);
		json_put(policy, "sequence", json_integer(sequence));
		json_put(policy, "halt", json_boolean(streq(o->command, "rollout halt")));
	} else if (status == 0) {
		log_error("%s: there is no rollout policy; to stop all updates: "
			  "pullet rollout set --percent 0 %s",
			  image, image);
		status = 1;
	}
	if (status)
		return status;
	if (rollout_from_json(policy, NULL, &ignored, &e) < 0) {
		log_error("%s", e.text);
		return 2;
	}
	status = request(o, image, policy, &written);
	if (status)
		return status;
	print_present(o, image, &(struct present){.digest = p->digest, .policy = policy},
		      json_get_string(written, "digest"));
	print_signing(o, image, json_get_string(written, "digest"));
	return 0;
}

int command_rollout(const struct command_options *o, const char *const *operands)
{
	const char *image = operands[0];
	struct present p = {0};
	int status;

	if (streq(o->command, "rollout set") &&
	    (o->percent ? o->ramp != NULL : !o->ramp && !o->ring)) {
		log_error("%s; see: pullet rollout set --help",
			  o->percent ? "options --percent and --ramp are mutually exclusive"
				     : "missing option --percent, --ramp or --ring");
		return 2;
	}
	status = read_present(o, image, &p);
	if (status == 0 && streq(o->command, "rollout show"))
		print_present(o, image, &p, NULL);
	else if (status == 0)
		status = replace_policy(o, image, &p);
	json_decref(p.answer);
	return status;
}
