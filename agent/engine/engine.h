/* SPDX-License-Identifier: MIT */
/* engine: the Docker Engine API over its unix socket, one function a call. Negotiates one version per connection
 * over /version: from 1.41 (Docker 20.10, podman) to 1.51. Errors carry the engine's message. Codes: -ENOENT 404,
 * -EEXIST 409, -EINVAL 400, -EIO any other refusal, -EPROTO when its version has changed; those of http.h when it
 * cannot be reached. */
#pragma once

#include <signal.h>

#include "digest.h"
#include "json.h"
#include "oci.h"
#include "verify.h"

struct engine;
struct ref;

/* socket: path, borrowed until engine_close(). cancel as in http.h: it ends pulls and waits only; short calls run to
 * their end. */
int engine_open(const char *socket, const volatile sig_atomic_t *cancel, struct engine **ret,
		struct error *ret_error) warn_unused;
void engine_close(struct engine *e);

/* GET /info. The caller owns *ret. */
int engine_info(struct engine *e, json_t **ret, struct error *ret_error) warn_unused;

struct version {
	int api_minor;		      /* the newest API that both sides speak: 41 is 1.41 */
	char release[32];	      /* its own version, "20.10.24+dfsg1" */
	bool zstd;		      /* it unpacks layers that are compressed by zstd */
	struct oci_platform platform; /* what its host runs; an arm's variant comes from uname(2) */
	bool podman;
};

/* Reads an engine's answer to GET /version. Pure. */
int version_read(const json_t *answer, struct version *ret, struct error *ret_error) warn_unused;
/* What it said when it was opened. Borrowed. */
const struct version *engine_version(const struct engine *e);

/* The engine's inspect answers, without what nobody here needs of them; many ports of Config.ExposedPorts come as
 * ranges, "1025-65535/tcp" (port-set.h). -EFBIG: too large to be read, with the largest part in the message. The caller
 * owns *ret. A name matches exactly; an id may be shortened to 12
 * characters or more. */
int engine_inspect_container(struct engine *e, const char *name_or_id, json_t **ret,
			     struct error *ret_error) warn_unused;
/* The same, of a container that may be anybody's, whatever its size: Id, Name, and of HostConfig what refers to other
 * containers. */
int engine_inspect_neighbour(struct engine *e, const char *id, json_t **ret,
			     struct error *ret_error) warn_unused;
/* podman's own answer for a container. */
int engine_inspect_podman(struct engine *e, const char *id, json_t **ret,
			  struct error *ret_error) warn_unused;
/* All containers, stopped ones too, or those of a compose service, whose name has only letters, digits and _.-: an array
 * of Id, Names, State, Status, ImageID. */
int engine_list(struct engine *e, const char *service, json_t **ret,
		struct error *ret_error) warn_unused;
int engine_inspect_image(struct engine *e, const char *reference, json_t **ret,
			 struct error *ret_error) warn_unused;
/* The same, of one platform's image where the engine has several under that name (containerd's store, API 1.49); NULL:
 * the engine's choice. */
int engine_inspect_platform(struct engine *e, const char *reference,
			    const struct oci_platform *platform, json_t **ret,
			    struct error *ret_error) warn_unused;
/* The same without Config, so whatever its size: Id, RepoDigests, RepoTags, Os, Architecture, Variant, Size, RootFS. */
int engine_identify_image(struct engine *e, const char *reference, json_t **ret,
			  struct error *ret_error) warn_unused;
/* GET /KIND/NAME of networks or volumes: Name, Driver, and a network's Containers. -ENOENT: there is none. */
int engine_look_up(struct engine *e, const char *kind, const char *name, json_t **ret,
		   struct error *ret_error) warn_unused;
/* An array of Id. */
int engine_list_images(struct engine *e, json_t **ret, struct error *ret_error) warn_unused;
int engine_changes(struct engine *e, const char *id, json_t **ret,
		   struct error *ret_error) warn_unused;
/* stat of one path in a container, links not followed: {"mode":as Go has it,"mtime":..,"size":..}. */
int engine_stat(struct engine *e, const char *id, const char *path, json_t **ret,
		struct error *ret_error) warn_unused;

struct pull_options {
	const char *auth;		  /* value of X-Registry-Auth, or NULL */
	char platform[PLATFORM_TEXT_MAX]; /* "linux/386"; empty: the engine's own */
	uint64_t bytes_max;		  /* of all layers, as their manifest says */
	bool nothing_to_come; /* engine_load() brought the layers: the first download ends the pull */
	/* Bytes of all layers so far, and of all that are known; both may grow. */
	void (*progress)(void *userdata, uint64_t current, uint64_t total);
	void *userdata;
};

/* Waits until the engine's files are on the disk: syncfs(2) on the file systems of its directories. sync(2), which
 * hangs on a dead NFS mount, is used only if these cannot be opened. */
