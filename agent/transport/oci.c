/* SPDX-License-Identifier: MIT */
#include "oci.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "base64.h"
#include "crypto.h"

#define OCI_INDEX	"application/vnd.oci.image.index.v1+json"
#define DOCKER_LIST	"application/vnd.docker.distribution.manifest.list.v2+json"
#define DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define NO_SCHEMA_1	"manifests of Docker's schema 1 are not supported"

const char oci_accept[] =
	"Accept: " OCI_INDEX ", " OCI_MANIFEST ", " DOCKER_LIST ", " DOCKER_MANIFEST;

enum kind {
	KIND_OTHER,
	KIND_INDEX,
	KIND_MANIFEST,
};

/* The keys that an engine reads of each object: Go takes them in any case. */
static const char *const document_keys[] = {"schemaVersion", "mediaType", "artifactType",
					    "config",	     "layers",	  "manifests",
					    "fsLayers",	     "subject",	  NULL};
static const char *const descriptor_keys[] = {"mediaType", "artifactType", "digest",   "size",
					      "urls",	   "data",	   "platform", NULL};
static const char *const platform_keys[] = {"os",	  "architecture", "variant",
					    "os.version", "os.features",  NULL};

static int check_keys(const json_t *j, const char *const *known, struct error *ret_error)
{
	const char *key = json_find_misspelled(j, known);

	if (!key)
		return 0;
	return error_set(ret_error, -EKEYREJECTED,
			 "the key \"%.64s\" is misspelled: engines ignore the case of keys", key);
}

static enum kind kind_of_type(const char *type)
{
	if (streq(type, OCI_INDEX) || streq(type, DOCKER_LIST))
		return KIND_INDEX;
	if (streq(type, OCI_MANIFEST) || streq(type, DOCKER_MANIFEST))
		return KIND_MANIFEST;
	return KIND_OTHER;
}

/* Without parameters, in lower case as media types compare. Caller frees. */
static char *bare_type(const char *s)
{
	size_t n = strcspn(s, ";");
	char *type;

	while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t'))
		n--;
	type = xstrndup(s, n);
	for (char *p = type; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return type;
}

/* Sets is_index and media_type of d, by type and by form. The two must agree, or one parser would see an index where
 * another sees a manifest (CVE-2021-41190). */
static int find_kind(const json_t *j, const char *content_type, struct oci_document *d,
		     struct error *ret_error)
{
	_cleanup_free_ char *sent = content_type ? bare_type(content_type) : NULL;
	const char *type = json_get_string(j, "mediaType");
	bool index = json_object_get(j, "manifests");
	bool manifest = json_object_get(j, "config") || json_object_get(j, "layers");
	enum kind kind;
	int code;

	if (check_keys(j, document_keys, ret_error) < 0)
		return ret_error->code;
	if (json_integer_value(json_object_get(j, "schemaVersion")) == 1 ||
	    json_object_get(j, "fsLayers"))
		return error_set(ret_error, -EKEYREJECTED, NO_SCHEMA_1);
	if (json_integer_value(json_object_get(j, "schemaVersion")) != 2)
		return error_set(ret_error, -EKEYREJECTED, "\"schemaVersion\" is not 2");
	if (!type && json_object_get(j, "mediaType"))
		return error_set(ret_error, -EKEYREJECTED, "\"mediaType\" is not text");
	if (type && sent && !streq(type, sent))
		return error_set(ret_error, -EBADMSG,
				 "the document says it is %.100s, the registry says %.100s", type,
				 sent);
	if (index && manifest)
		return error_set(ret_error, -EKEYREJECTED,
				 "the document is both an index and a manifest");
	code = type || !sent ? -EKEYREJECTED : -EBADMSG;
	type = type ? type : sent ? sent : index ? OCI_INDEX : OCI_MANIFEST;
	kind = kind_of_type(type);
	if (kind == KIND_OTHER)
		return error_set(ret_error, code, "%.100s is not the type of an image", type);
	if (kind == KIND_INDEX ? !index : !manifest)
		return error_set(ret_error, code, "the document is not what its type says");
	d->is_index = index;
	copy_text(d->media_type, sizeof(d->media_type), type);
	return 0;
}

static int parse_descriptor(const json_t *j, struct digest *ret_digest, uint64_t *ret_size,
			    struct error *ret_error)
{
	const char *digest = json_get_string(j, "digest");
	const json_t *size = json_object_get(j, "size"), *urls = json_object_get(j, "urls");

	if (check_keys(j, descriptor_keys, ret_error) < 0)
		return ret_error->code;
	/* containerd gets any blob from there, as root and from any host. */
	if (json_array_size(urls) > 0 || (urls && !json_is_array(urls) && !json_is_null(urls)))
		return error_set(ret_error, -EKEYREJECTED,
				 "a part of it is to be downloaded from elsewhere (\"urls\")");
	if (!digest || digest_parse(digest, ret_digest) < 0)
		return error_set(ret_error, -EKEYREJECTED,
				 "a descriptor's digest is not \"sha256:\" and 64 lower-case hex "
				 "digits");
	if (!json_is_integer(size) || json_integer_value(size) < 0)
		return error_set(ret_error, -EKEYREJECTED, "a descriptor's size is not a size");
	*ret_size = (uint64_t)json_integer_value(size);
	return 0;
}

int oci_read_platform(const json_t *j, struct oci_platform *p, struct error *ret_error)
{
	const struct {
		const char *key;
		char *text;
		size_t size;
	} words[] = {
		{"os", p->os, sizeof(p->os)},
		{"architecture", p->architecture, sizeof(p->architecture)},
		{"variant", p->variant, sizeof(p->variant)},
	};

	if (check_keys(j, platform_keys, ret_error) < 0)
		return ret_error->code;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		const json_t *value = json_object_get(j, words[i].key);
		const char *s = value ? json_string_value(value) : "";

		if (!s || strlen(s) >= words[i].size)
			return error_set(ret_error, -EKEYREJECTED,
					 "a platform's \"%s\" is not a word", words[i].key);
		copy_text(words[i].text, words[i].size, s);
	}
	return 0;
}

