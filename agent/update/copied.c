/* SPDX-License-Identifier: MIT */
#include "copied.h"

#include <errno.h>

#include "calendar.h"
#include "engine.h"
#include "recreate.h"

#define LOOKS_MAX	 1000
#define SECOND_NS	 ((int64_t)1000000000)
#define COPY_NS		 (10 * SECOND_NS) /* a slow machine copies several */
#define WRITE_BITS	 0222
#define GO_FILE_TYPE	 0x8f280000 /* os.ModeType: bits of which a plain file has none */
#define API_ARCHIVE_SAFE 44	    /* Docker 25 */

/* Whether the paths are equal, or one is a directory above the other. */
static bool lie_in_line(const char *a, const char *b)
{
	const char *rest = strlen(a) < strlen(b) ? after_prefix(b, a) : after_prefix(a, b);

	return rest && (rest[0] == '\0' || rest[0] == '/');
}

/* Mount points, and the directories above them, are in the engine's list of changes. */
static bool is_mount_point(const json_t *container, const char *path)
{
	size_t i;
	json_t *mount, *value;
	const char *target;

	json_array_foreach (json_object_get(container, "Mounts"), i, mount) {
		target = json_get_string(mount, "Destination");
		if (target && lie_in_line(path, target))
			return true;
	}
	json_object_foreach (json_get_path(container, "HostConfig", "Tmpfs", NULL), target, value)
		if (lie_in_line(path, target))
			return true;
	return false;
}

/* To stat a file, older engines mount the container's volumes on the host. Mounts that the container shares with
 * the host appear in it then, twice as many with each stat (seen with 20.10 and a bind of /). */
static bool can_look(const struct engine *e, const json_t *container)
{
	size_t i;
	json_t *mount;

	if (engine_version(e)->api_minor >= API_ARCHIVE_SAFE)
		return true;
	json_array_foreach (json_object_get(container, "Mounts"), i, mount) {
		const char *propagation = json_get_string(mount, "Propagation");

		if (propagation && propagation[0] && !streq(propagation, "private") &&
		    !streq(propagation, "rprivate"))
			return false;
	}
	return true;
}

/* 1 if it looks so, 0, or a negative errno. */
static int is_copied(struct engine *e, const json_t *container, const char *path,
		     struct error *ret_error)
{
	int64_t created = calendar_parse_time(json_get_string(container, "Created")), mtime;
	int64_t started = calendar_parse_time(
		json_get_string(json_object_get(container, "State"), "StartedAt"));
	_cleanup_json_ json_t *stat = NULL;
	json_int_t mode;
	int r = engine_stat(e, json_get_string(container, "Id"), path, &stat, ret_error);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	mode = json_integer_value(json_object_get(stat, "mode"));
	mtime = calendar_parse_time(json_get_string(stat, "mtime"));
	/* The time may be rounded down, to before the creation. */
	if (mode & GO_FILE_TYPE || mtime % SECOND_NS != 0 || mtime <= created - SECOND_NS)
		return 0;
	/* compose 2.26 writes in the second of the creation, others may before each start. */
	return mtime <= created + COPY_NS || (mtime <= started && !(mode & WRITE_BITS));
}

static int refuse_many(struct error *ret_error)
{
	return error_set(ret_error, -EKEYREJECTED,
			 "over %d files in it changed, and configs or secrets that compose copied "
			 "cannot be distinguished from them: recreate it with compose (up -d "
			 "--force-recreate), and it will be updated, or set copied = ignore if "
			 "all are the application's own",
			 LOOKS_MAX);
}

static int check_changes(struct engine *e, const json_t *container, const json_t *changes,
			 struct error *ret_error)
{
	bool may_look = can_look(e, container);
	size_t i, looks = 0;
	json_t *change;

	json_array_foreach (changes, i, change) {
		const char *path = json_get_string(change, "Path");
		json_int_t kind = json_integer_value(json_object_get(change, "Kind"));
		int r;

		if (!path || kind == 2 || is_mount_point(container, path))
			continue;
		if (may_look && ++looks > LOOKS_MAX)
			return refuse_many(ret_error);
		r = may_look ? is_copied(e, container, path, ret_error)
			     : after_prefix(path, "/run/secrets/") != NULL;
		if (r > 0)
			return error_set(
				ret_error, -EKEYREJECTED,
				"%s looks as if compose had put it into the container (the content "
				"of a config or secret), and cannot be taken over: use a file or a "
				"bind mount for it, or set copied = ignore if it is the "
				"application's own",
				path);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Whether compose created the container. Images that compose built have some of its labels, too. */
static bool is_of_compose(const json_t *container, const json_t *image)
{
	const char *version = recreate_own_label(container, image, "com.docker.compose.version");

	/* compose 1 mounts secrets, and does not support configs. */
	if (version && after_prefix(version, "1."))
		return false;
	return recreate_own_label(container, image, "com.docker.compose.project") ||
	       recreate_own_label(container, image, "com.docker.compose.config-hash");
}

int copied_refuse(struct engine *e, const json_t *container, const json_t *image,
		  struct error *ret_error)
{
	_cleanup_json_ json_t *changes = NULL;
	int r;

	if (!is_of_compose(container, image))
		return 0;
	r = engine_changes(e, json_get_string(container, "Id"), &changes, ret_error);
	if (r == -EFBIG)
		return refuse_many(ret_error);
	return r < 0 ? r : check_changes(e, container, changes, ret_error);
}
