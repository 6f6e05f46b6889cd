/* SPDX-License-Identifier: MIT */
#include "json-filter.h"

#include <errno.h>
#include <stdio.h>

#include "port-set.h"

#define PORTS_PLAIN 128 /* up to so many stay as they are */

static int put(struct json_filter *f, char c)
{
	if (f->len == f->text_max)
		return -EFBIG;
	if (f->len == f->size) {
		f->size = f->size < 512 ? 1024 : 2 * f->size;
		f->size = f->size < f->text_max ? f->size : f->text_max;
		f->text = xrealloc(f->text, f->size);
	}
	f->text[f->len++] = c;
	return 0;
}

static int put_text(struct json_filter *f, const char *text)
{
	int r = 0;

	while (r == 0 && *text)
		r = put(f, *text++);
	return r;
}

static bool is_in_object(const struct json_filter *f)
{
	return f->depth > 0 && !f->levels[f->depth - 1].is_array;
}

/* --- paths --- */

/* The path becomes that of a member of the innermost level. One that is too long is cut, and equals no rule's. */
static void set_path(struct json_filter *f, const char *key, size_t n)
{
	size_t len = f->depth > 0 ? f->levels[f->depth - 1].path_len : 0;

	if (len > 0 && len < sizeof(f->path) - 1)
		f->path[len++] = '.';
	n = n < sizeof(f->path) - 1 - len ? n : sizeof(f->path) - 1 - len;
	memcpy(f->path + len, key, n);
	f->path_len = len + n;
	f->path[f->path_len] = '\0';
}

/* above is path, or an object or array that path is in. */
static bool is_within(const char *path, const char *above)
{
	const char *rest = after_prefix(path, above);

	return rest && (rest[0] == '\0' || rest[0] == '.');
}

static bool is_wanted(const struct json_filter *f)
{
	for (const char *const *p = f->rules.drop; p && *p; p++) {
		if (streq(f->path, *p))
			return false;
	}
	for (const char *const *p = f->rules.keep; p && *p; p++) {
		if (is_within(f->path, *p) || is_within(*p, f->path))
			return true;
	}
	return !f->rules.keep;
}

/* The member that just ended, or that is open, may be the largest: of the document, or of an object in it. */
static void note_size(struct json_filter *f)
{
	unsigned int dots = 0;
	size_t size, n = 0;

	if (f->depth == 0 || f->depth > 2 || !is_in_object(f))
		return;
	size = f->len - f->levels[f->depth - 1].start;
	if (size < f->largest_size)
		return;
	for (; f->path[n] && dots < f->depth && n < sizeof(f->largest) - 1; n++)
		dots += f->path[n + 1] == '.';
	f->largest_size = size;
	copy_text(f->largest, n + 1, f->path);
	text_printable(f->largest);
}

const char *json_filter_largest(const struct json_filter *f)
{
	const char *name = after_prefix(f->largest, "*.");

	return f->largest[0] ? name ?: f->largest : NULL;
}

/* --- ports --- */

static int put_range(void *userdata, const char *key)
{
	struct json_filter *f = userdata;
	bool *has_members = &f->levels[f->depth - 1].has_members;
	int r = *has_members ? put(f, ',') : 0;

	*has_members = true;
	if (r == 0)
		r = put(f, '"');
	if (r == 0)
		r = put_text(f, key);
	return r == 0 ? put_text(f, "\":{}") : r;
}

static int end_ports(struct json_filter *f)
{
	bool many = port_set_count(f->ports) > PORTS_PLAIN;
	int r = port_set_walk(f->ports, many, put_range, f);

	free(steal(f->ports));
	return r;
}

/* A port of the set that is read: its text is not needed. */
static bool take_port(struct json_filter *f)
{
	const char *key = f->text + f->key_start;
	size_t n = f->len - f->key_start;
	char port[32];

	if (!f->ports || f->depth != f->ports_depth || n >= sizeof(port))
		return false;
	memcpy(port, key, n);
	port[n] = '\0';
	return port_set_add(f->ports, port);
}

/* --- the document --- */

static int enter(struct json_filter *f, char c)
{
	bool is_array = c == '[';

	if (f->depth == JSON_FILTER_DEPTH)
		return -EBADMSG;
	f->levels[f->depth].path_len = f->path_len;
	f->levels[f->depth].is_array = is_array;
	f->levels[f->depth].has_members = false;
	f->levels[f->depth++].start = f->len;
	if (!is_array && f->rules.ports && !f->ports && streq(f->path, f->rules.ports)) {
		f->ports = xcalloc(1, sizeof(*f->ports));
		f->ports_depth = f->depth;
	}
	f->state = is_array ? EXPECT_VALUE : EXPECT_KEY;
	return put(f, c);
}

static int leave(struct json_filter *f, char c)
{
	int r = 0;

	if (f->depth == 0 || is_in_object(f) != (c == '}'))
		return -EBADMSG;
	if (f->ports && f->depth == f->ports_depth)
		r = end_ports(f);
	f->path_len = f->levels[--f->depth].path_len;
	f->path[f->path_len] = '\0';
	f->state = AFTER_VALUE;
	if (r == 0)
		r = put(f, c);
	/* Of an object the largest member is the better name. */
	if (f->depth > 1 || c == ']')
		note_size(f);
	return r;
}

