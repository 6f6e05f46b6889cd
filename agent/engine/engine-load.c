/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <sys/param.h>

#include "crypto.h"
#include "engine-internal.h"
#include "image-config.h"
#include "load-tar.h"
#include "local-manifest.h"
#include "ref.h"

#define LOAD_STALL_S (60u * 60) /* containerd's store says nothing while it unpacks */

/* A load, as far as it has come. */
struct loading {
	const struct load *load;
	struct load_tar tar;
	char *local; /* the manifest of rebuilt layers; NULL: there are none */
	struct json_stream stream;
	struct image_config config;
	bool containerd;		/* the engine's store */
	char *pinned, *keep;		/* names of the image */
	bool sent;			/* the whole tar */
	char said[512];			/* the engine's words about a failure; empty: none */
	char shown[OCI_LAYERS_MAX][16]; /* the layers that it says to load, by DiffID */
	size_t n_shown;
	struct error in_file, in_stream; /* of what is sent, and of an answer that is no JSON */
};

/* An engine without zstd gets such a layer unpacked, so under another digest, and checks it by the config; as it does each that
 * was rebuilt. */
static int check_layers(const struct engine *e, const struct load *l,
			const struct oci_document *manifest, struct error *ret_error)
{
	for (size_t i = 0; i < l->n_layers; i++) {
		const struct load_layer *layer = &l->layers[i];
		bool unpacked = layer->fd >= 0 && !e->version.zstd &&
				manifest->layers[i].compression == OCI_ZSTD;

		if (layer->rebuilt &&
		    (e->version.podman || (layer->compression == OCI_ZSTD && !e->version.zstd)))
			return error_set(ret_error, -EOPNOTSUPP,
					 "this engine does not take layer %zu as it was rebuilt",
					 i + 1);
		if (!unpacked && !layer->rebuilt &&
		    !digest_eq(&manifest->layers[i].digest, &layer->digest))
			return error_set(ret_error, -EKEYREJECTED,
					 "layer %zu of the manifest is not %s", i + 1,
					 layer->digest.text);
	}
	return 0;
}

static bool lists(const struct oci_document *index, const struct digest *manifest)
{
	for (size_t i = 0; i < index->n_entries; i++) {
		if (digest_eq(&index->entries[i].digest, manifest))
			return true;
	}
	return false;
}

static int check_top(const struct load *l, struct error *ret_error)
{
	struct oci_document top = {0};
	bool fits;
	int r;

	if (!digest_eq(&l->top.digest, verified_digest(l->verified)))
		return error_set(ret_error, -EKEYREJECTED, "%s was not verified",
				 l->top.digest.text);
	r = oci_parse(l->top.text, l->top.n, l->top_type, &l->top.digest, &top, ret_error);
	if (r < 0)
		return r;
	fits = top.is_index ? lists(&top, &l->manifest.digest)
			    : digest_eq(&l->top.digest, &l->manifest.digest);
	oci_document_free(&top);
	return fits ? 0
		    : error_set(ret_error, -EKEYREJECTED, "the index does not list the manifest %s",
				l->manifest.digest.text);
}

static int check_manifest(const struct engine *e, const struct load *l, char **ret_local,
			  struct error *ret_error)
{
	struct oci_document manifest = {0};
	int r = oci_parse(l->manifest.text, l->manifest.n, NULL, &l->manifest.digest, &manifest,
			  ret_error);

	if (r < 0)
		return r;
	if (manifest.is_index || !digest_eq(&manifest.config, &l->config.digest) ||
	    manifest.n_layers != l->n_layers)
		r = error_set(ret_error, -EKEYREJECTED,
			      "the manifest is not of the config %s and %zu layers",
			      l->config.digest.text, l->n_layers);
	else
		r = check_layers(e, l, &manifest, ret_error);
	if (r == 0 && local_manifest_is_needed(l))
		*ret_local = local_manifest_make(l, &manifest);
	oci_document_free(&manifest);
	return r;
}

/* The engine checks layers only: one with a graph driver takes any config. */
static int check_documents(const struct engine *e, struct loading *o, struct error *ret_error)
{
	const struct load *l = o->load;
	int r = check_top(l, ret_error);

	if (r == 0)
		r = check_manifest(e, l, &o->local, ret_error);
	if (r == 0)
		r = image_config_parse(l->config.text, l->config.n, &l->config.digest, l->n_layers,
				       NULL, 0, &o->config, ret_error);
	return r;
}

