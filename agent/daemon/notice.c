/* SPDX-License-Identifier: MIT */
#include "notice.h"

#include <inttypes.h>

#include "calendar.h"
#include "device.h"
#include "result.h"

#define WAITS_LONG_S (24 * 3600)
#define TOLD_MAX     8 /* reasons of one trouble */

/* The kind of each event, and its sentence around the version. */
static const struct kind {
	char name[20], before[20], after[40];
} updated = {"updated", "updated to ", ""}, rolled_back = {"rolled-back", "", " was rolled back"},
  refused = {"refused", "", " is refused"},
  signature_refused = {"signature-refused", "", " is refused"},
  signature_expired = {"signature-expired", "", " runs, and its signature has expired"},
  failed = {"failed", "failed", ""}, over = {"over", "the trouble is over", ""},
  waiting = {"waiting", "", " has waited for more than a day"},
  available = {"available", "", " is available"};

/* "1.4.2 (sha256:0123456789ab)", as far as it is known. Caller frees. */
static char *name_version(const json_t *result)
{
	const char *to = json_get_string(result, "to");
	const char *version = json_get_string(result, "version_to");

	if (!to)
		return xstrdup("a new version");
	return version ? xasprintf("%s (%.19s)", version, to) : xasprintf("%.19s", to);
}

static json_t *make_event(const struct kind *kind, const json_t *result, const char *reason,
			  const char *host)
{
	const char *name = json_get_string(result, "container");
	bool names = kind != &failed && kind != &over;
	_cleanup_free_ char *version = names ? name_version(result) : xstrdup("");
	_cleanup_free_ char *message = xasprintf("%s on %s: %s%s%s%s%s", name, host, kind->before,
						 version, kind->after, *reason ? ": " : "", reason);

	return json_need(
		json_pack("{s:s, s:s, s:O?, s:O?, s:O?, s:O?, s:o, s:o, s:s}", "event", kind->name,
			  "container", name, "image", json_object_get(result, "image"), "from",
			  json_object_get(result, "from"), "to", json_object_get(result, "to"),
			  "version", json_object_get(result, "version_to"), "reason",
			  *reason ? json_string_lossy(reason) : json_null(), "message",
			  json_string_lossy(message), "host", host));
}

/* Words with a digit differ from try to try: times, ports, container ids. */
static void drop_numbers(char *s)
{
	char *to = s;

	while (*s) {
		size_t n = strcspn(s, " ");

		if (strcspn(s, DIGITS) >= n) {
			memmove(to, s, n);
			to += n;
		}
		s += n;
		s += strspn(s, " ");
	}
	*to = '\0';
}

/* Notes the reason for that version; false: it was told. An error that comes and goes between others is told once all
 * the same, and one that was rolled back is refused from then on. */
static bool is_news(json_t *state, const char *to, const char *reason)
{
	_cleanup_free_ char *text = xstrdup(reason), *key = NULL;
	json_t *told = json_object_get(state, "told");
	const json_t *one;
	size_t i;

	drop_numbers(text);
	key = xasprintf("%s %016" PRIx64, to ? to : "", device_number(text));
	if (!told) {
		told = json_need(json_array());
		json_put(state, "told", told);
	}
	json_array_foreach (told, i, one) {
		if (streq_null(json_string_value(one), key))
			return false;
	}
	if (json_array_size(told) == TOLD_MAX)
		(void)json_array_remove(told, 0);
	json_append(told, json_string(key));
	return true;
}

static json_t *take_trouble(json_t *state, const struct kind *kind, const json_t *result,
			    const char *reason, const char *host)
{
	/* A rollback is an act, and told each time. */
	if (!is_news(state, json_get_string(result, "to"), reason) && kind != &rolled_back)
		return NULL;
	json_put(state, "trouble", json_string(kind->name));
	json_put(state, "reason", json_string_lossy(reason));
	return make_event(kind, result, reason, host);
}

static json_t *end_trouble(json_t *state, const json_t *result, const char *host)
{
	const char *reason = json_get_string(state, "reason");
	json_t *event = reason ? make_event(&over, result, reason, host) : NULL;

	(void)json_object_del(state, "trouble");
	(void)json_object_del(state, "reason");
	(void)json_object_del(state, "told");
	return event;
}