void engine_sync(struct engine *e);

/* Pulls by digest, and syncs after each layer and at the end: otherwise a power cut after a successful pull leaves
 * an image that neither starts nor heals by pulling again. ret_found: number of layers that the engine says it had.
 * Errors inside the 200 stream are errors here; -EKEYREJECTED: what was downloaded cannot be unpacked; -EFBIG: the registry sent more than bytes_max;
 * -ENODATA: nothing_to_come, and the engine lacks a layer. */
int engine_pull(struct engine *e, const struct ref *ref, const struct verified *v,
		const struct pull_options *o, size_t *ret_found,
		struct error *ret_error) warn_unused;

/* A layer of an image that the engine has. */
struct save_layer {
	struct digest diff_id;
	uint64_t offset, size; /* bytes of the file, uncompressed; set if found */
	bool found;
};

/* GET /images/X/get, of which only wanted layers are kept: each file of that tar which is, without its gzip or zstd, one of
 * layers[] is appended to the file fd. The same layer twice lies there once. max: bytes that the file may have in all; it has
 * more for no moment. *ret_manifest: the image's manifest as the engine has it, of which layers[] are the last n; NULL: it has
 * none, as most graph drivers. The caller owns it. n may be 0, with fd -1, for the manifest alone. -ENODATA: not all were found, or a layer needs a zstd window over 8 MiB;
 * -ENOENT: there is no such image. */
int engine_save(struct engine *e, const char *image, int fd, struct save_layer *layers, size_t n,
		uint64_t max, json_t **ret_manifest, struct error *ret_error) warn_unused;

/* A document of an image, as the registry has it. The text is borrowed. */
struct load_document {
	struct digest digest;
	const char *text;
	size_t n;
};

struct load_layer {
	struct digest digest; /* of the file's bytes */
	uint64_t size;
	int fd; /* borrowed; -1: the engine has the layer, which is left out */
	/* The file was made here, by a delta: it has the layer's DiffID, and not the digest that the registry's manifest
	 * names. */
	bool rebuilt;
	enum oci_compression compression; /* of the file, if it is rebuilt */
};

/* The repository that holds an image from its load until its container does. It is not the image's own: with the last
 * tag of a repository engines remove its digests, too. */
#define LOAD_KEEP_REPOSITORY "localhost/pullet/next"

struct load {
	const struct verified *verified; /* of top */
	const struct ref *ref;
	const char *keep; /* its tag in LOAD_KEEP_REPOSITORY */
	struct load_document top, manifest,
		config;			 /* top equals manifest where there is no index */
	char top_type[80];		 /* media type of top */
	const struct load_layer *layers; /* lowest first, all of them */
	size_t n_layers;
	/* Descriptors of all layers of an image with the same lowest layers, from the manifest of engine_save(): those that are
	 * left out are known to the engine by these. NULL: by those of the registry's manifest. After a delta containerd's
	 * store needs it for an image without rebuilt layers, too, which then gets a local manifest as well. Borrowed. */
	const json_t *shared;
	const char *platform; /* as in struct pull_options; NULL: the engine's own */
	void (*progress)(void *userdata, uint64_t current, uint64_t total); /* bytes of the tar */
	void *userdata;
};

/* Loads an image from files, proves that it is complete, and syncs. Without a graph driver (containerd's store, podman)
 * it is then as after a pull by digest. With one it is known by its tag and Id, and engine_pull() with nothing_to_come
 * adds the digest. *ret_found: number of layers in the tar that the engine says it had.
 * The tag is the caller's to remove, once a container has the image. With a rebuilt layer the image has no content in
 * containerd's store but what the tag names, a manifest of our own: Docker 28.5 then lists it with no layers.
 * After an error nothing of the load has a name:
 *   -EKEYREJECTED  the documents do not fit together, or no engine can unpack the layers, of which none was left out
 *   -EBADMSG       a document or a file does not hash to its digest
 *   -ENODATA       the engine lacks a layer that was left out
 *   -EOPNOTSUPP    podman takes no rebuilt layer, and an old engine none in zstd */
int engine_load(struct engine *e, const struct load *l, size_t *ret_found,
		struct error *ret_error) warn_unused;

/* Whether the layers that a pull found in the engine belong to another image, too. false as well when the engine does
 * not answer: the image is then pulled once more, which is safe. A layer of no image may be
 * the rest of a pull that a power cut ended: engines write layers without syncing them, and use any that they find. */
bool engine_layers_are_trusted(struct engine *e, const json_t *image, size_t found);
/* How many of these layers, from the lowest up, belong to an image in the engine whose Id is none of but. 0 as well when the
 * engine does not answer. */
size_t engine_count_layers(struct engine *e, const struct digest *layers, size_t n,
			   const char *const *but);

