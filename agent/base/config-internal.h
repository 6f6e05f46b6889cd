/* SPDX-License-Identifier: MIT */
/* config-internal: shared by config.c and config-keys.c only. */
#pragma once

#include "config.h"

#define CONFIG_LIST_MAX 1024

enum section {
	SECTION_NONE,
	SECTION_FAULTY, /* reported already; its keys are skipped */
	SECTION_AGENT,
	SECTION_REGISTRY,
	SECTION_REPORT,
	SECTION_CONTAINER,
};

struct faults;

/* The place in the file, for messages and relative paths, and the open section, for keys. */
struct parser {
	struct config *config;
	const char *path;
	unsigned int line;
	struct faults *faults;
	enum section section;
	struct registry_config *registry;
	struct container_config *container;
};

/* Adds the fault "FILE:LINE: ..." and returns -EINVAL. */
int config_complain(struct parser *p, const char *fmt, ...) format_printf(2, 3);
/* Sets a key of the open section. An unknown key, or one before any section, is a fault. */
void config_set_key(struct parser *p, const char *key, const char *value);