/* A version that waits is told once, whatever it waits for meanwhile. */
static json_t *take_deferral(json_t *state, const json_t *result, const char *reason,
			     const struct notice_facts *f)
{
	const char *to = json_get_string(result, "to"), *from = json_get_string(result, "from");
	const struct kind *kind = after_prefix(reason, RESULT_TELL) ? &available : &waiting;
	json_int_t since;

	/* Nothing was learned of the registry. */
	if (!to || streq_null(from, to))
		return NULL;
	if (!streq_null(json_get_string(state, "waits"), to)) {
		json_put(state, "waits", json_string(to));
		(void)json_object_del(state, "since");
	}
	/* A version that was rolled back or refused stays a trouble until another one runs. */
	if (streq_null(json_get_string(state, "trouble"), failed.name))
		return end_trouble(state, result, f->host);
	since = json_integer_value(json_object_get(state, "since"));
	if (since == 0 && f->now_s > 0) {
		since = f->now_s;
		json_put(state, "since", json_integer(since));
	}
	if (since < 0 || (kind == &waiting && f->now_s - since < WAITS_LONG_S))
		return NULL;
	json_put(state, "since", json_integer(-1)); /* told */
	return make_event(kind, result, reason, f->host);
}

/* What was told of the signature of the version that runs outlasts all else. */
static void clear(json_t *state)
{
	_cleanup_json_ json_t *expired = json_incref(json_object_get(state, "expired"));

	(void)json_object_clear(state);
	if (expired)
		json_put(state, "expired", json_incref(expired));
}

json_t *notice_take_expiry(json_t *state, const json_t *result, const struct release *current,
			   const struct notice_facts *f)
{
	int64_t expires_s = current->signature.expires_s;
	_cleanup_json_ json_t *about = NULL;
	char text[32];

	/* A clock that is not set says nothing. */
	if (expires_s > 0 && f->now_s <= 0)
		return NULL;
	if (expires_s <= 0 || expires_s > f->now_s) {
		(void)json_object_del(state, "expired");
		return NULL;
	}
	if (json_integer_value(json_object_get(state, "expired")) == expires_s)
		return NULL;
	json_put(state, "expired", json_integer(expires_s));
	about = json_need(json_pack(
		"{s:O, s:O, s:s, s:s, s:s*}", "container", json_object_get(result, "container"),
		"image", json_object_get(result, "image"), "from", current->digest.text, "to",
		current->digest.text, "version_to", current->version[0] ? current->version : NULL));
	return make_event(&signature_expired, about,
			  calendar_rfc3339(expires_s, text, sizeof(text)), f->host);
}

json_t *notice_take(json_t *state, const json_t *result, const struct notice_facts *f)
{
	enum outcome outcome = result_outcome(result);
	const char *text = json_get_string(result, "reason"), *reason = text ? text : "";
	const char *error = result_error(outcome, reason);
	json_t *event;

	/* What changes the record alone, and a rollback that is refused, answer the operator who asked. */
	if (!error || operations[f->operation].record_only ||
	    (f->operation == OPERATION_ROLLBACK && outcome == OUTCOME_REFUSED))
		return NULL;
	switch (outcome) {
	case OUTCOME_UPDATED:
		clear(state);
		return make_event(&updated, result, reason, f->host);
	case OUTCOME_UP_TO_DATE:
		event = end_trouble(state, result, f->host);
		clear(state);
		return event;
	case OUTCOME_DEFERRED:
		return take_deferral(state, result, reason, f);
	case OUTCOME_ROLLED_BACK:
		return take_trouble(state, &rolled_back, result, error, f->host);
	case OUTCOME_REFUSED:
		return take_trouble(state,
				    after_prefix(error, RESULT_SIGNATURE ": ") ? &signature_refused
									       : &refused,
				    result, error, f->host);
	case OUTCOME_FAILED:
		/* A link that is down for one poll is none of the operator's business. */
		if (!json_get_string(result, "to") && !f->again)
			return NULL;
		return take_trouble(state, &failed, result, error, f->host);
	case OUTCOME_NONE:
		break;
	}
	return NULL;
}
