/* SPDX-License-Identifier: MIT */
/* Deltas are made by a program of its own, which devices need not install. */
#include <errno.h>

#include "command.h"
#include "log.h"
#include "program.h"

int command_delta(const struct command_options *o, const char *const *operands)
{
	_cleanup_free_ char *path = program_path("pullet-delta");
	const char *argv[16] = {path, "--config", o->config};
	size_t n = 3;

	if (o->platform) {
		argv[n++] = "--platform";
		argv[n++] = o->platform;
	}
	if (o->from) {
		argv[n++] = "--from";
		argv[n++] = o->from;
	}
	if (o->dry_run)
		argv[n++] = "--dry-run";
	if (o->json)
		argv[n++] = "--json";
	argv[n++] = "--";
	argv[n++] = strchr(o->command, ' ') + 1;
	while (*operands && n < ARRAY_SIZE(argv) - 1)
		argv[n++] = *operands++;
	(void)execv(path, (char *const *)argv);
	if (errno == ENOENT)
		log_error("pullet delta needs the package pullet-publish: apt install "
			  "pullet-publish");
	else
		log_error("cannot start %s: %s", path, strerror(errno));
	return 1;
}
