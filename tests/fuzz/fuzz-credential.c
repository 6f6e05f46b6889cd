/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "credential.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The module takes a path; a file in memory has one. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const hosts[] = {"docker.io", "r.io:5000"};
	_cleanup_close_ int fd = memfd_create("fuzz", MFD_CLOEXEC);
	char path[32];

	if (fd < 0 || fchmod(fd, 0600) < 0 || write_all(fd, data, n) < 0)
		abort();
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		struct credentials set;
		struct error e;

		if (credentials_load(path, hosts[i], &set, &e) < 0)
			continue;
		for (size_t k = 0; k < set.n; k++) {
			const struct credential *c = &set.items[k];
			_cleanup_free_ char *header = credential_engine_header(c, hosts[i]);
			const char *token = c->registry_token;

			/* These become lines of a request. */
			if ((header && strpbrk(header, "\r\n")) ||
			    (token && strpbrk(token, "\r\n")) ||
			    (c->basic && strpbrk(c->basic, "\r\n")))
				abort();
		}
		credentials_free(&set);
	}
	return 0;
}
