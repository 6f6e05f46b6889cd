/* SPDX-License-Identifier: MIT */
#include "json.h"

#include <errno.h>
#include <malloc.h>
#include <stdarg.h>

/* jansson's own limit is 2048; no valid document here is deeper than a dozen. */
#define DEPTH_MAX 64

/* The most bytes that jansson 2.14 takes on a 64-bit machine, with the allocator's overhead. */
#define COST_OBJECT  256
#define COST_ARRAY   160
#define COST_ELEMENT 64 /* place in its container, and a number */
#define COST_STRING  144

/* jansson's allocator has no place for a context, so these are per process. */
static size_t budget = SIZE_MAX;
static size_t in_use;

/* Counts and never fails: jansson 2.14 ignores that its buffer for a string cannot grow, and writes behind it (SIGSEGV
 * with a string of 1 MB). */
static void *counting_malloc(size_t n)
{
	void *p = malloc(n);

	in_use += malloc_usable_size(p);
	return p;
}

static void counting_free(void *p)
{
	/* NULL counts 0. A block from before json_budget was never counted. */
	size_t size = malloc_usable_size(p);

	in_use -= size < in_use ? size : in_use;
	free(p);
}

/* The memory that parsing would take. */
struct survey {
	uint64_t cost;
	size_t longest; /* word or string: collected in a buffer that doubles */
	size_t deepest;
};

/* A string's length, data behind its opening quote; n if it is not closed. */
static size_t string_length(const char *data, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (data[i] == '\\')
			i++;
		else if (data[i] == '"')
			return i;
	}
	return n;
}

/* Estimates the memory and depth of a document before jansson allocates and recurses. */
static struct survey survey_document(const char *data, size_t n)
{
	struct survey s = {0};
	size_t depth = 0, word = 0;

	for (size_t i = 0; i < n; i++) {
		char c = data[i];

		if (c == '{' || c == '[') {
			s.cost += (c == '{' ? COST_OBJECT : COST_ARRAY) + COST_ELEMENT;
			s.deepest = ++depth > s.deepest ? depth : s.deepest;
		} else if (c == '}' || c == ']') {
			depth -= depth > 0;
		} else if (c == ',') {
			s.cost += COST_ELEMENT;
		} else if (c == '"') {
			size_t length = string_length(data + i + 1, n - i - 1);

			s.cost += COST_STRING + length;
			s.longest = length > s.longest ? length : s.longest;
			i += length + 1;
		} else if (c != ':' && c != ' ' && c != '\t' && c != '\n' && c != '\r') {
			word++;
			s.longest = word > s.longest ? word : s.longest;
			continue;
		}
		word = 0;
	}
	s.cost += 4 * (uint64_t)s.longest + 256;
	return s;
}

void json_budget(size_t bytes)
{
	budget = bytes;
	in_use = 0;
	json_set_alloc_funcs(counting_malloc, counting_free);
}

uint64_t json_memory(const char *data, size_t n)
{
	return survey_document(data, n).cost;
}

int json_parse(const char *data, size_t n, const char *what, json_t **ret, struct error *ret_error)
{
	struct survey s = survey_document(data, n);
	json_error_t e = {0};
	json_t *j;

	if (s.deepest > DEPTH_MAX)
		return error_set(ret_error, -EBADMSG, "%s: nested deeper than %d", what, DEPTH_MAX);
	if (in_use > budget || s.cost > budget - in_use)
		return error_set(ret_error, -EFBIG, "%s: takes more memory than allowed", what);
	j = json_loadb(data, n, JSON_REJECT_DUPLICATES, &e);
	if (!j)
		return error_set(ret_error, -EBADMSG, "%s: line %d, column %d: %s", what, e.line,
				 e.column, e.text);
	*ret = j;
	return 0;
}

char *json_text(const json_t *j, size_t flags)
{
	size_t n = j ? json_dumpb(j, NULL, 0, flags) : 0;
	char *text;

	if (n == 0)
		return NULL;
	text = xmalloc(n + 1);
	if (json_dumpb(j, text, n, flags) != n)
		abort();
	text[n] = '\0';
	return text;
}

int json_stream_push(struct json_stream *s, const char *data, size_t n, json_object_fn *on_object,
		     void *userdata, struct error *ret_error)
{
	int r = 0;

	while (r == 0 && n > 0) {
		const char *newline = memchr(data, '\n', n);
		size_t take = newline ? (size_t)(newline - data) : n;

		if (take > JSON_LINE_MAX - s->len)
			return error_set(ret_error, -EFBIG, "line of the stream: over %zu bytes",
					 JSON_LINE_MAX);
		s->buf = xrealloc(s->buf, s->len + take + 1);
		memcpy(s->buf + s->len, data, take);
		s->len += take;
		s->buf[s->len] = '\0';
		if (newline)
			r = json_stream_end(s, on_object, userdata, ret_error);
		take += newline ? 1 : 0;
		data += take;
		n -= take;
	}
	return r;
}

