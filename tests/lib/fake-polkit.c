/* SPDX-License-Identifier: MIT */
/* fake-polkit: org.freedesktop.PolicyKit1 with an answer on demand: yes, no, challenge, error, or nothing at
 * all (silence). Prints "ready", then each question as a line "ACTION CONTAINER SUBJECT FLAGS". */
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

static const char *mode;

static int on_question(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *kind, *key, *subject, *action, *detail = "", *value = "", *cancel;
	unsigned int flags;
	int r = sd_bus_message_read(m, "(sa{sv})s", &kind, 1, &key, "s", &subject, &action);

	if (r >= 0)
		r = sd_bus_message_read(m, "a{ss}", 1, &detail, &value);
	if (r >= 0)
		r = sd_bus_message_read(m, "us", &flags, &cancel);
	if (r < 0 || strcmp(kind, "system-bus-name") != 0 || strcmp(key, "name") != 0 ||
	    strcmp(detail, "container") != 0)
		return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS, "not as polkit wants it");
	printf("%s %s %s %u\n", action, value, subject, flags);
	fflush(stdout);
	if (strcmp(mode, "silence") == 0)
		return 1;
	if (strcmp(mode, "error") == 0)
		return sd_bus_error_set(error, SD_BUS_ERROR_FAILED, "polkit is in trouble");
	return sd_bus_reply_method_return(m, "(bba{ss})", strcmp(mode, "yes") == 0,
					  strcmp(mode, "challenge") == 0, 0);
}

static const sd_bus_vtable vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("CheckAuthorization", "(sa{sv})sa{ss}us", "(bba{ss})", on_question,
		      SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

int main(int argc, char **argv)
{
	sd_event *event;
	sd_bus *bus;

	mode = argc > 1 ? argv[1] : "no";
	if (sd_event_default(&event) < 0 || sd_bus_open_system(&bus) < 0 ||
	    sd_bus_add_object_vtable(bus, NULL, "/org/freedesktop/PolicyKit1/Authority",
				     "org.freedesktop.PolicyKit1.Authority", vtable, NULL) < 0 ||
	    sd_bus_request_name(bus, "org.freedesktop.PolicyKit1", 0) < 0 ||
	    sd_bus_attach_event(bus, event, 0) < 0)
		return 1;
	puts("ready");
	fflush(stdout);
	return sd_event_loop(event) < 0;
}