/* Points repository:tag at the image. */
int engine_tag(struct engine *e, const char *image, const char *repository, const char *tag,
	       struct error *ret_error) warn_unused;
/* Removes one name of an image; the engine removes the image with its last name, never while it is used. */
int engine_remove_image(struct engine *e, const char *reference,
			struct error *ret_error) warn_unused;

/* platform: of the image, where the engine has several under the name in body; "": the engine's own. */
int engine_create(struct engine *e, const char *name, const char *platform, const json_t *body,
		  char **ret_id, struct error *ret_error) warn_unused;
int engine_connect(struct engine *e, const char *network, const char *id, const json_t *body,
		   struct error *ret_error) warn_unused;
int engine_start(struct engine *e, const char *id, struct error *ret_error) warn_unused;
/* timeout_s until SIGKILL; -1: the container's own. */
int engine_stop(struct engine *e, const char *id, int timeout_s,
		struct error *ret_error) warn_unused;
int engine_rename(struct engine *e, const char *id, const char *name,
		  struct error *ret_error) warn_unused;
/* policy: HostConfig.RestartPolicy. Works on a running container too. */
int engine_set_policy(struct engine *e, const char *id, const json_t *policy,
		      struct error *ret_error) warn_unused;
/* Never removes volumes: the successor may hold them. */
int engine_remove(struct engine *e, const char *id, struct error *ret_error) warn_unused;

/* Waits for an event of the container (it died, its health changed, ...) after since_ns (nanoseconds of Unix
 * time), or for timeout_ms: both return 0. */
int engine_wait_event(struct engine *e, const char *id, int64_t since_ns, unsigned int timeout_ms,
		      struct error *ret_error) warn_unused;

enum ending {
	ENDING_UNKNOWN, /* the engine restarted since, has forgotten, or does not answer */
	ENDING_STOPPED, /* by an operator, or by an engine that shut down */
	ENDING_OWN,	/* it ended by itself */
};

/* How the container, which was started at since_ns and is down, has ended, by the engine's events. */
enum ending engine_find_ending(struct engine *e, const char *id, int64_t since_ns);

/* Whether the container, which was started at since_ns and has ended, was not stopped or killed by an operator or
 * by an engine that shut down. false when the engine does not answer, so that no image is rejected for it. */
bool engine_ended_by_itself(struct engine *e, const char *id, int64_t since_ns);

/* The last lines of the container that are not blank, of both streams by time, printable and bounded, as strings; the
 * caller owns *ret. last: the one that says most about its end, cut to size; empty when there is none. Of lines at nearly
 * the same time that of stderr is the last: programs write the rest of stdout when they exit. */
int engine_log(struct engine *e, const char *id, json_t **ret, char *last, size_t size) warn_unused;

static inline void cleanup_engine_p(struct engine **e)
{
	engine_close(*e);
}
#define _cleanup_engine_ _cleanup_(cleanup_engine_p)

/* Whether the engine cannot read its image store, by its message about a call or a start that failed. Never by what
 * the message quotes of an image. Pure, as all of these. */
bool store_is_damaged(const char *said);
/* The same of an error in the stream of a pull, which carries the words of the registry and of the link, too. */
bool store_is_damaged_in_pull(const char *said);
/* The same of an error in the stream of a load, which may name files of the tar. */
bool store_is_damaged_in_load(const char *said);
/* Whether the message of a load is about a layer that is neither in the tar nor in the engine; about layers that
 * cannot be unpacked, whatever the engine. */
bool store_lacks_layer(const char *said);
bool store_refuses_load(const char *said);
/* Whether it is about what the machine is out of, as room on the disk, and so about no image. */
bool store_is_passing(const char *said);
/* Whether the engine keeps images in containerd's store, by its answer to GET /info. */
bool store_is_containerd(const json_t *info);
/* Whether the engine was killed in the middle of a start and keeps something of that: it never starts this container
 * again, until its directory in /run is emptied. A new container can be started. */
bool store_is_stale(const char *said);
/* Whether the message is about what the image brings: its program, user, working directory, or a file of the
 * container's own file system, as with a VOLUME over a plain file. All else that an engine says of a start is about the
 * host: devices, mounts, ports, networks, drivers, the runtime. */
bool store_is_of_image(const char *said);
/* Whether a container that failed looks as if a layer of it were incomplete; with a bad image it looks the same. said: the
 * engine's words or the container's last line. exit_code: the container's, or 0. */
bool store_is_doubtful(const char *said, int exit_code);

/* Whether an engine's message says that an image, downloaded, is no image for it: what it says about the same bytes will
 * be the same. Not what it says of the link, or of a disk that is full or fails. Pure. */
bool store_refuses_image(const char *said);

/* The directory of the images, by the answer to GET /info; NULL: unknown. Borrowed from info. Pure. */
const char *store_directory(const json_t *info);
