/* SPDX-License-Identifier: MIT */
#include "bus-append.h"

#include "history.h"

int bus_append_history(sd_bus_message *reply, const struct unit *u, const struct record *r)
{
	_cleanup_json_ json_t *list = history_to_json(r, u->config->name, u->config->image);
	_cleanup_free_ char *text = json_text(list, JSON_COMPACT);

	return sd_bus_message_append(reply, "s", text);
}

int bus_append_rejected(sd_bus_message *reply, const struct record *record)
{
	int r = sd_bus_message_open_container(reply, 'a', "(ss)");

	for (size_t i = 0; r >= 0 && i < record->n_rejected; i++)
		r = sd_bus_message_append(reply, "(ss)", record->rejected[i].digest.text,
					  record->rejected[i].reason);
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

int bus_append_download(sd_bus_message *reply, const struct unit *u)
{
	struct download_state d = unit_download(u, now_ms());

	return sd_bus_message_append(reply, "(ttts)", d.bytes, d.of, d.bytes_s,
				     d.waits ? d.waits : "");
}

int bus_append_names(sd_bus_message *reply, const json_t *names)
{
	int r = sd_bus_message_open_container(reply, 'a', "s");
	const json_t *name;
	size_t i;

	json_array_foreach (names, i, name) {
		if (r >= 0)
			r = sd_bus_message_append(reply, "s", json_string_value(name));
	}
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

int bus_append_signers(sd_bus_message *reply, const struct signature *s)
{
	const char *names[SIGNATURE_KEYS_MAX + 1] = {NULL};

	for (size_t i = 0; i < s->n_keys; i++)
		names[i] = s->keys[i].name;
	return sd_bus_message_append_strv(reply, (char **)names);
}
