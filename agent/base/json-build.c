/* SPDX-License-Identifier: MIT */
#include "json-build.h"

json_t *json_need(json_t *j)
{
	if (!j)
		abort();
	return j;
}

void json_put(json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, json_need(value)) < 0)
		abort();
}

void json_append(json_t *array, json_t *value)
{
	if (json_array_append_new(array, json_need(value)) < 0)
		abort();
}

json_t *json_string_lossy(const char *s)
{
	_cleanup_free_ char *ascii = NULL;
	json_t *j = json_string(s);

	if (j)
		return j;
	ascii = xstrdup(s);
	for (char *p = ascii; *p; p++) {
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	}
	return json_need(json_string(ascii));
}

json_t *json_string_or_null(const char *s)
{
	return *s ? json_string(s) : json_null();
}
