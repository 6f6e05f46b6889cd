/* SPDX-License-Identifier: MIT */
#include "forget.h"

#include <errno.h>
#include <stdio.h>

#include "basis.h"
#include "engine.h"
#include "spool.h"
#include "world.h"

/* An image that Pullet did not bring loses its tag, but not its last name, with which the engine would remove it. */
static bool has_other_names(const json_t *image)
{
	static const char *const keys[] = {"RepoTags", "RepoDigests"};
	const json_t *name;
	size_t i, k;

	for (k = 0; k < ARRAY_SIZE(keys); k++) {
		json_array_foreach (json_object_get(image, keys[k]), i, name) {
			if (json_is_string(name) &&
			    !after_prefix(json_string_value(name), WORLD_KEEP_REPOSITORY))
				return true;
		}
	}
	return false;
}

/* The name by which Pullet pulled it. Another container may use the image: then it stays. */
static void drop_pulled_name(struct engine *e, const json_t *image, const struct release *previous)
{
	struct error ignored;
	const json_t *name;
	size_t i;

	json_array_foreach (json_object_get(image, "RepoDigests"), i, name) {
		if (json_is_string(name) &&
		    has_suffix(json_string_value(name), release_pulled(previous)->text))
			(void)!engine_remove_image(e, json_string_value(name), &ignored);
	}
}

/* *ret_stays: the image was not brought by Pullet, and has no other name. */
static int drop_previous(const struct task *task, const char *name, const struct release *previous,
			 bool *ret_stays, struct error *ret_error)
{
	_cleanup_free_ char *kept = xasprintf("%s:%s", WORLD_KEEP_REPOSITORY, name);
	_cleanup_engine_ struct engine *engine = NULL;
	_cleanup_json_ json_t *image = NULL;
	int r = engine_open(task->config->engine, task->cancel, &engine, ret_error);

	if (r == 0)
		basis_drop(engine, name);
	if (r == 0)
		r = engine_identify_image(engine, kept, &image, ret_error);
	if (r == 0 && !previous->brought && !has_other_names(image)) {
		*ret_stays = true;
		return 0;
	}
	if (r == 0 && previous->brought && digest_is_set(release_pulled(previous)))
		drop_pulled_name(engine, image, previous);
	if (r == 0)
		r = engine_remove_image(engine, kept, ret_error);
	return r == -ENOENT ? 0 : r;
}

static int remove_files(int state_dir, const char *name, struct error *ret_error)
{
	/* The record last: until then the rest can be forgotten again. */
	static const char *const endings[] = {".json.kept", ".json.broken", ".json"};

	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		_cleanup_free_ char *file = xasprintf("%s%s", name, endings[i]);

		if (unlinkat(state_dir, file, 0) < 0 && errno != ENOENT)
			return error_set(ret_error, -errno, "%s: cannot remove: %m", file);
	}
	spool_drop(state_dir, name);
	(void)fsync(state_dir);
	return 0;
}

static int check(const struct task *task, const char *name, struct record *record,
		 struct error *ret_error)
{
	int r;

	if (config_container(task->config, name))
		return error_set(ret_error, -EKEYREJECTED,
				 "[container %s] is configured; remove its section first", name);
	if (strchr(name, '/') || name[0] == '.')
		return error_set(ret_error, -EINVAL, "not a container's name");
	record_init(record);
	r = record_read(task->state_dir, name, record, ret_error);
	/* Nothing can be known of an update that a damaged record had. */
	if (r < 0 && r != -EBADMSG)
		return r == -ENOENT ? error_set(ret_error, r, "there is no record of it") : r;
	if (record->phase == PHASE_IDLE)
		return 0;
	return error_set(ret_error, -EKEYREJECTED,
			 "an update of it is under way (phase %s); put its section back, and "
			 "remove it when that is over",
			 phase_names[record->phase]);
}

void forget_run(const struct task *task, const char *name, struct result *ret)
{
	_cleanup_free_ struct record *record = xmalloc(sizeof(*record));
	bool stays = false;
	struct error e;
	int r = check(task, name, record, &e);

	*ret = (struct result){
		.container = name, .image = "", .outcome = OUTCOME_DEFERRED, .downtime_ms = -1};
	if (r == 0)
		r = drop_previous(task, name, &record->previous, &stays, &e);
	if (r == 0)
		r = remove_files(task->state_dir, name, &e);
	if (r < 0)
		result_set_error(ret, &e);
	else if (stays)
		(void)snprintf(ret->reason, sizeof(ret->reason),
			       "forgotten; the previous image was not pulled by Pullet, and has no "
			       "other name: docker image rm " WORLD_KEEP_REPOSITORY ":%s",
			       name);
	else
		copy_text(ret->reason, sizeof(ret->reason), "forgotten");
}
