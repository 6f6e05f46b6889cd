/* SPDX-License-Identifier: MIT */
/* The messages about deltas. */
#include <errno.h>
#include <stdio.h>

#include "message.h"

#define TAG_DIGITS 32 /* of each ChainID */

void fetch_delta_free(struct fetch_delta *d)
{
	free(steal(d->data));
}

void message_delta_tag(const struct digest *from, const struct digest *to,
		       char ret[FETCH_DELTA_TAG_SIZE])
{
	const size_t hex = strlen("sha256:");

	(void)snprintf(ret, FETCH_DELTA_TAG_SIZE, "delta-%.*s-%.*s", TAG_DIGITS, from->text + hex,
		       TAG_DIGITS, to->text + hex);
}

const char *message_delta_fault(const struct fetch_delta *d)
{
	uint64_t sum = 0;

	if (d->size == 0)
		return "its patch has no bytes";
	if (d->n_sizes == 0 || d->shared > OCI_LAYERS_MAX - d->n_sizes)
		return "it is for no layer, or for more than an image has";
	for (size_t i = 0; i < d->n_sizes; i++) {
		if (d->sizes[i] > FETCH_DELTA_NEW_MAX - sum)
			return "it makes more than 16 GiB";
		sum += d->sizes[i];
	}
	return NULL;
}

json_t *message_delta_request_to_json(const char *image, const struct digest *from,
				      const struct digest *to)
{
	return json_need(json_pack("{s:s, s:o, s:s, s:s}", "op", "delta", "image",
				   json_string_lossy(image), "from", from->text, "to", to->text));
}

int message_delta_request_from_json(const json_t *j, struct digest *ret_from, struct digest *ret_to,
				    struct error *ret_error)
{
	if (digest_parse(json_get_string(j, "from"), ret_from) < 0 ||
	    digest_parse(json_get_string(j, "to"), ret_to) < 0)
		return error_set(ret_error, -EBADMSG,
				 "the request has no valid \"from\" or \"to\"");
	return 0;
}

static json_t *hex_to_json(const char *data, size_t n)
{
	char text[2 * FETCH_DELTA_DATA_MAX + 1];

	for (size_t i = 0; i < n; i++)
		(void)snprintf(text + 2 * i, 3, "%02x", (unsigned char)data[i]);
	return json_stringn(text, 2 * n);
}

json_t *message_delta_to_json(const struct fetch_delta *d)
{
	json_t *sizes = d ? json_need(json_array()) : NULL, *data = NULL;

	if (!d)
		return json_need(json_pack("{s:n}", "delta"));
	for (size_t i = 0; i < d->n_sizes; i++)
		json_append(sizes, json_integer((json_int_t)d->sizes[i]));
	if (d->data && d->size <= FETCH_DELTA_DATA_MAX)
		data = json_need(hex_to_json(d->data, (size_t)d->size));
	return json_need(json_pack("{s:{s:s, s:I, s:o*, s:I, s:o}}", "delta", "digest",
				   d->digest.text, "size", (json_int_t)d->size, "data", data,
				   "shared", (json_int_t)d->shared, "sizes", sizes));
}

/* n bytes of hexadecimal digits, or NULL. Caller frees. */
static char *read_hex(const char *text, uint64_t n)
{
	char *data;

	if (n > FETCH_DELTA_DATA_MAX || strlen(text) != 2 * n ||
	    strspn(text, DIGITS "abcdef") != 2 * n)
		return NULL;
	data = xmalloc((size_t)n);
	for (size_t i = 0; i < n; i++) {
		const char byte[] = {text[2 * i], text[2 * i + 1], '\0'};

		data[i] = (char)strtoul(byte, NULL, 16);
	}
	return data;
}

static bool read_number(const json_t *v, uint64_t *ret)
{
	*ret = (uint64_t)json_integer_value(v);
	return json_is_integer(v) && json_integer_value(v) >= 0;
}

static const char *read_delta(const json_t *j, struct fetch_delta *ret)
{
	const json_t *sizes = json_object_get(j, "sizes");
	const char *data = json_get_string(j, "data");
	uint64_t shared;

	ret->n_sizes = json_array_size(sizes);
	if (digest_parse(json_get_string(j, "digest"), &ret->digest) < 0 ||
	    !read_number(json_object_get(j, "size"), &ret->size) ||
	    !read_number(json_object_get(j, "shared"), &shared) || ret->n_sizes > OCI_LAYERS_MAX)
		return "its fields are not valid";
	ret->shared = shared <= OCI_LAYERS_MAX ? (size_t)shared : OCI_LAYERS_MAX;
	for (size_t i = 0; i < ret->n_sizes; i++) {
		if (!read_number(json_array_get(sizes, i), &ret->sizes[i]))
			return "its sizes are not valid";
	}
	ret->data = data ? read_hex(data, ret->size) : NULL;
	return data && !ret->data ? "its data is not valid" : message_delta_fault(ret);
}

int message_delta_from_json(const json_t *j, struct fetch_delta *ret, struct error *ret_error)
{
	const json_t *delta = json_object_get(j, "delta");
	const char *fault;
	int q = protocol_get_error(j, NULL, ret_error);

	*ret = (struct fetch_delta){0};
	if (q < 0)
		return q;
	if (json_is_null(delta))
		return error_set(ret_error, -ENOENT, "there is no delta");
	fault = read_delta(delta, ret);
	if (!fault)
		return 0;
	fetch_delta_free(ret);
	return error_set(ret_error, -EBADMSG, "the message has no valid \"delta\": %s", fault);
}

json_t *message_patch_to_json(const struct patch_extent *extents, size_t n, uint64_t max)
{
	json_t *old = json_need(json_array());

	for (size_t i = 0; i < n; i++)
		json_append(old, json_pack("[I, I]", (json_int_t)extents[i].offset,
					   (json_int_t)extents[i].size));
	return json_need(json_pack("{s:s, s:o, s:I}", "op", "patch", "old", old, "max",
				   max < INT64_MAX ? (json_int_t)max : INT64_MAX));
}

int message_patch_from_json(const json_t *j, struct patch_extent **ret, size_t *ret_n,
			    uint64_t *ret_max, struct error *ret_error)
{
	const json_t *old = json_object_get(j, "old");
	_cleanup_free_ struct patch_extent *extents = NULL;
	size_t n = json_array_size(old);
	bool valid = read_number(json_object_get(j, "max"), ret_max) && json_is_array(old) &&
		     n <= OCI_LAYERS_MAX;

	extents = valid ? xcalloc(n, sizeof(*extents)) : NULL;
	for (size_t i = 0; valid && i < n; i++) {
		const json_t *part = json_array_get(old, i);

		valid = json_array_size(part) == 2 &&
			read_number(json_array_get(part, 0), &extents[i].offset) &&
			read_number(json_array_get(part, 1), &extents[i].size);
	}
	if (!valid)
		return error_set(ret_error, -EBADMSG, "the request for a patch is not valid");
	*ret = steal(extents);
	*ret_n = n;
	return 0;
}
