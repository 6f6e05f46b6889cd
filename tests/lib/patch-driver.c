/* SPDX-License-Identifier: MIT */
/* Makes and applies a patch alone: make OLD NEW PATCH, apply OLD PATCH NEW [MAX], copy FROM TO. Exit status 1, and the error
 * on stderr. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "patch-make.h"
#include "patch.h"

static int open_file(const char *path, int flags, size_t *ret_size)
{
	struct stat st;
	int fd = open(path, flags, 0644);

	if (fd < 0 || fstat(fd, &st) < 0) {
		perror(path);
		exit(1);
	}
	*ret_size = (size_t)st.st_size;
	return fd;
}

static const uint8_t *map(const char *path, size_t *ret_size)
{
	int fd = open_file(path, O_RDONLY, ret_size);

	return *ret_size > 0 ? mmap(NULL, *ret_size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
}

static int make(char **paths, struct error *e)
{
	struct patch_making p = {0};
	uint64_t size;
	size_t none;

	p.old = map(paths[0], &p.old_size);
	p.new = map(paths[1], &p.new_size);
	p.out = open_file(paths[2], O_RDWR | O_CREAT | O_TRUNC, &none);
	return patch_make(&p, &size, e);
}

static int apply(char **paths, struct error *e)
{
	size_t size;
	/* Two parts, so that copies go over the border between them. */
	struct patch_extent halves[2] = {0};
	struct patching p = {.extents = halves, .n_extents = 2, .max = UINT64_MAX};
	uint64_t made;

	p.old = open_file(paths[0], O_RDONLY, &size);
	halves[0].size = halves[1].offset = size / 3;
	halves[1].size = size - halves[0].size;
	p.patch = open_file(paths[1], O_RDONLY, &size);
	p.out = open_file(paths[2], O_WRONLY | O_CREAT | O_TRUNC, &size);
	if (paths[3])
		p.max = strtoull(paths[3], NULL, 10);
	return patch_apply(&p, &made, e);
}

static int copy(char **paths)
{
	static char piece[64 * 1024];
	size_t size;
	int in = open_file(paths[0], O_RDONLY, &size);
	int out = open_file(paths[1], O_WRONLY | O_CREAT | O_TRUNC, &size);
	ssize_t n;

	while ((n = read(in, piece, sizeof(piece))) > 0) {
		if (write_all(out, piece, (size_t)n) < 0)
			return -EIO;
	}
	return (int)n;
}

/* The largest resident memory since exec, in KiB (proc(5)). */
static void print_peak(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	long peak;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "VmHWM: %ld", &peak) == 1)
			printf("%ld\n", peak);
	}
	if (f)
		(void)fclose(f);
}

int main(int argc, char **argv)
{
	struct error e = {0};
	int r = -EINVAL;

	if (argc == 5 && streq(argv[1], "make"))
		r = make(argv + 2, &e);
	else if ((argc == 5 || argc == 6) && streq(argv[1], "apply"))
		r = apply(argv + 2, &e);
	else if (argc == 4 && streq(argv[1], "copy"))
		r = copy(argv + 2);
	if (r < 0)
		fprintf(stderr, "%d %s\n", r, e.code < 0 ? e.text : strerror(-r));
	else
		print_peak();
	return r < 0;
}
