/* SPDX-License-Identifier: MIT */
#include "basis.h"

#include "download.h"

static int identify(const struct pass *p, const char *repository, json_t **ret)
{
	_cleanup_free_ char *name = xasprintf("%s:%s", repository, p->context.name);
	struct error ignored;

	return engine_identify_image(p->context.engine, name, ret, &ignored);
}

/* The caller owns it; NULL: there is no basis. */
static json_t *basis_layers(const struct pass *p)
{
	_cleanup_json_ json_t *image = NULL;

	if (identify(p, BASIS_REPOSITORY, &image) < 0)
		return NULL;
	return json_incref(json_get_path(image, "RootFS", "Layers", NULL));
}

char *basis_choose(const struct pass *p, const struct digest *layers, size_t n, bool *ret_local)
{
	_cleanup_json_ json_t *local = basis_layers(p);
	size_t same = 0;

	while (same < n &&
	       streq_null(json_string_value(json_array_get(local, same)), layers[same].text))
		same++;
	*ret_local = n > 0 && same == n && json_array_size(local) == n;
	return *ret_local ? xasprintf("%s:%s", BASIS_REPOSITORY, p->context.name)
			  : xstrdup(p->world.old.image);
}

/* A graph driver's Id is that of the config. */
static bool is_in_containerd(const struct pass *p, const char *id)
{
	return streq(id, p->record.target.digest.text) || streq(id, p->record.target.manifest.text);
}

/* Whether the name of the load is of another image than the one with that Id, which it was loaded with. */
static bool has_local(const struct pass *p, const char *id, json_t **ret)
{
	const char *local;

	if (!p->documents || !is_in_containerd(p, id) || identify(p, LOAD_KEEP_REPOSITORY, ret) < 0)
		return false;
	local = json_get_string(*ret, "Id");
	return local && !streq(local, id);
}

void basis_note_created(const struct pass *p)
{
	_cleanup_json_ json_t *local = NULL;

	if (!has_local(p, p->world.image, &local))
		download_drop_name(p);
}

/* Whether the images share their lowest layer, or whether that cannot be seen. */
static bool may_share(const struct pass *p, const char *id, const json_t *basis)
{
	_cleanup_json_ json_t *image = NULL;
	const json_t *layers;
	struct error ignored;

	if (engine_identify_image(p->context.engine, id, &image, &ignored) < 0)
		return true;
	layers = json_get_path(image, "RootFS", "Layers", NULL);
	return json_array_size(layers) == 0 ||
	       json_equal(json_array_get(layers, 0), json_array_get(basis, 0));
}

void basis_note_committed(const struct pass *p)
{
	const char *id = p->world.new.image;
	_cleanup_json_ json_t *local = NULL, *basis = NULL;
	struct error ignored;

	if (has_local(p, id, &local)) {
		/* The engine keeps an image whose last name is given to another one, without a name. */
		basis_drop(p->context.engine, p->context.name);
		if (engine_tag(p->context.engine, json_get_string(local, "Id"), BASIS_REPOSITORY,
			       p->context.name, &ignored) == 0)
			download_drop_name(p);
		return;
	}
	if (!is_in_containerd(p, id))
		return;
	basis = basis_layers(p);
	if (basis && !may_share(p, id, basis))
		basis_drop(p->context.engine, p->context.name);
}

void basis_drop(struct engine *e, const char *name)
{
	_cleanup_free_ char *basis = xasprintf("%s:%s", BASIS_REPOSITORY, name);
	struct error ignored;

	(void)!engine_remove_image(e, basis, &ignored);
}
