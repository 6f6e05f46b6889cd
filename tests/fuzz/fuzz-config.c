/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "config.h"
#include "error.h"
#include "ref.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void on_fault(void *userdata, const char *fault)
{
	if (!*fault)
		abort();
}

/* What a configuration that was taken promises to all that read it. */
static void check(const struct config *c)
{
	for (size_t i = 0; i < c->n_containers; i++) {
		const struct container_config *k = &c->containers[i];
		const char *why;
		struct ref r;

		if (ref_parse(k->image, &r, &why) < 0 || strpbrk(k->name, "/ \n") ||
		    (k->keys && !k->keys[0]))
			abort();
		ref_free(&r);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_close_ int fd = memfd_create("config", MFD_CLOEXEC);
	_cleanup_free_ char *path = xasprintf("/proc/self/fd/%d", fd);
	struct config *c = NULL;
	struct error e;

	if (fd < 0 || fchmod(fd, 0600) < 0 || write_all(fd, data, n) < 0)
		abort();
	if (config_load(path, &c, &e) == 0) {
		check(c);
		config_free(c);
	} else if (e.code == -ENOENT || e.code == -EPERM) {
		abort(); /* not read at all */
	}
	config_free(config_read(path, on_fault, NULL));
	return 0;
}
