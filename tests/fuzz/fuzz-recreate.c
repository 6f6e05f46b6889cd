/* SPDX-License-Identifier: MIT */
/* The engine's answers as they become a create body, a view and a version; input: one object of them all. */
#include <errno.h>

#include "engine.h"
#include "json.h"
#include "podman.h"
#include "recreate.h"
#include "result.h"
#include "world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define TARGET	  "sha256:7777777777777777777777777777777777777777777777777777777777777777"
#define REFERENCE "r.io/a:b"

/* A successor carries our labels, is not restarted by the engine, and keeps its policy for later. */
static void check_plan(const struct recreate_plan *plan)
{
	const json_t *labels = json_object_get(plan->body, "Labels");
	const json_t *name = json_get_path(plan->body, "HostConfig", "RestartPolicy", "Name", NULL);
	const char *policy = json_string_value(name);
	_cleanup_json_ json_t *later = recreate_policy_json(plan->policy);

	if (name && !json_is_null(name) && !(policy && (streq(policy, "no") || !policy[0])))
		abort();
	if (!streq_null(json_get_string(labels, RECREATE_LABEL_TARGET), TARGET) ||
	    !streq_null(json_get_string(plan->body, "Image"), REFERENCE) || !later)
		abort();
}

static void recreate(const json_t *c, int api_minor)
{
	struct recreate_input in = {
		.first = json_object_get(c, "first"),
		.container = json_object_get(c, "container"),
		.old_image = json_object_get(c, "old_image"),
		.new_image = json_object_get(c, "new_image"),
		.names = json_object_get(c, "names"),
		.image = REFERENCE,
		.target = TARGET,
		.host_name = json_get_string(c, "host_name"),
		.api_minor = api_minor,
	};
	_cleanup_(recreate_plan_free) struct recreate_plan plan = {0};
	_cleanup_json_ json_t *before = json_deep_copy(c);
	struct error e;
	int r = recreate_spec(&in, &plan, &e);

	if (r == 0)
		check_plan(&plan);
	else if (r != -EKEYREJECTED)
		abort();
	if (!json_equal(before, c))
		abort();
}

static void look(const json_t *container)
{
	_cleanup_json_ json_t *references = recreate_references(container);
	struct container_view v;
	struct error e;

	(void)!world_read_container(container, &v, &e);
	(void)world_name_of(container);
}

static void mend(const json_t *c)
{
	_cleanup_json_ json_t *container = json_deep_copy(json_object_get(c, "container"));
	_cleanup_json_ json_t *image = json_deep_copy(json_object_get(c, "new_image"));
	const json_t *own = json_object_get(c, "own");

	if (container) {
		(void)podman_needs_own_answer(container);
		podman_mend_state(container, own);
		podman_mend_config(container, json_object_get(c, "old_image"));
	}
	if (image)
		podman_mend_image(image, own);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const int minors[] = {41, 43, 44, 51};
	_cleanup_json_ json_t *c = NULL;
	_cleanup_free_ char *text = NULL;
	static bool ready;
	struct version v;
	struct error e;

	if (!ready)
		json_budget((size_t)6 * 1024 * 1024);
	ready = true;
	if (json_parse((const char *)data, n, "fuzz", &c, &e) < 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(minors); i++)
		recreate(c, minors[i]);
	if (json_object_get(c, "container"))
		look(json_object_get(c, "container"));
	mend(c);
	(void)!version_read(json_object_get(c, "version"), &v, &e);
	(void)store_directory(json_object_get(c, "info"));
	text = result_text(json_object_get(c, "result"));
	return 0;
}
