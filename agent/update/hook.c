/* SPDX-License-Identifier: MIT */
#include "hook.h"

#include <errno.h>
#include <stdio.h>

#include "log.h"
#include "unit-start.h"

/* Of systemd's own, when it cannot execute the program: EXIT STATUS in systemd.exec(5). */
#define STATUS_SYSTEMD_FIRST 200
#define STATUS_SYSTEMD_LAST  243

static bool is_of_host(const struct unit_end *end)
{
	return streq(end->result, "resources") || streq(end->result, "start-limit-hit") ||
	       (streq(end->result, "exit-code") && end->status >= STATUS_SYSTEMD_FIRST &&
		end->status <= STATUS_SYSTEMD_LAST);
}

/* Writes "before-unit app-lock.service ended with status 3". */
static void describe(const struct container_config *c, enum hook_kind kind,
		     const struct unit_end *end, char *text, size_t size)
{
	_cleanup_free_ char *unit = unit_instance(c->hooks[kind].unit, c->name);
	const char *key = unit_keys[kind];

	if (streq(end->result, "exit-code"))
		(void)snprintf(text, size, "%s %s ended with status %d", key, unit, end->status);
	else if (streq(end->result, "timeout"))
		(void)snprintf(text, size, "%s %s did not end within %.10g s", key, unit,
			       (double)c->hooks[kind].timeout_ms / 1000);
	else
		(void)snprintf(text, size, "%s %s failed: %s", key, unit, end->result);
}

static int ask(struct pass *p, enum hook_kind kind, struct hook_answer *ret,
	       struct error *ret_error)
{
	struct unit_end end;
	struct error e;
	int r = unit_run(p->task->unit_socket, p->c, kind, p->task->cancel, &end, &e);

	if (r == -ECANCELED)
		return error_set(ret_error, r, "stopped");
	*ret = (struct hook_answer){.asked = true, .host = r < 0 || is_of_host(&end)};
	if (r < 0)
		(void)snprintf(ret->refusal, sizeof(ret->refusal), "%s %s did not run: %.350s",
			       unit_keys[kind], p->c->hooks[kind].unit, e.text);
	else if (!streq(end.result, "success"))
		describe(p->c, kind, &end, ret->refusal, sizeof(ret->refusal));
	return 0;
}

int hook_ask_before(struct pass *p, struct error *ret_error)
{
	const struct disturbed *before = &p->record.deferred;
	const struct container_config *c = p->c;
	struct hook_answer *a = &p->state.before;
	unsigned int times =
		digest_eq(&before->digest, &p->record.target.digest) ? before->times : 0;
	int r = ask(p, HOOK_BEFORE, a, ret_error);

	/* A unit that did not run has said nothing about the release. */
	a->final = !a->host && c->before_then == HOOK_GIVE_UP && c->before_deferrals > 0 &&
		   times + 1 >= c->before_deferrals;
	return r;
}

int hook_ask_health(struct pass *p, struct error *ret_error)
{
	return ask(p, HOOK_HEALTH, &p->state.health, ret_error);
}

int hook_ask_after(struct pass *p, struct error *ret_error)
{
	struct hook_answer a;
	int r = ask(p, HOOK_AFTER, &a, ret_error);

	if (r < 0)
		return r;
	p->state.after_asked = true;
	if (a.refusal[0])
		log_warning("%s: %s", p->c->name, a.refusal);
	return 0;
}
