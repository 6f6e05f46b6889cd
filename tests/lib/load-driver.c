/* SPDX-License-Identifier: MIT */
/* load-driver: loads an image from files and pulls it, for tests/engine/test_load.py, or saves layers, for test_save.py. A JSON object on stdin:
 *
 *	{"socket":PATH,"image":TEXT,"keep":TEXT,"platform":TEXT,"type":TEXT,"top":FILE,"manifest":FILE,"config":FILE,
 *	 "layers":[FILE,..],"do":["load","pull",..],"pause-at":BYTES,"shared":[DESCRIPTOR,..]}
 *	FILE: {"digest":TEXT,"path":TEXT,"rebuilt":"plain" | "gzip" | "zstd"}; no path: left out
 *	-> {"load":{"code":0},"pull":{"code":-5,"origin":0,"error":TEXT},"sent":BYTES,"of":BYTES,"grown":KILOBYTES}
 *
 * {"socket":PATH,"save":{"image":TEXT,"layers":[DIGEST,..],"path":TEXT,"max":BYTES}} saves layers to the file path instead
 *	-> {"save":{"code":0},"layers":[[OFFSET,SIZE] | null,..],"manifest":OBJECT | null,"grown":KILOBYTES}
 * {"socket":PATH,"inspect":TEXT,"platform":TEXT} tells what the engine's inspect answers say
 *	-> {"inspect":{"code":0},"image":OBJECT | null,"identified":OBJECT | null}
 * "do":["tar"] writes the tar to the file "socket" instead; with "one-name" podman's. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "engine.h"
#include "load-tar.h"
#include "local-manifest.h"
#include "ref.h"

static uint64_t sent, of, pause_at;

static void on_progress(void *userdata, uint64_t current, uint64_t total)
{
	if (pause_at && current >= pause_at) {
		pause_at = 0;
		(void)raise(SIGSTOP);
	}
	sent = current;
	of = total;
}

/* Kilobytes. getrusage(2) would tell of the program that started this one. */
static long peak_memory(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	long kb = -1;

	while (f && kb < 0 && fgets(line, sizeof(line), f))
		(void)sscanf(line, "VmHWM: %ld", &kb);
	if (!f || fclose(f) != 0 || kb < 0)
		exit(2);
	return kb;
}

static struct digest digest_of(const json_t *file)
{
	struct digest d = {0};

	if (digest_parse(json_get_string(file, "digest"), &d) < 0)
		exit(2);
	return d;
}

static struct load_document document(const json_t *file)
{
	struct load_document d = {.digest = digest_of(file)};
	char *text = NULL;

	if (read_file_at(AT_FDCWD, json_get_string(file, "path"), OCI_DOCUMENT_MAX, &text, &d.n) <
	    0)
		exit(2);
	d.text = text;
	return d;
}

static enum oci_compression compression_of(const char *name)
{
	return streq_null(name, "zstd")	  ? OCI_ZSTD
	       : streq_null(name, "gzip") ? OCI_GZIP
					  : OCI_PLAIN;
}

static struct load_layer *layers(const json_t *files)
{
	struct load_layer *all = xcalloc(json_array_size(files) + 1, sizeof(*all));
	const json_t *file;
	size_t i;

	json_array_foreach (files, i, file) {
		const char *path = json_get_string(file, "path");
		struct stat st = {0};

		all[i] = (struct load_layer){.digest = digest_of(file), .fd = -1};
		if (!path)
			continue;
		all[i].fd = open(path, O_RDONLY | O_CLOEXEC);
		all[i].rebuilt = json_object_get(file, "rebuilt");
		all[i].compression = compression_of(json_get_string(file, "rebuilt"));
		if (fstat(all[i].fd, &st) < 0)
			exit(2);
		/* A file that was cut. */
		all[i].size = json_object_get(file, "size")
				      ? (uint64_t)json_integer_value(json_object_get(file, "size"))
				      : (uint64_t)st.st_size;
	}
	return all;
}

static json_t *result(int r, const struct error *e)
{
	return r < 0 ? json_pack("{s:i,s:i,s:s}", "code", r, "origin", e->origin, "error", e->text)
		     : json_pack("{s:i}", "code", r);
}

static char *local_manifest(const struct load *l)
{
	struct oci_document manifest = {0};
	struct error e;
	char *local = NULL;

	if (oci_parse(l->manifest.text, l->manifest.n, NULL, &l->manifest.digest, &manifest, &e) <
	    0)
		exit(2);
	if (local_manifest_is_needed(l))
		local = local_manifest_make(l, &manifest);
	oci_document_free(&manifest);
	return local;
}

static int write_tar(const struct load *l, bool one_name, const char *path)
{
	_cleanup_free_ char *local = local_manifest(l);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600),
	    r = fd < 0 ? -errno : 0;
	struct load_tar t;
	struct error e;
	char piece[1000]; /* no multiple of a block */
	ssize_t n = 1;

	load_tar_make(l, local, one_name, &t);
	for (uint64_t at = 0; r == 0 && n > 0; at += (uint64_t)n) {
		n = load_tar_read(&t, at, piece, sizeof(piece), &e);
		r = n < 0 ? (int)n : write_all(fd, piece, (size_t)n);
	}
	load_tar_free(&t);
	return r;
}