static int parse_entry(const json_t *j, struct oci_entry *e, struct error *ret_error)
{
	int r = parse_descriptor(j, &e->digest, &e->size, ret_error);

	return r < 0 ? r
		     : oci_read_platform(json_object_get(j, "platform"), &e->platform, ret_error);
}

static int parse_index(const json_t *j, struct oci_document *d, struct error *ret_error)
{
	const json_t *list = json_object_get(j, "manifests");
	size_t n = json_array_size(list);

	if (!json_is_array(list) || n > OCI_INDEX_ENTRIES_MAX)
		return error_set(ret_error, -EKEYREJECTED,
				 "the index is not a list of at most %d manifests",
				 OCI_INDEX_ENTRIES_MAX);
	d->entries = xcalloc(n, sizeof(*d->entries));
	for (size_t i = 0; i < n; i++) {
		const json_t *item = json_array_get(list, i);
		const char *type = json_get_string(item, "mediaType");
		int r;

		/* An index may list other media types: skip them. */
		if (type && kind_of_type(type) != KIND_MANIFEST)
			r = check_keys(item, descriptor_keys, ret_error);
		else
			r = parse_entry(item, &d->entries[d->n_entries++], ret_error);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The embedded content, or NULL if it is invalid, over OCI_DATA_MAX, or does not have that digest and size. Caller frees. */
static char *embedded_data(const json_t *descriptor, const struct digest *d, uint64_t size)
{
	const char *text = size <= OCI_DATA_MAX ? json_get_string(descriptor, "data") : NULL;
	size_t n;
	_cleanup_free_ char *data = text ? base64_decode(text, &n) : NULL;
	struct error ignored;

	if (!data || n != size || oci_check_hash(data, n, d, &ignored) < 0)
		return NULL;
	return steal(data);
}

/* Engines take these wrong types for a config, too (moby, distribution/registry.go): early registries sent them. */
static bool is_config_type(const char *type)
{
	static const char *const types[] = {
		"",
		"application/vnd.oci.image.config.v1+json",
		"application/vnd.docker.container.image.v1+json",
		"application/octet-stream",
		"application/json",
		"text/html",
	};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (streq(type, types[i]))
			return true;
	}
	return false;
}

/* "" for one that is missing, NULL if it is no text. */
static const char *type_of(const json_t *descriptor)
{
	const json_t *type = json_object_get(descriptor, "mediaType");

	return type ? json_string_value(type) : "";
}

static int parse_config_descriptor(const json_t *j, struct oci_document *d, struct error *ret_error)
{
	const char *type = type_of(j);
	int r = parse_descriptor(j, &d->config, &d->config_size, ret_error);

	if (r < 0)
		return r;
	if (!type || !is_config_type(type))
		return error_set(ret_error, -EKEYREJECTED,
				 "it is no image: the type of its config is %.100s",
				 type ? type : "no text");
	/* The list of ports is not counted, which image_config_parse() does. */
	if (d->config_size > OCI_DOCUMENT_MAX)
		return error_set(ret_error, -EKEYREJECTED,
				 "the image's config has %ju bytes, more than the %zu that are "
				 "taken",
				 (uintmax_t)d->config_size, OCI_CONFIG_MAX);
	d->config_data = embedded_data(j, &d->config, d->config_size);
	return 0;
}

static int parse_layer(const json_t *j, struct oci_layer *ret, struct error *ret_error)
{
	static const struct {
		const char *type;
		enum oci_compression compression;
	} types[] = {
		{"", OCI_GZIP},
		{"application/vnd.oci.image.layer.v1.tar", OCI_PLAIN},
		{"application/vnd.oci.image.layer.v1.tar+gzip", OCI_GZIP},
		{"application/vnd.oci.image.layer.v1.tar+zstd", OCI_ZSTD},
		{"application/vnd.docker.image.rootfs.diff.tar", OCI_PLAIN},
		{"application/vnd.docker.image.rootfs.diff.tar.gzip", OCI_GZIP},
		{"application/vnd.docker.image.rootfs.diff.tar.zstd", OCI_ZSTD},
	};
	const char *type = type_of(j);
	int r = parse_descriptor(j, &ret->digest, &ret->size, ret_error);

	for (size_t i = 0; r == 0 && type && i < ARRAY_SIZE(types); i++) {
		if (!streq(type, types[i].type))
			continue;
		ret->compression = types[i].compression;
		ret->data = embedded_data(j, &ret->digest, ret->size);
		return 0;
	}
	return r < 0 ? r
		     : error_set(ret_error, -EKEYREJECTED,
				 "engines cannot unpack a layer of the type %.100s",
				 type ? type : "that is no text");
}

/* An image may have a layer twice, but with one size: it is one file of the spool. */
static int check_sizes(const struct oci_document *d, struct error *ret_error)
{
	const struct oci_layer *l = &d->layers[d->n_layers - 1];

	for (size_t i = 0; i + 1 < d->n_layers; i++) {
		if (digest_eq(&d->layers[i].digest, &l->digest) && d->layers[i].size != l->size)
			return error_set(ret_error, -EKEYREJECTED,
					 "the manifest has two sizes of the layer %s",
					 l->digest.text);
	}
	return 0;
}

static int parse_manifest(const json_t *j, struct oci_document *d, struct error *ret_error)
{
	const json_t *layers = json_object_get(j, "layers"), *layer;
	size_t i;
	int r;

	if (!json_is_array(layers) || json_array_size(layers) > OCI_LAYERS_MAX)
		return error_set(ret_error, -EKEYREJECTED,
				 "the manifest has no list of at most %d layers", OCI_LAYERS_MAX);
	r = parse_config_descriptor(json_object_get(j, "config"), d, ret_error);
	release_set_version(d->version,
			    json_get_string(json_object_get(j, "annotations"), VERSION_LABEL));
	d->layers = xcalloc(json_array_size(layers), sizeof(*d->layers));
	json_array_foreach (layers, i, layer) {
		struct oci_layer *l = &d->layers[d->n_layers];

		if (r == 0)
			r = parse_layer(layer, l, ret_error);
		if (r < 0)
			return r;
		d->n_layers++;
		r = check_sizes(d, ret_error);
		/* The sum is a signed number in the message to the engine half; each size is one in JSON. */
		if (l->size > INT64_MAX - d->layer_bytes)
			return error_set(ret_error, -EKEYREJECTED, "the layers' sizes overflow");
		d->layer_bytes += l->size;
	}
	return r;
}

int oci_check_hash(const char *data, size_t n, const struct digest *expected,
		   struct error *ret_error)
{
	struct digest actual = hash_bytes(data, n);

	if (digest_eq(expected, &actual))
		return 0;
	return error_set(ret_error, -EBADMSG, "the registry sent something else: wanted %s, got %s",
			 expected->text, actual.text);
}

/* Docker's schema 1 (libtrust): the digest is of the document without its signatures. */
static bool is_signed(const char *data, size_t n, const struct digest *expected)
{
	static const char key[] = "\"signatures\"";
	const char *head_end = memmem(data, n, key, strlen(key)), *tail = memrchr(data, ']', n);
	_cleanup_free_ char *payload = NULL;
	struct digest actual;

	if (!head_end || !tail || tail < head_end)
		return false;
	while (head_end > data && head_end[-1] != ',')
		head_end--;
	head_end -= head_end > data;
	payload = xasprintf("%.*s%.*s", (int)(head_end - data), data, (int)(data + n - tail - 1),
			    tail + 1);
	actual = hash_bytes(payload, strlen(payload));
	return digest_eq(&actual, expected);
}

static int parse_document(const char *data, size_t n, const char *content_type,
			  struct oci_document *ret, struct error *ret_error)
{
	struct oci_document d = {.size = n};
	_cleanup_json_ json_t *j = NULL;
	int r = 0;

	if (json_parse(data, n, "manifest", &j, ret_error) < 0)
		return ret_error->code = -EKEYREJECTED;
	if (!json_is_object(j))
		r = error_set(ret_error, -EKEYREJECTED, "the manifest is not a JSON object");
	if (r == 0)
		r = find_kind(j, content_type, &d, ret_error);
	if (r == 0)
		r = d.is_index ? parse_index(j, &d, ret_error) : parse_manifest(j, &d, ret_error);
	if (r < 0)
		oci_document_free(&d);
	else
		*ret = d;
	return r;
}

int oci_parse(const char *data, size_t n, const char *content_type, const struct digest *expected,
	      struct oci_document *ret, struct error *ret_error)
{
	_cleanup_free_ char *type = content_type ? bare_type(content_type) : NULL;
	int r = oci_check_hash(data, n, expected, ret_error);

	if (r < 0 && is_signed(data, n, expected))
		return error_set(ret_error, -EKEYREJECTED, NO_SCHEMA_1);
	if (r == 0)
		r = parse_document(data, n, content_type, ret, ret_error);
	/* The page of a captive portal or of a proxy says nothing for good about a digest. */
	if (r != -EKEYREJECTED || !type || after_prefix(type, "application/vnd."))
		return r;
	error_append(ret_error, "it was sent as %.100s, which is no manifest's type", type);
	return ret_error->code = -EBADMSG;
}

int oci_read_descriptor(const json_t *j, struct oci_artifact *ret, struct error *ret_error)
{
	int r = parse_descriptor(j, &ret->digest, &ret->size, ret_error);

	ret->data = r == 0 ? embedded_data(j, &ret->digest, ret->size) : NULL;
	return r;
}

int oci_parse_artifact(const char *data, size_t n, const char *content_type, const char *type,
		       struct oci_artifact *ret, struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	const json_t *layer;
	const char *artifact_type, *layer_type;
	struct oci_document d = {0};
	int r = json_parse(data, n, "manifest", &j, ret_error);

	if (r == 0)
		r = find_kind(j, content_type, &d, ret_error);
	if (r < 0)
		return r;
	artifact_type = json_get_string(j, "artifactType");
	layer = json_array_get(json_object_get(j, "layers"), 0);
	layer_type = json_get_string(layer, "mediaType");
	if (d.is_index || json_array_size(json_object_get(j, "layers")) != 1)
		return error_set(ret_error, -EBADMSG, "not an artifact with one layer");
	if (json_object_get(j, "artifactType") && !streq_null(artifact_type, type))
		return error_set(ret_error, -EBADMSG, "an artifact of type %.100s, not %s",
				 artifact_type ? artifact_type : "?", type);
	if (!streq_null(layer_type, type))
		return error_set(ret_error, -EBADMSG, "its layer is of type %.100s, not %s",
				 layer_type ? layer_type : "?", type);
	return oci_read_descriptor(layer, ret, ret_error);
}

void oci_document_free(struct oci_document *d)
{
	for (size_t i = 0; i < d->n_layers; i++)
		free(d->layers[i].data);
	free(d->layers);
	free(d->config_data);
	free(d->entries);
	*d = (struct oci_document){0};
}

const struct oci_entry *oci_choose(const struct oci_document *index,
				   const struct oci_platform *host)
{
	const struct oci_entry *best = NULL;
	unsigned int best_rank = 0;

	for (size_t i = 0; i < index->n_entries; i++) {
		unsigned int rank = oci_platform_rank(host, &index->entries[i].platform);

		if (rank > best_rank) {
			best = &index->entries[i];
			best_rank = rank;
		}
	}
	return best;
}
