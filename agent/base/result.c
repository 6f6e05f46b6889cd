/* SPDX-License-Identifier: MIT */
#include "result.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "history.h"
#include "log.h"

const char outcome_names[OUTCOME_MAX][12] = {
	[OUTCOME_NONE] = "none",	 [OUTCOME_UP_TO_DATE] = "up-to-date",
	[OUTCOME_UPDATED] = "updated",	 [OUTCOME_ROLLED_BACK] = "rolled-back",
	[OUTCOME_DEFERRED] = "deferred", [OUTCOME_REFUSED] = "refused",
	[OUTCOME_FAILED] = "failed",
};

static const char *or_null(const char *text)
{
	return text[0] ? text : NULL;
}

json_t *result_to_json(const struct result *r)
{
	json_t *download = download_to_json(&r->download);

	if (download)
		json_put(download, "again", json_boolean(r->download.again));
	return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:s*, s:s*, s:o*}", "container",
			 r->container, "image", r->image, "result", outcome_names[r->outcome],
			 "from", json_string_or_null(r->from.text), "to",
			 json_string_or_null(r->to.text), "reason", json_string_or_null(r->reason),
			 "downtime_ms",
			 r->downtime_ms < 0 ? json_null() : json_integer(r->downtime_ms),
			 "version_from", or_null(r->from_version), "version_to",
			 or_null(r->to_version), "download", download);
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
	return last && error[0] && !last->engine[0] && streq(last->reason, error) &&
	       !after_prefix(error, RESULT_GAVE_UP);
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
	if (r->outcome == OUTCOME_REFUSED && !after_prefix(r->reason, RESULT_REJECTED_PREFIX))
		history_add(record, r, 0);
	if (record_save(state_dir, r->container, record, &e) < 0)
		log_warning("%s: %s", r->container, e.text);
}

void result_set_versions(struct result *r, const struct record *record)
{
	copy_text(r->from_version, sizeof(r->from_version), record_version(record, &r->from));
	if (digest_is_set(&r->to) && record_version(record, &r->to)[0])
		copy_text(r->to_version, sizeof(r->to_version), record_version(record, &r->to));
}

/* Its version, or its digest as docker shows it. Caller frees. */
static char *name_of(const char *version, const char *digest)
{
	return version ? xstrdup(version) : xasprintf("%.19s", digest);
}

/* " 1.4.1 -> 1.4.2", or digests as far as versions do not tell them apart; *ret_beside: what else is known of the
 * last of them, or NULL. "" without any. Caller frees both. */
static char *name_both(const json_t *result, char **ret_beside)
{
	const char *from = json_get_string(result, "from"), *to = json_get_string(result, "to");
	const char *from_version = json_get_string(result, "version_from");
	const char *last_version = json_get_string(result, to ? "version_to" : "version_from");
	const char *last = to ? to : from;
	bool two = from && to && !streq(from, to);
	bool same = two && from_version && streq_null(from_version, last_version);
	_cleanup_free_ char *a = NULL, *b = NULL;

	*ret_beside = NULL;
	if (!last)
		return xstrdup("");
	if (last_version)
		*ret_beside = name_of(same ? last_version : NULL, last);
	a = name_of(same ? NULL : from_version, from ? from : last);
	b = name_of(same ? NULL : last_version, last);
	return two ? xasprintf(" %s -> %s", a, b) : xasprintf(" %s", b);
}

static void format_printf(2, 3) append(char **text, const char *fmt, ...)
{
	va_list ap;
	char more[64];
	char *longer;

	va_start(ap, fmt);
	(void)vsnprintf(more, sizeof(more), fmt, ap);
	va_end(ap);
	longer = xasprintf("%s%s", *text, more);
	free(*text);
	*text = longer;
}

char *result_text(const json_t *result)
{
	const char *name = json_get_string(result, "container");
	const char *what = json_get_string(result, "result");
	const char *reason = json_get_string(result, "reason");
	const json_t *downtime = json_object_get(result, "downtime_ms");
	const json_t *duration = json_object_get(result, "duration_ms");
	_cleanup_free_ char *beside = NULL, *both = name_both(result, &beside), *notes = NULL;

	if (!name || !what)
		return xstrdup("?: no result");
	notes = beside ? xasprintf(", %s", beside) : xstrdup("");
	if (json_is_integer(duration))
		append(&notes, ", took %.1f s", (double)json_integer_value(duration) / 1000);
	if (json_is_integer(downtime))
		append(&notes, ", down %lld ms", (long long)json_integer_value(downtime));
	return xasprintf("%s: %s%s%s%s%s%s%s", name, what, both, notes[0] ? " (" : "",
			 notes[0] ? notes + strlen(", ") : "", notes[0] ? ")" : "",
			 reason ? ": " : "", reason ? reason : "");
}

enum outcome outcome_from_name(const char *name)
{
	for (unsigned int i = 0; name && i < OUTCOME_MAX; i++) {
		if (streq(name, outcome_names[i]))
			return (enum outcome)i;
	}
	return OUTCOME_NONE;
}

