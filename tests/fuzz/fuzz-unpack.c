/* SPDX-License-Identifier: MIT */
/* A layer of a hostile publisher. */
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "unpack.h"

#define MAX 300000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct unpacking u = {.in = memfd_create("in", MFD_CLOEXEC),
			      .out = memfd_create("out", MFD_CLOEXEC),
			      .max = MAX};
	struct error e = {0};
	uint64_t size;
	struct stat st;
	int r;

	if (write_all(u.in, data, n) < 0)
		abort();
	r = unpack_zstd(&u, &size, &e);
	if (fstat(u.out, &st) < 0 || (uint64_t)st.st_size != size || size > MAX ||
	    size > 1032 * n || (r < 0 && (r != e.code || !e.text[0])))
		abort();
	close(u.in);
	close(u.out);
	return 0;
}
