/* SPDX-License-Identifier: MIT */
#include "engine.h"

/* The number of equal layers from the lowest one up; images share no others. */
static size_t count_shared(const json_t *image, const json_t *other)
{
	const json_t *a = json_get_path(image, "RootFS", "Layers", NULL);
	const json_t *b = json_get_path(other, "RootFS", "Layers", NULL);
	size_t n = 0;

	while (n < json_array_size(a) && n < json_array_size(b) &&
	       json_equal(json_array_get(a, n), json_array_get(b, n)))
		n++;
	return n;
}

bool engine_layers_are_trusted(struct engine *e, const json_t *image, size_t found)
{
	const char *id = json_get_string(image, "Id");
	size_t i;
	_cleanup_json_ json_t *list = NULL;
	struct error ignored;
	const json_t *v;

	if (found == 0)
		return true;
	if (!id || engine_list_images(e, &list, &ignored) < 0)
		return false;
	json_array_foreach (list, i, v) {
		_cleanup_json_ json_t *other = NULL;
		const char *other_id = json_get_string(v, "Id");

		if (other_id && !streq(other_id, id) &&
		    engine_identify_image(e, other_id, &other, &ignored) == 0 &&
		    count_shared(image, other) >= found)
			return true;
	}
	return false;
}

static bool is_any(const char *id, const char *const *ids)
{
	while (*ids && !streq(id, *ids))
		ids++;
	return *ids;
}

static size_t count_equal(const json_t *image, const struct digest *layers, size_t n)
{
	const json_t *list = json_get_path(image, "RootFS", "Layers", NULL);
	size_t same = 0;

	while (same < n &&
	       streq_null(json_string_value(json_array_get(list, same)), layers[same].text))
		same++;
	return same;
}

size_t engine_count_layers(struct engine *e, const struct digest *layers, size_t n,
			   const char *const *but)
{
	_cleanup_json_ json_t *list = NULL;
	size_t i, most = 0, same;
	struct error ignored;
	const json_t *v;

	if (engine_list_images(e, &list, &ignored) < 0)
		return 0;
	json_array_foreach (list, i, v) {
		_cleanup_json_ json_t *image = NULL;
		const char *id = json_get_string(v, "Id");

		if (!id || is_any(id, but) || engine_identify_image(e, id, &image, &ignored) < 0)
			continue;
		same = count_equal(image, layers, n);
		most = same > most ? same : most;
	}
	return most;
}
