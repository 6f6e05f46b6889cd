/* SPDX-License-Identifier: MIT */
#include "layers.h"

#include "engine.h"

static const json_t *layers_of(const json_t *image)
{
	return json_get_path(image, "RootFS", "Layers", NULL);
}

/* How many of the lowest layers are the same; one lies upon the other, so the rest is not shared. */
static size_t shared(const json_t *a, const json_t *b)
{
	size_t n = 0;

	while (n < json_array_size(a) && n < json_array_size(b) &&
	       json_equal(json_array_get(a, n), json_array_get(b, n)))
		n++;
	return n;
}

bool layers_are_trusted(struct engine *e, const json_t *image, size_t found)
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
		    engine_inspect_image(e, other_id, &other, &ignored) == 0 &&
		    shared(layers_of(image), layers_of(other)) >= found)
			return true;
	}
	return false;
}
