/* SPDX-License-Identifier: MIT */
/* A patch of a hostile publisher. With FRAMES as the first byte, the four streams are compressed here, so that mutations reach
 * what is behind zstd: old size, new size, then a length of two bytes and the content of each stream. */
#include <endian.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <zstd.h>

#include "patch.h"

#define NEW_MAX 300000
#define OLD	1000
#define FRAMES	'F'

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static size_t read_length(const uint8_t **data, size_t *n)
{
	size_t length = *n < 2 ? 0 : (size_t)(*data)[0] | (size_t)(*data)[1] << 8;

	*data += MIN(*n, 2);
	*n -= MIN(*n, 2);
	return length;
}

static void compress(int fd, const uint8_t *data, size_t n)
{
	uint64_t header[6];
	char frame[70000];

	header[0] = htole64(OLD);
	header[1] = htole64(read_length(&data, &n));
	if (pwrite(fd, PATCH_MAGIC, 8, 0) != 8 || lseek(fd, PATCH_HEADER, SEEK_SET) < 0)
		abort();
	for (size_t i = 0; i < 4; i++) {
		size_t wanted = read_length(&data, &n), length = MIN(wanted, n);
		size_t got = ZSTD_compress(frame, sizeof(frame), data, length, 1);

		if (ZSTD_isError(got) || write_all(fd, frame, got) < 0)
			abort();
		header[2 + i] = htole64(got);
		data += length;
		n -= length;
	}
	if (pwrite(fd, header, sizeof(header), 8) != sizeof(header))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct patch_extent parts[] = {{500, 500}, {0, 400}, {900, 0}, {450, 100}};
	static char old[OLD];
	struct patching p = {.old = memfd_create("old", MFD_CLOEXEC),
			     .extents = parts,
			     .n_extents = ARRAY_SIZE(parts),
			     .patch = memfd_create("patch", MFD_CLOEXEC),
			     .out = memfd_create("new", MFD_CLOEXEC),
			     .max = NEW_MAX};
	struct error e = {0};
	uint64_t size;
	struct stat st;
	int r;

	for (size_t i = 0; i < sizeof(old); i++)
		old[i] = (char)(i * 31 >> 2);
	if (write_all(p.old, old, sizeof(old)) < 0)
		abort();
	if (n > 0 && data[0] == FRAMES)
		compress(p.patch, data + 1, n - 1);
	else if (write_all(p.patch, data, n) < 0)
		abort();
	r = patch_apply(&p, &size, &e);
	if (fstat(p.out, &st) < 0 || (uint64_t)st.st_size > size || st.st_size > NEW_MAX ||
	    (r == 0 && (uint64_t)st.st_size != size) ||
	    (r < 0 && (r != e.code || !e.text[0] || (r != -EBADMSG && r != -EFBIG))))
		abort();
	close(p.old);
	close(p.patch);
	close(p.out);
	return 0;
}
