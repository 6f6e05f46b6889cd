/* SPDX-License-Identifier: MIT */
/* config-internal: what the files of config share; nobody else includes it. */
#pragma once

#include "config.h"

#define CONFIG_LIST_MAX 1024

enum section {
	SECTION_NONE,
	SECTION_FAULTY, /* it was complained about, its keys are not */
	SECTION_AGENT,
	SECTION_REGISTRY,
	SECTION_REPORT,
	SECTION_CONTAINER,
};

/* Where the parser stands: for messages, relative paths and the section that keys go to. */
struct parser {
	struct config *config;
	const char *path;
	unsigned int line;
	struct error *error;
	enum section section;
	struct registry_config *registry;
	struct container_config *container;
};

/* "FILE:LINE: ..."; -EINVAL. */
int config_complain(struct parser *p, const char *fmt, ...) format_printf(2, 3);
/* Sets a key of the section that is open; without one, or with an unknown key, it complains. */
int config_set_key(struct parser *p, const char *key, const char *value) warn_unused;
