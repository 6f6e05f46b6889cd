/* SPDX-License-Identifier: MIT */
#include "store.h"

#include <signal.h>

#include "json.h"

#define CONTAINERD_SOCKET "/run/containerd/containerd.sock"
#define CONTAINERD_ROOT	  "/var/lib/containerd"

/* In the words of Docker 20.10, 26.1 and 28.5, with both image stores; tests/engine/test_damage.py makes
 * them say most of these. */
static const char damaged[][40] = {
	"error creating overlay mount", /* a layer's directory is gone, or its "lower" is empty */
	"failed to mount /",		/* the same, containerd */
	"failed to stat parent",	/* a snapshot's directory is gone */
	"layer does not exist",		/* layerdb lost it, as it does with any file of it empty */
	"readlink /",			/* a layer's "link" or "lower" is empty */
	"/link: no such file",		/* a layer's "link" is gone */
	"/committed: no such file",	/* a layer's directory is gone */
	"invalid output path: stat /",	/* the same */
	"/overlay2/",			/* it trips over its own files in yet another way */
	" expected at /",		/* containerd: a blob is gone */
	"unexpected EOF",		/* containerd: a blob is empty */
	"unexpected end of JSON input", /* an image's configuration is empty */
	"unrecognized image ID",	/* it cannot even be removed */
	"file integrity checksum failed", /* tar-split */
	"structure needs cleaning",	  /* EUCLEAN of ext4 and btrfs */
};

static const char doubtful[][40] = {
	"exec format error",	     "no such file or directory",
	"executable file not found", "error while loading shared libraries",
	"input/output error",
};

static bool has_any(const char *text, const char (*parts)[40], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (strstr(text, parts[i]))
			return true;
	}
	return false;
}

enum store_word store_judge(const char *said, int exit_code)
{
	/* The runtime speaks of mounts and files that the operator asked for, in paths of the store. */
	bool runtime = strstr(said, "OCI runtime") != NULL;

	if (strstr(said, "no space left on device"))
		return STORE_SILENT;
	if (!runtime && has_any(said, damaged, ARRAY_SIZE(damaged)))
		return STORE_DAMAGED;
	if (has_any(said, doubtful, ARRAY_SIZE(doubtful)))
		return STORE_DOUBTFUL;
	switch (exit_code) {
	case 126: /* cannot be executed */
	case 127: /* is not there */
	case 128 + SIGILL:
	case 128 + SIGBUS:
	case 128 + SIGSEGV:
		return STORE_DOUBTFUL;
	default:
		return STORE_SILENT;
	}
}

static bool is_containerd_store(const json_t *info)
{
	const json_t *pair;
	size_t i;

	json_array_foreach (json_object_get(info, "DriverStatus"), i, pair) {
		const char *value = json_string_value(json_array_get(pair, 1));

		if (value && streq(value, "io.containerd.snapshotter.v1"))
			return true;
	}
	return false;
}

const char *store_directory(const json_t *info)
{
	const char *root = json_get_string(info, "DockerRootDir");
	const char *address = json_get_string(json_object_get(info, "Containerd"), "Address");

	if (!is_containerd_store(info))
		return root;
	/* Debian's and Docker's own packages; or one that dockerd started beside its own data. */
	if (address && streq(address, CONTAINERD_SOCKET))
		return CONTAINERD_ROOT;
	return address && strstr(address, "/docker/containerd/") ? root : NULL;
}
