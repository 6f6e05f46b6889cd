/* SPDX-License-Identifier: MIT */
#include "status.h"

#include <libsmartcols.h>
#include <time.h>

#include "clock.h"
#include "hold.h"
#include "operation.h"

#define DIGEST_SHOWN  12 /* hex digits, as docker shows them */
#define LABEL_COLUMNS 9	 /* "Current: ": a whole digest ends at column 80 */
#define NOTE_INDENT   2
#define ELLIPSIS      "\xe2\x80\xa6"
#define WIDE	      100 /* columns, from which on versions and digests have room for more */
#define US_PER_S      ((uint64_t)1000000)

/* All texts but the name. */
static const struct {
	const char *property;
	size_t offset;
} texts[] = {
	{"Image", offsetof(struct status, image)},
	{"Phase", offsetof(struct status, phase)},
	{"Operation", offsetof(struct status, operation)},
	{"Current", offsetof(struct status, current)},
	{"Target", offsetof(struct status, target)},
	{"Previous", offsetof(struct status, previous)},
	{"LastResult", offsetof(struct status, last_result)},
	{"LastError", offsetof(struct status, last_error)},
	{"Version", offsetof(struct status, version)},
	{"TargetVersion", offsetof(struct status, target_version)},
	{"", offsetof(struct status, step)}, /* a part of Step */
	{"HeldBy", offsetof(struct status, held_by)},
	{"HeldReason", offsetof(struct status, held_reason)},
};

static char **text_at(struct status *s, size_t i)
{
	return (char **)((char *)s + texts[i].offset);
}

char **status_text(struct status *s, const char *property)
{
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (streq(texts[i].property, property))
			return text_at(s, i);
	}
	return NULL;
}

struct status *status_list_find(const struct status_list *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++) {
		if (streq(l->items[i].name, name))
			return &l->items[i];
	}
	return NULL;
}

struct status *status_list_get(struct status_list *l, const char *name)
{
	struct status *s = status_list_find(l, name);
	size_t at = 0;

	if (s)
		return s;
	while (at < l->n && strcmp(l->items[at].name, name) < 0)
		at++;
	l->items = xrealloc(l->items, (l->n + 1) * sizeof(*l->items));
	s = &l->items[at];
	memmove(s + 1, s, (l->n - at) * sizeof(*s));
	l->n++;
	*s = (struct status){.name = xstrdup(name),
			     .rejected = json_need(json_array()),
			     .signed_by = json_need(json_array())};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		*text_at(s, i) = xstrdup("");
	replace_string(&s->phase, phase_names[PHASE_IDLE]);
	return s;
}

void status_list_clear(struct status_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		for (size_t k = 0; k < ARRAY_SIZE(texts); k++)
			free(*text_at(&l->items[i], k));
		free(l->items[i].name);
		json_decref(l->items[i].rejected);
		json_decref(l->items[i].signed_by);
	}
	free(l->items);
	*l = (struct status_list){0};
}

void status_reject(struct status *s, const char *digest, const char *reason)
{
	json_append(s->rejected,
		    json_pack("{s:s, s:o}", "digest", digest, "reason", json_string_lossy(reason)));
}

void status_take_record(struct status *s, const struct container_config *c, const struct record *r)
{
	replace_string(&s->image, c->image);
	replace_string(&s->phase, phase_names[r->phase]);
	replace_string(&s->current, r->current.digest.text);
	replace_string(&s->target, r->phase == PHASE_IDLE ? r->seen.text : r->target.digest.text);
	replace_string(&s->previous, r->previous.digest.text);
	replace_string(&s->version, r->current.version);
	replace_string(&s->target_version, r->phase == PHASE_IDLE ? "" : r->target.version);
	replace_string(&s->last_error, r->last_error);
	(void)json_array_clear(s->rejected);
	for (size_t i = 0; i < r->n_rejected; i++)
		status_reject(s, r->rejected[i].digest.text, r->rejected[i].reason);
	(void)json_array_clear(s->signed_by);
	for (size_t i = 0; i < r->current.signature.n_keys; i++)
		json_append(s->signed_by, json_string_lossy(r->current.signature.keys[i].name));
	s->signature_expires_us = (uint64_t)r->current.signature.expires_s * US_PER_S;
	s->held = c->hold;
	if (record_is_held(r, clock_now())) {
		s->held = true;
		s->held_until_us = (uint64_t)r->hold.until_s * US_PER_S;
		replace_string(&s->held_by, r->hold.by);
		replace_string(&s->held_reason, r->hold.reason);
	}
	s->rolled_back = result_is_rollback(r, r->last_error);
}

