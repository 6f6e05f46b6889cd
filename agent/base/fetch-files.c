/* SPDX-License-Identifier: MIT */
/* The requests that files go along with. */
#include <errno.h>
#include <fcntl.h>
#include <sys/param.h>
#include <sys/stat.h>

#include "fetch-internal.h"

#define PIECE	 ((size_t)64 * 1024)
#define PATCH_MS (60u * 60 * 1000) /* as long as a pullet-fetch of systemd may run */

/* Sends a request with n files, and reads up to the reply behind any number of lines of progress, each of which shows that
 * the network half is at work. b: whose progress it is; NULL: nobody's. *ret_any: there was such a line. */
static int exchange_files(struct fetch *f, const json_t *question, const int *fds, size_t n,
			  const struct fetch_blob *b, bool *ret_any, json_t **ret,
			  struct error *ret_error)
{
	struct fetched progress;
	int r = fetch_has_more(f) ? -EBADMSG : protocol_send_fds(f->reader.fd, question, fds, n);

	if (r < 0)
		return error_set(ret_error, r, "%s", strerror(-r));
	for (;;) {
		r = fetch_read_reply(f, now_ms() + FETCH_TIMEOUT_MS, ret, ret_error);
		if (r < 0 || !message_is_progress(*ret, &progress))
			return r;
		json_decref(steal(*ret));
		*ret_any = true;
		if (b && b->on_progress)
			b->on_progress(b->userdata, MIN(progress.bytes, b->size));
	}
}

int fetch_bring(struct fetch *f, const struct fetch_blob *b, struct fetched *ret,
		struct error *ret_error)
{
	_cleanup_json_ json_t *question = message_blob_to_json(b), *answer = NULL;
	bool used = f->reader.fd >= 0, any = false;
	struct stat st;
	int r;

	*ret = (struct fetched){.bytes = b->size};
	r = used ? 0 : fetch_open_session(f, ret_error);
	if (r == 0)
		r = exchange_files(f, question, &b->fd, 1, b, &any, &answer, ret_error);
	if (r == -EPIPE && used && !any) {
		fetch_hang_up(f);
		return fetch_bring(f, b, ret, ret_error);
	}
	if (r == 0) {
		r = message_fetched_from_json(answer, b->size, ret, ret_error);
	} else {
		fetch_hang_up(f);
		(void)error_prefix(ret_error, "pullet-fetch");
	}
	/* The network half may claim any number, or say none. */
	ret->bytes = fstat(b->fd, &st) < 0 ? 0 : MIN(ret->bytes, (uint64_t)st.st_size);
	return r;
}

int fetch_ask_push(struct fetch *f, const json_t *question, const struct fetch_blob *b,
		   json_t **ret, struct error *ret_error)
{
	_cleanup_json_ json_t *answer = NULL;
	bool used = f->reader.fd >= 0, any = false;
	int r = used ? 0 : fetch_open_session(f, ret_error);

	if (r == 0)
		r = exchange_files(f, question, &b->fd, 1, b, &any, &answer, ret_error);
	if (r < 0)
		fetch_hang_up(f);
	if (r == -EPIPE && used && !any)
		return fetch_ask_push(f, question, b, ret, ret_error);
	if (r < 0)
		return error_prefix(ret_error, "pullet-fetch");
	r = protocol_get_error(answer, NULL, ret_error);
	if (r == 0)
		*ret = steal(answer);
	return r;
}

/* The bytes that a reply says the network half made: least to most. */
static int get_bytes(const json_t *reply, uint64_t least, uint64_t most, uint64_t *ret,
		     struct error *ret_error)
{
	json_int_t n = json_integer_value(json_object_get(reply, "bytes"));
	int r = protocol_get_error(reply, NULL, ret_error);

	if (r < 0)
		return r;
	if (n < 0 || (uint64_t)n < least || (uint64_t)n > most)
		return error_set(ret_error, -EBADMSG, "the message has no valid \"bytes\"");
	*ret = (uint64_t)n;
	return 0;
}