char *result_sentence(const json_t *result, enum operation operation)
{
	const char *reason = json_get_string(result, "reason");

	if (operations[operation].record_only && reason && !result_is_bad(result))
		return xasprintf("%s: %s", json_get_string(result, "container"), reason);
	return result_text(result);
}

enum outcome result_outcome(const json_t *result)
{
	return outcome_from_name(json_get_string(result, "result"));
}

bool result_is_bad(const json_t *result)
{
	const char *what = json_get_string(result, "result");

	return !what || streq(what, "failed") || streq(what, "refused") ||
	       streq(what, "rolled-back");
}

/* --- downloads --- */

const char *download_waits(const char *text)
{
	static const char *const all[] = {WAITS_WINDOW, WAITS_BUDGET, WAITS_LINK};

	for (size_t i = 0; text && i < ARRAY_SIZE(all); i++) {
		if (streq(text, all[i]))
			return all[i];
	}
	return NULL;
}

int64_t download_eta_s(const struct download_state *d)
{
	uint64_t left = d->of > d->bytes ? d->of - d->bytes : 0;
	uint64_t eta = d->bytes_s ? left / d->bytes_s : UINT64_MAX;

	return eta < INT32_MAX ? (int64_t)eta : -1;
}

json_t *download_to_json(const struct download_state *d)
{
	int64_t eta = download_eta_s(d);

	if (d->of == 0)
		return NULL;
	return json_need(json_pack(
		"{s:I, s:I, s:I, s:o, s:s?, s:b, s:o}", "bytes", (json_int_t)d->bytes, "of",
		(json_int_t)d->of, "bytes_s", (json_int_t)d->bytes_s, "eta_s",
		eta < 0 ? json_null() : json_integer(eta), "waits", d->waits, "delta", d->plain > 0,
		"plain", d->plain ? json_integer((json_int_t)d->plain) : json_null()));
}

static uint64_t get_bytes(const json_t *download, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(download, key));

	return n > 0 ? (uint64_t)n : 0;
}

struct download_state result_download(const json_t *result)
{
	const json_t *j = json_object_get(result, "download");
	struct download_state d = {
		.bytes = get_bytes(j, "bytes"),
		.of = get_bytes(j, "of"),
		.bytes_s = get_bytes(j, "bytes_s"),
		.waits = download_waits(json_get_string(j, "waits")),
		.plain = get_bytes(j, "plain"),
		.again = json_is_true(json_object_get(j, "again")),
	};

	return d.of ? d : (struct download_state){0};
}

/* "45 s", "38 min", "2 h 10 min", "3 d 4 h". Caller frees. */
static char *span_text(uint64_t s)
{
	if (s < 60)
		return xasprintf("%u s", (unsigned int)s);
	if (s < 3600)
		return xasprintf("%u min", (unsigned int)(s / 60));
	if (s < 86400)
		return xasprintf("%u h %u min", (unsigned int)(s / 3600),
				 (unsigned int)(s / 60 % 60));
	return xasprintf("%u d %u h", (unsigned int)(s / 86400), (unsigned int)(s / 3600 % 24));
}

/* Caller frees. */
static char *waits_text(const char *waits, const char *detail)
{
	if (!waits)
		return xstrdup("");
	if (streq(waits, WAITS_BUDGET))
		return detail ? xasprintf(", %s", detail) : xstrdup(", waits for its budget");
	return xasprintf(", waits for %s%s%s", streq(waits, WAITS_LINK) ? "the link" : "its window",
			 !detail		    ? ""
			 : streq(waits, WAITS_LINK) ? ": "
						    : " at ",
			 detail ? detail : "");
}

char *download_text(const struct download_state *d, const char *detail)
{
	uint64_t bytes = d->bytes < d->of ? d->bytes : d->of;
	int64_t eta = download_eta_s(d);
	_cleanup_free_ char *come = text_bytes(bytes), *of = text_bytes(d->of);
	_cleanup_free_ char *each = text_bytes(d->bytes_s), *left = span_text((uint64_t)eta);
	_cleanup_free_ char *rate = d->bytes_s ? xasprintf(", %s/s", each) : xstrdup("");
	_cleanup_free_ char *waits = waits_text(d->waits, detail);
	_cleanup_free_ char *layers = text_bytes(d->plain);
	_cleanup_free_ char *plain =
		d->plain ? xasprintf(" (a delta instead of %s)", layers) : xstrdup("");
	char *unit = strchr(come, ' ');

	/* One unit is enough. */
	if (streq(unit, strchr(of, ' ')))
		*unit = '\0';
	return xasprintf("downloading %u %%, %s of %s%s%s%s%s%s%s",
			 (unsigned int)((double)bytes * 100 / (double)(d->of ? d->of : 1)), come,
			 of, plain, rate, eta < 0 ? "" : ", ", eta < 0 ? "" : left,
			 eta < 0 ? "" : " to go", waits);
}
