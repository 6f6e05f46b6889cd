/* SPDX-License-Identifier: MIT */
/* no-download: the part of fetch.h that downloads, for tests in which the engine pulls. */
#include "fetch.h"

int fetch_bring(struct fetch *f, const struct fetch_blob *b, struct fetched *ret,
		struct error *ret_error)
{
	abort();
}

int fetch_unpack(const struct fetch_options *o, const char *host, int in, int out, uint64_t max,
		 uint64_t *ret_size, struct error *ret_error)
{
	abort();
}

int fetch_patch(const struct fetch_options *o, const char *host, const struct fetch_patch *p,
		struct error *ret_error)
{
	abort();
}

int fetch_ask_delta(struct fetch *f, const char *image, const struct digest *from,
		    const struct digest *to, struct fetch_delta *ret, struct error *ret_error)
{
	abort();
}

void fetch_traffic(const struct fetch *f, struct traffic *ret)
{
	*ret = (struct traffic){0};
}
