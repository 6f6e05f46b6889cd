/* SPDX-License-Identifier: MIT */
/* Sentences as engines said them when their stores were damaged by hand, and others that look alike. */
#include "engine.h"
#include "test.h"
#include "util.h"

#define OCI                                                                                     \
	"failed to create shim task: OCI runtime create failed: runc create failed: unable to " \
	"start "                                                                                \
	"container process: "

static const struct {
	const char *said;
	int exit_code;
	enum { SILENT, DOUBTFUL, DAMAGED } word;
} sentences[] = {
	/* Docker 20.10 and 28.5, overlay2 */
	{"error creating overlay mount to /d/overlay2/10/merged: no such file or directory", 0,
	 DAMAGED},
	{"error creating overlay mount to /d/overlay2/84-init/merged: too many levels of symbolic "
	 "links",
	 0, DAMAGED},
	{"stat /d/overlay2/d9: no such file or directory", 0, DAMAGED},
	{"open /d/overlay2/d9/committed: no such file or directory", 0, DAMAGED},
	{"open /d/overlay2/94/link: no such file or directory", 0, DAMAGED},
	{"readlink /d/overlay2/l: invalid argument", 0, DAMAGED},
	{"readlink /d/data/overlay2: invalid argument", 0, DAMAGED},
	{"layer does not exist", 0, DAMAGED},
	{"unrecognized image ID sha256:957e", 0, DAMAGED},
	{"invalid output path: stat /d/overlay2/1b: no such file or directory", 0, DAMAGED},
	/* 28.5, containerd */
	{"failed to mount /d/rootfs/overlayfs/3c: mount source: \"overlay\"", 128, DAMAGED},
	{"failed to stat parent: stat /d/snapshots/22/fs: no such file or directory", 0, DAMAGED},
	{"rpc error: code = NotFound desc = blob sha256:c7 expected at /d/blobs/sha256/c7", 0,
	 DAMAGED},
	{"failed to read config content: unexpected EOF", 0, DAMAGED},

	{"RWLayer of container 4fc is unexpectedly nil", 0, DAMAGED},
	{"container 4fc: driver \"overlay2\" failed to remove root filesystem: unlinkat "
	 "/d/overlay2/5: structure needs cleaning",
	 0, DAMAGED},
	{"open /d/containers/4fc/hostname: structure needs cleaning", 0, DAMAGED},

	/* A torn program, or a bad one. */
	{"it exited with status 1; last log line: exec /actor: exec format error", 1, DOUBTFUL},
	{"it exited with status 255; last log line: exec /actor: exec format error", 255, DOUBTFUL},
	{OCI "exec: \"/actor\": stat /actor: no such file or directory: unknown", 127, DOUBTFUL},
	{OCI "exec: \"actor\": executable file not found in $PATH: unknown", 127, DOUBTFUL},
	{"it exited with status 127; last log line: sh: error while loading shared libraries: "
	 "libc.so.6: file too short",
	 127, DOUBTFUL},
	{"it exited with status 139", 139, DOUBTFUL},
	{"it exited with status 126", 126, DOUBTFUL},

	/* Nobody's store. */
	{"it exited with status 3; last log line: giving up", 3, SILENT},
	{"its health check failed", 0, SILENT},
	{"", 137, SILENT},
	{"driver failed programming external connectivity on endpoint x: Bind for 0.0.0.0:80 "
	 "failed: port is already allocated",
	 128, SILENT},
	{"failed to register layer: Error processing tar file(exit status 1): write "
	 "/d/overlay2/4/x: no space left on device",
	 0, SILENT},
	/* A file in use, and a kernel that was upgraded and not booted yet. */
	{"container 4fc: driver \"overlay2\" failed to remove root filesystem: unlinkat "
	 "/d/overlay2/5/merged: device or resource busy",
	 0, SILENT},
	{"error creating overlay mount to /d/overlay2/5/merged: no such device", 0, SILENT},
	/* An operator's mount of a file over a directory: in the store's paths, yet not its fault. */
	{OCI "error mounting \"/etc/x\" to rootfs at \"/x\": mount /etc/x:/x: not a directory "
	     "(/d/overlay2/5/merged/x)",
	 127, DOUBTFUL},
};