/* RFC 3339 in UTC, which sorts, and which jq's fromdate reads. */
static json_t *moment_or_null(uint64_t us)
{
	char text[32];

	if (us == 0)
		return json_null();
	return json_string(calendar_rfc3339((int64_t)(us / US_PER_S), text, sizeof(text)));
}

/* An update in phase prepare may be waiting, for a window or for the registry. */
static bool is_at_work(const struct status *s)
{
	return s->operation[0] || (!streq(s->phase, "idle") && !streq(s->phase, "prepare"));
}

/* The last error is told with the last rejected digest. */
static bool is_rejection(const struct status *s)
{
	const json_t *last = json_array_get(s->rejected, json_array_size(s->rejected) - 1);

	return streq_null(s->last_error, json_get_string(last, "reason"));
}

/* NULL when there is none. Caller owns it. */
static json_t *read_last_result(const struct status *s)
{
	json_t *j = NULL;
	struct error ignored;

	if (s->last_result[0])
		(void)!json_parse(s->last_result, strlen(s->last_result), "result", &j, &ignored);
	return j;
}

/* The last check ended before anything was known of a candidate. */
static bool check_waits(const json_t *last)
{
	return result_outcome(last) == OUTCOME_DEFERRED && !json_get_string(last, "to");
}

/* Its download goes on, or waits: nothing is wrong, and nothing else keeps it. */
static bool is_downloading(const struct status *s)
{
	return s->download.of && !s->last_error[0] && !s->held;
}

/* As pullet(1) lists them. Caller frees. */
static char *state_of(const struct status *s, const json_t *last)
{
	if (is_downloading(s))
		return xstrdup("downloading");
	if (is_at_work(s))
		return xstrdup(streq(s->phase, "idle") ? s->operation : s->phase);
	if (s->last_error[0])
		return xasprintf("%s%s", s->held ? "held, " : "",
				 s->rolled_back ? "rolled back" : "error");
	if (s->held)
		return xstrdup("held");
	if (s->target[0])
		return xstrdup("update waits");
	return xstrdup(!s->current[0]	   ? "not seen"
		       : check_waits(last) ? "check waits"
					   : "up to date");
}

/* Why it is in its state: what is wrong, or what it waits for; "": all is well. Borrowed. */
static const char *reason_of(const struct status *s, const json_t *last)
{
	const char *reason = json_get_string(last, "reason");

	if (s->last_error[0])
		return s->last_error;
	if (is_at_work(s) || (!s->held && !s->target[0] && !check_waits(last)))
		return "";
	return reason ? reason : "";
}

/* Says who held it, until when, and why. Caller frees. */
static char *explain_hold(const struct status *s)
{
	struct hold hold = {.until_s = (int64_t)(s->held_until_us / US_PER_S)};
	char text[RECORD_TEXT_MAX];

	copy_text(hold.by, sizeof(hold.by), s->held_by);
	copy_text(hold.reason, sizeof(hold.reason), s->held_reason);
	hold_explain(&hold, text, sizeof(text));
	return xstrdup(text);
}

