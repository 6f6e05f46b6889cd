/* SPDX-License-Identifier: MIT */
#include "json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define BUDGET ((size_t)256 * 1024)

static int on_object(void *userdata, json_t *object)
{
	(void)json_get_string(object, "status");
	(void)json_get_path(object, "a", "b", NULL);
	return 0;
}

/* The stream in pieces of size bytes. */
static void stream(const char *data, size_t n, size_t size)
{
	struct json_stream s = {0};
	struct error e;
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i += size)
		r = json_stream_push(&s, data + i, n - i < size ? n - i : size, on_object, NULL,
				     &e);
	if (r == 0)
		r = json_stream_end(&s, on_object, NULL, &e);
	json_stream_free(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_json_ json_t *j = NULL;
	static bool ready;
	struct error e;

	if (!ready)
		json_budget(BUDGET);
	ready = true;
	if (json_parse((const char *)data, n, "fuzz", &j, &e) == 0)
		(void)json_get_path(j, "a", "b", "c", NULL);
	stream((const char *)data, n, 1 + n / 3);
	stream((const char *)data, n, 7);
	return 0;
}
