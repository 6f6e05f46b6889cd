/* SPDX-License-Identifier: MIT */
#include "polkit.h"

#include "util.h"

#define REQUESTS_MAX	 16			   /* that wait for polkit */
#define REQUEST_TIME_US	 ((uint64_t)120 * 1000000) /* time to type a password */
#define FLAG_INTERACTIVE 1u			   /* of polkit */

struct request {
	unsigned int *pending;
	sd_bus_message *call;
	enum operation operation;
	polkit_then_fn *then;
	void *userdata;
};

static void request_free(void *userdata)
{
	struct request *q = userdata;

	sd_bus_message_unref(q->call);
	(*q->pending)--;
	free(q);
}

static int deny(sd_bus_error *error)
{
	return sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED,
				"permission denied: not authorized by polkit");
}

/* 1: allowed. */
static int read_answer(sd_bus_message *reply, sd_bus_error *error)
{
	int allowed, challenge, r;

	/* polkit does not work: only root and our own user are authorized. */
	if (sd_bus_message_is_method_error(reply, NULL))
		return deny(error);
	r = sd_bus_message_enter_container(reply, 'r', "bba{ss}");
	if (r >= 0)
		r = sd_bus_message_read(reply, "bb", &allowed, &challenge);
	if (r < 0)
		return r;
	if (!allowed && challenge)
		return sd_bus_error_set(error, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
					"interactive authentication required; try as root");
	return allowed ? 1 : deny(error);
}

static int on_answer(sd_bus_message *reply, void *userdata, sd_bus_error *ignored)
{
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	struct request *q = userdata;
	int r = read_answer(reply, &error);

	if (r > 0)
		r = q->then(q->userdata, q->call, q->operation);
	if (r < 0)
		r = sd_bus_reply_method_errno(q->call, r, &error);
	return r;
}

int polkit_ask(unsigned int *pending, sd_bus_message *call, enum operation operation,
	       const char *container, polkit_then_fn *then, void *userdata, sd_bus_error *error)
{
	bool interactive = sd_bus_message_get_allow_interactive_authorization(call) > 0;
	sd_bus *bus = sd_bus_message_get_bus(call);
	struct request *q;
	sd_bus_slot *slot;
	int r;

	if (*pending >= REQUESTS_MAX)
		return sd_bus_error_set(error, SD_BUS_ERROR_LIMITS_EXCEEDED,
					"too many pending authorization requests");
	q = xmalloc(sizeof(*q));
	*q = (struct request){pending, sd_bus_message_ref(call), operation, then, userdata};
	(*pending)++;
	/* A call takes the timeout that is set when it is sent. Others, which block, keep libsystemd's 25 s. */
	(void)sd_bus_set_method_call_timeout(bus, REQUEST_TIME_US);
	r = sd_bus_call_method_async(
		bus, &slot, "org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority",
		"org.freedesktop.PolicyKit1.Authority", "CheckAuthorization", on_answer, q,
		"(sa{sv})sa{ss}us", "system-bus-name", 1, "name", "s",
		sd_bus_message_get_sender(call), operations[operation].action, 1, "container",
		container, interactive ? FLAG_INTERACTIVE : 0, "");
	(void)sd_bus_set_method_call_timeout(bus, 0);
	if (r < 0) {
		request_free(q);
		return r;
	}
	(void)sd_bus_slot_set_destroy_callback(slot, request_free);
	(void)sd_bus_slot_set_floating(slot, 1);
	sd_bus_slot_unref(slot);
	return 1;
}
