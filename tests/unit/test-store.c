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
	enum store_word word;
} sentences[] = {
	/* Docker 20.10 and 28.5, overlay2 */
	{"error creating overlay mount to /d/overlay2/10/merged: no such file or directory", 0,
	 STORE_DAMAGED},
	{"error creating overlay mount to /d/overlay2/84-init/merged: too many levels of symbolic "
	 "links",
	 0, STORE_DAMAGED},
	{"stat /d/overlay2/d9: no such file or directory", 0, STORE_DAMAGED},
	{"open /d/overlay2/d9/committed: no such file or directory", 0, STORE_DAMAGED},
	{"open /d/overlay2/94/link: no such file or directory", 0, STORE_DAMAGED},
	{"readlink /d/overlay2/l: invalid argument", 0, STORE_DAMAGED},
	{"readlink /d/data/overlay2: invalid argument", 0, STORE_DAMAGED},
	{"layer does not exist", 0, STORE_DAMAGED},
	{"unrecognized image ID sha256:957e", 0, STORE_DAMAGED},
	{"invalid output path: stat /d/overlay2/1b: no such file or directory", 0, STORE_DAMAGED},
	/* 28.5, containerd */
	{"failed to mount /d/rootfs/overlayfs/3c: mount source: \"overlay\"", 128, STORE_DAMAGED},
	{"failed to stat parent: stat /d/snapshots/22/fs: no such file or directory", 0,
	 STORE_DAMAGED},
	{"rpc error: code = NotFound desc = blob sha256:c7 expected at /d/blobs/sha256/c7", 0,
	 STORE_DAMAGED},
	{"failed to read config content: unexpected EOF", 0, STORE_DAMAGED},

	/* A torn program, or a bad one. */
	{"it exited with status 1; last log line: exec /actor: exec format error", 1,
	 STORE_DOUBTFUL},
	{"it exited with status 255; last log line: exec /actor: exec format error", 255,
	 STORE_DOUBTFUL},
	{OCI "exec: \"/actor\": stat /actor: no such file or directory: unknown", 127,
	 STORE_DOUBTFUL},
	{OCI "exec: \"actor\": executable file not found in $PATH: unknown", 127, STORE_DOUBTFUL},
	{"it exited with status 127; last log line: sh: error while loading shared libraries: "
	 "libc.so.6: file too short",
	 127, STORE_DOUBTFUL},
	{"it exited with status 139", 139, STORE_DOUBTFUL},
	{"it exited with status 126", 126, STORE_DOUBTFUL},

	/* Nobody's store. */
	{"it exited with status 3; last log line: giving up", 3, STORE_SILENT},
	{"its health check failed", 0, STORE_SILENT},
	{"", 137, STORE_SILENT},
	{"driver failed programming external connectivity on endpoint x: Bind for 0.0.0.0:80 "
	 "failed: port is already allocated",
	 128, STORE_SILENT},
	{"failed to register layer: Error processing tar file(exit status 1): write "
	 "/d/overlay2/4/x: no space left on device",
	 0, STORE_SILENT},
	/* An operator's mount of a file over a directory: in the store's paths, yet not its fault. */
	{OCI "error mounting \"/etc/x\" to rootfs at \"/x\": mount /etc/x:/x: not a directory "
	     "(/d/overlay2/5/merged/x)",
	 127, STORE_DOUBTFUL},
};

static void test_sentences(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(sentences); i++) {
		if (store_judge(sentences[i].said, sentences[i].exit_code) != sentences[i].word)
			fail_msg("%s", sentences[i].said);
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

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_sentences),
					   cmocka_unit_test(test_unusable_images)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
