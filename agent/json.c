/* SPDX-License-Identifier: MIT */
#include "json.h"

#include <errno.h>
#include <malloc.h>
#include <stdarg.h>

/* jansson itself stops at 2048; nothing we read is deeper than a dozen. */
#define DEPTH_MAX 64

/* jansson's allocator has no place for a context, so these are per process. */
static size_t budget = SIZE_MAX;
static size_t budget_used;

static void *budget_malloc(size_t n)
{
	void *p;
	size_t size;

	if (n > budget - budget_used)
		return NULL;
	p = malloc(n);
	if (!p)
		return NULL;
	size = malloc_usable_size(p);
	if (size > budget - budget_used) {
		free(p);
		return NULL;
	}
	budget_used += size;
	return p;
}

static void budget_free(void *p)
{
	/* NULL counts 0. A block from before json_budget was never counted. */
	size_t size = malloc_usable_size(p);

	budget_used -= size < budget_used ? size : budget_used;
	free(p);
}

/* Before jansson recurses: how deep do brackets outside of strings go? */
static bool too_deep(const char *data, size_t n)
{
	bool in_string = false;
	size_t depth = 0;

	for (size_t i = 0; i < n; i++) {
		char c = data[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > DEPTH_MAX)
				return true;
		} else if ((c == '}' || c == ']') && depth > 0) {
			depth--;
		}
	}
	return false;
}

static bool is_blank(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!strchr(" \t\r\n", s[i]) || !s[i])
			return false;
	}
	return true;
}

static int take_line(const char *line, size_t n, int (*on_object)(void *userdata, json_t *object),
		     void *userdata, struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	int r;

	if (is_blank(line, n))
		return 0;
	r = json_parse(line, n, "line of the stream", &j, ret_error);
	if (r < 0)
		return r;
	if (!json_is_object(j))
		return error_set(ret_error, -EBADMSG, "line of the stream: not a JSON object");
	r = on_object(userdata, j);
	return r < 0 ? r : 0;
}

void json_budget(size_t bytes)
{
	budget = bytes;
	budget_used = 0;
	json_set_alloc_funcs(budget_malloc, budget_free);
}

int json_parse(const char *data, size_t n, const char *what, json_t **ret, struct error *ret_error)
{
	json_error_t e = {0};
	json_t *j;

	if (too_deep(data, n))
		return error_set(ret_error, -EBADMSG, "%s: nested deeper than %d", what, DEPTH_MAX);
	j = json_loadb(data, n, JSON_REJECT_DUPLICATES, &e);
	if (!j && !e.text[0]) /* jansson is silent when its allocator fails */
		return error_set(ret_error, -EBADMSG, "%s: takes more memory than it may", what);
	if (!j)
		return error_set(ret_error, -EBADMSG, "%s: line %d, column %d: %s", what, e.line,
				 e.column, e.text);
	*ret = j;
	return 0;
}

int json_stream_push(struct json_stream *s, const char *data, size_t n,
		     int (*on_object)(void *userdata, json_t *object), void *userdata,
		     struct error *ret_error)
{
	while (n > 0) {
		const char *newline = memchr(data, '\n', n);
		size_t take = newline ? (size_t)(newline - data) : n;
		int r = 0;

		if (take > JSON_LINE_MAX - s->len)
			return error_set(ret_error, -EFBIG, "line of the stream: over %zu bytes",
					 JSON_LINE_MAX);
		if (newline && s->len == 0) {
			r = take_line(data, take, on_object, userdata, ret_error);
		} else {
			s->buf = xrealloc(s->buf, s->len + take);
			memcpy(s->buf + s->len, data, take);
			s->len += take;
			if (newline)
				r = json_stream_end(s, on_object, userdata, ret_error);
		}
		if (r < 0)
			return r;
		take += newline ? 1 : 0;
		data += take;
		n -= take;
	}
	return 0;
}

int json_stream_end(struct json_stream *s, int (*on_object)(void *userdata, json_t *object),
		    void *userdata, struct error *ret_error)
{
	size_t n = s->len;

	s->len = 0;
	return n > 0 ? take_line(s->buf, n, on_object, userdata, ret_error) : 0;
}

void json_stream_free(struct json_stream *s)
{
	free(s->buf);
	*s = (struct json_stream){0};
}

const char *json_get_string(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

json_t *json_get_path(const json_t *object, ...)
{
	json_t *j = NULL;
	const char *key;
	va_list ap;

	va_start(ap, object);
	while ((key = va_arg(ap, const char *))) {
		j = json_object_get(object, key);
		if (!j)
			break;
		object = j;
	}
	va_end(ap);
	return j;
}
