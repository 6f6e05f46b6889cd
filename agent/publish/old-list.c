/* SPDX-License-Identifier: MIT */
#include "old-list.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#include "ref.h"

/* The reference of an old image. Caller frees *ret. */
static int complete(const char *text, const struct ref *new, char **ret, struct error *ret_error)
{
	_cleanup_(ref_free) struct ref ref = {0};
	struct digest digest;
	const char *why;

	if (digest_parse(text, &digest) == 0) {
		*ret = ref_pinned(new, &digest);
		return 0;
	}
	if (ref_parse(text, &ref, &why) < 0)
		return error_set(ret_error, -EINVAL, "%s: %s", text, why);
	if (!streq(ref.host, new->host) || !streq(ref.path, new->path))
		return error_set(
			ret_error, -EINVAL,
			"%s is of another repository than %s: a delta is for two images of one "
			"repository; copy OLD there first",
			text, new->text);
	*ret = xstrdup(text);
	return 0;
}

/* The last line that names an image counts: earlier ones are removed. */
static int add(struct old_list *l, const char *text, const struct ref *new, struct error *ret_error)
{
	char *image = NULL;
	int r = complete(text, new, &image, ret_error);

	if (r < 0)
		return r;
	for (size_t i = 0; i < l->n; i++) {
		if (!streq(l->images[i], image))
			continue;
		free(l->images[i]);
		memmove(&l->images[i], &l->images[i + 1], (--l->n - i) * sizeof(*l->images));
	}
	l->images = xrealloc(l->images, (l->n + 1) * sizeof(*l->images));
	l->images[l->n++] = image;
	return 0;
}

static void keep_last(struct old_list *l, size_t n)
{
	size_t first = l->n > n ? l->n - n : 0;

	for (size_t i = 0; i < first; i++)
		free(l->images[i]);
	memmove(l->images, l->images + first, (l->n - first) * sizeof(*l->images));
	l->n -= first;
}

static int read_lines(const char *path, FILE *f, const struct ref *new, struct old_list *ret,
		      struct error *ret_error)
{
	char line[2048];
	int r = 0;

	while (r == 0 && fgets(line, sizeof(line), f)) {
		char *word = line + strspn(line, " \t");

		word[strcspn(word, " \t\r\n#")] = '\0';
		if (*word)
			r = add(ret, word, new, ret_error);
	}
	if (r == 0 && ret->n == 0)
		r = error_set(ret_error, -EINVAL, "it names no image");
	return r < 0 ? error_prefix(ret_error, "%s", path) : 0;
}

static int read_list(const char *path, const char *from, const struct ref *new,
		     struct old_list *ret, struct error *ret_error)
{
	char *end;
	long n = strtol(from, &end, 10);
	FILE *f;
	int r;

	if (!*from || *end || n < 1 || n > OLD_LIST_MAX)
		return error_set(ret_error, -EINVAL, "--from: '%s' is not a number from 1 to %d",
				 from, OLD_LIST_MAX);
	f = streq(path, "-") ? stdin : fopen(path, "re");
	if (!f)
		return error_set(ret_error, -errno, "%s: %m", path);
	r = read_lines(path, f, new, ret, ret_error);
	if (f != stdin)
		(void)fclose(f);
	if (r == 0)
		keep_last(ret, (size_t)n);
	return r;
}

int old_list_read(const char *old, const char *from, const char *new, struct old_list *ret,
		  struct error *ret_error)
{
	_cleanup_(ref_free) struct ref ref = {0};
	const char *why;

	*ret = (struct old_list){0};
	if (ref_parse(new, &ref, &why) < 0)
		return error_set(ret_error, -EINVAL, "%s: %s", new, why);
	return from ? read_list(old, from, &ref, ret, ret_error) : add(ret, old, &ref, ret_error);
}

void old_list_free(struct old_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->images[i]);
	free(l->images);
	*l = (struct old_list){0};
}
