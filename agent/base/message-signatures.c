/* SPDX-License-Identifier: MIT */
/* The messages about signatures. */
#include <errno.h>

#include "base64.h"
#include "message.h"

#define LEFT_MAX 1000000

static const char *const formats[] = {
	[SIGNATURE_SIMPLE] = "simple",
	[SIGNATURE_BUNDLE] = "bundle",
};

static void free_pair(struct signature_pair *p)
{
	free(p->payload);
	free(p->bytes);
	*p = (struct signature_pair){0};
}

void signatures_free(struct signatures *s)
{
	while (s->n > 0)
		free_pair(&s->pairs[--s->n]);
	s->left = 0;
}

/* Copies n bytes, with a NUL behind them. Caller frees. */
static char *copy_bytes(const char *data, size_t n)
{
	char *copy = xmalloc(n + 1);

	memcpy(copy, data, n);
	copy[n] = '\0';
	return copy;
}

static bool is_same(const struct signature_pair *a, const struct signature_pair *b)
{
	return a->format == b->format && a->n_payload == b->n_payload && a->n_bytes == b->n_bytes &&
	       memcmp(a->payload, b->payload, a->n_payload) == 0 &&
	       memcmp(a->bytes, b->bytes, a->n_bytes) == 0;
}

/* Whether one pair more would stay within the bounds of a reply. */
static bool fits(const struct signatures *s, const struct signature_pair *pair)
{
	size_t sum = pair->n_payload;

	for (size_t i = 0; i < s->n; i++)
		sum += s->pairs[i].n_payload;
	return s->n < SIGNATURE_PAIRS_MAX && pair->n_payload > 0 &&
	       pair->n_payload <= SIGNATURE_PAYLOAD_MAX && sum <= SIGNATURE_PAYLOADS_MAX &&
	       pair->n_bytes > 0 && pair->n_bytes <= SIGNATURE_BYTES_MAX;
}

void signatures_add(struct signatures *s, const struct signature_pair *pair)
{
	for (size_t i = 0; i < s->n; i++) {
		if (is_same(&s->pairs[i], pair))
			return;
	}
	if (!fits(s, pair)) {
		s->left++;
		return;
	}
	s->pairs[s->n++] = (struct signature_pair){
		.format = pair->format,
		.payload = copy_bytes(pair->payload, pair->n_payload),
		.n_payload = pair->n_payload,
		.bytes = copy_bytes(pair->bytes, pair->n_bytes),
		.n_bytes = pair->n_bytes,
	};
}

json_t *message_signatures_request_to_json(const char *image, const struct digest *d,
					   enum signature_place place)
{
	return json_need(json_pack("{s:s, s:o, s:s, s:s}", "op", "signatures", "image",
				   json_string_lossy(image), "digest", d->text, "place",
				   signature_place_names[place]));
}

int message_signatures_request_from_json(const json_t *j, struct digest *ret_digest,
					 enum signature_place *ret_place, struct error *ret_error)
{
	const char *name = json_get_string(j, "place");
	size_t place = 0;

	while (place < SIGNATURE_PLACES && !streq_null(name, signature_place_names[place]))
		place++;
	if (place == SIGNATURE_PLACES || digest_parse(json_get_string(j, "digest"), ret_digest) < 0)
		return error_set(ret_error, -EBADMSG,
				 "the request has no valid \"digest\" or \"place\"");
	*ret_place = (enum signature_place)place;
	return 0;
}

json_t *message_signatures_to_json(const struct signatures *s)
{
	json_t *list = json_need(json_array());

	for (size_t i = 0; i < s->n; i++) {
		const struct signature_pair *p = &s->pairs[i];
		_cleanup_free_ char *payload = base64_encode(p->payload, p->n_payload),
				    *bytes = base64_encode(p->bytes, p->n_bytes);

		json_append(list, json_pack("{s:s, s:s, s:s}", "format", formats[p->format],
					    "payload", payload, "signature", bytes));
	}
	return json_need(json_pack("{s:o, s:I}", "signatures", list, "left",
				   (json_int_t)(s->left < LEFT_MAX ? s->left : LEFT_MAX)));
}

/* Decodes base64 of the key into *ret. Caller frees; NULL: it is not valid. */
static char *get_base64(const json_t *j, const char *key, size_t *ret_n)
{
	const char *text = json_get_string(j, key);

	return text ? base64_decode(text, ret_n) : NULL;
}

static bool read_pair(const json_t *j, struct signatures *ret)
{
	const char *format = json_get_string(j, "format");
	struct signature_pair p = {0};
	size_t i = 0;
	bool valid;

	p.payload = get_base64(j, "payload", &p.n_payload);
	p.bytes = get_base64(j, "signature", &p.n_bytes);
	valid = p.payload && p.bytes && fits(ret, &p) && format;
	while (valid && i < ARRAY_SIZE(formats) && !streq(format, formats[i]))
		i++;
	valid = valid && i < ARRAY_SIZE(formats);
	p.format = (enum signature_format)i;
	if (valid)
		ret->pairs[ret->n++] = p;
	else
		free_pair(&p);
	return valid;
}

int message_signatures_from_json(const json_t *j, struct signatures *ret, struct error *ret_error)
{
	const json_t *list = json_object_get(j, "signatures"), *left = json_object_get(j, "left");
	int q = protocol_get_error(j, NULL, ret_error);
	bool valid = json_is_array(list) && json_is_integer(left) &&
		     json_integer_value(left) >= 0 && json_integer_value(left) <= LEFT_MAX;

	*ret = (struct signatures){0};
	if (q < 0)
		return q;
	for (size_t i = 0; valid && i < json_array_size(list); i++)
		valid = read_pair(json_array_get(list, i), ret);
	if (!valid) {
		signatures_free(ret);
		return error_set(ret_error, -EBADMSG, "the message has no valid \"signatures\"");
	}
	ret->left = (size_t)json_integer_value(left);
	return 0;
}
