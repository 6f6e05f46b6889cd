/* SPDX-License-Identifier: MIT */
#include "engine.h"

#include <signal.h>

#include "json.h"

#define CONTAINERD_SOCKET "/run/containerd/containerd.sock"
#define CONTAINERD_ROOT	  "/var/lib/containerd"

/* Messages of Docker 20.10, 26.1 and 28.5, with both image stores; tests/engine/test_damage.py provokes most of
 * them. */
static const char damaged[][40] = {
	"error creating overlay mount",	  /* a layer's directory is gone, or its "lower" is empty */
	"failed to mount /",		  /* the same, containerd */
	"failed to stat parent",	  /* a snapshot's directory is gone */
	"layer does not exist",		  /* a file of it in layerdb is gone or empty */
	"readlink /",			  /* a layer's "link" or "lower" is empty */
	"/link: no such file",		  /* a layer's "link" is gone */
	"/committed: no such file",	  /* a layer's directory is gone */
	"invalid output path: stat /",	  /* the same */
	"/overlay2/",			  /* any other failure on a file of the store */
	" expected at /",		  /* containerd: a blob is gone */
	"unexpected EOF",		  /* containerd: a blob is empty */
	"unexpected end of JSON input",	  /* an image's configuration is empty */
	"unrecognized image ID",	  /* it cannot even be removed */
	"file integrity checksum failed", /* tar-split */
	"structure needs cleaning",	  /* EUCLEAN of ext4 and btrfs */
};

static const char doubtful[][40] = {
	"exec format error",	     "no such file or directory",
	"executable file not found", "error while loading shared libraries",
	"input/output error",
};

/* Messages of the same engines, and of podman 5, about what cannot be unpacked; tests/field/test_final.py provokes them. */
static const char unusable[][40] = {
	"failed to register layer",	    /* graph driver */
	"failed to extract layer",	    /* containerd */
	"failed to unpack image",	    /* the same */
	"wrong diff id",		    /* the same */
	"number of layers and diffIDs",	    /* the same */
	"mismatched image rootfs",	    /* the same */
	"layers from manifest don't match", /* graph driver */
	"invalid rootfs in image",	    /* the same */
	"cannot be used on this platform",  /* the same */
	"unsupported media type",	    /* 20.10 */
	"unmarshal image config",	    /* containerd */
	"no matching manifest for",	    /* all */
	"does not match config's DiffID",   /* podman */
	"processing tar file",		    /* the same */
};

/* What ends an unpacking and is no fault of the image. */
static const char passing[][40] = {
	"no space left on device",  "quota exceeded",
	"input/output error",	    "read-only file system",
	"cannot allocate memory",   "too many open files",
	"context canceled",	    "signal: ",
	"structure needs cleaning", "/overlay2/",
	" expected at /",	    "connection ",
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
	/* A runtime error may name paths of the store for mounts that the operator configured. */
	bool runtime = strstr(said, "OCI runtime") != NULL;

	if (strstr(said, "no space left on device"))
		return STORE_SILENT;
	if (!runtime && has_any(said, damaged, ARRAY_SIZE(damaged)))
		return STORE_DAMAGED;
	if (has_any(said, doubtful, ARRAY_SIZE(doubtful)) ||
	    exit_code == 126 /* cannot be executed */ || exit_code == 127 /* is not there */ ||
	    exit_code == 128 + SIGILL || exit_code == 128 + SIGBUS || exit_code == 128 + SIGSEGV)
		return STORE_DOUBTFUL;
	return STORE_SILENT;
}

bool store_refuses_image(const char *said)
{
	return has_any(said, unusable, ARRAY_SIZE(unusable)) &&
	       !has_any(said, passing, ARRAY_SIZE(passing));
}

static bool is_containerd_store(const json_t *info)
{
	const json_t *pair;
	size_t i;

	json_array_foreach (json_object_get(info, "DriverStatus"), i, pair)
		if (streq_null(json_string_value(json_array_get(pair, 1)),
			       "io.containerd.snapshotter.v1"))
			return true;
	return false;
}

const char *store_directory(const json_t *info)
{
	const char *root = json_get_string(info, "DockerRootDir");
	const char *address = json_get_string(json_object_get(info, "Containerd"), "Address");

	if (!is_containerd_store(info))
		return root;
	/* A package's containerd, or one that dockerd started beside its own data. */
	if (streq_null(address, CONTAINERD_SOCKET))
		return CONTAINERD_ROOT;
	return address && strstr(address, "/docker/containerd/") ? root : NULL;
}
