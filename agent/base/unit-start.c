/* SPDX-License-Identifier: MIT */
#include "unit-start.h"

#include <errno.h>

#include "protocol.h"

#define SLACK_MS	  ((uint64_t)30 * 1000) /* the starter keeps the time itself */
#define NOTIFY_TIMEOUT_MS ((uint64_t)10 * 1000)

const char unit_keys[HOOK_MAX][12] = {
	[HOOK_BEFORE] = "before-unit",
	[HOOK_HEALTH] = "health-unit",
	[HOOK_AFTER] = "after-unit",
};

char *unit_instance(const char *unit, const char *instance)
{
	const char *at = strchr(unit, '@');

	if (!at || at[1] != '.')
		return xstrdup(unit);
	return xasprintf("%.*s@%s%s", (int)(at - unit), unit, instance, at + 1);
}

static int ask(const char *socket, const json_t *request, uint64_t timeout_ms,
	       const volatile sig_atomic_t *cancel, json_t **ret, struct error *ret_error)
{
	_cleanup_close_ int fd = protocol_connect(socket, 0, ret_error);
	_cleanup_(protocol_reader_free) struct protocol_reader reader = {.fd = fd,
									 .cancel = cancel};
	const char *text;
	int r;

	if (fd < 0)
		return fd;
	r = protocol_send(fd, request);
	if (r < 0)
		return error_set(ret_error, r, "%s: %s", socket, strerror(-r));
	r = protocol_read(&reader, now_ms() + timeout_ms, ret, ret_error);
	if (r < 0)
		return r == -ECANCELED ? r : error_prefix(ret_error, "%s", socket);
	text = json_get_string(*ret, "error");
	return text ? error_set(ret_error, -EIO, "%s", text) : 0;
}

int unit_run(const char *socket, const struct container_config *c, enum hook_kind kind,
	     const volatile sig_atomic_t *cancel, struct unit_end *ret, struct error *ret_error)
{
	_cleanup_json_ json_t *request =
		json_need(json_pack("{s:s, s:s}", "container", c->name, "key", unit_keys[kind]));
	_cleanup_json_ json_t *reply = NULL;
	const char *result;
	int r = ask(socket, request, c->hooks[kind].timeout_ms + SLACK_MS, cancel, &reply,
		    ret_error);

	if (r < 0)
		return r;
	result = json_get_string(reply, "result");
	if (!result || !*result)
		return error_set(ret_error, -EBADMSG, "%s: the reply has no result", socket);
	copy_text(ret->result, sizeof(ret->result), result);
	ret->status = (int)json_integer_value(json_object_get(reply, "status"));
	return 0;
}

int unit_notify(const char *socket, json_t *event, struct error *ret_error)
{
	_cleanup_json_ json_t *request =
		json_need(json_pack("{s:s, s:O}", "key", UNIT_KEY_NOTIFY, "event", event));
	_cleanup_json_ json_t *reply = NULL;

	return ask(socket, request, NOTIFY_TIMEOUT_MS, NULL, &reply, ret_error);
}
