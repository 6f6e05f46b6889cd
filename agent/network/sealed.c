/* SPDX-License-Identifier: MIT */
#include "sealed.h"

#include <errno.h>

#include "patch.h"
#include "seal.h"
#include "unpack.h"

bool sealed_is_op(const char *op)
{
	return streq(op, "unpack") || streq(op, "patch");
}

static void tell_progress(void *userdata, uint64_t bytes)
{
	session_tell_progress(userdata, bytes);
}

static int unpack(struct session *s, const json_t *question, uint64_t *ret_size,
		  struct error *ret_error)
{
	const struct protocol_reader *caller = s->caller;
	json_int_t max = json_integer_value(json_object_get(question, "max"));
	struct unpacking u = {.max = (uint64_t)max,
			      .cancel = s->options.cancel,
			      .on_progress = tell_progress,
			      .userdata = s};

	if (max < 0 || caller->n_fds != 2)
		return error_set(ret_error, -EBADMSG,
				 "the request to unpack has no valid \"max\", or not two files");
	u.in = caller->fds[0];
	u.out = caller->fds[1];
	return unpack_zstd(&u, ret_size, ret_error);
}

static int patch(struct session *s, const json_t *question, uint64_t *ret_size,
		 struct error *ret_error)
{
	_cleanup_free_ struct patch_extent *extents = NULL;
	const struct protocol_reader *caller = s->caller;
	struct patching p = {.cancel = s->options.cancel};
	int r = message_patch_from_json(question, &extents, &p.n_extents, &p.max, ret_error);

	if (r < 0)
		return r;
	if (caller->n_fds != 3)
		return error_set(ret_error, -EBADMSG,
				 "the request for a patch has not two files and a pipe");
	p.extents = extents;
	p.old = caller->fds[0];
	p.patch = caller->fds[1];
	p.out = caller->fds[2];
	return patch_apply(&p, ret_size, ret_error);
}

int sealed_answer(struct session *s, const char *op, const json_t *question, json_t **ret,
		  struct error *ret_error)
{
	uint64_t size;
	int r;

	/* Whoever takes over the process by a layer finds no connection and no token in it. A process of systemd has read
	 * nothing before; a child of root has read the credentials of its registry. */
	session_close(s);
	r = seal(ret_error);
	if (r < 0)
		return r;
	s->sealed = true;
	r = streq(op, "patch") ? patch(s, question, &size, ret_error)
			       : unpack(s, question, &size, ret_error);
	if (r == 0)
		*ret = json_need(json_pack("{s:I}", "bytes", (json_int_t)size));
	return r;
}
