/* SPDX-License-Identifier: MIT */
#include "json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define BUDGET ((size_t)256 * 1024)
#define KEY    "Ports"

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

/* The tree of a document without a key is its tree without the key's trees. */
static void empty_key(json_t *j)
{
	const char *key;
	json_t *value;
	void *next;
	size_t i;

	json_object_foreach_safe (j, next, key, value) {
		bool nested = json_is_object(value) || json_is_array(value);

		if (nested && streq(key, KEY))
			json_put(j, key, json_null());
		else
			empty_key(value);
	}
	json_array_foreach (j, i, value)
		empty_key(value);
}

static void leave_out(const char *data, size_t n, json_t *whole)
{
	_cleanup_json_ json_t *left = NULL;
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	struct error e;

	text = json_without(data, n, KEY, &len);
	if (len > n || text[len] != '\0')
		abort();
	if (!whole)
		return;
	if (json_parse(text, len, "left", &left, &e) < 0)
		abort();
	empty_key(whole);
	empty_key(left);
	if (!json_equal(whole, left))
		abort();
}

static void find_misspelled(const json_t *j)
{
	static const char *const known[] = {KEY, "status", "ks", NULL};
	const char *key = json_find_misspelled(j, known);

	if (key && !json_keys_match(key, known[0]) && !json_keys_match(key, known[1]) &&
	    !json_keys_match(key, known[2]))
		abort();
	if (key && (streq(key, known[0]) || streq(key, known[1]) || streq(key, known[2])))
		abort();
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
	find_misspelled(j);
	leave_out((const char *)data, n, j);
	stream((const char *)data, n, 1 + n / 3);
	stream((const char *)data, n, 7);
	return 0;
}