static void test_sentences(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(sentences); i++) {
		const char *said = sentences[i].said;

		if (store_is_damaged(said) != (sentences[i].word == DAMAGED))
			fail_msg("%s", said);
		if (sentences[i].word != DAMAGED &&
		    store_is_doubtful(said, sentences[i].exit_code) !=
			    (sentences[i].word == DOUBTFUL))
			fail_msg("%s", said);
	}
}

static void test_left_of_a_start(void **state)
{
	static const char *const stale[] = {
		"failed to start shim: mkdir "
		"/run/containerd/io.containerd.runtime.v2.task/moby/7f: file exists: unknown",
		"failed to create task for container: failed to start shim: mkdir "
		"/s/io.containerd.runtime.v2.task/moby/7f: "
		"file exists: unknown",
		"failed to create task for container: mkdir "
		"/s/io.containerd.runtime.v2.task/moby/7f: file exists: unknown",
		"id already in use",
		"OCI runtime create failed: container with id exists: 7f: unknown",
		"failed to create shim task: OCI runtime create failed: runc create failed: "
		"container with given ID already "
		"exists: unknown",
		"OCI runtime create failed: container `7f` already exists: unknown",
	};
	static const char *const others[] = {
		"mkdir /d/overlay2/5/merged/io.containerd.runtime.v2/x: file exists",
		OCI "exec: \"id already in use\": executable file not found in $PATH",
		"driver failed programming external connectivity: Bind for 0.0.0.0:80 failed: port "
		"is already allocated",
		"unable to find user id already in use: no matching entries in passwd file",
		"mkdir /run/containerd/io.containerd.runtime.v2.task/moby/7f: no space left on "
		"device",
		"endpoint with name app already exists in network x",
	};

	for (size_t i = 0; i < ARRAY_SIZE(stale); i++)
		assert_true(store_is_stale(stale[i]) && !store_is_damaged(stale[i]) &&
			    !store_is_of_image(stale[i]));
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_false(store_is_stale(others[i]));
}

/* What an engine quotes of an image, where and as it does, says nothing of its store. */
static void test_quoted_values(void **state)
{
	static const char *const quoted[] = {
		"unable to find user %s: no matching entries in passwd file",
		"linux spec user: unable to find user %s: no matching entries in passwd file",
		"unable to find group %s: no matching entries in group file",
		"invalid signal: %s",
		"invalid port specification: \"%s\"",
		"invalid environment variable: =%s",
		"the working directory '%s' is invalid, it needs to be an absolute path",
		"mkdir /var/lib/docker/overlay2/2b/merged/%s: not a directory",
		"mkdir /var/lib/docker/rootfs/overlayfs/2b/%s: not a directory",
		"invalid volume specification: '%s'",
		"No such image: %s",
		"Conflict. The container name \"%s\" is already in use",
	};

	for (size_t i = 0; i < ARRAY_SIZE(quoted); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(sentences); j++) {
			char said[600];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
			(void)snprintf(said, sizeof(said), quoted[i], sentences[j].said);
#pragma GCC diagnostic pop
			if (store_is_damaged(said) || store_is_damaged_in_pull(said))
				fail_msg("%s", said);
		}
	}
}

static void test_the_image_does_not_fit_together(void **state)
{
	assert_true(store_is_of_image("mkdir /d/overlay2/5/merged/etc/passwd: not a directory"));
	assert_true(store_is_of_image("mkdir /d/overlay2/5/merged/x/y: file exists"));
	assert_true(store_is_of_image("mkdir /d/rootfs/overlayfs/5/a: not a directory"));
	assert_true(store_is_of_image("cannot mount volume over existing file, file exists "
				      "/d/overlay2/5/merged/file"));
	assert_false(store_is_of_image("mkdir /d/overlay2/5/merged/x: no space left on device"));
	assert_false(store_is_of_image("mkdir /d/volumes/5/_data: not a directory"));
}

#define RUNC "OCI runtime create failed: runc create failed: unable to start container process: "
#define RUNC_OLD \
	"OCI runtime create failed: container_linux.go:380: starting container process caused: "
#define INIT RUNC "error during container init: "

