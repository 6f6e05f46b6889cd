/* SPDX-License-Identifier: MIT */
/* pullet delta show: the deltas that lead to an image. */
#include <errno.h>
#include <stdio.h>

#include "artifact.h"
#include "delta.h"
#include "layers.h"
#include "log.h"

struct show {
	struct fetch *fetch;
	struct source source;
	json_t *rows;
};

static int show_delta(struct show *s, const struct source_image *image, const char *platform,
		      const char *tag, struct error *ret_error)
{
	_cleanup_free_ char *name = xasprintf("%s:%s", s->source.repository, tag), *text = NULL;
	struct artifact *a = xcalloc(1, sizeof(*a));
	struct digest digest;
	uint64_t plain = 0;
	int r = source_read_text(s->fetch, name, &text, &digest, ret_error);
	struct artifact_place place = {tag, &image->config.chain, image->manifest.n_layers, 0};
	int fault = r < 0 ? 0 : artifact_parse(text, a, ret_error);

	/* It was removed meanwhile. */
	if (r == -ENOENT)
		r = 0;
	else if (r == 0 && fault == 0)
		place.plain = plain = layers_plain(image, a->shared);
	if (text && fault == 0)
		fault = artifact_check(a, &place, ret_error);
	if (text && r == 0)
		json_append(s->rows,
			    json_need(json_pack(
				    "{s:s, s:s, s:s?, s:I, s:I, s:I, s:s?}", "platform", platform,
				    "tag", tag, "from", fault ? NULL : a->from.text, "shared",
				    (json_int_t)a->shared, "bytes", (json_int_t)a->size, "plain",
				    (json_int_t)plain, "fault", fault ? ret_error->text : NULL)));
	free(a);
	return r;
}

static int show_image(struct show *s, const struct oci_entry *entry, struct error *ret_error)
{
	_cleanup_free_ char *platform = delta_platform_text(&entry->platform);
	_cleanup_json_ json_t *question = NULL, *answer = NULL;
	struct source_image *image = xcalloc(1, sizeof(*image));
	const json_t *tag;
	size_t i;
	int r = source_read_image(s->fetch, &s->source, &entry->digest, NULL, image, ret_error);

	question = json_need(json_pack("{s:s, s:s, s:s}", "op", "find-deltas", "image",
				       s->source.ref.text, "to", image->config.chain.text));
	if (r == 0 && digest_is_set(&image->config.chain))
		r = fetch_ask_publish(s->fetch, question, &answer, ret_error);
	json_array_foreach (json_object_get(answer, "tags"), i, tag) {
		if (r == 0)
			r = show_delta(s, image, platform, json_string_value(tag) ?: "", ret_error);
	}
	source_image_free(image);
	free(image);
	return r;
}

static void print_row(const json_t *row)
{
	const char *fault = json_get_string(row, "fault");
	uint64_t bytes = (uint64_t)json_integer_value(json_object_get(row, "bytes"));
	uint64_t all = (uint64_t)json_integer_value(json_object_get(row, "plain"));
	json_int_t shared = json_integer_value(json_object_get(row, "shared"));
	_cleanup_free_ char *size = text_bytes(bytes), *plain = text_bytes(all),
			    *ratio = delta_ratio(bytes, all);

	printf("%s: ", json_get_string(row, "platform"));
	if (fault)
		printf("%s is not valid: %s\n", json_get_string(row, "tag"), fault);
	else
		printf("from %s: %" JSON_INTEGER_FORMAT
		       " layer%s shared, %s instead of %s (%s), %s\n",
		       json_get_string(row, "from"), shared, shared == 1 ? "" : "s", size, plain,
		       ratio, json_get_string(row, "tag"));
}

static void print_rows(const struct delta_options *o, const struct show *s)
{
	const json_t *row;
	size_t i;

	if (o->json) {
		delta_print_json(json_pack("{s:s, s:s, s:O}", "image", s->source.ref.text, "digest",
					   s->source.digest.text, "deltas", s->rows));
		return;
	}
	json_array_foreach (s->rows, i, row)
		print_row(row);
	if (json_array_size(s->rows) == 0)
		printf("no delta leads to %s; to make one: pullet delta make OLD %s\n",
		       s->source.ref.text, s->source.ref.text);
}

int delta_show(const struct delta_options *o, const char *image)
{
	const struct fetch_options options = {.config = o->config, .role = "--publish"};
	_cleanup_json_ json_t *rows = json_need(json_array());
	struct oci_platform only;
	struct show s = {.rows = rows};
	struct error e;
	int r;

	if (o->platform && delta_parse_platform(o->platform, &only) < 0) {
		log_error("--platform: '%s' is not of the form arm64, arm/v7 or linux/arm64",
			  o->platform);
		return 2;
	}
	s.fetch = delta_connect(&options, image);
	if (!s.fetch)
		return 2;
	r = source_read(s.fetch, image, &s.source, &e);
	for (size_t i = 0; r == 0 && i < s.source.n_images; i++) {
		if (!o->platform || source_find(&s.source, &only) == &s.source.images[i])
			r = show_image(&s, &s.source.images[i], &e);
	}
	if (r < 0)
		log_error("%s", e.text);
	else
		print_rows(o, &s);
	source_free(&s.source);
	fetch_free(s.fetch);
	return r < 0;
}