/* The contract's object. */
static json_t *status_to_json(const struct status *s)
{
	_cleanup_json_ json_t *last = read_last_result(s);
	_cleanup_free_ char *state = state_of(s, last);
	const char *result = json_get_string(last, "result"), *reason = reason_of(s, last);
	json_t *download = download_to_json(&s->download);

	return json_pack(
		"{s:s, s:s, s:s, s:o, s:o, s:O, s:o, s:o, s:s, s:b, s:o, s:o, s:o, s:o, "
		"s:o, s:o, s:o, s:o, s:o?, s:O, s:o}",
		"container", s->name, "image", s->image, "phase", s->phase, "current",
		json_string_or_null(s->current), "target", json_string_or_null(s->target),
		"rejected", s->rejected, "last_error", json_string_or_null(s->last_error),
		"next_check", moment_or_null(s->next_check_us), "state", state, "held", s->held,
		"held_until", moment_or_null(s->held_until_us), "held_by",
		json_string_or_null(s->held_by), "held_reason", json_string_or_null(s->held_reason),
		"previous", json_string_or_null(s->previous), "result",
		json_string_or_null(result ? result : ""), "reason", json_string_or_null(reason),
		"version", json_string_or_null(s->version), "target_version",
		json_string_or_null(s->target_version), "download", download, "signed_by",
		s->signed_by, "signature_expires", moment_or_null(s->signature_expires_us));
}

json_t *status_list_to_json(const struct status_list *l, const char *only)
{
	json_t *list = json_need(json_array());

	for (const struct status *s = l->items; s < l->items + l->n; s++) {
		if (only && !streq(only, s->name))
			continue;
		json_append(list, status_to_json(s));
	}
	return list;
}

/* "b7c6202ba6ee" of "sha256:b7c6202ba6ee...". Caller frees. */
static char *short_digest(const char *digest)
{
	const char *hex = after_prefix(digest, "sha256:");

	return hex ? xstrndup(hex, DIGEST_SHOWN) : xstrdup("-");
}

/* "1.4.2 b7c6202ba6ee"; both shorter on a narrow terminal. Caller frees. */
static char *release_cell(const char *version, const char *digest, const struct terminal *t)
{
	_cleanup_free_ char *hex = short_digest(digest);
	bool narrow = t->width < WIDE;

	if (!version[0] || !digest[0])
		return steal(hex);
	return xasprintf("%.*s %.*s", narrow ? 12 : VERSION_TEXT_MAX, version, narrow ? 7 : 12,
			 hex);
}

static bool local_time(uint64_t us, struct tm *ret)
{
	time_t t = (time_t)(us / US_PER_S);

	return us && localtime_r(&t, ret);
}

/* Local time: the time of day within 24 hours, else the date. Caller frees. */
static char *moment(const struct status *s, uint64_t now_us)
{
	bool near = s->next_check_us < now_us + 24 * 3600 * US_PER_S;
	char text[32] = "-";
	struct tm local;

	if (local_time(s->next_check_us, &local))
		(void)strftime(text, sizeof(text), near ? "%H:%M:%S" : "%Y-%m-%d", &local);
	return xstrdup(text);
}

char *status_step(const struct status *s, uint64_t *ret_elapsed_ms)
{
	uint64_t now = now_ms(), elapsed = now > s->step_began_ms ? now - s->step_began_ms : 0;

	*ret_elapsed_ms = elapsed < s->step_ms ? elapsed : s->step_ms;
	if (!s->step_ms)
		return xstrdup(s->step);
	return xasprintf("%s, %u of %s%u s", s->step, (unsigned int)(*ret_elapsed_ms / 1000),
			 streq(s->step, STEP_TRIAL) ? "" : "at most ",
			 (unsigned int)((s->step_ms + 999) / 1000));
}

/* "signed by prod.pub and cto.pub until 2026-12-31T00:00:00Z"; NULL: it is not signed. *ret_expired: the time is over.
 * Caller frees. */
