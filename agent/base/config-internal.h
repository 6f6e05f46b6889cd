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

struct parser;

/* A key of the configuration. */
struct key {
	char section[12];
	char name[24];
	/* Writes value to field, which is as the parser's name says, or complains. */
	int (*parse)(struct parser *p, const char *value, void *field);
	size_t offset;	/* of field in the section's structure */
	uint64_t least; /* parse_span: ms */
	uint64_t most;	/* 0: any */
	/* The default, NULL if it is the field's own zero; for parse_word all values by the number of each, "WORD, WORD, ...",
	 * of which the first is the default. */
	const char *words;
	bool repeats; /* each line counts, not only the last one */
};

struct parser {
	struct config *config;
	const char *main_path; /* of the file that was asked for, beside which its drop-ins are */
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

void config_add_fault(struct parser *p, const struct error *e);
/* Adds the fault "FILE:LINE: ..." and returns -EINVAL. */
int config_complain(struct parser *p, const char *fmt, ...) format_printf(2, 3);
/* Sets a key of the open section. An unknown key, or one before any section, is a fault. */
int config_set_key(struct parser *p, const char *name, const char *value);
/* Sets the keys of a section to their defaults. fields: its structure. */
void config_set_defaults(struct parser *p, const char *section, const char *name, void *fields);
/* Adds a fault if the file is not that of one public key, or of revoked ones, that can be used. */
int config_check_key(struct parser *p, const char *path);
int config_check_revoked(struct parser *p, const char *path);
/* Adds a fault for each container with fewer different keys than key-threshold = wants. */
void config_check_thresholds(struct parser *p);
/* The parser of key-threshold =. */
int config_parse_threshold(struct parser *p, const char *value, void *field);
