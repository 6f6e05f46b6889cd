/* SPDX-License-Identifier: MIT */
#include "survey.h"

#define SURVEY_EACH_MS	 5000
#define SURVEY_BYTES_MAX ((size_t)1024 * 1024)

static void forget_found(struct survey *s)
{
	for (size_t i = 0; i < s->n_found; i++)
		free(s->found[i]);
	free(steal(s->found));
	free(steal(s->error));
	s->n_found = s->bytes = 0;
	s->ended = false;
}

static void drop_calls(struct survey *s)
{
	while (s->n_calls > 0)
		sd_bus_message_unref(s->calls[--s->n_calls]);
}

static int answer(const struct survey *s, sd_bus_message *call, const char *fault)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	int r;

	if (fault)
		return sd_bus_reply_method_errorf(call, SD_BUS_ERROR_FAILED, "%s", fault);
	r = sd_bus_message_new_method_return(call, &reply);
	if (r >= 0)
		r = sd_bus_message_append_strv(reply, s->found);
	return r < 0 ? r : sd_bus_message_send(reply);
}

static int on_object(void *userdata, json_t *object)
{
	const char *event = json_get_string(object, "event");
	struct survey *s = userdata;
	char *text;

	if (streq_null(event, "surveyed")) {
		s->ended = true;
		replace_string(&s->error, json_get_string(object, "error"));
	}
	if (streq_null(event, "unfollowed"))
		s->on_unfollowed(s->userdata, json_object_get(object, "names"));
	if (!streq_null(event, "found") || s->bytes > SURVEY_BYTES_MAX)
		return 0;
	(void)json_object_del(object, "event");
	text = json_text(object, JSON_COMPACT);
	s->bytes += strlen(text);
	s->found = xrealloc(s->found, (s->n_found + 2) * sizeof(*s->found));
	s->found[s->n_found++] = text;
	s->found[s->n_found] = NULL;
	return 0;
}

static void on_end(void *userdata, int exit_status, const char *how)
{
	struct survey *s = userdata;
	_cleanup_free_ char *fault =
		s->error    ? xstrdup(s->error)
		: !s->ended ? xasprintf("pullet-update ended without an answer%s%s",
					how[0] ? ": " : "", how)
			    : NULL;

	for (size_t i = 0; i < s->n_calls; i++)
		(void)answer(s, s->calls[i], fault);
	drop_calls(s);
	forget_found(s);
	s->ended_ms = now_ms();
}

void survey_init(struct survey *s)
{
	s->helper = (struct helper){.program = "pullet-update",
				    .on_object = on_object,
				    .on_end = on_end,
				    .userdata = s,
				    .fd = -1};
}

int survey_ask(struct survey *s, sd_event *event, const struct helper_options *o, const char *fault,
	       sd_bus_message *call, sd_bus_error *error)
{
	static const struct job job = {.operation = OPERATION_SURVEY};
	bool soon = s->ended_ms && now_ms() < s->ended_ms + SURVEY_EACH_MS;
	struct error e;

	if (fault)
		return sd_bus_error_set(error, SD_BUS_ERROR_FAILED, fault);
	if (s->n_calls == SURVEY_CALLS_MAX ||
	    (!s->helper.running && soon && sd_bus_query_sender_privilege(call, -1) <= 0))
		return sd_bus_error_set(error, SD_BUS_ERROR_LIMITS_EXCEEDED,
					"the engine was asked just now; try again in 5 s");
	if (!s->helper.running && helper_start(&s->helper, event, o, &job, &e) < 0)
		return sd_bus_error_set(error, SD_BUS_ERROR_FAILED, e.text);
	s->calls[s->n_calls++] = sd_bus_message_ref(call);
	return 1;
}

void survey_close(struct survey *s)
{
	if (s->helper.running)
		helper_close(&s->helper);
	drop_calls(s);
	forget_found(s);
}
