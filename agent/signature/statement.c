/* SPDX-License-Identifier: MIT */
#include "statement.h"

#include <errno.h>

#include "calendar.h"

#define SIMPLE_TYPE    "cosign container image signature"
#define STATEMENT_TYPE "https://in-toto.io/Statement/v1"
#define PREDICATE_TYPE "https://sigstore.dev/cosign/sign/v1"
#define SEQ_DIGITS_MAX 18

/* Whether j has keys that Go reads as one: jansson and other verifiers would see different documents. */
static bool has_ambiguous_keys(const json_t *j)
{
	const char *key;
	json_t *value;
	size_t i;

	json_array_foreach (j, i, value) {
		if (has_ambiguous_keys(value))
			return true;
	}
	json_object_foreach ((json_t *)j, key, value) {
		void *at =
			json_object_iter_next((json_t *)j, json_object_iter_at((json_t *)j, key));

		for (; at; at = json_object_iter_next((json_t *)j, at)) {
			if (json_keys_match(key, json_object_iter_key(at)))
				return true;
		}
		if (has_ambiguous_keys(value))
			return true;
	}
	return false;
}

/* Whether j is an object with exactly these keys; one that begins with '?' may be missing. */
static int check_keys(const json_t *j, const char *what, const char *const *keys,
		      struct error *ret_error)
{
	size_t n = 0;

	if (!json_is_object(j))
		return error_set(ret_error, -EBADMSG, "%s is not an object", what);
	for (; *keys; keys++) {
		bool optional = **keys == '?';
		bool found = json_object_get(j, *keys + optional);

		n += found;
		if (!found && !optional)
			return error_set(ret_error, -EBADMSG, "%s has no \"%s\"", what, *keys);
	}
	if (json_object_size(j) != n)
		return error_set(ret_error, -EBADMSG, "%s has an unknown key", what);
	return 0;
}

/* Copies the string j, or leaves NULL where j is NULL. */
static int take_string(const json_t *j, const char *what, char **ret, struct error *ret_error)
{
	if (!j)
		return 0;
	if (!json_is_string(j))
		return error_set(ret_error, -EBADMSG, "\"%s\" is not a string", what);
	replace_string(ret, json_string_value(j));
	return 0;
}

static int take_seq(const json_t *j, uint64_t *ret, struct error *ret_error)
{
	const char *s = json_string_value(j);

	if (!j)
		return 0;
	if (!s || *s == '0' || strlen(s) > SEQ_DIGITS_MAX || !*s || s[strspn(s, DIGITS)])
		return error_set(ret_error, -EBADMSG,
				 "\"seq\" is not a number from 1 on, of at most %d digits",
				 SEQ_DIGITS_MAX);
	*ret = strtoull(s, NULL, 10);
	return 0;
}

static int take_expires(const json_t *j, int64_t *ret, struct error *ret_error)
{
	const char *s = json_string_value(j);
	struct timespec t;

	if (!j)
		return 0;
	if (!s || calendar_parse_rfc3339(s, &t) < 0 || t.tv_sec <= 0)
		return error_set(
			ret_error, -EBADMSG,
			"\"expires\" is not a time of RFC 3339, such as \"2026-12-01T08:00:00Z\"");
	*ret = t.tv_sec;
	return 0;
}

/* The pairs of cosign sign -a. Others have their own: "creator" and "timestamp" of skopeo are two. */
static int take_annotations(const json_t *j, struct statement *s, struct error *ret_error)
{
	static const char *const known[] = {"image", "tag", "seq", "expires", NULL};
	const char *misspelled = json_find_misspelled(j, known);
	int r;

	if (!j || json_is_null(j))
		return 0;
	if (!json_is_object(j))
		return error_set(ret_error, -EBADMSG, "its annotations are not an object");
	if (misspelled)
		return error_set(ret_error, -EBADMSG,
				 "its annotation \"%.64s\" is misspelled: it is lower case",
				 misspelled);
	r = take_string(json_object_get(j, "image"), "image", &s->image, ret_error);
	if (r == 0)
		r = take_string(json_object_get(j, "tag"), "tag", &s->tag, ret_error);
	if (r == 0)
		r = take_seq(json_object_get(j, "seq"), &s->seq, ret_error);
	if (r == 0)
		r = take_expires(json_object_get(j, "expires"), &s->expires_s, ret_error);
	return r;
}