/* What Docker 20.10, 26.1, 28.5 and podman 5 said of a start: by tests/field, or with each thing taken away by hand. */
static const char *const image_words[] = {
	"failed to create shim task: " RUNC
	"exec: \"/nothing\": stat /nothing: no such file or directory: unknown",
	RUNC_OLD "exec: \"nothing\": executable file not found in $PATH: unknown",
	RUNC_OLD "process_linux.go:545: container init caused: exec: \"/dir\": permission denied",
	"failed to create task for container: failed to create shim task: " INIT
	"exec: \"/dir\": is a directory: permission denied",
	INIT
	"exec: \"/text/x\": stat /text/x: not a directory: Are you trying to mount a directory "
	"onto a file (or vice-versa)? Check if the specified host path exists",
	RUNC "chdir to cwd (\"/srv\") set in config.json failed: permission denied: unknown",
	"unable to find user nobodyxyz: no matching entries in passwd file",
	"linux spec user: unable to find user x: no matching entries in passwd file",
	"unable to find group nogroupx: no matching entries in group file",
	"Cannot mkdir: /actor is not a directory",
	"lstat /d/overlay2/b66/merged/text/x: not a directory",
	"cannot mount volume over existing file, file exists /d/overlay2/95/merged/text",
	INIT
	"error mounting \"/d/volumes/70/_data\" to rootfs at \"/text\": create mount destination "
	"for /text mount: cannot mkdir in /d/overlay/de/merged/text: not a directory",
	/* podman */
	"runc: runc create failed: unable to start container process: exec: \"/nothing\": stat "
	"/nothing: "
	"no such file or directory: OCI runtime attempted to invoke a command that was not found",
	"crun: executable file `/nothing` not found: No such file or directory: OCI runtime "
	"attempted to invoke a command that was not found",
	"workdir \"/actor\" exists on container 646, but is not a directory",
	"creating container d43 workdir: mkdir /d/overlay/51/merged/text: not a directory",
	"identifying source directory for copy up into volume cdc: lstat "
	"/d/overlay/9a/merged/text/x: "
	"not a directory",
};

static const char *const host_words[] = {
	"error gathering device information while adding custom device \"/dev/ttyACM0\": no such "
	"file "
	"or directory",
	"error gathering device information while adding custom device \"/dev/x\": not a device "
	"node",
	INIT
	"error mounting \"/srv/file\" to rootfs at \"/dir\": mount src=/srv/file, dst=/dir: not a "
	"directory: Are you trying to mount a directory onto a file (or vice-versa)?",
	"invalid mount config for type \"bind\": bind source path does not exist: /srv/later",
	"driver failed programming external connectivity on endpoint app (0f): Bind for 0.0.0.0:80 "
	"failed: port is already allocated",
	"driver failed programming external connectivity on endpoint app (0f): Error starting "
	"userland proxy: listen tcp4 0.0.0.0:80: bind: address already in use",
	"network nonexistent not found",
	"failed to set up container networking: network nonexistent not found",
	"Address already in use",
	"cannot join network of a non running container: 0900",
	"failed to join PID namespace: container fa6 is not running",
	INIT "error setting rlimits for ready process: error setting rlimit type 7: operation not "
	     "permitted: unknown",
	INIT "open /proc/sys/net/nonexistent: no such file or directory: unknown",
	INIT "unable to apply apparmor profile: apparmor failed to apply profile: write "
	     "/proc/self/attr/apparmor/exec: no such file or directory",
	"unknown or invalid runtime name: bogus",
	"failed to create shim task: OCI runtime create failed: unable to retrieve OCI runtime "
	"error "
	"(open /run/log.json: no such file or directory): exec: \"other\": executable file not "
	"found in "
	"$PATH: unknown",
	"failed to start shim: start failed: exec: \"containerd-shim-x\": executable file not "
	"found in "
	"$PATH",
	"could not select device driver \"\" with capabilities: [[gpu]]",
	RUNC_OLD
	"process_linux.go:545: container init caused: Running hook #0:: error running hook: "
	"exit status 1, stderr: nvidia-container-cli: initialization error: load library failed: "
	"libnvidia-ml.so.1: no such file or directory",
	RUNC
	"unable to apply cgroup configuration: mkdir /sys/fs/cgroup/x: no space left on device",
	RUNC "exec: \"/sbin/docker-init\": stat /sbin/docker-init: no such file or directory",
	"error while mounting volume '/d/v1': plugin \"nfs\" not found",
	"container create: stat /dev/ttyACM0: no such file or directory",
	"runc: runc create failed: unable to start container process: error during container init: "
	"error "
	"mounting \"/srv/later\" to rootfs at \"/m\": bind mount source stat: stat /srv/later: no "
	"such file "
	"or directory: OCI runtime attempted to invoke a command that was not found",
};

