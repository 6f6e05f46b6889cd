/* SPDX-License-Identifier: MIT */
#include "verify.h"

#include <errno.h>

struct verified {
	struct digest digest;
};

int verify_image(const struct container_config *c, const struct digest *digest,
		 struct verified **ret, struct error *ret_error)
{
	struct verified *v;

	/* An empty list is not the same as no key: the operator requires a check. */
	if (c->keys)
		return error_set(ret_error, -EKEYREJECTED,
				 "%s: key= is set, but this version cannot check signatures: no "
				 "image is accepted",
				 c->name);
	if (!digest_is_set(digest))
		return error_set(ret_error, -EINVAL, "%s: no digest to verify", c->name);
	v = xcalloc(1, sizeof(*v));
	v->digest = *digest;
	*ret = v;
	return 0;
}

const struct digest *verified_digest(const struct verified *v)
{
	return &v->digest;
}
