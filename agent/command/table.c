/* SPDX-License-Identifier: MIT */
#include "table.h"

#include <stdio.h>

#include "text.h"

#define GAP	    2
#define NOTE_INDENT 2

static struct table_row *add_row(struct table *t)
{
	t->rows = xrealloc(t->rows, (t->n_rows + 1) * sizeof(*t->rows));
	t->rows[t->n_rows] = (struct table_row){0};
	return &t->rows[t->n_rows++];
}

void table_add(struct table *t, const char *const *cells, enum tint tint)
{
	struct table_row *row = add_row(t);

	row->tint = tint;
	for (size_t i = 0; i < t->n_columns; i++)
		row->cells[i] = xstrdup(cells[i]);
}

void table_add_note(struct table *t, const char *text, enum tint tint)
{
	struct table_row *row = add_row(t);

	row->note = true;
	row->tint = tint;
	row->cells[0] = xstrdup(text);
}

static void choose_widths(const struct table *t, size_t width, size_t widths[TABLE_COLUMNS_MAX])
{
	size_t sum = t->n_columns ? (t->n_columns - 1) * GAP : 0, widest;

	for (size_t i = 0; i < t->n_columns; i++) {
		widths[i] = 0;
		for (size_t k = 0; k < t->n_rows; k++) {
			size_t n = t->rows[k].note ? 0 : text_columns(t->rows[k].cells[i]);

			widths[i] = n > widths[i] ? n : widths[i];
		}
		sum += widths[i];
	}
	for (; sum > width; sum--) {
		widest = 0;
		for (size_t i = 1; i < t->n_columns; i++)
			widest = widths[i] > widths[widest] ? i : widest;
		if (widths[widest] <= 1)
			return;
		widths[widest]--;
	}
}

static void write_row(FILE *f, const struct table *t, const struct table_row *row,
		      const size_t *widths, bool colours)
{
	for (size_t i = 0; i < t->n_columns; i++) {
		bool last = i + 1 == t->n_columns;
		_cleanup_free_ char *cell = last ? text_cut(row->cells[i], widths[i])
						 : text_fit(row->cells[i], widths[i]);
		enum tint tint = i == 1 ? row->tint : TINT_NONE;

		fprintf(f, "%s%s%s%*s", terminal_tint(colours, tint), cell,
			terminal_plain(colours, tint), last ? 0 : GAP, "");
	}
	fputc('\n', f);
}

static void write_note(FILE *f, const struct table_row *row, size_t width, bool colours)
{
	_cleanup_free_ char *text = text_cut(row->cells[0], width - NOTE_INDENT);

	fprintf(f, "%*s%s%s%s\n", NOTE_INDENT, "", terminal_tint(colours, row->tint), text,
		terminal_plain(colours, row->tint));
}

char *table_text(const struct table *t, size_t width, bool colours)
{
	size_t widths[TABLE_COLUMNS_MAX], len;
	char *text;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		abort();
	choose_widths(t, width, widths);
	for (size_t k = 0; k < t->n_rows; k++) {
		if (t->rows[k].note)
			write_note(f, &t->rows[k], width, colours);
		else
			write_row(f, t, &t->rows[k], widths, colours);
	}
	if (fclose(f) != 0)
		abort();
	return text;
}

void table_free(struct table *t)
{
	for (size_t k = 0; k < t->n_rows; k++) {
		for (size_t i = 0; i < TABLE_COLUMNS_MAX; i++)
			free(t->rows[k].cells[i]);
	}
	free(t->rows);
}