static void test_the_host_or_the_image(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(image_words); i++) {
		if (!store_is_of_image(image_words[i]))
			fail_msg("of the image: %s", image_words[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(host_words); i++) {
		if (store_is_of_image(host_words[i]))
			fail_msg("of the host: %s", host_words[i]);
	}
}

/* The link and the registry may say anything; the engine's own words are known by their beginning. */
static void test_pulls(void **state)
{
	static const struct {
		const char *said;
		bool damaged;
	} pulls[] = {
		{"unexpected EOF", false},
		{"download failed after attempts=6: unexpected EOF", false},
		{"filesystem layer verification failed for digest sha256:ab", false},
		{"short read: expected 20 bytes but got 7: unexpected EOF", false},
		{"unknown: layer does not exist", false},
		{"denied: open /var/lib/docker/overlay2/94/link: no such file or directory", false},
		{"error parsing HTTP 500 response body: invalid character 'l' looking for "
		 "beginning of value: \"failed to register layer: layer does not exist\"",
		 false},
		{"failed to resolve reference \"r/a\": unexpected status: 500: failed to mount /",
		 false},
		{"blob sha256:c7 expected at /d/blobs/sha256/c7: blob not found", false},
		{"failed to register layer: unexpected EOF", false}, /* a bad gzip stream */
		{"failed to register layer: Error processing tar file(exit status 1): open "
		 "/var/lib/docker/overlay2/94/link: no such file or directory",
		 false},
		{"failed to register layer: ApplyLayer exit status 1 stdout:  stderr: mkdir "
		 "/overlay2/x: not a directory",
		 false},
		{"failed to register layer: write /d/overlay2/4/x: no space left on device", false},
		{"failed to register layer: stat /d/overlay2/4: no such file or directory", true},
		{"failed to register layer: layer does not exist", true},
		{"failed to prepare extraction snapshot \"extract-1 sha256:9\": failed to stat "
		 "parent: stat /d/snapshots/22/fs: no such file or directory",
		 true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(pulls); i++) {
		if (store_is_damaged_in_pull(pulls[i].said) != pulls[i].damaged)
			fail_msg("%s", pulls[i].said);
	}
}

/* Sentences of the same engines about images that they had downloaded. */
static void test_unusable_images(void **state)
{
	static const struct {
		const char *said;
		bool refused;
	} cases[] = {
		{"failed to register layer: Error processing tar file(exit status 1): archive/tar: "
		 "invalid tar "
		 "header",
		 true},
		{"failed to register layer: Error processing tar file(exit status 1): unexpected "
		 "EOF",
		 true},
		{"failed to extract layer (application/vnd.oci.image.layer.v1.tar+gzip "
		 "sha256:da3b) to "
		 "overlayfs as \"extract-1 sha256:50db\": mount callback failed on /d/tmpmounts/1: "
		 "archive/tar: invalid tar header",
		 true},
		{"wrong diff id calculated on extraction \"sha256:1111\"", true},
		{"number of layers and diffIDs don't match: 2 != 1", true},
		{"failed to unpack image on snapshotter overlayfs: mismatched image rootfs and "
		 "manifest "
		 "layers",
		 true},
		{"layers from manifest don't match image configuration", true},
		{"unsupported media type application/vnd.example.layer", true},
		{"image operating system \"windows\" cannot be used on this platform", true},
		/* The link, the registry, the disk and the store. */
		{"unexpected EOF", false},
		{"error parsing HTTP 415 response body: invalid character '<': \"<h1>Unsupported "
		 "media type </h1>\"",
		 false},
		{"unknown: failed to register layer: ask the registry", false},
		{"filesystem layer verification failed for digest sha256:1111", false},
		{"Get \"https://reg/v2/\": dial tcp: connection refused", false},
		{"failed to register layer: Error processing tar file(exit status 1): write "
		 "/x: no space left on device",
		 false},
		{"failed to register layer: Error processing tar file(signal: killed): ", false},
		{"failed to register layer: stat /d/overlay2/1b: no such file or directory", false},
		{"failed to extract layer sha256:da3b: read /d/x: input/output error", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (store_refuses_image(cases[i].said) != cases[i].refused)
			fail_msg("%s", cases[i].said);
	}
}

/* Of 20.10, 26.1, 28.5 with both stores, and podman 5; tests/engine/test_load.py provokes most of them. */
static void test_loads(void **state)
{
	static const struct {
		const char *said;
		bool damaged, lacks, refuses;
	} rows[] = {
		{"open /d/tmp/docker-import-117/blobs/sha256/0d: no such file or directory", false,
		 true, false},
		{"failed to unpack loaded image: failed to extract layer sha256:3a: failed to get "
		 "reader from content store: content digest sha256:cc: not found",
		 false, true, false},
		{"apply layer error for \"r.io/app@sha256:97\": failed to extract layer sha256:79: "
		 "NotFound: failed to get reader from content store: content digest sha256:73: "
		 "not found",
		 false, true, false},
		{"oci-archive: reading blob sha256:7c: open /var/tmp/oci1/blobs/sha256/7c: no such "
		 "file or directory",
		 false, true, false},
		{"invalid diffID for layer 0: expected \"sha256:78\", got \"sha256:23\"", false,
		 false, true},
		{"Error processing tar file(exit status 1): archive/tar: invalid tar header", false,
		 false, true},
		{"Error processing tar file(exit status 1): write /big: no space left on device",
		 false, false, false},
		{"archive/tar: invalid tar header", false, false, true},
		{"unexpected EOF", false, false, true},
		{"flate: corrupt input before offset 213200", false, false, true},
		{"apply layer error for \"r.io/app@sha256:2e\": wrong diff id calculated on "
		 "extraction \"sha256:43\"",
		 false, false, true},
		{"failed to unpack loaded image: failed to extract layer sha256:76: mount callback "
		 "failed on /d/tmpmounts/m1: archive/tar: invalid tar header: unknown",
		 false, false, true},
		{"failed to unpack loaded image: failed to extract layer sha256:76: mount callback "
		 "failed on /d/tmpmounts/m1: failed to write /big: no space left on device",
		 false, false, false},
		{"oci-archive: writing blob: layer 0 (blob \"sha256:a6\"/\"\"/\"sha256:5d\") does "
		 "not match config's DiffID \"sha256:42\"",
		 false, false, true},
		{"oci-archive: writing blob: storing blob to file \"/var/tmp/1\": happened during "
		 "read: Digest did not match, expected sha256:e2, got sha256:a2",
		 false, false, true},
		{"write /d/tmp/docker-import-9/blobs/sha256/ab: no space left on device", false,
		 false, false},
		{"mkdir /d/overlay2/3f: read-only file system", false, false, false},
		{"open /d/overlay2/94/link: no such file or directory", true, false, false},
		{"stat /d/docker/overlay2/3f/diff: no such file or directory", true, false, false},
		{"failed to prepare extraction snapshot \"extract-1 sha256:2d\": failed to stat "
		 "parent: stat /d/snapshots/22/fs: no such file or directory",
		 true, false, false},
		{"failed to unpack loaded image: failed to prepare extraction snapshot \"extract-1 "
		 "sha256:2d\": failed to stat parent: stat /d/snapshots/22/fs: no such file or "
		 "directory",
		 true, false, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (store_is_damaged_in_load(rows[i].said) != rows[i].damaged ||
		    store_lacks_layer(rows[i].said) != rows[i].lacks ||
		    store_refuses_load(rows[i].said) != rows[i].refuses)
			fail_msg("%s", rows[i].said);
		if (store_is_passing(rows[i].said) !=
		    (strstr(rows[i].said, "no space") || strstr(rows[i].said, "read-only")))
			fail_msg("%s", rows[i].said);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sentences),
		cmocka_unit_test(test_left_of_a_start),
		cmocka_unit_test(test_quoted_values),
		cmocka_unit_test(test_the_image_does_not_fit_together),
		cmocka_unit_test(test_the_host_or_the_image),
		cmocka_unit_test(test_pulls),
		cmocka_unit_test(test_unusable_images),
		cmocka_unit_test(test_loads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
