/* SPDX-License-Identifier: MIT */
/* table: rows of cells as text that fits a width, whatever the lengths. Pure. */
#pragma once

#include "terminal.h"

#define TABLE_COLUMNS_MAX 8

struct table_row {
	char *cells[TABLE_COLUMNS_MAX]; /* a note has the first alone */
	enum tint tint;			/* of cell 1, or of the note */
	bool note;			/* a line of its own below the row before */
};

struct table {
	size_t n_columns;
	struct table_row *rows;
	size_t n_rows;
};

/* Copies all texts. cells: n_columns of them. */
void table_add(struct table *t, const char *const *cells, enum tint tint);
void table_add_note(struct table *t, const char *text, enum tint tint);

/* The widest columns give way first; cut cells end in an ellipsis. Caller frees. */
char *table_text(const struct table *t, size_t width, bool colours);
void table_free(struct table *t);
