/* SPDX-License-Identifier: MIT */
/* json-filter: takes a JSON document as it arrives and leaves out the members that nobody asks for, so that a large
 * answer needs memory only for what is used of it. It checks no more of the document than it needs: the text that is
 * left is for json_parse(). Pure. */
#pragma once

#include "error.h"
#include "json.h"

#define JSON_FILTER_DEPTH 64

/* Paths are keys with dots in between; "*" is any element of an array: "*.Names". The lists end with NULL. */
struct json_filter_rules {
	const char *const *keep; /* only these, with all that is in them; NULL: everything */
	const char *const *drop; /* not these */
	uint64_t
		memory_max; /* of the tree that is made of what is left; 0: json_budget() alone limits it */
	const char *ports; /* an object of ports, {"80/tcp":{}}: many are written as ranges */
};

struct json_filter {
	struct json_filter_rules rules;
	size_t text_max, total_max; /* bytes: of the text, and of the document */

	char *text; /* what is left so far, not terminated */
	size_t len, size, total;

	/* the rest is its own */
	enum { EXPECT_VALUE, EXPECT_KEY, EXPECT_COLON, IN_WORD, AFTER_VALUE } state;
	bool in_string, is_key, escaped, skips;
	unsigned int depth, skip_depth;
	struct {
		size_t path_len, start; /* start: of the last member, in the text */
		bool is_array, has_members;
	} levels[JSON_FILTER_DEPTH];
	char path[256];
	size_t path_len, key_start;
	char largest[64];
	size_t largest_size;
	struct port_set *ports;
	unsigned int ports_depth;
};

/* Takes n more bytes. -EFBIG: over text_max or total_max, with the name of the largest part in the message; -EBADMSG:
 * no JSON. what names the document in the message. */
int json_filter_push(struct json_filter *f, const char *data, size_t n, const char *what,
		     struct error *ret_error) warn_unused;
/* The member that takes most of the text, "Config.Labels"; NULL: it has none. Borrowed. */
const char *json_filter_largest(const struct json_filter *f);
void json_filter_free(struct json_filter *f);
