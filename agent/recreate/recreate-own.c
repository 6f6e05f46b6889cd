/* SPDX-License-Identifier: MIT */
#include "recreate-internal.h"

/* A setting of a container that equals the image's may come from either. If the create body had it, a label
 * says that it is the operator's: ["User","Labels.vendor"]. */

/* Without Env, where the engine's order decides (recreate-config.c). */
static const char values[][12] = {"User", "WorkingDir", "StopSignal", "Entrypoint", "Cmd"};
const char recreate_tables[RECREATE_TABLES][16] = {"Labels", "Healthcheck", "ExposedPorts",
						   "Volumes"};

static json_t *read_label(const json_t *container, const json_t *image)
{
	const json_t *labels = json_get_path(container, "Config", "Labels", NULL);
	const char *text = json_get_string(labels, RECREATE_LABEL_OWN);
	const char *of_image =
		json_get_string(json_get_path(image, "Config", "Labels", NULL), RECREATE_LABEL_OWN);

	/* Containers inherit the labels of an image, this one included. */
	return text && !streq_null(text, of_image) ? json_loads(text, 0, NULL) : NULL;
}

json_t *recreate_defaults(const json_t *container, const json_t *image)
{
	_cleanup_json_ json_t *own = read_label(container, image);
	const json_t *config = json_object_get(image, "Config");
	json_t *defaults =
		json_need(json_is_object(config) ? json_deep_copy(config) : json_object());
	const json_t *entry;
	size_t i;

	json_array_foreach (own, i, entry) {
		const char *path = json_string_value(entry);

		for (size_t k = 0; path && k < ARRAY_SIZE(values); k++)
			if (streq(path, values[k]))
				json_put(defaults, path,
					 json_true()); /* equals no container's value */
		for (size_t k = 0; path && k < RECREATE_TABLES; k++) {
			const char *key = after_prefix(path, recreate_tables[k]);

			if (key && key[0] == '.')
				(void)json_object_del(json_object_get(defaults, recreate_tables[k]),
						      key + 1);
		}
	}
	return defaults;
}

/* Whether recreate_config() carries it over in any case. */
static bool is_carried(const json_t *body, const char *table, const char *key)
{
	if (streq(table, "ExposedPorts"))
		return json_get_path(body, "HostConfig", "PortBindings", key, NULL);
	return after_prefix(key, "com.docker.compose.") || after_prefix(key, "pullet.");
}

static void note_table(const json_t *body, const json_t *config, const char *table, json_t *own)
{
	const json_t *of_image = json_object_get(config, table);
	const char *key;
	json_t *value;

	json_object_foreach (json_object_get(body, table), key, value)
		if (json_object_get(of_image, key) &&
		    recreate_same(value, json_object_get(of_image, key)) &&
		    !is_carried(body, table, key))
			json_append(own, json_sprintf("%s.%s", table, key));
}

void recreate_note_own(json_t *body, const json_t *image)
{
	const json_t *config = json_object_get(image, "Config");
	json_t *labels = json_object_get(body, "Labels");
	_cleanup_json_ json_t *own = json_need(json_array());

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		const json_t *value = json_object_get(body, values[i]);
		const json_t *of_image = json_object_get(config, values[i]);

		if (value && (recreate_same(value, of_image) ||
			      (recreate_is_no_command(value) && recreate_is_no_command(of_image))))
			json_append(own, json_string(values[i]));
	}
	for (size_t i = 0; i < RECREATE_TABLES; i++)
		note_table(body, config, recreate_tables[i], own);

	(void)json_object_del(labels, RECREATE_LABEL_OWN);
	if (json_array_size(own) > 0) {
		_cleanup_free_ char *text = json_text(own, JSON_COMPACT);

		json_put(labels, RECREATE_LABEL_OWN, json_string(text));
	}
}
