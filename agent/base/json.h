/* SPDX-License-Identifier: MIT */
/* json: jansson with limits: no duplicate keys, bounded depth and memory (4 MiB of "{}," would take 317 MB). Streams
 * are cut into objects, one a line. */
#pragma once

#include <jansson.h>

#include "error.h"

#define JSON_LINE_MAX ((size_t)64 * 1024)

/* Limits the memory of jansson in this process: a document that could exceed it is refused unparsed. Call once, before
 * any other use. */
void json_budget(size_t bytes);

/* The most memory in bytes that parsing these n bytes takes, counted without parsing. */
uint64_t json_memory(const char *data, size_t n);

/* Parses one document of n bytes. -EBADMSG with the position, -EFBIG when it would take
 * too much memory; what names the document in the message. The caller owns
 * ret (json_decref). */
int json_parse(const char *data, size_t n, const char *what, json_t **ret,
	       struct error *ret_error) warn_unused;

/* The text of j, or NULL for NULL. flags are jansson's. Caller frees. json_dumps() would count its text in the budget
 * for ever. */
char *json_text(const json_t *j, size_t flags);
#pragma GCC poison json_dumps

/* Cuts a byte stream into lines and parses each as one object; blank lines are skipped. */
struct json_stream {
	char *buf; /* of the line that is not whole yet, with a NUL behind it */
	size_t len;
};

typedef int json_object_fn(void *userdata, json_t *object);

/* Takes n more bytes and calls on_object for each complete object, whose negative result ends the call and is
 * returned. -EBADMSG for a line that is not a JSON object, -EFBIG for one longer than JSON_LINE_MAX. */
int json_stream_push(struct json_stream *s, const char *data, size_t n, json_object_fn *on_object,
		     void *userdata, struct error *ret_error) warn_unused;
/* Ends the stream: the bytes behind the last newline are a line too. */
int json_stream_end(struct json_stream *s, json_object_fn *on_object, void *userdata,
		    struct error *ret_error) warn_unused;
void json_stream_free(struct json_stream *s);

/* The string under key of object, or NULL (also if object is NULL or the value is not a string). Borrowed. */
const char *json_get_string(const json_t *object, const char *key);

/* Whether Go's encoding/json takes a for b: without regard to the case of ASCII letters, and with U+017F for s and U+212A
 * for k. */
bool json_keys_match(const char *a, const char *b);
/* The first key of object that json_keys_match() one of known, which ends with NULL, and is spelled otherwise: Go and
 * jansson read different documents. NULL: none, or no object. Borrowed. */
const char *json_find_misspelled(const json_t *object, const char *const *known);

/* The document with null for the value of each key of that name, at any depth, if it is an object or an array: it is
 * not needed, and its tree would take too much memory. What is left out is not parsed. Caller frees. */
char *json_without(const char *data, size_t n, const char *key, size_t *ret_n);

/* The value behind the first "KEY": of a text that is not parsed as a whole; NULL: there is none, or it is not valid.
 * string: nothing else is read, since the tree of an untrusted value could be large. The caller owns it. */
json_t *json_find_value(const char *text, size_t n, const char *key, bool string);

/* Walks keys from object ("State", "Health", "Status", NULL); NULL where one is missing. Borrowed. */
json_t *json_get_path(const json_t *object, ...) __attribute__((sentinel));

/* For documents that Pullet itself writes: a lack of memory aborts; untrusted sizes are bounded before. */

/* Returns j, which is never NULL. */
json_t *json_need(json_t *j);
/* These take value over. */
void json_put(json_t *object, const char *key, json_t *value);
void json_append(json_t *array, json_t *value);
/* A string; every byte above 127 becomes '?' when s is not UTF-8, which is all that jansson takes. */
json_t *json_string_lossy(const char *s);
/* null for "". NULL when s is not UTF-8, as json_string(). */
json_t *json_string_or_null(const char *s);

#define _cleanup_json_ _cleanup_(json_decrefp)