static char *explain_signature(const struct status *s, bool *ret_expired)
{
	_cleanup_free_ char *names = xstrdup("");
	int64_t now_s = clock_now(), expires_s = (int64_t)(s->signature_expires_us / US_PER_S);
	const json_t *name;
	char until[32];
	size_t i;

	*ret_expired = expires_s && expires_s <= now_s;
	json_array_foreach (s->signed_by, i, name) {
		char *more = xasprintf("%s%s%s", names, i ? " and " : "", json_string_value(name));

		free(names);
		names = more;
	}
	if (i == 0)
		return NULL;
	if (!expires_s)
		return xasprintf("signed by %s", names);
	return xasprintf("signed by %s%s %s", names, *ret_expired ? ", expired" : " until",
			 calendar_rfc3339(expires_s, until, sizeof(until)));
}

/* The column STATE. Caller frees. */
static char *state_cell(const struct status *s, enum tint *ret)
{
	_cleanup_json_ json_t *last = read_last_result(s);
	char *state = state_of(s, last);
	uint64_t elapsed;

	*ret = is_at_work(s)				      ? TINT_NONE
	       : s->last_error[0]			      ? TINT_BAD
	       : s->held || s->target[0] || check_waits(last) ? TINT_WAIT
							      : TINT_NONE;
	if (is_downloading(s)) {
		free(state);
		return xasprintf("downloading %u %%", (unsigned int)((double)s->download.bytes *
								     100 / (double)s->download.of));
	}
	if (is_at_work(s) && (s->step_ms || s->total)) {
		_cleanup_free_ char *word = state, *step = status_step(s, &elapsed);
		const char *times = strrchr(step, ',');

		state = s->step_ms ? xasprintf("%s%s", word, times + 1)
				   : xasprintf("%s %u%%", word,
					       (unsigned int)((double)s->bytes * 100 /
							      (double)s->total));
	}
	return state;
}

/* A line below the row of its container, cut where it does not fit. */
static void print_note(FILE *f, const struct terminal *t, enum tint tint, const char *text)
{
	_cleanup_free_ char *line = text_printable(xstrdup(text));
	int width = (int)t->width - NOTE_INDENT;
	bool cut = strlen(line) > (size_t)width;
	size_t n = cut ? text_cut(line, (size_t)width - 1) : strlen(line);

	fprintf(f, "%*s%s%.*s%s%s\n", NOTE_INDENT, "", terminal_tint(t->colours, tint), (int)n,
		line, cut ? ELLIPSIS : "", terminal_plain(t->colours, tint));
}

static void print_notes(FILE *f, const struct terminal *t, const struct status *s,
			const char *fault)
{
	_cleanup_json_ json_t *last = read_last_result(s);
	_cleanup_free_ char *held = explain_hold(s), *figures = download_text(&s->download, NULL);
	bool expired;
	_cleanup_free_ char *signature = explain_signature(s, &expired);
	const char *reason = reason_of(s, last);

	if (s->last_error[0] && !is_rejection(s) && !streq_null(s->last_error, fault))
		print_note(f, t, TINT_BAD, s->last_error);
	if (s->held && (s->held_until_us || s->held_reason[0]))
		print_note(f, t, TINT_WAIT, held);
	else if (is_downloading(s) && is_at_work(s))
		print_note(f, t, TINT_NONE, figures);
	else if ((s->target[0] || check_waits(last)) && !s->last_error[0] && reason[0])
		print_note(f, t, TINT_WAIT, reason);
	if (signature)
		print_note(f, t, expired ? TINT_BAD : TINT_NONE, signature);
	for (size_t i = json_array_size(s->rejected); i-- > 0;) {
		const json_t *one = json_array_get(s->rejected, i);
		_cleanup_free_ char *which = release_cell(json_get_string(one, "version") ?: "",
							  json_get_string(one, "digest"), t);
		_cleanup_free_ char *note =
			xasprintf("rejected %s: %s", which, json_get_string(one, "reason"));

		print_note(f, t, TINT_NONE, note);
	}
}

