/* SPDX-License-Identifier: MIT */
#include "engine.h"

#include <signal.h>

#include "json.h"

#define CONTAINERD_SOCKET "/run/containerd/containerd.sock"
#define CONTAINERD_ROOT	  "/var/lib/containerd"

/* What an engine's message may begin with before its own words. The values of an image that a message quotes (USER, a
 * path, a signal) never come first, so words count only there. Messages of Docker 20.10, 26.1 and 28.5, with both image
 * stores; tests/engine/test_damage.py provokes most of them. */
static const char wraps[][48] = {
	"rpc error: code = NotFound desc = ",
	"rpc error: code = Unknown desc = ",
	"rpc error: code = Internal desc = ",
	"failed to create prepare snapshot dir: ",
	"failed to create snapshot: ",
	"failed to prepare snapshot: ",
	"failed to read config content: ", /* containerd: of an image */
	"failed to stat parent: ",	   /* a snapshot's directory is gone */
	"invalid output path: ",	   /* a layer's directory is gone */
};

static const char damaged[][40] = {
	"error creating overlay mount to /", /* a layer's directory is gone, or its "lower" is empty */
	"failed to mount /",		     /* the same, containerd */
	"layer does not exist",		     /* a file of it in layerdb is gone or empty */
	"RWLayer of container ",	     /* the same, of a container */
	"unexpected EOF",		     /* containerd: a blob is empty */
	"unexpected end of JSON input",	     /* an image's configuration is empty */
	"unrecognized image ID sha256:",     /* it cannot even be removed */
	"file integrity checksum failed",    /* tar-split */
};

/* Parts of paths in an image store, of which a layer's directory, "link" or "lower" is gone or empty. */
static const char store_paths[][16] = {"/overlay2/", "/overlay2:", "/snapshots/", "/blobs/",
				       "/layerdb/",  "/imagedb/",  "/link:",	  "/committed:"};
/* Below these directories of the store lies a container's file system, and so what its image brings. */
static const char container_paths[][16] = {"/merged/", "/rootfs/", "/tmpmounts/"};

/* What containerd and the runtime put in front of the words below; tests/field/test_stale.py provokes both. */
static const char starts[][40] = {
	"failed to create task for container: ",
	"failed to create shim task: ",
	"failed to create shim: ",
	"failed to start shim: ",
	"OCI runtime create failed: ",
	"runc create failed: ",
};

/* A runtime's words for a container of which it has a directory already: runc before and since 1.1, crun. */
static const char stale[][40] = {"container with id exists: ", "id already in use",
				 "container with given ID already exists"};

/* These do not come from damage, and pass: a file is in use, a kernel module is not loaded, the machine is out of
 * something. */
static const char passing[][40] = {
	"no space left on device", "disk quota exceeded",     "device or resource busy",
	"text file busy",	   "too many open files",     "cannot allocate memory",
	"no such device",	   "operation not permitted", "permission denied",
	"read-only file system",   "directory not empty",     "context canceled",
	"context deadline",	   "resource temporarily",
};

static const char doubtful[][40] = {
	"exec format error",	     "no such file or directory",
	"executable file not found", "error while loading shared libraries",
	"input/output error",
};

/* With these the same engines begin when they cannot unpack what they have downloaded; tests/field/test_final.py provokes
 * them. What a registry or a proxy says stands behind words of the engine's own. */
static const char unusable[][40] = {
	"failed to register layer: ",	    /* graph driver */
	"failed to extract layer ",	    /* containerd */
	"failed to unpack image ",	    /* the same */
	"wrong diff id calculated ",	    /* the same */
	"number of layers and diffIDs",	    /* the same */
	"mismatched image rootfs",	    /* the same */
	"unmarshal image config",	    /* the same */
	"layers from manifest don't match", /* graph driver */
	"invalid rootfs in image",	    /* the same */
	"image operating system ",	    /* the same */
	"unsupported media type ",	    /* 20.10 */
	"no matching manifest for ",	    /* all */
};

/* podman 5 wraps the same in words about its copy. */
static const char unusable_in_copy[][40] = {"does not match config's DiffID",
					    "processing tar file"};

/* Words about a layer that was loaded and cannot be unpacked, wherever they stand: a load carries no others' words than
 * names of files in the layer. */
