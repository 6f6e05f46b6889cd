/* SPDX-License-Identifier: MIT */
#include "survey.h"

#include <errno.h>

#include "act.h"
#include "recreate.h"

#define TOLD_NAMES_MAX 256
#define TOLD_NAME_MAX  128
#define TOLD_TEXT_MAX  1024

/* Of an entry of engine_list(); NULL: it has none. A link of another container is "/OTHER/ALIAS". Borrowed. */
static const char *name_of(const json_t *listed)
{
	const json_t *v;
	size_t i;

	json_array_foreach (json_object_get(listed, "Names"), i, v) {
		const char *name = json_string_value(v);

		name = name ? name + (name[0] == '/') : "";
		if (name[0] && !strchr(name, '/'))
			return name;
	}
	return NULL;
}

void survey_find_service(struct engine *engine, const char *service, char *ret, size_t size)
{
	_cleanup_json_ json_t *list = NULL;
	struct error ignored;

	(void)!engine_list(engine, service, &list, &ignored);
	copy_text(ret, size, name_of(json_array_get(list, 0)));
}

/* A section names it, or an update of Pullet gave it its name. */
static bool is_followed(const struct config *config, const char *name)
{
	bool ours = has_suffix(name, ".next") || has_suffix(name, ".prev");
	_cleanup_free_ char *base = xstrndup(name, strlen(name) - (ours ? strlen(".next") : 0));

	return config_container(config, name) || (ours && config_container(config, base));
}

void survey_tell_unfollowed(const struct task *task, const json_t *list)
{
	json_t *names = json_need(json_array());
	const json_t *v;
	size_t i;

	json_array_foreach (list, i, v) {
		const char *name = name_of(v), *state = json_get_string(v, "State");
		bool up = state && (streq(state, "running") || streq(state, "restarting") ||
				    streq(state, "paused"));

		if (up && name && strlen(name) < TOLD_NAME_MAX &&
		    json_array_size(names) < TOLD_NAMES_MAX && !is_followed(task->config, name))
			json_append(names, json_string_lossy(name));
	}
	task->on_event(json_pack("{s:s, s:o}", "event", "unfollowed", "names", names));
}

/* What is known of a container that is not followed. */
struct found {
	const char *name;
	struct container_config config; /* the section that would follow it */
	json_t *labels;
	bool by_id;	       /* its image is named by an id, which no tag moves */
	bool of_registry;      /* its image has a digest of a registry */
	bool renamed;	       /* but of none under this name */
	bool built_by_compose; /* its image has compose's labels, as those that it builds */
	char reason[TOLD_TEXT_MAX];
	const char *doubt;
};

static bool is_id(const char *reference, const char *id)
{
	const char *hex = after_prefix(reference, "sha256:") ?: reference;
	const char *of = id ? after_prefix(id, "sha256:") : NULL;

	return !streq(hex, reference) || (of && strlen(hex) >= 6 && after_prefix(of, hex));
}

/* Whether the engine has no digest of the image in the repository that would be followed. */
static bool is_renamed(const struct found *f, const json_t *image)
{
	_cleanup_(ref_free) struct ref ref = {0};
	const char *ignored;
	bool renamed = ref_parse(f->config.image, &ref, &ignored) == 0 && f->of_registry;
	const json_t *v;
	size_t i;

	json_array_foreach (json_object_get(image, "RepoDigests"), i, v) {
		_cleanup_(ref_free) struct ref listed = {0};

		if (renamed && json_is_string(v) &&
		    ref_parse(json_string_value(v), &listed, &ignored) == 0)
			renamed = !streq(listed.host, ref.host) || !streq(listed.path, ref.path);
	}
	return renamed;
}

static void read_image(struct found *f, const json_t *image)
{
	const json_t *labels = json_get_path(image, "Config", "Labels", NULL);
	const char *tag = json_string_value(json_array_get(json_object_get(image, "RepoTags"), 0));

	f->by_id = is_id(f->config.image, json_get_string(image, "Id"));
	f->of_registry = json_array_size(json_object_get(image, "RepoDigests")) > 0;
	f->built_by_compose = json_object_get(labels, "com.docker.compose.service");
	if (f->by_id && tag)
		replace_string(&f->config.image, tag);
	f->renamed = is_renamed(f, image);
	if (f->by_id && !tag)
		copy_text(f->reason, sizeof(f->reason),
			  "its image is given by id, and no tag names it: create it again from a "
			  "tag");
}

/* As the operator wrote it. */
static int read_container(struct found *f, const struct pass *p, struct error *ret_error)
{
	_cleanup_json_ json_t *inspect = NULL, *image = NULL;
	const json_t *config;
	struct error ignored;
	int r = engine_inspect_container(p->context.engine, f->name, &inspect, ret_error);

	if (r < 0)
		return r;
	config = json_object_get(inspect, "Config");
	replace_string(&f->config.image, json_get_string(config, "Image") ?: "");
	f->labels = json_incref(json_object_get(config, "Labels"));
	/* What is wrong with the image is the plan's to say. */
	if (engine_inspect_image(p->context.engine, json_get_string(inspect, "Image") ?: "", &image,
				 &ignored) == 0)
		read_image(f, image);
	return 0;
}

static void check_config(struct found *f)
{
	_cleanup_(ref_free) struct ref ref = {0};
	const char *why = config_name_fault(f->name);

	if (!why && ref_parse(f->config.image, &ref, &why) == 0 && digest_is_set(&ref.digest)) {
		why = "its image is pinned by digest, so there is never an update: to follow a "
		      "tag, name it here";
	} else if (streq_null(ref.tag, "latest") && !has_suffix(f->config.image, ":latest")) {
		/* What docker run takes where no tag was given. */
		_cleanup_free_ char *tagged = xasprintf("%s:latest", f->config.image);

		replace_string(&f->config.image, tagged);
	}
	if (why && !f->reason[0])
		copy_text(f->reason, sizeof(f->reason), why);
}

