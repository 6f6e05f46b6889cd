/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "json-build.h"
#include "message.h"
#include "protocol.h"

#define SEQUENCE_MAX ((json_int_t)1 << 53) /* as in a policy: rollout.c */

json_t *message_rollout_request_to_json(const struct rollout_request *r)
{
	json_t *j = json_need(json_object());

	json_put(j, "op", json_string("rollout"));
	json_put(j, "image", json_string_lossy(r->image));
	if (r->ring)
		json_put(j, "ring", json_string_lossy(r->ring));
	return j;
}

int message_rollout_request_from_json(const json_t *j, struct rollout_request *ret,
				      struct error *ret_error)
{
	if (!streq_null(json_get_string(j, "op"), "rollout"))
		return 1;
	ret->image = json_get_string(j, "image");
	ret->ring = json_get_string(j, "ring");
	return ret->image ? 0 : error_set(ret_error, -EBADMSG, "the request lacks \"image\"");
}

json_t *message_rollout_reply_to_json(const struct rollout_reply *reply)
{
	const struct rollout *r = &reply->rollout;
	json_t *j = json_need(json_object()), *points = json_need(json_array());

	for (size_t i = 0; reply->found && i < r->n_points; i++) {
		json_append(points, json_integer(r->points[i].at_s));
		json_append(points, json_integer(r->points[i].share));
	}
	json_put(j, "rollout",
		 reply->found
			 ? json_pack("{s:I, s:s, s:b, s:s, s:I, s:O}", "sequence",
				     (json_int_t)r->sequence, "target", r->target.text, "halt",
				     r->halt, "minimum-version", r->minimum_version, "not-before",
				     (json_int_t)r->not_before_s, "points", points)
			 : json_null());
	json_decref(points);
	return j;
}

/* A compromised network half can say no more than a registry: the same bounds hold. */
static bool read_points(const json_t *list, struct rollout *ret)
{
	size_t n = json_array_size(list);

	if (n < 2 || n % 2 || n > (size_t)2 * ROLLOUT_POINTS_MAX)
		return false;
	for (size_t i = 0; i < n / 2; i++) {
		const json_t *at = json_array_get(list, 2 * i);
		const json_t *share = json_array_get(list, 2 * i + 1);
		struct rollout_point *p = &ret->points[i];

		if (!json_is_integer(at) || !json_is_integer(share) || json_integer_value(at) < 0 ||
		    json_integer_value(at) > ROLLOUT_TIME_MAX || json_integer_value(share) < 0 ||
		    json_integer_value(share) > COHORT_ALL)
			return false;
		p->at_s = json_integer_value(at);
		p->share = (uint32_t)json_integer_value(share);
		if (i > 0 && (p->at_s < p[-1].at_s || p->share < p[-1].share))
			return false;
	}
	ret->n_points = n / 2;
	return true;
}

static bool read_rollout(const json_t *j, struct rollout *ret)
{
	const json_t *sequence = json_object_get(j, "sequence");
	const json_t *not_before = json_object_get(j, "not-before");
	const char *target = json_get_string(j, "target");
	const char *minimum = json_get_string(j, "minimum-version");

	if (!json_is_integer(sequence) || json_integer_value(sequence) < 1 ||
	    json_integer_value(sequence) > SEQUENCE_MAX || !json_is_integer(not_before) ||
	    json_integer_value(not_before) < 0 ||
	    json_integer_value(not_before) > ROLLOUT_TIME_MAX ||
	    !json_is_boolean(json_object_get(j, "halt")) || !target ||
	    digest_parse(target, &ret->target) < 0 || !minimum ||
	    strlen(minimum) >= sizeof(ret->minimum_version))
		return false;
	ret->sequence = (uint64_t)json_integer_value(sequence);
	ret->not_before_s = json_integer_value(not_before);
	ret->halt = json_is_true(json_object_get(j, "halt"));
	copy_text(ret->minimum_version, sizeof(ret->minimum_version), minimum);
	return read_points(json_object_get(j, "points"), ret);
}

int message_rollout_reply_from_json(const json_t *j, struct rollout_reply *ret,
				    struct error *ret_error)
{
	const json_t *policy = json_object_get(j, "rollout");
	struct rollout_reply r = {.found = !json_is_null(policy)};
	int q;

	*ret = (struct rollout_reply){0};
	q = protocol_get_error(j, &ret->retry_after_s, ret_error);
	if (q < 0)
		return q;
	if (!policy || (r.found && !read_rollout(policy, &r.rollout)))
		return error_set(ret_error, -EBADMSG, "the message has no valid \"rollout\"");
	*ret = r;
	return 0;
}