static const char unusable_in_load[][40] = {
	"Error processing tar file(",	   /* graph driver */
	"ApplyLayer exit status ",	   /* the same */
	"invalid diffID for layer ",	   /* the same */
	"invalid manifest, layers length", /* the same */
	"failed to extract layer ",	   /* containerd */
	"wrong diff id calculated ",	   /* the same */
	"does not match config's DiffID",  /* podman */
	"processing tar file",		   /* the same */
	"unpacking failed (",		   /* the same */
	"Digest did not match, ",	   /* the same */
	"archive/tar: ",		   /* Go's library, in each */
	"unexpected EOF",		   /* the same */
	"corrupt input before offset",	   /* the same */
	"gzip: ",			   /* the same, and unpigz */
};

/* What ends an unpacking and is no fault of the image. */
static const char no_fault[][40] = {
	"no space left on device",  "quota exceeded",
	"input/output error",	    "read-only file system",
	"cannot allocate memory",   "too many open files",
	"context canceled",	    "signal: ",
	"structure needs cleaning", "/overlay2/",
	" expected at /",	    "connection ",
};

#define HAS_ANY(text, parts)	has_any(text, *(parts), sizeof((parts)[0]), ARRAY_SIZE(parts))
#define BEHIND_ANY(text, parts) behind_any(text, *(parts), sizeof((parts)[0]), ARRAY_SIZE(parts))

static bool has_any(const char *text, const char *parts, size_t size, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (strcasestr(text, parts + i * size))
			return true;
	}
	return false;
}

/* What comes behind the part that the text begins with; NULL: it begins with none. */
static const char *behind_any(const char *text, const char *parts, size_t size, size_t n)
{
	const char *rest = NULL;

	for (size_t i = 0; i < n && !rest; i++)
		rest = after_prefix(text, parts + i * size);
	return rest;
}

/* The engine's own words in its message. */
static const char *own_words(const char *said)
{
	static const char removal[] = " failed to remove root filesystem: ";
	const char *rest = after_prefix(said, "container ") ? strstr(said, removal) : NULL;

	/* "container ID: driver "overlay2" failed to ...", in which nothing is quoted. */
	if (rest)
		said = rest + strlen(removal);
	while ((rest = BEHIND_ANY(said, wraps)))
		said = rest;
	return said;
}

/* The path in the words of a system call that failed, "open /PATH: not a directory"; NULL: they are none. */
static const char *failed_path(const char *words)
{
	size_t verb = strspn(words, "abcdefghijklmnopqrstuvwxyz");

	return verb > 0 && after_prefix(words + verb, " /") ? words + verb + 1 : NULL;
}

static bool is_blob_error(const char *words)
{
	return after_prefix(words, "blob sha256:") && strstr(words, " expected at /");
}

bool store_is_damaged(const char *said)
{
	const char *words = own_words(said), *path = failed_path(words);

	if (HAS_ANY(words, passing))
		return false;
	if (BEHIND_ANY(words, damaged) || is_blob_error(words))
		return true;
	if (!path)
		return false;
	/* EUCLEAN of ext4, xfs and btrfs, EBADMSG of ext4, wherever it is met. */
	if (has_suffix(words, ": structure needs cleaning") || has_suffix(words, ": bad message"))
		return true;
	return HAS_ANY(path, store_paths) && !HAS_ANY(path, container_paths);
}

bool store_is_stale(const char *said)
{
	const char *words = own_words(said), *rest, *path;

	while ((rest = BEHIND_ANY(words, starts)))
		words = rest;
	path = after_prefix(words, "mkdir /");
	if (path)
		return strstr(path, "/io.containerd.runtime.v") && strstr(path, ": file exists") &&
		       !HAS_ANY(path, container_paths);
	return BEHIND_ANY(words, stale) ||
	       (after_prefix(words, "container `") && strstr(words, "` already exists"));
}

bool store_is_damaged_in_pull(const char *said)
{
	/* Only these begin with words of the engine's own store; the others are the registry's or the link's, which
	 * may quote anything, and what cannot be unpacked is a fault of the layer. */
	const char *rest = after_prefix(said, "failed to register layer: ");

	if (!rest) {
		rest = after_prefix(said, "failed to prepare extraction snapshot \"");
		rest = rest ? strstr(rest, "\": ") : NULL;
		rest = rest ? rest + strlen("\": ") : NULL;
	}
	return rest && (strchr(rest, '/') || after_prefix(rest, "layer does not exist")) &&
	       store_is_damaged(rest);
}

bool store_is_damaged_in_load(const char *said)
{
	const char *rest = after_prefix(said, "failed to unpack loaded image: ");

	/* The directory that the tar is unpacked to is the engine's, and a tar may end early as well as a blob. */
	said = rest ? rest : said;
	return store_is_damaged_in_pull(said) ||
	       (!strstr(said, "/docker-import-") && !after_prefix(said, "unexpected EOF") &&
		store_is_damaged(said));
}