static int act(const char *what, const json_t *in, const struct load *l, json_t *out)
{
	_cleanup_engine_ struct engine *e = NULL;
	struct error error = {0};
	struct pull_options o = {.bytes_max = UINT64_MAX, .nothing_to_come = true};
	size_t found;
	int r;

	if (streq(what, "tar"))
		return write_tar(l, json_is_true(json_object_get(in, "one-name")),
				 json_get_string(in, "socket"));
	r = engine_open(json_get_string(in, "socket"), NULL, &e, &error);
	if (r == 0 && streq(what, "load"))
		r = engine_load(e, l, &found, &error);
	else if (r == 0)
		r = engine_pull(e, l->ref, l->verified, &o, &found, &error);
	json_put(out, what, result(r, &error));
	return r;
}

/* The result is printed. */
static int save(const json_t *in)
{
	const json_t *order = json_object_get(in, "save"),
		     *digests = json_object_get(order, "layers"), *v;
	struct save_layer layers_of[64] = {0};
	_cleanup_json_ json_t *manifest = NULL, *out = json_object();
	_cleanup_engine_ struct engine *e = NULL;
	json_t *places = json_array();
	struct error error = {0};
	long before = peak_memory();
	int fd = json_array_size(digests) > 0
			 ? open(json_get_string(order, "path"), O_RDWR | O_CREAT | O_CLOEXEC, 0600)
			 : -1,
	    r;
	size_t i;

	json_array_foreach (digests, i, v)
		if (digest_parse(json_string_value(v), &layers_of[i].diff_id) < 0)
			exit(2);
	r = engine_open(json_get_string(in, "socket"), NULL, &e, &error);
	if (r == 0)
		r = engine_save(e, json_get_string(order, "image"), fd, layers_of,
				json_array_size(digests),
				(uint64_t)json_integer_value(json_object_get(order, "max")),
				&manifest, &error);
	for (i = 0; i < json_array_size(digests); i++)
		json_append(places, layers_of[i].found
					    ? json_pack("[I,I]", (json_int_t)layers_of[i].offset,
							(json_int_t)layers_of[i].size)
					    : json_null());
	json_put(out, "save", result(r, &error));
	json_put(out, "layers", places);
	json_put(out, "manifest", manifest ? json_incref(manifest) : json_null());
	json_put(out, "grown", json_integer(peak_memory() - before));
	(void)json_dumpf(out, stdout, JSON_COMPACT);
	return fd < 0 ? 0 : close(fd);
}

static void inspect(const json_t *in)
{
	const char *name = json_get_string(in, "inspect"),
		   *platform = json_get_string(in, "platform");
	_cleanup_json_ json_t *image = NULL, *identified = NULL, *out = json_object();
	_cleanup_engine_ struct engine *e = NULL;
	struct oci_platform p = {0};
	struct error error = {0}, ignored;
	int r = engine_open(json_get_string(in, "socket"), NULL, &e, &error);

	if (platform &&
	    sscanf(platform, "%15[^/]/%15[^/]/%15s", p.os, p.architecture, p.variant) < 2)
		exit(2);
	if (r == 0)
		r = engine_inspect_platform(e, name, platform ? &p : NULL, &image, &error);
	if (e)
		(void)!engine_identify_image(e, name, &identified, &ignored);
	json_put(out, "inspect", result(r, &error));
	json_put(out, "image", image ? json_incref(image) : json_null());
	json_put(out, "identified", identified ? json_incref(identified) : json_null());
	(void)json_dumpf(out, stdout, JSON_COMPACT);
}

int main(void)
{
	static const struct container_config config = {.name = (char *)"app"};
	_cleanup_json_ json_t *in = json_loadf(stdin, 0, NULL), *out = json_object();
	struct digest digest;
	/* A static variable keeps what it points to from being a leak. */
	static struct verified *v;
	static struct ref ref;
	static struct load l;
	long before;
	struct error e;
	const char *why;
	const json_t *what;
	size_t i;

	if (json_object_get(in, "save"))
		return save(in);
	if (json_object_get(in, "inspect")) {
		inspect(in);
		return 0;
	}
	digest = digest_of(json_object_get(in, "top"));
	if (ref_parse(json_get_string(in, "image"), &ref, &why) < 0 ||
	    verify_unsigned(&config, &digest, &v, &e) < 0)
		return 2;

	l = (struct load){.verified = v,
			  .ref = &ref,
			  .keep = json_get_string(in, "keep"),
			  .platform = json_get_string(in, "platform"),
			  .top = document(json_object_get(in, "top")),
			  .manifest = document(json_object_get(in, "manifest")),
			  .config = document(json_object_get(in, "config")),
			  .layers = layers(json_object_get(in, "layers")),
			  .n_layers = json_array_size(json_object_get(in, "layers")),
			  .shared = json_object_get(in, "shared"),
			  .progress = on_progress};
	copy_text(l.top_type, sizeof(l.top_type), json_get_string(in, "type"));
	pause_at = (uint64_t)json_integer_value(json_object_get(in, "pause-at"));
	before = peak_memory();
	json_array_foreach (json_object_get(in, "do"), i, what) {
		if (act(json_string_value(what), in, &l, out) < 0)
			break;
	}
	json_put(out, "sent", json_integer((json_int_t)sent));
	json_put(out, "of", json_integer((json_int_t)of));
	json_put(out, "grown", json_integer(peak_memory() - before));
	(void)json_dumpf(out, stdout, JSON_COMPACT);
	return 0;
}
