/* SPDX-License-Identifier: MIT */
#include "save-tar.h"

#include <errno.h>
#include <sys/param.h>

/* Octal digits, or in binary as GNU's tar and Go write what has no room for that. */
static bool parse_size(const char *field, size_t n, uint64_t *ret)
{
	uint64_t v = 0;
	size_t i = 0;

	if (field[0] == (char)0x80) {
		for (i = 1; i < n - 8; i++) {
			if (field[i])
				return false;
		}
		for (; i < n; i++)
			v = v << 8 | (unsigned char)field[i];
		*ret = v;
		return v <= INT64_MAX;
	}
	while (i < n && field[i] == ' ')
		i++;
	for (; i < n && field[i] >= '0' && field[i] <= '7'; i++)
		v = v * 8 + (uint64_t)(field[i] - '0');
	*ret = v;
	return i == n || field[i] == ' ' || field[i] == '\0';
}

static bool sum_fits(const struct tar_header *h)
{
	const unsigned char *bytes = (const unsigned char *)h;
	uint64_t sum = 0, expected;

	for (size_t i = 0; i < sizeof(*h); i++)
		sum += bytes[i];
	for (size_t i = 0; i < sizeof(h->checksum); i++)
		sum += (uint64_t)' ' - (unsigned char)h->checksum[i];
	return parse_size(h->checksum, sizeof(h->checksum), &expected) && sum == expected;
}

/* Types '1' to '6' have no content, whatever their size says. */
static int begin_file(struct save_tar *t, struct error *ret_error)
{
	static const char zeros[TAR_BLOCK];
	struct tar_header h;
	char name[sizeof(h.name)] = {0};

	memcpy(&h, t->block, sizeof(h));
	t->have = 0;
	if (memcmp(&h, zeros, sizeof(h)) == 0) {
		t->ended = true;
		return 0;
	}
	if (!sum_fits(&h) || !parse_size(h.size, sizeof(h.size), &t->left))
		return error_set(ret_error, -EBADMSG, "a header of the tar is not valid");
	if (h.type >= '1' && h.type <= '6')
		t->left = 0;
	t->padding = -t->left % TAR_BLOCK;
	t->in_file = h.type == '0' || h.type == '\0';
	memcpy(name, h.name, sizeof(name) - 1);
	return t->in_file ? t->on_file(t->userdata, name, t->left) : 0;
}

/* Takes some of n bytes; their number. */
static size_t take(struct save_tar *t, const char *data, size_t n, int *ret)
{
	if (t->left > 0) {
		n = (size_t)MIN(n, t->left);
		t->left -= n;
		*ret = t->in_file ? t->on_data(t->userdata, data, n) : 0;
	} else if (t->padding > 0) {
		n = (size_t)MIN(n, t->padding);
		t->padding -= n;
	} else {
		n = MIN(n, sizeof(t->block) - t->have);
		memcpy(t->block + t->have, data, n);
		t->have += n;
	}
	return n;
}

int save_tar_push(struct save_tar *t, const char *data, size_t n, struct error *ret_error)
{
	int r = 0;

	while (r == 0 && n > 0 && !t->ended) {
		size_t taken = take(t, data, n, &r);

		data += taken;
		n -= taken;
		if (r == 0 && t->have == sizeof(t->block))
			r = begin_file(t, ret_error);
		if (r == 0 && t->in_file && t->left == 0) {
			t->in_file = false;
			r = t->on_end(t->userdata);
		}
	}
	return r;
}

int save_tar_end(const struct save_tar *t, struct error *ret_error)
{
	return t->ended ? 0 : error_set(ret_error, -EBADMSG, "the tar ends in the middle");
}