static ssize_t on_send(void *userdata, uint64_t offset, char *buffer, size_t n)
{
	struct loading *o = userdata;
	ssize_t r = load_tar_read(&o->tar, offset, buffer, n, &o->in_file);

	o->sent = r >= 0 && offset + (uint64_t)r == o->tar.size;
	if (r > 0 && o->load->progress)
		o->load->progress(o->load->userdata, offset + (uint64_t)r, o->tar.size);
	return r;
}

static void note_layer(struct loading *o, const char *id)
{
	size_t i = 0;

	while (i < o->n_shown && !streq_null(o->shown[i], id))
		i++;
	if (id && i == o->n_shown && i < OCI_LAYERS_MAX)
		copy_text(o->shown[o->n_shown++], sizeof(o->shown[0]), id);
}

/* A graph driver does not read a layer that it has already, and says nothing of it. */
static size_t count_found(const struct engine *e, const struct loading *o)
{
	size_t sent = 0;

	for (size_t i = 0; i < o->load->n_layers; i++)
		sent += o->load->layers[i].fd >= 0;
	return o->containerd || e->version.podman || sent < o->n_shown ? 0 : sent - o->n_shown;
}

/* Docker 28 calls an image loaded that it could not unpack, and says so in the next line. */
static int on_load_object(void *userdata, json_t *object)
{
	static const char unpacking[] = "Error unpacking image ";
	const char *said = json_get_string(json_object_get(object, "errorDetail"), "message");
	const char *line = json_get_string(object, "stream");
	struct loading *o = userdata;

	if (!said)
		said = json_get_string(object, "error");
	if (streq_null(json_get_string(object, "status"), "Loading layer"))
		note_layer(o, json_get_string(object, "id"));
	if (!said && line && after_prefix(line, unpacking)) {
		said = strstr(line, ": ");
		said = said ? said + 2 : line;
	}
	if (!said)
		return 0;
	copy_text(o->said, sizeof(o->said), said);
	return -EIO;
}

static int on_load_data(void *userdata, const char *data, size_t n)
{
	struct loading *o = userdata;

	return json_stream_push(&o->stream, data, n, on_load_object, o, &o->in_stream);
}

static bool is_whole(const struct load *l)
{
	for (size_t i = 0; i < l->n_layers; i++) {
		if (l->layers[i].fd < 0)
			return false;
	}
	return true;
}

/* Whether all files are what the registry has: then the image is to blame. */
static int check_files(const struct load *l, struct error *ret_error)
{
	for (size_t i = 0; i < l->n_layers; i++) {
		const struct load_layer *layer = &l->layers[i];
		struct digest d = {0};

		if (layer->fd < 0 ||
		    (hash_file(layer->fd, layer->size, &d) == 0 && digest_eq(&d, &layer->digest)))
			continue;
		return error_set(ret_error, -EBADMSG, "the file of layer %zu is not %s", i + 1,
				 layer->digest.text);
	}
	return 0;
}

/* The error of a load that the engine ended with these words. The image is to blame only if it had all of it, and nothing but
 * the registry's. */
static int explain(const struct loading *o, struct error *ret_error)
{
	bool whole = is_whole(o->load), theirs = whole && !o->local,
	     lacks = store_lacks_layer(o->said), refuses = store_refuses_load(o->said);
	struct error file;
	int code = -EIO;

	if (lacks && !whole)
		code = -ENODATA;
	if (refuses && theirs && o->sent)
		code = -EKEYREJECTED;
	(void)error_set(ret_error, code, "the engine says: %.*s",
			(int)MIN(strcspn(o->said, "\n"), 450), o->said);
	if (store_is_damaged_in_load(o->said)) {
		ret_error->origin = ERROR_STORE;
	} else if (store_is_passing(o->said)) {
		ret_error->origin = ERROR_PASSING;
	} else if ((lacks || refuses) && check_files(o->load, &file) < 0) {
		error_append(ret_error, "%s", file.text);
		ret_error->code = file.code;
	}
	return ret_error->code;
}

/* A load is refused as a whole before a layer is looked at; what is wrong with one is told in the answer. */
static int of_call(int r, struct error *error)
{
	if (r < 0 && error->origin == ERROR_OTHER)
		error->origin = ERROR_PASSING;
	return r;
}

/* What the engine lacks or says wrongly is no word about the registry or the files. */
static int of_engine(int r, struct error *error)
{
	return r == -ENOENT || r == -EBADMSG ? (error->code = -EIO) : r;
}

