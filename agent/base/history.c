/* SPDX-License-Identifier: MIT */
#include "history.h"

#include <dirent.h>

#include "calendar.h"
#include "clock.h"
#include "config.h"

/* What fails at each poll must not push out the updates. */
static bool is_told(const struct record *record, const struct history_entry *e)
{
	for (size_t i = 0; i < record->n_history; i++) {
		const struct history_entry *x = &record->history[i];

		if (streq(x->result, e->result) && streq(x->to.text, e->to.text) &&
		    streq(x->reason, e->reason))
			return true;
	}
	return false;
}

void history_add(struct record *record, const struct result *r, int64_t began_ms)
{
	struct history_entry e = {.at_s = clock_now(),
				  .from = r->from,
				  .to = r->to,
				  .duration_ms = -1,
				  .downtime_ms = r->downtime_ms};
	int64_t now_ms = e.at_s ? clock_wall_ns() / 1000000 : 0;

	if (began_ms > 0 && now_ms >= began_ms)
		e.duration_ms = now_ms - began_ms;
	copy_text(e.result, sizeof(e.result), outcome_names[r->outcome]);
	copy_text(e.reason, sizeof(e.reason), r->reason);
	copy_text(e.from_version, sizeof(e.from_version), r->from_version);
	copy_text(e.to_version, sizeof(e.to_version), r->to_version);
	if ((r->outcome == OUTCOME_REFUSED || r->outcome == OUTCOME_FAILED) && is_told(record, &e))
		return;
	if (record->n_history == HISTORY_MAX)
		memmove(record->history, record->history + 1,
			--record->n_history * sizeof(record->history[0]));
	record->history[record->n_history++] = e;
}

static json_t *number_or_null(int64_t n)
{
	return n < 0 ? json_null() : json_integer(n);
}

json_t *history_to_json(const struct record *record, const char *container, const char *image)
{
	json_t *list = json_need(json_array());
	char time[32];

	for (size_t i = 0; i < record->n_history; i++) {
		const struct history_entry *e = &record->history[i];
		struct result r = {.container = container,
				   .image = image,
				   .outcome = outcome_from_name(e->result),
				   .from = e->from,
				   .to = e->to,
				   .downtime_ms = e->downtime_ms};
		json_t *j;

		copy_text(r.reason, sizeof(r.reason), e->reason);
		copy_text(r.from_version, sizeof(r.from_version), e->from_version);
		copy_text(r.to_version, sizeof(r.to_version), e->to_version);
		j = json_need(result_to_json(&r));
		json_put(j, "time",
			 e->at_s ? json_string(calendar_rfc3339(e->at_s, time, sizeof(time)))
				 : json_null());
		json_put(j, "duration_ms", number_or_null(e->duration_ms));
		json_append(list, j);
	}
	return list;
}

static int is_record(const struct dirent *d)
{
	return d->d_name[0] != '.' && has_suffix(d->d_name, ".json");
}

json_t *record_list_gone(const char *state_dir, const struct config *config)
{
	json_t *gone = json_need(json_array());
	struct dirent **found = NULL;
	int n = scandir(state_dir, &found, is_record, alphasort);

	for (int i = 0; i < n; i++) {
		char *name = found[i]->d_name;

		name[strlen(name) - strlen(".json")] = '\0';
		if (!config_container(config, name))
			json_append(gone, json_string_lossy(name));
		free(found[i]);
	}
	free(found);
	return gone;
}