static int begin_string(struct json_filter *f, bool is_key)
{
	int r = 0;

	f->in_string = true;
	f->is_key = is_key;
	f->escaped = false;
	if (is_key) {
		f->levels[f->depth - 1].start = f->len;
		r = f->levels[f->depth - 1].has_members ? put(f, ',') : 0;
	}
	if (r == 0)
		r = put(f, '"');
	f->key_start = f->len;
	return r;
}

static int begin_value(struct json_filter *f, char c)
{
	if (c == ']' && f->depth > 0 && !f->levels[f->depth - 1].has_members)
		return leave(f, c);
	if (strchr("]},:", c))
		return -EBADMSG;
	if (f->depth > 0 && f->levels[f->depth - 1].is_array) {
		f->levels[f->depth - 1].has_members = true;
		set_path(f, "*", 1);
	}
	if (c == '{' || c == '[')
		return enter(f, c);
	if (c == '"')
		return begin_string(f, false);
	f->state = IN_WORD;
	return put(f, c);
}

/* The key is in the text already, and taken back if its member is not wanted. */
static int end_key(struct json_filter *f)
{
	set_path(f, f->text + f->key_start, f->len - f->key_start);
	f->skips = !is_wanted(f) || take_port(f);
	f->state = EXPECT_COLON;
	return f->skips ? 0 : put(f, '"');
}

static int begin_member(struct json_filter *f)
{
	f->state = EXPECT_VALUE;
	if (f->skips) {
		f->len = f->levels[f->depth - 1].start;
		f->skip_depth = 0;
		return 0;
	}
	f->levels[f->depth - 1].has_members = true;
	return put(f, ':');
}

static int after_value(struct json_filter *f, char c)
{
	if (c == '}' || c == ']')
		return leave(f, c);
	if (c != ',' || f->depth == 0)
		return -EBADMSG;
	f->state = is_in_object(f) ? EXPECT_KEY : EXPECT_VALUE;
	return is_in_object(f) ? 0 : put(f, c);
}

static int take_string(struct json_filter *f, char c)
{
	bool ends = c == '"' && !f->escaped;

	f->escaped = c == '\\' && !f->escaped;
	f->in_string = !ends;
	if (f->skips) {
		if (ends && f->skip_depth == 0) {
			f->skips = false;
			f->state = AFTER_VALUE;
		}
		return 0;
	}
	if (ends && f->is_key)
		return end_key(f);
	if (ends) {
		f->state = AFTER_VALUE;
		note_size(f);
	}
	return put(f, c);
}

/* A value that is left out: 1 if c still belongs to it. */
static int skip(struct json_filter *f, char c)
{
	bool closes = c == '}' || c == ']';

	if (f->skip_depth == 0 && (closes || c == ',')) {
		/* It was a word. */
		f->skips = false;
		f->state = AFTER_VALUE;
		return 0;
	}
	if (c == '"') {
		f->in_string = true;
		f->escaped = false;
	} else if (c == '{' || c == '[') {
		f->skip_depth++;
	} else if (closes && --f->skip_depth == 0) {
		f->skips = false;
		f->state = AFTER_VALUE;
	}
	return 1;
}

static int take(struct json_filter *f, char c)
{
	if (f->in_string)
		return take_string(f, c);
	if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
		if (f->state == IN_WORD)
			f->state = AFTER_VALUE;
		return 0;
	}
	if (f->state == EXPECT_COLON)
		return c == ':' ? begin_member(f) : -EBADMSG;
	if (f->skips && skip(f, c))
		return 0;
	if (f->state == IN_WORD && (c == ',' || c == '}' || c == ']'))
		f->state = AFTER_VALUE;
	switch (f->state) {
	case EXPECT_VALUE:
		return begin_value(f, c);
	case EXPECT_KEY:
		return c == '"' ? begin_string(f, true) : c == '}' ? leave(f, c) : -EBADMSG;
	case IN_WORD:
		return put(f, c);
	case AFTER_VALUE:
		return after_value(f, c);
	case EXPECT_COLON:
		break;
	}
	return -EBADMSG;
}

int json_filter_push(struct json_filter *f, const char *data, size_t n, const char *what,
		     struct error *ret_error)
{
	int r = n > f->total_max - f->total ? -EFBIG : 0;
	size_t most = r < 0 ? f->total_max : f->text_max;
	const char *name;

	f->total += r < 0 ? 0 : n;
	for (size_t i = 0; r == 0 && i < n; i++)
		r = take(f, data[i]);
	if (r == -EFBIG) {
		/* The member that is open. */
		f->depth = f->depth < 2 ? f->depth : 2;
		f->depth -= f->depth > 0 && !is_in_object(f);
		note_size(f);
		name = json_filter_largest(f);
		return error_set(ret_error, r, "%s: the answer is over %.1f MB%s%s", what,
				 (double)most / 1e6, name ? ", most of it " : "", name ? name : "");
	}
	return r < 0 ? error_set(ret_error, r, "%s: the answer is no JSON", what) : 0;
}

void json_filter_free(struct json_filter *f)
{
	free(f->text);
	free(f->ports);
	*f = (struct json_filter){0};
}