static void add_row(struct libscols_table *table, const struct status *s, const struct terminal *t,
		    uint64_t now_us)
{
	enum tint tint;
	/* By column; the table takes them over. */
	char *cells[] = {xstrdup(s->name), state_cell(s, &tint),
			 release_cell(s->version, s->current, t),
			 release_cell(s->target_version, s->target, t), moment(s, now_us)};
	struct libscols_line *line = scols_table_new_line(table, NULL);

	for (size_t i = 0; i < ARRAY_SIZE(cells); i++) {
		if (!line || scols_line_refer_data(line, i, cells[i]) < 0)
			abort();
	}
	if (tint != TINT_NONE)
		(void)scols_cell_set_color(scols_line_get_cell(line, 1), terminal_tint(true, tint));
}

/* Only a name can be long: it goes on in the next line. */
static struct libscols_table *make_table(const struct status_list *l, const struct terminal *t,
					 uint64_t now_us)
{
	static const char *const head[] = {"CONTAINER", "STATE", "CURRENT", "TARGET", "NEXT CHECK"};
	struct libscols_table *table = scols_new_table();

	if (!table || scols_table_set_column_separator(table, "  ") < 0)
		abort();
	(void)scols_table_set_termforce(table, SCOLS_TERMFORCE_ALWAYS);
	(void)scols_table_set_termwidth(table, t->width);
	(void)scols_table_enable_colors(table, t->colours);
	for (size_t i = 0; i < ARRAY_SIZE(head); i++) {
		if (!scols_table_new_column(table, head[i], 0, i == 0 ? SCOLS_FL_WRAP : 0))
			abort();
	}
	for (size_t i = 0; i < l->n; i++)
		add_row(table, &l->items[i], t, now_us);
	return table;
}

/* With the headings before the first row. The library ends all lines but the table's last. */
static void print_row(FILE *f, struct libscols_table *table, size_t i)
{
	struct libscols_line *line = scols_table_get_line(table, i);
	_cleanup_free_ char *text = NULL;

	if (scols_table_print_range_to_string(table, line, line, &text) < 0)
		abort();
	fprintf(f, "%s%s", text, has_suffix(text, "\n") ? "" : "\n");
}

static void print_gone(FILE *f, const struct terminal *t, const json_t *gone)
{
	_cleanup_free_ char *names = xstrdup("");
	const json_t *name;
	size_t i;

	json_array_foreach (gone, i, name) {
		char *more = xasprintf("%s%s%s", names, i ? ", " : "", json_string_value(name));

		free(names);
		names = text_printable(more);
	}
	if (i > 0)
		fprintf(f,
			"%srecords without a section: %s; to remove them: pullet forget --gone%s\n",
			terminal_tint(t->colours, TINT_WAIT), names,
			terminal_plain(t->colours, TINT_WAIT));
}

void status_print_budget(FILE *f, const uint64_t traffic[4])
{
	static const char *const names[] = {"budget of the day", "budget of the month"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *used = text_bytes(traffic[2 * i]);
		_cleanup_free_ char *budget = text_bytes(traffic[2 * i + 1]);

		if (traffic[2 * i + 1])
			fprintf(f, "%s: %s of %s used\n", names[i], used, budget);
	}
}

void status_print_table(FILE *f, const struct status_list *l, const char *fault, const json_t *gone,
			const struct terminal *t, uint64_t now_us)
{
	struct libscols_table *table = make_table(l, t, now_us);

	if (fault)
		fprintf(f, "%s%s; updates are suspended until the configuration is fixed%s\n",
			terminal_tint(t->colours, TINT_BAD), fault,
			terminal_plain(t->colours, TINT_BAD));
	for (size_t i = 0; i < l->n; i++) {
		print_row(f, table, i);
		print_notes(f, t, &l->items[i], fault);
	}
	if (!fault)
		print_gone(f, t, gone);
	scols_unref_table(table);
}

