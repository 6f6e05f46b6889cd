/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "engine-internal.h"
#include "podman.h"

#define API_DESCRIPTOR 48 /* Docker 28.0: lists images with their descriptors */
#define API_PLATFORM   49 /* Docker 28.1: inspect of one platform's image */

static const struct json_filter_rules image_rules = {
	.drop = (const char *const[]){"ContainerConfig", "GraphDriver", "History", NULL},
	/* What an image brings is in the answer for its container, too, and the next image beside both. */
	.memory_max = IMAGE_MEMORY_MAX,
	.ports = "Config.ExposedPorts",
};
static const struct json_filter_rules image_name_rules = {
	.keep = (const char *const[]){"Id", "RepoDigests", "RepoTags", "Os", "Architecture",
				      "Variant", "Size", "RootFS", NULL},
};
static const struct json_filter_rules image_list_rules = {
	.keep = (const char *const[]){"*.Id", NULL},
};
static const struct json_filter_rules descriptor_rules = {
	.keep = (const char *const[]){"*.Id", "*.Descriptor", NULL},
};

/* "?platform={..}", which older engines do not know; else "". Caller frees. */
static char *platform_query(const struct engine *e, const struct oci_platform *p)
{
	_cleanup_json_ json_t *j = NULL;
	_cleanup_free_ char *text = NULL, *escaped = NULL;

	if (!p || !p->os[0] || e->version.api_minor < API_PLATFORM || e->version.podman)
		return xstrdup("");
	j = json_need(json_pack("{s:s, s:s}", "os", p->os, "architecture", p->architecture));
	if (p->variant[0])
		json_put(j, "variant", json_string(p->variant));
	text = json_text(j, JSON_COMPACT);
	escaped = engine_escape(text);
	return xasprintf("?platform=%s", escaped);
}

int engine_try_image(struct engine *e, const char *name, const char *image, const char *platform,
		     const char *command, json_t **ret, struct error *ret_error)
{
	/* Its volumes are its own. */
	_cleanup_free_ char *path = xasprintf("/containers/%s?v=1", name), *id = NULL;
	struct call removal = {"DELETE", path, .what = "remove container"};
	_cleanup_json_ json_t *body = json_need(
		json_pack("{s:s, s:{s:s}}", "Image", image, "HostConfig", "NetworkMode", "none"));
	_cleanup_json_ json_t *container = NULL;
	struct error ignored;
	int r = engine_call(e, removal, NULL, ret_error); /* one that a crash has left */

	if (r < 0 && r != -ENOENT)
		return r;
	if (command)
		json_put(body, "Cmd", json_need(json_pack("[s]", command)));
	r = engine_create(e, name, platform, body, &id, ret_error);
	if (r < 0)
		return r;
	if (ret)
		r = engine_inspect_container(e, id, &container, ret_error);
	if (r < 0) {
		(void)!engine_call(e, removal, NULL, &ignored);
		return r;
	}
	r = engine_call(e, removal, NULL, ret_error);
	if (r == 0 && ret)
		*ret = json_incref(json_object_get(container, "Config"));
	return r;
}

/* Docker 28 with containerd's store tells of an image without the files of its layers nothing but its names. Containers of it are
 * made and run all the same. */
static bool is_shell(const struct engine *e, const json_t *image)
{
	const char *os = json_get_string(image, "Os");
	const char *architecture = json_get_string(image, "Architecture");

	return e->version.api_minor >= API_DESCRIPTOR && !e->version.podman && os && !os[0] &&
	       architecture && !architecture[0] &&
	       json_array_size(json_get_path(image, "RootFS", "Layers", NULL)) == 0;
}

/* Inspects the image of a local manifest that has the content of the image id. -ENOENT: there is none. */
static int inspect_content(struct engine *e, const char *id, const struct json_filter_rules *rules,
			   json_t **ret, struct error *ret_error)
{
	/* The filter: references that begin with localhost/pullet/. */
	struct call c = {"GET",
			 "/images/json?filters=%7B%22reference%22%3A%5B%22localhost%2Fpullet%2F*"
			 "%22%5D%7D",
			 .what = "list local manifests", .rules = descriptor_rules};
	_cleanup_json_ json_t *list = NULL;
	const json_t *v;
	size_t i;
	int r = engine_call(e, c, &list, ret_error);

	if (r < 0)
		return r;
	json_array_foreach (list, i, v) {
		const char *local = json_get_string(v, "Id");
		const json_t *annotations = json_get_path(v, "Descriptor", "annotations", NULL);

		if (local && streq_null(json_get_string(annotations, IMAGE_ANNOTATION), id))
			return engine_inspect(e, "image", local, "", false, rules, ret, ret_error);
	}
	return error_set(ret_error, -ENOENT, "inspect image: the layers of %.80s are not here", id);
}