/* containers/image, docs/containers-signature.5.md, "Format", with the type of cosign. */
static int parse_simple(const json_t *j, struct statement *s, struct error *ret_error)
{
	static const char *const top[] = {"critical", "optional", NULL};
	static const char *const of_critical[] = {"identity", "image", "type", NULL};
	static const char *const of_identity[] = {"docker-reference", NULL};
	static const char *const of_image[] = {"docker-manifest-digest", NULL};
	const json_t *critical = json_object_get(j, "critical");
	const json_t *identity = json_object_get(critical, "identity");
	const json_t *image = json_object_get(critical, "image");
	const char *type = json_get_string(critical, "type");
	int r = check_keys(j, "it", top, ret_error);

	if (r == 0)
		r = check_keys(critical, "\"critical\"", of_critical, ret_error);
	if (r == 0)
		r = check_keys(identity, "\"identity\"", of_identity, ret_error);
	if (r == 0)
		r = check_keys(image, "\"image\"", of_image, ret_error);
	if (r < 0)
		return r;
	if (!streq_null(type, SIMPLE_TYPE))
		return error_set(ret_error, -EBADMSG, "its type is not \"" SIMPLE_TYPE "\"");
	if (digest_parse(json_get_string(image, "docker-manifest-digest"), &s->subject) < 0)
		return error_set(ret_error, -EBADMSG, "its digest is not valid");
	r = take_string(json_object_get(identity, "docker-reference"), "docker-reference",
			&s->reference, ret_error);
	return r < 0 ? r : take_annotations(json_object_get(j, "optional"), s, ret_error);
}

/* in-toto/attestation, spec/v1/statement.md and resource_descriptor.md. */
static int parse_in_toto(const json_t *j, struct statement *s, struct error *ret_error)
{
	static const char *const top[] = {"_type", "subject", "predicateType", "predicate", NULL};
	static const char *const of_subject[] = {"digest", "?annotations", NULL};
	static const char *const of_digest[] = {"sha256", NULL};
	const json_t *subjects = json_object_get(j, "subject");
	const json_t *subject = json_array_get(subjects, 0);
	const json_t *digest = json_object_get(subject, "digest");
	_cleanup_free_ char *text = NULL;
	int r = check_keys(j, "it", top, ret_error);

	if (r < 0)
		return r;
	if (!streq_null(json_get_string(j, "predicateType"), PREDICATE_TYPE))
		return error_set(ret_error, -EBADMSG,
				 "it is an attestation and not a signature: its predicateType is "
				 "not " PREDICATE_TYPE);
	if (!streq_null(json_get_string(j, "_type"), STATEMENT_TYPE))
		return error_set(ret_error, -EBADMSG, "its _type is not " STATEMENT_TYPE);
	if (!json_is_object(json_object_get(j, "predicate")))
		return error_set(ret_error, -EBADMSG, "\"predicate\" is not an object");
	if (json_array_size(subjects) != 1)
		return error_set(ret_error, -EBADMSG, "it has not exactly one subject");
	r = check_keys(subject, "\"subject\"", of_subject, ret_error);
	if (r == 0)
		r = check_keys(digest, "\"digest\"", of_digest, ret_error);
	if (r < 0)
		return r;
	text = xasprintf("sha256:%.65s", json_get_string(digest, "sha256") ?: "");
	if (digest_parse(text, &s->subject) < 0)
		return error_set(ret_error, -EBADMSG, "its digest is not valid");
	return take_annotations(json_object_get(subject, "annotations"), s, ret_error);
}

int statement_parse(enum signature_format format, const char *payload, size_t n,
		    struct statement *ret, struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	struct statement s = {0};
	int r = json_parse(payload, n, "it is no JSON", &j, ret_error);

	if (r < 0)
		return r;
	if (has_ambiguous_keys(j))
		return error_set(ret_error, -EBADMSG, "it has a key in two spellings");
	r = format == SIGNATURE_SIMPLE ? parse_simple(j, &s, ret_error)
				       : parse_in_toto(j, &s, ret_error);
	if (r < 0)
		statement_free(&s);
	else
		*ret = s;
	return r;
}

void statement_free(struct statement *s)
{
	free(s->image);
	free(s->reference);
	free(s->tag);
	*s = (struct statement){0};
}