int json_stream_end(struct json_stream *s, json_object_fn *on_object, void *userdata,
		    struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	size_t n = s->len;
	int r;

	s->len = 0;
	if (n == 0 || strspn(s->buf, " \t\r") == n)
		return 0;
	r = json_parse(s->buf, n, "line of the stream", &j, ret_error);
	if (r < 0)
		return r;
	if (!json_is_object(j))
		return error_set(ret_error, -EBADMSG, "line of the stream: not a JSON object");
	r = on_object(userdata, j);
	return r < 0 ? r : 0;
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

/* The next letter of a key in lower case; *s moves behind it. Go folds by Unicode: these two are all that it folds to
 * ASCII. */
static int next_folded(const char **s)
{
	int c = (unsigned char)**s;

	if (strncmp(*s, "\xc5\xbf", 2) == 0 || strncmp(*s, "\xe2\x84\xaa", 3) == 0) {
		*s += c == 0xc5 ? 2 : 3;
		return c == 0xc5 ? 's' : 'k';
	}
	*s += c != '\0';
	return c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c;
}

bool json_keys_match(const char *a, const char *b)
{
	int c;

	do {
		c = next_folded(&a);
		if (c != next_folded(&b))
			return false;
	} while (c);
	return true;
}

const char *json_find_misspelled(const json_t *object, const char *const *known)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)object, key, value) {
		for (const char *const *k = known; *k; k++) {
			if (!streq(key, *k) && json_keys_match(key, *k))
				return key;
		}
	}
	return NULL;
}

/* The length of the object or array at data, its brackets included; 0: it is none. */
static size_t nested_length(const char *data, size_t n)
{
	size_t depth = 0;

	if (n == 0 || (data[0] != '{' && data[0] != '['))
		return 0;
	for (size_t i = 0; i < n; i++) {
		if (data[i] == '"')
			i += string_length(data + i + 1, n - i - 1) + 1;
		else if (data[i] == '{' || data[i] == '[')
			depth++;
		else if (data[i] == '}' || data[i] == ']')
			depth -= depth > 0;
		if (depth == 0)
			return i + 1;
	}
	return 0;
}

static size_t white_length(const char *data, size_t n)
{
	size_t i = 0;

	while (i < n && memchr(" \t\r\n", data[i], 4))
		i++;
	return i;
}

/* The length of ": {...}" behind a key; 0: its value is no object or array. */
static size_t nested_value_length(const char *data, size_t n)
{
	size_t i = white_length(data, n), nested;

	if (i == n || data[i] != ':')
		return 0;
	i++;
	i += white_length(data + i, n - i);
	nested = nested_length(data + i, n - i);
	return nested > 0 ? i + nested : 0;
}

char *json_without(const char *data, size_t n, const char *key, size_t *ret_n)
{
	static const char null[] = ":null";
	char *text = xmalloc(n + 1), *out = text;
	size_t key_n = strlen(key), i = 0;

	while (i < n) {
		size_t token = 1, value = 0;

		if (data[i] == '"') {
			token += string_length(data + i + 1, n - i - 1) + 1;
			token = token < n - i ? token : n - i;
			if (token == key_n + 2 && memcmp(data + i + 1, key, key_n) == 0)
				value = nested_value_length(data + i + token, n - i - token);
		}
		out = mempcpy(out, data + i, token);
		i += token;
		/* An empty one is kept, so that the text never grows. */
		if (value < strlen(null))
			continue;
		out = mempcpy(out, null, strlen(null));
		i += value;
	}
	*out = '\0';
	*ret_n = (size_t)(out - text);
	return text;
}

json_t *json_find_value(const char *text, size_t n, const char *key, bool string)
{
	_cleanup_free_ char *quoted = xasprintf("\"%s\":", key);
	const char *p = memmem(text, n, quoted, strlen(quoted));

	if (!p)
		return NULL;
	p += strlen(quoted);
	while (string && p < text + n && *p == ' ')
		p++;
	if (string && (p == text + n || *p != '"'))
		return NULL;
	return json_loadb(p, n - (size_t)(p - text), JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK,
			  NULL);
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
	_cleanup_free_ char *valid = NULL;
	json_t *j = json_string(s);

	if (j)
		return j;
	valid = text_printable(xstrdup(s));
	return json_need(json_string(valid));
}

json_t *json_string_or_null(const char *s)
{
	return *s ? json_string_lossy(s) : json_null();
}
