/* SPDX-License-Identifier: MIT */
/* config-internal: shared by config.c and config-keys.c only. */
#pragma once

#include "config.h"

#define CONFIG_LIST_MAX 1024

#define SECTION_AGENT	  "agent"
#define SECTION_REPORT	  "report"
#define SECTION_REGISTRY  "registry"
#define SECTION_CONTAINER "container"

/* What stands behind the word of a section, in messages. */
static inline const char *config_operand(const char *section)
{
	return streq(section, SECTION_REGISTRY)	   ? " HOST"
	       : streq(section, SECTION_CONTAINER) ? " NAME"
						   : "";
}

struct parser {
	struct config *config;
	/* The place, for messages and relative paths. */
	const char *path;
	unsigned int line;
	/* The open section: [section argument]. */
	const char *section; /* NULL: none yet */
	const char *argument;
	void *fields; /* its structure; NULL: the section is faulty, and its keys are skipped */
	const struct key *key; /* that is read */
	char *path_value;      /* the absolute path that the key's value is; NULL: it is none */
	json_t *settings;      /* gets what is in force, for config_settings(); may be NULL */
	/* Errors do not end the reading. */
	void (*report)(void *userdata, const char *text); /* gets each; may be NULL */
	void *userdata;
	struct error first;
};

/* Adds the fault "FILE:LINE: ..." and returns -EINVAL. */
int config_complain(struct parser *p, const char *fmt, ...) format_printf(2, 3);
/* Sets a key of the open section. An unknown key, or one before any section, is a fault. */
int config_set_key(struct parser *p, const char *name, const char *value);
/* Sets the keys of a section to their defaults. fields: its structure. */
void config_set_defaults(struct parser *p, const char *section, const char *name, void *fields);
