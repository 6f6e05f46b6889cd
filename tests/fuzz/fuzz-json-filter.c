/* SPDX-License-Identifier: MIT */
/* What the filter leaves of a document is what is left of its tree, and does not depend on the pieces it comes in. An
 * input is a line with a rule's letter, and the document. */
#include <errno.h>

#include "json-filter.h"
#include "port-set.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define PATH_MAX_BYTES 200

static const char *const keep[] = {"Id", "a.b", "*.Names", "c", NULL};
static const char *const drop[] = {"a.b", "c", "*.Labels", "d.*.e", NULL};

static bool is_listed(const char *const *list, const char *name)
{
	for (; *list; list++) {
		if (streq(*list, name))
			return true;
	}
	return false;
}

/* Whether one of both is the other's beginning. */
static bool is_kept(const char *name)
{
	for (const char *const *p = keep; *p; p++) {
		size_t n = strlen(*p) < strlen(name) ? strlen(*p) : strlen(name);

		if (strncmp(*p, name, n) == 0 && (!(*p)[n] || (*p)[n] == '.') &&
		    (!name[n] || name[n] == '.'))
			return true;
	}
	return false;
}

/* Takes from the tree what the rules leave out. false: a key has a dot or is too long, so that its path is not its
 * own. */
static bool prune(json_t *j, const char *above, const struct json_filter_rules *rules)
{
	const char *key, *dot = above[0] ? "." : "";
	json_t *value;
	void *next;
	size_t i;

	json_object_foreach_safe (j, next, key, value) {
		_cleanup_free_ char *name = xasprintf("%s%s%s", above, dot, key);

		if (strpbrk(key, ".*\\") || strlen(name) > PATH_MAX_BYTES)
			return false;
		if ((rules->drop && is_listed(rules->drop, name)) ||
		    (rules->keep && !is_kept(name)))
			(void)json_object_del(j, key);
		else if (!prune(value, name, rules))
			return false;
	}
	json_array_foreach (j, i, value) {
		_cleanup_free_ char *name = xasprintf("%s%s*", above, dot);

		if (strlen(name) > PATH_MAX_BYTES || !prune(value, name, rules))
			return false;
	}
	return true;
}

/* Moves the ports of the object into the set. */
static void take_ports(json_t *object, struct port_set *ret)
{
	json_t *value;
	const char *key;
	void *next;

	json_object_foreach_safe (object, next, key, value)
		if (port_set_add(ret, key))
			(void)json_object_del(object, key);
}

static int run(struct json_filter *f, const char *data, size_t n, size_t piece)
{
	struct error e = {0};
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i += piece) {
		size_t size = n - i < piece ? n - i : piece;
		_cleanup_free_ char *exact = xmalloc(size);

		memcpy(exact, data + i, size);
		r = json_filter_push(f, exact, size, "fuzz", &e);
	}
	if (r < 0 && (r != e.code || !e.text[0]))
		abort();
	return r;
}

static void compare(const char *data, size_t n, const struct json_filter *f,
		    const struct json_filter_rules *rules)
{
	_cleanup_json_ json_t *whole = NULL, *left = NULL;
	struct port_set of_whole = {0}, of_left = {0};
	struct error e;

	/* A key that is written with escapes is not recognised: it is not dropped, and not kept. */
	if ((rules->keep || rules->ports) && memchr(data, '\\', n))
		return;
	if (json_parse(data, n, "fuzz", &whole, &e) < 0 || !prune(whole, "", rules))
		return;
	if (!f || json_parse(f->text ? f->text : "", f->len, "left", &left, &e) < 0 ||
	    !prune(left, "", rules))
		abort();
	if (rules->ports) {
		take_ports(json_object_get(whole, rules->ports), &of_whole);
		take_ports(json_object_get(left, rules->ports), &of_left);
	}
	if (!json_equal(whole, left) || memcmp(&of_whole, &of_left, sizeof(of_left)) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct json_filter_rules rules = {.keep = n > 0 && data[0] == 'k' ? keep : NULL,
					  .drop = n > 0 && data[0] == 'd' ? drop : NULL,
					  .ports = n > 0 && data[0] == 'p' ? "Ports" : NULL};
	struct json_filter f = {.rules = rules, .text_max = 65536, .total_max = 65536}, g = f;
	const char *text = (const char *)data + 2;
	static bool ready;
	int r;

	if (!ready)
		json_budget((size_t)6 * 1024 * 1024);
	ready = true;
	if (n < 2 || n > 4096)
		return 0;
	n -= 2;
	r = run(&f, text, n, n ? n : 1);
	if (run(&g, text, n, 1) != r || f.len != g.len || f.total - g.total > n ||
	    (r == 0 && f.len && memcmp(f.text, g.text, f.len) != 0))
		abort();
	if (r == 0 && f.len > 2 * n + 1024)
		abort();
	compare(text, n, r == 0 ? &f : NULL, &rules);
	(void)json_filter_largest(&f);
	json_filter_free(&f);
	json_filter_free(&g);
	return 0;
}