bool store_lacks_layer(const char *said)
{
	if (strstr(said, "content digest sha256:"))
		return strstr(said, ": not found");
	return strstr(said, "no such file or directory") &&
	       (strstr(said, "/docker-import-") || strstr(said, "/blobs/sha256/"));
}

bool store_is_passing(const char *said)
{
	return HAS_ANY(said, passing);
}

bool store_refuses_load(const char *said)
{
	return HAS_ANY(said, unusable_in_load) && !HAS_ANY(said, no_fault) &&
	       !store_lacks_layer(said);
}

/* Behind the words of a runtime that had come as far as the container's own process; before them stand only the
 * engine's. The last part of the first list may be absent. */
static bool is_of_process(const char *said)
{
	static const char begins[][48] = {"starting container process caused: ",
					  "unable to start container process: ", "crun: "};
	static const char stages[][48] = {"error during container init: ",
					  "container init caused: "};
	static const char of_image[][48] = {"exec: \"", "exec /", "chdir to cwd (",
					    "executable file `", "open executable"};
	const char *at = NULL, *stage;

	for (size_t i = 0; !at && i < ARRAY_SIZE(begins); i++) {
		at = strstr(said, begins[i]);
		at = at ? at + strlen(begins[i]) : NULL;
	}
	for (size_t i = 0; at && i < ARRAY_SIZE(stages); i++) {
		stage = strstr(at, stages[i]);
		at = stage ? stage + strlen(stages[i]) : at;
	}
	/* A volume is a directory, so a file of the image is in its place. */
	if (at && after_prefix(at, "error mounting \"") && strstr(at, "/_data\" to rootfs at \"") &&
	    strstr(at, ": not a directory"))
		return true;
	/* docker run --init: a program of the engine's. */
	return at && BEHIND_ANY(at, of_image) && !strstr(at, "docker-init\"") &&
	       !strstr(at, "catatonit\"");
}

/* USER; opencontainers/runc, user.go. */
static bool is_of_user(const char *words)
{
	static const char begins[][48] = {"unable to find user ", "unable to find group ",
					  "linux spec user: "};

	return BEHIND_ANY(words, begins) && strstr(words, ": no matching entries in ");
}

/* What podman puts in front of the words of a system call. */
static const char *podman_words(const char *words)
{
	static const char begins[][48] = {"creating container ",
					  "identifying source directory for copy up into "};
	const char *rest = BEHIND_ANY(words, begins) ? strstr(words, ": ") : NULL;

	return rest ? rest + 2 : words;
}

bool store_is_of_image(const char *said)
{
	const char *words = podman_words(own_words(said)), *path = failed_path(words);

	if (is_of_process(words) || is_of_user(words))
		return true;

	/* Docker's words for a WORKDIR or a VOLUME that is a file in the image. */
	if ((after_prefix(words, "Cannot mkdir: /") || after_prefix(words, "workdir \"/")) &&
	    has_suffix(words, " is not a directory"))
		return true;
	if (after_prefix(words, "cannot mount volume over existing file, file exists /"))
		return true;
	return path && HAS_ANY(path, container_paths) &&
	       (has_suffix(words, ": not a directory") || has_suffix(words, ": file exists") ||
		has_suffix(words, ": is a directory") ||
		has_suffix(words, ": too many levels of symbolic links"));
}

bool store_is_doubtful(const char *said, int exit_code)
{
	if (strstr(said, "no space left on device"))
		return false;
	return HAS_ANY(said, doubtful) || exit_code == 126 /* cannot be executed */ ||
	       exit_code == 127 /* is not there */ || exit_code == 128 + SIGILL ||
	       exit_code == 128 + SIGBUS || exit_code == 128 + SIGSEGV;
}

bool store_refuses_image(const char *said)
{
	bool copied = strstr(said, "writing blob: ") && !strstr(said, "fetching blob");

	return (BEHIND_ANY(said, unusable) || (copied && HAS_ANY(said, unusable_in_copy))) &&
	       !HAS_ANY(said, no_fault);
}

bool store_is_containerd(const json_t *info)
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

	if (!store_is_containerd(info))
		return root;
	/* A package's containerd, or one that dockerd started beside its own data. */
	if (streq_null(address, CONTAINERD_SOCKET))
		return CONTAINERD_ROOT;
	return address && strstr(address, "/docker/containerd/") ? root : NULL;
}
