/* SPDX-License-Identifier: MIT */
#include "local-manifest.h"

#define OCI_CONFIG "application/vnd.oci.image.config.v1+json"

bool local_manifest_is_needed(const struct load *l)
{
	bool needed = false;

	for (size_t i = 0; i < l->n_layers; i++)
		needed |= l->layers[i].rebuilt || (l->shared && l->layers[i].fd < 0);
	return needed;
}

static json_t *descriptor(const char *type, const struct digest *digest, uint64_t size)
{
	return json_need(json_pack("{s:s, s:s, s:I}", "mediaType", type, "digest", digest->text,
				   "size", (json_int_t)size));
}

static json_t *layer_descriptor(enum oci_compression compression, const struct digest *digest,
				uint64_t size)
{
	static const char types[][56] = {
		[OCI_PLAIN] = "application/vnd.oci.image.layer.v1.tar",
		[OCI_GZIP] = "application/vnd.oci.image.layer.v1.tar+gzip",
		[OCI_ZSTD] = "application/vnd.oci.image.layer.v1.tar+zstd",
	};

	return descriptor(types[compression], digest, size);
}

/* The engine's own descriptor of a layer; NULL: there is none. */
static json_t *known_descriptor(const json_t *of_engine)
{
	const char *type = json_get_string(of_engine, "mediaType");
	json_int_t size = json_integer_value(json_object_get(of_engine, "size"));
	struct digest digest;

	if (!type || size <= 0 || digest_parse(json_get_string(of_engine, "digest"), &digest) < 0)
		return NULL;
	return descriptor(type, &digest, (uint64_t)size);
}

char *local_manifest_make(const struct load *l, const struct oci_document *manifest)
{
	json_t *layers = json_need(json_array());
	_cleanup_json_ json_t *local = json_need(json_pack(
		"{s:i, s:s, s:o, s:o}", "schemaVersion", 2, "mediaType", OCI_MANIFEST, "config",
		descriptor(OCI_CONFIG, &l->config.digest, l->config.n), "layers", layers));

	for (size_t i = 0; i < l->n_layers; i++) {
		const struct load_layer *layer = &l->layers[i];
		const struct oci_layer *theirs = &manifest->layers[i];
		json_t *d = layer->rebuilt  ? layer_descriptor(layer->compression, &layer->digest,
							       layer->size)
			    : layer->fd < 0 ? known_descriptor(json_array_get(l->shared, i))
					    : NULL;

		json_append(
			layers,
			d ?: layer_descriptor(theirs->compression, &theirs->digest, theirs->size));
	}
	return json_text(local, JSON_COMPACT);
}
