/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <sys/param.h>

#include "crypto.h"
#include "inflate.h"
#include "save-tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What a tar says, and what is inflated of its files. */
struct reading {
	struct evp_md_ctx_st *told;
	struct inflate inflate;
	uint64_t left; /* bytes of the file that must still come */
	bool open, failed;
};

static int on_inflated(void *userdata, const char *data, size_t n)
{
	struct reading *r = userdata;

	if (n == 0 || r->failed)
		abort();
	return 0;
}

static int on_file(void *userdata, const char *name, uint64_t size)
{
	struct reading *r = userdata;

	if (r->open || size > INT64_MAX)
		abort();
	hash_add(r->told, name, strlen(name) + 1);
	hash_add(r->told, &size, sizeof(size));
	r->left = size;
	r->open = true;
	r->failed = false;
	inflate_begin(&r->inflate);
	return 0;
}

static int on_data(void *userdata, const char *data, size_t n)
{
	struct reading *r = userdata;

	if (!r->open || n > r->left)
		abort();
	r->left -= n;
	hash_add(r->told, data, n);
	if (!r->failed)
		r->failed = inflate_push(&r->inflate, data, n) < 0;
	return 0;
}

static int on_end(void *userdata)
{
	struct reading *r = userdata;

	if (!r->open || r->left > 0)
		abort();
	r->open = false;
	if (!r->failed)
		(void)!inflate_end(&r->inflate);
	return 0;
}

static struct digest read_tar(const char *data, size_t n, size_t piece, int *ret)
{
	struct reading reading = {.told = hash_begin(),
				  .inflate = {.on_data = on_inflated, .userdata = &reading}};
	struct save_tar t = {
		.on_file = on_file, .on_data = on_data, .on_end = on_end, .userdata = &reading};
	struct error e;
	int r = 0;

	for (size_t at = 0; r == 0 && at < n; at += piece)
		r = save_tar_push(&t, data + at, MIN(piece, n - at), &e);
	*ret = r < 0 ? r : save_tar_end(&t, &e);
	if (*ret != 0 && *ret != -EBADMSG)
		abort();
	inflate_free(&reading.inflate);
	return hash_end(reading.told);
}

/* Whatever the pieces, it says the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const size_t pieces[] = {1, 7, 511, 4096};
	int r, q;
	struct digest whole = read_tar((const char *)data, n, n + 1, &r);

	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		struct digest d = read_tar((const char *)data, n, pieces[i], &q);

		if (q != r || !digest_eq(&d, &whole))
			abort();
	}
	return 0;
}