int fetch_unpack(const struct fetch_options *o, const char *host, int in, int out, uint64_t max,
		 uint64_t *ret_size, struct error *ret_error)
{
	_cleanup_fetch_ struct fetch *f = fetch_new(o, host);
	const uint64_t most = max < INT64_MAX ? max : INT64_MAX;
	_cleanup_json_ json_t *question = json_need(json_pack("{s:s, s:I}", "op", "unpack", "max",
							      (json_int_t)most)),
			      *answer = NULL;
	const int fds[] = {in, out};
	bool any;
	int r = fetch_open_session(f, ret_error);

	if (r < 0)
		return r;
	r = exchange_files(f, question, fds, ARRAY_SIZE(fds), NULL, &any, &answer, ret_error);
	if (r < 0)
		return error_prefix(ret_error, "pullet-fetch");
	return get_bytes(answer, 0, most, ret_size, ret_error);
}

/* Hands on what comes out of the pipe, until the network half closes it. */
static int take_new(const struct fetch_patch *p, int fd, const volatile sig_atomic_t *cancel,
		    uint64_t *ret, struct error *ret_error)
{
	_cleanup_free_ char *piece = xmalloc(PIECE);
	uint64_t deadline = now_ms() + PATCH_MS;

	for (*ret = 0;;) {
		uint64_t limit = MIN(deadline, now_ms() + FETCH_TIMEOUT_MS);
		int r = wait_readable(fd, limit, cancel, ret_error);
		ssize_t n = r < 0 ? 0 : read(fd, piece, PIECE);

		if (r == -ETIMEDOUT)
			return error_set(ret_error, r,
					 "pullet-fetch: a patch was not applied in time");
		if (r < 0 || n == 0)
			return r;
		if (n < 0)
			return error_set(ret_error, -errno, "cannot read the new data: %m");
		*ret += (uint64_t)n;
		if (*ret > p->max)
			return error_set(ret_error, -EFBIG,
					 "pullet-fetch makes more than %ju bytes of a patch",
					 (uintmax_t)p->max);
		r = p->on_data(p->userdata, piece, (size_t)n);
		if (r < 0)
			return error_set(ret_error, r, "cannot keep the new data: %s",
					 strerror(-r));
	}
}

int fetch_patch(const struct fetch_options *o, const char *host, const struct fetch_patch *p,
		struct error *ret_error)
{
	_cleanup_fetch_ struct fetch *f = fetch_new(o, host);
	_cleanup_json_ json_t *question = message_patch_to_json(p->extents, p->n_extents, p->max),
			      *answer = NULL;
	_cleanup_close_ int in = -1;
	uint64_t made;
	int fds[3] = {p->old, p->patch}, pipes[2];
	int r = fetch_open_session(f, ret_error);

	if (r < 0)
		return r;
	/* The end of the network half does not block, so that a caller who hangs up ends it for sure. */
	if (pipe2(pipes, O_CLOEXEC) < 0)
		return error_set(ret_error, -errno, "cannot make a pipe: %m");
	in = pipes[0];
	fds[2] = pipes[1];
	(void)fcntl(pipes[1], F_SETFL, O_NONBLOCK);
	r = protocol_send_fds(f->reader.fd, question, fds, ARRAY_SIZE(fds));
	close(pipes[1]);
	if (r < 0)
		return error_set(ret_error, r, "pullet-fetch: %s", strerror(-r));
	r = take_new(p, in, f->options->cancel, &made, ret_error);
	if (r < 0)
		return r;
	r = fetch_read_reply(f, now_ms() + FETCH_TIMEOUT_MS, &answer, ret_error);
	return r < 0 ? error_prefix(ret_error, "pullet-fetch")
		     : get_bytes(answer, made, made, &made, ret_error);
}