static int send_tar(struct engine *e, struct loading *o, struct error *ret_error)
{
	struct call c = {"POST",
			 "/images/load?quiet=0", /* progress shows that it is alive */
			 .what = "POST /images/load",
			 .stall_s = LOAD_STALL_S,
			 .on_send = on_send,
			 .send_size = o->tar.size,
			 .on_data = on_load_data,
			 .userdata = o};
	const char *refused;
	int r = engine_call(e, c, NULL, ret_error);

	if (r == 0)
		r = json_stream_end(&o->stream, on_load_object, o, &o->in_stream);
	/* podman tells with status 500 how it failed to read the tar in each of its formats. */
	refused = r < 0 && e->version.podman ? strstr(ret_error->text, "oci-archive: ") : NULL;
	if (refused)
		copy_text(o->said, sizeof(o->said), refused);
	if (o->said[0])
		return explain(o, ret_error);
	if (o->in_file.code < 0) {
		*ret_error = o->in_file;
		return o->in_file.code;
	}
	if (o->in_stream.code < 0)
		return error_set(ret_error, -EIO, "the engine's answer: %s", o->in_stream.text);
	return of_call(of_engine(r, ret_error), ret_error);
}

/* containerd's store lists images that it has not unpacked, as those of other platforms. A container needs the layers. */
static int prove_by_container(struct engine *e, const struct loading *o, struct error *ret_error)
{
	_cleanup_free_ char *name = xasprintf("pullet-load-%s", o->load->keep);

	return engine_try_image(e, name, o->pinned, o->load->platform ?: "", "-", NULL, ret_error);
}

/* The image is there under the name that it is to have, with the layers of its config. Docker 28 lists no layers of a manifest
 * whose files are missing, but those of the local one, which it has unpacked first. */
static int prove(struct engine *e, const struct loading *o, struct error *ret_error)
{
	bool known = o->containerd || e->version.podman;
	const char *name = !known ? o->load->config.digest.text : o->local ? o->keep : o->pinned;
	_cleanup_json_ json_t *image = NULL;
	struct digest chain;
	int r;

	if (o->containerd) {
		r = prove_by_container(e, o, ret_error);
		if (r < 0)
			return r;
	}
	r = engine_identify_image(e, name, &image, ret_error);
	if (r < 0)
		return r;
	chain = image_config_chain(json_get_path(image, "RootFS", "Layers", NULL));
	if (!streq(chain.text, o->config.chain.text))
		return error_set(ret_error, -EIO, "%s has other layers than its config says", name);
	return e->version.podman
		       ? engine_tag(e, name, LOAD_KEEP_REPOSITORY, o->load->keep, ret_error)
		       : 0;
}

static int find_store(struct engine *e, bool *ret_containerd, struct error *ret_error)
{
	_cleanup_json_ json_t *info = NULL;
	int r = engine_info(e, &info, ret_error);

	*ret_containerd = r == 0 && store_is_containerd(info);
	return r;
}

static int load(struct engine *e, struct loading *o, struct error *ret_error)
{
	_cleanup_json_ json_t *before = NULL;
	struct error ignored;
	bool known;
	int r = check_documents(e, o, ret_error);

	if (r == 0)
		r = of_call(of_engine(find_store(e, &o->containerd, ret_error), ret_error),
			    ret_error);
	if (r < 0)
		return r;
	known = engine_identify_image(e, o->pinned, &before, &ignored) != -ENOENT;
	load_tar_make(o->load, o->local, e->version.podman, &o->tar);
	r = send_tar(e, o, ret_error);
	if (r == 0)
		r = of_engine(prove(e, o, ret_error), ret_error);
	if (r == 0) {
		engine_sync(e);
		return 0;
	}
	/* What is incomplete must not be found by its name. */
	(void)!engine_remove_image(e, o->keep, &ignored);
	if (!known)
		(void)!engine_remove_image(e, o->pinned, &ignored);
	return r;
}

int engine_load(struct engine *e, const struct load *l, size_t *ret_found, struct error *ret_error)
{
	_cleanup_free_ char *pinned = ref_pinned(l->ref, &l->top.digest);
	_cleanup_free_ char *keep = xasprintf("%s:%s", LOAD_KEEP_REPOSITORY, l->keep);
	struct loading o = {.load = l, .pinned = pinned, .keep = keep};
	int r = load(e, &o, ret_error);

	*ret_found = count_found(e, &o);
	load_tar_free(&o.tar);
	free(o.local);
	json_stream_free(&o.stream);
	return r < 0 ? error_prefix(ret_error, "load %s", pinned) : 0;
}