/* "  Label: value", with further lines below the value; broken at spaces where there are any. */
static void print_detail(FILE *f, const struct terminal *t, const char *label, enum tint tint,
			 const char *value)
{
	size_t width = t->width > 2 * LABEL_COLUMNS ? t->width - LABEL_COLUMNS : t->width;
	_cleanup_free_ char *text = text_printable(xstrdup(value));

	for (const char *line = text; *line; line += strspn(line, " ")) {
		size_t n = strlen(line);

		if (n > width) {
			for (n = width; n > 0 && line[n] != ' ';)
				n--;
			n = n ? n : text_cut(line, width);
		}
		fprintf(f, "%*s%s %s%.*s%s\n", LABEL_COLUMNS - 2, label, *label ? ":" : " ",
			terminal_tint(t->colours, tint), (int)n, line,
			terminal_plain(t->colours, tint));
		label = "";
		line += n;
	}
}

static void print_phase(FILE *f, const struct status *s, const struct terminal *t)
{
	_cleanup_free_ char *bytes = text_bytes(s->bytes), *total = text_bytes(s->total);
	_cleanup_free_ char *operation =
		s->operation[0] ? xasprintf(" (%s)", s->operation) : xstrdup("");
	uint64_t elapsed;
	_cleanup_free_ char *step = status_step(s, &elapsed);
	_cleanup_free_ char *figures = download_text(&s->download, NULL);
	_cleanup_free_ char *text =
		is_downloading(s) ? xasprintf("%s%s, %s", s->phase, operation, figures)
		: s->total	  ? xasprintf("%s%s, %s of %s", s->phase, operation, bytes, total)
			   : xasprintf("%s%s%s%s", s->phase, operation, step[0] ? ", " : "", step);

	print_detail(f, t, "Phase", TINT_NONE, text);
}

void status_print_details(FILE *f, const struct status *s, const struct terminal *t)
{
	_cleanup_json_ json_t *last = read_last_result(s);
	_cleanup_free_ char *sentence = last ? result_text(last) : xstrdup("");
	_cleanup_free_ char *hold = explain_hold(s);
	_cleanup_free_ char *held =
		xasprintf("%s; to release it: pullet release %s", hold + strlen("held "), s->name);
	bool expired;
	_cleanup_free_ char *signature = explain_signature(s, &expired);
	_cleanup_free_ char *log = xasprintf("journalctl PULLET_CONTAINER=%s", s->name);
	char next[64] = "";
	struct tm local;

	if (local_time(s->next_check_us, &local))
		(void)strftime(next, sizeof(next), "%Y-%m-%d %H:%M:%S %Z", &local);
	print_detail(f, t, "Name", TINT_NONE, s->name);
	print_detail(f, t, "Image", TINT_NONE, s->image);
	print_phase(f, s, t);
	if (s->held)
		print_detail(f, t, "Held", TINT_WAIT, held);
	print_detail(f, t, "Version", TINT_NONE, s->version);
	print_detail(f, t, "Current", TINT_NONE, s->current);
	print_detail(f, t, "", expired ? TINT_BAD : TINT_NONE, signature ? signature : "");
	print_detail(f, t, "Target", TINT_NONE, s->target);
	print_detail(f, t, "", TINT_NONE, s->target_version);
	print_detail(f, t, "Before", TINT_NONE, s->previous);
	print_detail(f, t, "Next", TINT_NONE, next);
	/* Without the container's name, which is above. */
	print_detail(f, t, "Last", TINT_NONE,
		     sentence[0] ? sentence + strcspn(sentence, ":") + strlen(": ") : "");
	print_detail(f, t, "Error", TINT_BAD, s->last_error);
	for (size_t i = json_array_size(s->rejected); i-- > 0;) {
		const json_t *one = json_array_get(s->rejected, i);

		print_detail(f, t, "Reject", TINT_BAD, json_get_string(one, "digest"));
		print_detail(f, t, "", TINT_NONE, json_get_string(one, "version") ?: "");
		print_detail(f, t, "", TINT_NONE, json_get_string(one, "reason"));
	}
	/* It has the last lines of a version that failed. */
	if (s->last_error[0] || json_array_size(s->rejected) > 0)
		print_detail(f, t, "Log", TINT_NONE, log);
}