/* The image's own settings, by those of a container of it, where nothing else tells them. */
static int try_config(struct engine *e, const char *id, json_t **ret, struct error *ret_error)
{
	_cleanup_free_ char *name =
		xasprintf("pullet-look-%.12s", after_prefix(id, "sha256:") ?: id);
	_cleanup_json_ json_t *config = NULL;
	int r = engine_try_image(e, name, id, "", NULL, &config, ret_error);

	/* It has no command. */
	if (r == -EINVAL) {
		r = engine_try_image(e, name, id, "", "-", &config, ret_error);
		(void)json_object_del(config, "Cmd");
	}
	if (r < 0)
		return r;
	(void)json_object_del(config, "Hostname");
	(void)json_object_del(config, "Image");
	*ret = json_need(json_pack("{s:O, s:s, s:s}", "Config", config, "Os",
				   e->version.platform.os, "Architecture",
				   e->version.platform.architecture));
	return 0;
}

static bool fits_platform(const json_t *image, const struct oci_platform *p)
{
	const char *variant = json_get_string(image, "Variant");

	return !p || !p->os[0] ||
	       (streq_null(json_get_string(image, "Os"), p->os) &&
		streq_null(json_get_string(image, "Architecture"), p->architecture) &&
		(!variant || !p->variant[0] || streq(variant, p->variant)));
}

/* Fills in what the engine does not tell of the image. -ENOENT: it is of another platform. */
static int mend_shell(struct engine *e, json_t *image, const struct json_filter_rules *rules,
		      const struct oci_platform *platform, struct error *ret_error)
{
	static const char *const keys[] = {"Config",  "Os",	"Architecture",
					   "Variant", "RootFS", "Created"};
	const char *id = json_get_string(image, "Id") ?: "";
	_cleanup_json_ json_t *content = NULL;
	int r = inspect_content(e, id, rules, &content, ret_error);

	/* An operator's `docker image prune -a` removes it. Whoever wants names only goes without the layers. */
	if (r == -ENOENT && rules == &image_rules)
		r = try_config(e, id, &content, ret_error);
	else if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	if (!fits_platform(content, platform))
		return error_set(ret_error, -ENOENT, "inspect image: %.80s is of another platform",
				 id);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		json_t *v = json_object_get(content, keys[i]);

		if (v)
			json_put(image, keys[i], json_incref(v));
	}
	return 0;
}

int engine_inspect_image(struct engine *e, const char *reference, json_t **ret,
			 struct error *ret_error)
{
	return engine_inspect_platform(e, reference, NULL, ret, ret_error);
}

static int inspect_docker(struct engine *e, const char *reference,
			  const struct oci_platform *platform, json_t **ret,
			  struct error *ret_error)
{
	_cleanup_free_ char *query = platform_query(e, platform);
	_cleanup_json_ json_t *j = NULL;
	struct error ignored;
	int r = engine_inspect(e, "image", reference, query, false, &image_rules, &j, ret_error);

	/* An image without the files of its layers has no platform. */
	if (r == -ENOENT && query[0] &&
	    engine_inspect(e, "image", reference, "", false, &image_rules, &j, &ignored) == 0 &&
	    is_shell(e, j))
		r = 0;
	if (r == 0 && is_shell(e, j))
		r = mend_shell(e, j, &image_rules, platform, ret_error);
	if (r == 0)
		*ret = steal(j);
	return r;
}

int engine_inspect_platform(struct engine *e, const char *reference,
			    const struct oci_platform *platform, json_t **ret,
			    struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL, *own = NULL;
	int r = inspect_docker(e, reference, platform, &j, ret_error);

	if (r == 0 && e->version.podman)
		r = engine_inspect(e, "image", reference, "", true, &image_rules, &own, ret_error);
	if (r < 0)
		return r;
	if (own)
		podman_mend_image(j, own);
	*ret = steal(j);
	return 0;
}

int engine_identify_image(struct engine *e, const char *reference, json_t **ret,
			  struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	int r = engine_inspect(e, "image", reference, "", false, &image_name_rules, &j, ret_error);

	if (r == 0 && is_shell(e, j))
		r = mend_shell(e, j, &image_name_rules, NULL, ret_error);
	if (r == 0)
		*ret = steal(j);
	return r;
}

int engine_list_images(struct engine *e, json_t **ret, struct error *ret_error)
{
	return engine_call(e,
			   (struct call){"GET", "/images/json", .what = "list images",
					 .rules = image_list_rules},
			   ret, ret_error);
}
