/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "ref.h"

struct unit *unit_find(const struct unit_table *t, const char *name)
{
	for (size_t i = 0; name && i < t->n; i++) {
		if (streq(t->units[i].config->name, name))
			return &t->units[i];
	}
	return NULL;
}

struct registry_state *unit_find_registry(const struct unit_table *t, const char *host)
{
	for (size_t i = 0; host && i < t->n_registries; i++) {
		if (streq(t->registries[i].host, host))
			return &t->registries[i];
	}
	return NULL;
}

/* There are no more registries than containers, so pointers into the array stay. */
static struct registry_state *add_registry(struct unit_table *t, const char *image)
{
	struct registry_state *r;
	struct ref ref;
	const char *why;
	bool parsed = ref_parse(image, &ref, &why) == 0; /* the configuration was checked */

	r = unit_find_registry(t, parsed ? ref.host : "");
	if (!r) {
		r = &t->registries[t->n_registries++];
		r->host = xstrdup(parsed ? ref.host : "");
	}
	if (parsed)
		ref_free(&ref);
	return r;
}

void unit_table_clear(struct unit_table *t)
{
	for (size_t i = 0; i < t->n; i++) {
		free(t->units[i].last_result);
		free(t->units[i].available);
	}
	for (size_t i = 0; i < t->n_registries; i++)
		free(t->registries[i].host);
	free(t->units);
	free(t->registries);
	config_free(t->config);
	*t = (struct unit_table){0};
}

void unit_table_load(struct unit_table *t, struct config *config)
{
	unit_table_clear(t);
	t->config = config;
	t->n = config->n_containers;
	t->units = xcalloc(t->n, sizeof(*t->units));
	t->registries = xcalloc(t->n, sizeof(*t->registries));
	for (size_t i = 0; i < t->n; i++) {
		const struct container_config *c = &config->containers[i];

		t->units[i] = (struct unit){
			.config = c, .registry = add_registry(t, c->image), .operation = ""};
		tally_init(&t->units[i].tally, now_ms());
	}
}

uint64_t registry_held_until(const struct registry_state *r)
{
	return r->retry_after_ms > r->back_off_ms ? r->retry_after_ms : r->back_off_ms;
}

/* A candidate that was not taken is shown until something else is known. */
static void note_available(struct unit *u, const json_t *result)
{
	const char *from = json_get_string(result, "from"), *to = json_get_string(result, "to");
	enum outcome outcome = result_outcome(result);
	bool waits = outcome == OUTCOME_DEFERRED && to && !streq_null(from, to);

	if (waits || outcome != OUTCOME_FAILED)
		replace_string(&u->available, waits ? to : NULL);
}

bool unit_take_result(struct unit *u, const json_t *result, enum operation operation,
		      uint64_t now_ms, uint64_t pass_ms)
{
	_cleanup_free_ char *text = json_text(result, JSON_COMPACT);
	bool asked = operation == OPERATION_CHECK || operation == OPERATION_POLL ||
		     operation == OPERATION_UPDATE;
	bool changed = !streq_null(text, u->last_result);

	u->failing = result_is_bad(result);
	u->checked_ms = asked ? now_ms : 0;
	tally_result(&u->tally, result, now_ms, pass_ms);
	replace_string(&u->last_result, text);
	note_available(u, result);
	return changed;
}