/* Walks the rows of the plan as a check would if the registry had an update, up to what only the registry knows. */
static void ask_plan(struct pass *p, struct found *f)
{
	static const char update[] =
		"sha256:"
		"0000000000000000000000000000000000000000000000000000000000000000";
	struct fetch_reply *reply = &p->state.answer.reply;
	struct error e;
	int r = world_look(&p->context, &p->record, WORLD_CONTAINERS, &p->world, &e);

	if (r < 0 || digest_parse(update, &reply->digest) < 0) {
		copy_text(f->reason, sizeof(f->reason), e.text);
		return;
	}
	reply->manifest = reply->config = reply->digest;
	p->state.operation = OPERATION_CHECK;
	p->state.spec_known = p->state.answer.known = true;
	copy_text(p->record.current.image, sizeof(p->record.current.image), p->world.old.image);
	while (r >= 0) {
		struct step step = plan_next(p->c, &p->record, &p->world, &p->state);

		if (step.action == ACT_DEFER || step.action == ACT_REFUSE ||
		    step.action == ACT_FAIL)
			copy_text(f->reason, sizeof(f->reason), step.reason);
		if (step.action != ACT_FIND_FOLLOWERS && step.action != ACT_CHECK_SUCCESSOR)
			return;
		r = act_do(p, step, &e);
		if (r == -EKEYREJECTED) {
			p->state.refusal = e;
			r = 0;
		}
	}
	copy_text(f->reason, sizeof(f->reason), e.text);
}

static const char *find_doubt(const struct found *f, const struct container_view *old)
{
	_cleanup_(ref_free) struct ref ref = {0};
	const char *ignored;
	bool parsed = ref_parse(f->config.image, &ref, &ignored) == 0;

	if (json_get_string(f->labels, "PODMAN_SYSTEMD_UNIT"))
		return "a systemd unit owns it, and starts and stops it by itself";
	if (streq_null(json_get_string(f->labels, "com.docker.compose.oneoff"), "True"))
		return "docker compose run made it, for one command";
	if (f->built_by_compose || (parsed && streq(ref.host, "localhost")))
		return "its image was built here, so no registry has it";
	if (!f->of_registry)
		return "its image came from no registry: it was built or loaded here";
	if (f->renamed)
		return "its image was tagged here: it came from another repository";
	if (f->by_id)
		return "its image was given by id; a tag of that image is named here instead";
	return view_is_up(old) ? NULL : "it does not run, and an update would start it";
}

static json_t *label(const struct found *f, const char *key)
{
	char text[TOLD_NAME_MAX];

	copy_text(text, sizeof(text), json_get_string(f->labels, key));
	return json_string_lossy(text);
}

/* Only then can one be a follower, for which the plan inspects them all. */
static bool any_refers_to_another(struct engine *engine, const json_t *list)
{
	const json_t *v;
	size_t i;

	json_array_foreach (list, i, v) {
		_cleanup_json_ json_t *inspect = NULL, *references = NULL;
		struct error ignored;

		if (engine_inspect_neighbour(engine, json_get_string(v, "Id") ?: "", &inspect,
					     &ignored) < 0)
			continue;
		references = recreate_references(inspect);
		if (json_array_size(references) > 0)
			return true;
	}
	return false;
}

static void look(const struct task *task, struct engine *engine, const json_t *listed,
		 bool has_followers)
{
	struct found f = {.name = name_of(listed), .config.rollout = ROLLOUT_NO};
	struct pass *p = xcalloc(1, sizeof(*p));
	const char *state = json_get_string(listed, "State");
	struct error e;
	int r;

	*p = (struct pass){.task = task, .c = &f.config};
	record_init(&p->record);
	p->state.followers_known = !has_followers;
	p->context = (struct context){.engine = engine, .name = f.name, .ref = &p->ref};
	r = read_container(&f, p, &e);
	if (r < 0) {
		copy_text(f.reason, sizeof(f.reason), e.text);
	} else {
		f.config.name = (char *)f.name;
		check_config(&f);
		if (!f.reason[0])
			ask_plan(p, &f);
		f.doubt = find_doubt(&f, &p->world.old);
	}
	/* Removed since the list was made. */
	if (r != -ENOENT)
		task->on_event(json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "event",
					 "found", "container", json_string_lossy(f.name), "image",
					 json_string_lossy(f.config.image ?: ""), "state",
					 json_string_lossy(state ?: ""), "project",
					 label(&f, "com.docker.compose.project"), "service",
					 label(&f, "com.docker.compose.service"), "reason",
					 json_string_or_null(f.reason), "doubt",
					 json_string_or_null(f.doubt ?: "")));
	json_decref(f.labels);
	free(f.config.image);
	free(p);
}

void survey_run(const struct task *task)
{
	_cleanup_engine_ struct engine *engine = NULL;
	_cleanup_json_ json_t *list = NULL;
	struct error e;
	const json_t *v;
	size_t i;
	bool has_followers;
	int r = engine_open(task->config->engine, task->cancel, &engine, &e);

	if (r == 0)
		r = engine_list(engine, NULL, &list, &e);
	survey_tell_unfollowed(task, list);
	has_followers = any_refers_to_another(engine, list);
	json_array_foreach (list, i, v) {
		const char *name = name_of(v);

		if (!*task->cancel && name && !is_followed(task->config, name))
			look(task, engine, v, has_followers);
	}
	task->on_event(
		json_pack("{s:s, s:s*}", "event", "surveyed", "error", r < 0 ? e.text : NULL));
}
