/* SPDX-License-Identifier: MIT */
/* Runs each file named on the command line through a fuzz target, so that corpora are tests in every
 * build, without libFuzzer. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int main(int argc, char **argv)
{
	if (argc < 2) {
		(void)fprintf(stderr, "%s: no corpus\n", argv[0]);
		return 1;
	}
	for (int i = 1; i < argc; i++) {
		_cleanup_free_ char *data = NULL;
		char *exact;
		size_t n = 0;
		int r = read_file_at(AT_FDCWD, argv[i], (size_t)8 * 1024 * 1024, &data, &n);

		if (r < 0) {
			(void)fprintf(stderr, "%s: %s\n", argv[i], strerror(-r));
			return 1;
		}
		/* Without the NUL behind it, so that a sanitizer sees one byte too far. */
		exact = xmalloc(n);
		memcpy(exact, data, n);
		(void)LLVMFuzzerTestOneInput((const uint8_t *)exact, n);
		free(exact);
	}
	return 0;
}
