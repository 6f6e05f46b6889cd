/* SPDX-License-Identifier: MIT */
#include "result.h"

#include <errno.h>
#include <stdio.h>

#include "log.h"
#include "record.h"

const char outcome_names[OUTCOME_MAX][12] = {
	[OUTCOME_NONE] = "none",	 [OUTCOME_UP_TO_DATE] = "up-to-date",
	[OUTCOME_UPDATED] = "updated",	 [OUTCOME_ROLLED_BACK] = "rolled-back",
	[OUTCOME_DEFERRED] = "deferred", [OUTCOME_REFUSED] = "refused",
	[OUTCOME_FAILED] = "failed",
};

json_t *result_to_json(const struct result *r)
{
	return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "container", r->container, "image",
			 r->image, "result", outcome_names[r->outcome], "from",
			 json_string_or_null(r->from.text), "to", json_string_or_null(r->to.text),
			 "reason", json_string_or_null(r->reason), "downtime_ms",
			 r->downtime_ms < 0 ? json_null() : json_integer(r->downtime_ms));
}

json_t *result_make(const char *container, const char *image, enum outcome outcome, const char *to,
		    const char *reason)
{
	struct result r = {
		.container = container, .image = image, .outcome = outcome, .downtime_ms = -1};

	copy_text(r.to.text, sizeof(r.to.text), to);
	copy_text(r.reason, sizeof(r.reason), reason);
	return result_to_json(&r);
}

void result_set_error(struct result *r, const struct error *e)
{
	r->outcome = e->code == -ECANCELED	? OUTCOME_DEFERRED
		     : e->code == -EKEYREJECTED ? OUTCOME_REFUSED
						: OUTCOME_FAILED;
	copy_text(r->reason, sizeof(r->reason), e->code == -ECANCELED ? RESULT_STOPPED : e->text);
}

const char *result_error(enum outcome outcome, const char *reason)
{
	const char *rejected = after_prefix(reason, RESULT_REJECTED_PREFIX);

	/* A pass that was stopped learned nothing. */
	if (outcome == OUTCOME_NONE || streq(reason, RESULT_STOPPED))
		return NULL;
	if (outcome == OUTCOME_FAILED || outcome == OUTCOME_REFUSED ||
	    outcome == OUTCOME_ROLLED_BACK)
		return rejected ? rejected : reason;
	return "";
}

bool result_is_rollback(const struct record *r, const char *error)
{
	const struct rejected *last = r->n_rejected ? &r->rejected[r->n_rejected - 1] : NULL;

	/* One that could not even be tried was rejected for a version of the engine. */
	return last && error[0] && !last->engine[0] && streq(last->reason, error);
}

void result_save_error(const struct result *r, int state_dir, struct record *record)
{
	const char *error = result_error(r->outcome, r->reason);
	char text[RECORD_TEXT_MAX];
	struct error e;

	copy_text(text, sizeof(text), error);
	if (!error || streq(text, record->last_error))
		return;
	memcpy(record->last_error, text, sizeof(text));
	if (record_save(state_dir, r->container, record, &e) < 0)
		log_warning("%s: %s", r->container, e.text);
}

char *result_text(const json_t *result)
{
	const char *name = json_get_string(result, "container");
	const char *what = json_get_string(result, "result");
	const char *from = json_get_string(result, "from"), *to = json_get_string(result, "to");
	const char *reason = json_get_string(result, "reason");
	const json_t *downtime = json_object_get(result, "downtime_ms");
	_cleanup_free_ char *digests = NULL, *down = NULL;

	if (!name || !what)
		return xstrdup("?: no result");
	if (from && to && !streq(from, to))
		digests = xasprintf(" %.19s -> %.19s", from, to);
	else if (to || from)
		digests = xasprintf(" %.19s", to ? to : from);
	if (json_is_integer(downtime))
		down = xasprintf(" (down %lld ms)", (long long)json_integer_value(downtime));
	return xasprintf("%s: %s%s%s%s%s", name, what, digests ? digests : "", down ? down : "",
			 reason ? ": " : "", reason ? reason : "");
}

enum outcome result_outcome(const json_t *result)
{
	const char *what = json_get_string(result, "result");

	for (unsigned int i = 0; what && i < OUTCOME_MAX; i++) {
		if (streq(what, outcome_names[i]))
			return (enum outcome)i;
	}
	return OUTCOME_NONE;
}

bool result_is_bad(const json_t *result)
{
	const char *what = json_get_string(result, "result");

	return !what || streq(what, "failed") || streq(what, "refused") ||
	       streq(what, "rolled-back");
}
