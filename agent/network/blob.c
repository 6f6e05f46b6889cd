/* SPDX-License-Identifier: MIT */
#include "blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/param.h>
#include <sys/stat.h>

#include "crypto.h"
#include "json.h"
#include "protocol.h"

#define ATTEMPTS_MAX 3 /* in a row, without one new byte */

/* A blob on its way. */
struct bringing {
	struct session *session;
	const struct fetch_blob *blob;
	uint64_t bytes;	 /* of the file that are right, if those who sent them are */
	uint64_t synced; /* of them */
	/* of the present answer */
	uint64_t at;	    /* where it goes on */
	bool restarted;	    /* it began at 0 although there are bytes already */
	bool no_range;	    /* it was none to a range */
	struct error fault; /* what is wrong with it, or with the file */
	/* of all */
	bool mirrored; /* some bytes are from a mirror */
	bool whole;    /* the next request asks for no range: the last one's answer was unusable */
	bool broken;   /* the file cannot be written */
	bool ended;    /* by a limit of the request: */
	enum fetch_end end;
	uint64_t deadline, deadline_whole; /* now_ms() */
	uint64_t allowed;		   /* of the meter; UINT64_MAX: any */
	struct told told;
};

static int break_file(struct bringing *b, const char *what)
{
	b->broken = true;
	return error_set(&b->fault, -errno, "cannot %s the file: %s", what, strerror(errno));
}

/* Ends what goes on when a limit of the request is reached, also between the bytes. */
static int check_limits(void *userdata)
{
	struct bringing *b = userdata;

	/* The bytes of an answer that began at the start would come again with the next one. */
	if (now_ms() >= (b->restarted ? b->deadline_whole : b->deadline))
		b->end = FETCH_TIME;
	else if (b->allowed < UINT64_MAX && meter_read(&b->session->traffic.meter) >= b->allowed)
		b->end = FETCH_ALLOWANCE;
	b->ended = b->end != FETCH_WHOLE;
	if (!b->ended)
		session_tell_at_times(b->session, &b->told, b->bytes);
	return b->ended ? -ECANCELED : 0;
}

static int sync_file(struct bringing *b)
{
	b->synced = b->bytes;
	return fdatasync(b->blob->fd) < 0 ? break_file(b, "sync") : 0;
}

bool blob_parse_range(const char *value, uint64_t *ret_first, uint64_t *ret_last,
		      uint64_t *ret_size)
{
	uint64_t *const numbers[] = {ret_first, ret_last, ret_size};
	const char *const separators[] = {"-", "/", ""};
	const char *p = after_prefix(value, "bytes ");

	for (size_t i = 0; p && i < ARRAY_SIZE(numbers); i++) {
		size_t n = strspn(p, DIGITS);

		if (n == 0 || n > 18)
			return false;
		*numbers[i] = strtoull(p, NULL, 10);
		p = after_prefix(p + n, separators[i]);
	}
	return p && !*p && *ret_first <= *ret_last && *ret_last < *ret_size;
}

/* A part must be the one that was asked for, to the end of the blob. */
static int check_part(struct bringing *b, const char *range)
{
	uint64_t first, last, size;

	b->no_range = true;
	if (b->whole)
		return error_set(&b->fault, -EPROTO,
				 "it sends a part where the whole was asked for");
	if (!range || !blob_parse_range(range, &first, &last, &size))
		return error_set(&b->fault, -EPROTO,
				 "it sends a part without a valid Content-Range");
	if (size != b->blob->size)
		return error_set(&b->fault, -EPROTO, "its blob has %ju bytes", (uintmax_t)size);
	if (first != b->at || last != size - 1)
		return error_set(&b->fault, -EPROTO,
				 "it sends another part than the one wanted: %s", range);
	b->no_range = false;
	return 0;
}

/* A login page in place of a blob must not spoil what is there. What a header claims costs no byte of the file either. */
static int on_begin(void *userdata, const struct http_response *response)
{
	struct bringing *b = userdata;
	_cleanup_free_ char *range = http_header(response, "Content-Range"),
			    *length = http_header(response, "Content-Length"),
			    *coding = http_header(response, "Content-Encoding"),
			    *type = http_header(response, "Content-Type");

	if (coding && !streq(coding, "identity"))
		return error_set(&b->fault, -EPROTO, "it sends Content-Encoding: %s", coding);
	if (type && after_prefix(type, "text/html"))
		return error_set(&b->fault, -EPROTO, "it sends a web page");
	if (response->status == 206)
		return check_part(b, range);
	if (length && strtoull(length, NULL, 10) != b->blob->size)
		return error_set(&b->fault, -EPROTO, "its blob has %s bytes", length);
	/* The same bytes from the start, over what is there. */
	b->restarted = b->bytes > 0;
	b->at = 0;
	return 0;
}

static int on_data(void *userdata, const char *data, size_t n)
{
	struct bringing *b = userdata;
	size_t fits = MIN(n, b->blob->size - b->at);
	ssize_t wrote;

	for (size_t done = 0; done < fits; done += (size_t)wrote) {
		/* What lies below a multiple of FETCH_SYNC_BYTES is on the disk before more is written: a power cut leaves it. */
		wrote = pwrite(b->blob->fd, data + done,
			       MIN(fits - done, FETCH_SYNC_BYTES - b->at % FETCH_SYNC_BYTES),
			       (off_t)b->at);
		if (wrote < 0)
			return break_file(b, "write");
		b->at += (uint64_t)wrote;
		b->bytes = MAX(b->bytes, b->at);
		if (b->at % FETCH_SYNC_BYTES == 0 && b->at > b->synced && sync_file(b) < 0)
			return b->fault.code;
	}
	if (fits < n)
		return error_set(&b->fault, -EBADMSG, "it sends more bytes");
	return check_limits(b);
}

/* One request to r alone, for what is missing. */
static int attempt(struct bringing *b, struct registry *r, const struct ref *ref,
		   unsigned int *ret_retry_after_s, struct error *ret_error)
{
	const struct fetch_blob *blob = b->blob;
	/* A registry has no ranges of manifests. */
	uint64_t from = blob->manifest || b->whole ? 0 : b->bytes;
	_cleanup_free_ char *range = xasprintf("Range: bytes=%ju-", (uintmax_t)from);
	struct registry *mirror = steal(r->mirror);
	struct call c = {.repository = ref->path,
			 .method = "GET",
			 .kind = blob->manifest ? "manifests" : "blobs",
			 .name = blob->digest.text,
			 .on_begin = on_begin,
			 .on_data = on_data,
			 .userdata = b,
			 .range = from > 0 ? range : NULL};
	int q = 0;

	b->at = from;
	b->restarted = b->no_range = false;
	b->fault = (struct error){0};
	registry_extend(r);
	registry_request_all(r, &c, 1);
	if (b->fault.code < 0)
		q = error_set(ret_error, b->fault.code, "%s: %s", r->o->host, b->fault.text);
	else if (c.result.error.code < 0 || c.result.response.status / 100 != 2)
		q = registry_check_status(r, &c, 200, ret_error);
	*ret_retry_after_s = q < 0 ? c.result.response.retry_after_s : 0;
	/* A registry that answers ranges wrongly may still send the whole, from its start. */
	b->whole = from > 0 && (b->no_range || c.result.response.status == 416);
	http_response_free(&c.result.response);
	r->mirror = mirror;
	return q;
}

/* Whether the next request may be answered though this one was not. */
static bool may_help(int code)
{
	return code == 0 || code == -ECONNRESET || code == -ETIMEDOUT || code == -ECONNREFUSED ||
	       code == -EHOSTUNREACH || code == -EPROTO || code == -EREMOTEIO;
}

/* The mirror that is asked that many places before the registry, which is 0. */
static struct registry *find_source(struct registry *r, size_t before)
{
	for (; before > 0; before--)
		r = r->mirror;
	return r;
}

/* The mirror gave nothing: the one behind it is asked, and this one no more if it cannot be reached. */
static void leave_mirror(struct registry *behind, int code, const char *why)
{
	replace_string(&behind->mirror_fault, why);
	if (code == -ECONNREFUSED || code == -EHOSTUNREACH || code == -ETIMEDOUT)
		registry_set_mirror(behind, steal(behind->mirror->mirror));
}

/* Requests what is missing until all is there. A mirror is asked as long as it gives something. */
static int request_all(struct bringing *b, const struct ref *ref, bool mirrors, struct fetched *ret,
		       struct error *ret_error)
{
	struct registry *registry = b->session->registry;
	unsigned int in_vain = 0;
	size_t source = 0;
	int q = 0;

	while (mirrors && find_source(registry, source)->mirror)
		source++;
	while (b->bytes < b->blob->size && in_vain < ATTEMPTS_MAX && may_help(q)) {
		uint64_t before = b->bytes;

		q = attempt(b, find_source(registry, source), ref, &ret->retry_after_s, ret_error);
		b->mirrored |= source > 0 && b->bytes > before;
		if (b->ended || b->broken || q == -ECANCELED)
			break;
		if (b->bytes > before) {
			in_vain = 0;
		} else if (source == 0) {
			in_vain++;
		} else {
			leave_mirror(find_source(registry, --source), q,
				     q < 0 ? ret_error->text : "it sends nothing");
			b->whole = false;
			q = 0;
		}
	}
	if (b->broken || q == -EBADMSG)
		return q;
	if (b->bytes == b->blob->size)
		return 0;
	if (b->restarted && (in_vain == ATTEMPTS_MAX || (b->ended && b->bytes == b->blob->offset)))
		return error_set(
			ret_error, -EREMOTEIO,
			"this registry cannot resume: each answer begins at the start, and "
			"none came as far as an earlier one");
	if (b->ended)
		return -ECANCELED;
	return q == 0 ? error_set(ret_error, -EREMOTEIO, "the registry sends less") : q;
}

/* The whole file is hashed: an earlier process wrote a part of it. */
static int check_hash(struct bringing *b, struct error *ret_error)
{
	const struct fetch_blob *blob = b->blob;
	struct digest got;
	int q = hash_file(blob->fd, blob->size, &got);

	b->end = FETCH_WHOLE;
	if (q == 0 && ftruncate(blob->fd, (off_t)blob->size) < 0)
		q = -errno;
	if (q < 0)
		return error_set(ret_error, q, "cannot read the file: %s", strerror(-q));
	return digest_eq(&got, &blob->digest)
		       ? 0
		       : error_set(ret_error, -EBADMSG,
				   "the bytes hash to %s: the registry, a mirror or the disk has "
				   "changed them",
				   got.text);
}

/* What does not hash is no use to any later request. */
static int bring(struct bringing *b, const struct ref *ref, bool mirrors, struct fetched *ret,
		 struct error *ret_error)
{
	int q = request_all(b, ref, mirrors, ret, ret_error);

	if (q == 0)
		q = check_hash(b, ret_error);
	if (q != -EBADMSG)
		return q;
	if (ftruncate(b->blob->fd, 0) < 0)
		return error_set(ret_error, -errno, "cannot empty the file: %s", strerror(errno));
	b->bytes = b->synced = 0;
	return q;
}

static int check_file(const struct fetch_blob *b, struct error *ret_error)
{
	int flags = fcntl(b->fd, F_GETFL);
	struct stat st;

	if (flags < 0 || (flags & (O_ACCMODE | O_APPEND | O_PATH)) != O_RDWR)
		return error_set(ret_error, -EBADF, "the file is not open for reading and writing");
	if (fstat(b->fd, &st) < 0 || (uint64_t)st.st_size < b->offset)
		return error_set(ret_error, -EINVAL, "the file has less than %ju bytes",
				 (uintmax_t)b->offset);
	return 0;
}

static uint64_t add_ms(uint64_t now, uint64_t ms)
{
	return ms < UINT64_MAX - now ? now + ms : UINT64_MAX;
}

/* An earlier process may have been killed before the sync of its last bytes. */
static uint64_t synced_before(uint64_t offset)
{
	return offset > 0 ? (offset - 1) / FETCH_SYNC_BYTES * FETCH_SYNC_BYTES : 0;
}

int blob_bring(struct session *s, const struct ref *ref, const struct fetch_blob *blob,
	       struct fetched *ret, struct error *ret_error)
{
	uint64_t now = now_ms(), moved = meter_read(&s->traffic.meter);
	struct bringing b = {.session = s,
			     .blob = blob,
			     .bytes = blob->offset,
			     .synced = synced_before(blob->offset),
			     .told = {blob->offset, now},
			     .deadline = add_ms(now, blob->ms),
			     .deadline_whole = add_ms(now, blob->ms_whole),
			     .allowed = blob->allowance < UINT64_MAX - moved
						? moved + blob->allowance
						: UINT64_MAX};
	int q = check_file(blob, ret_error);

	*ret = (struct fetched){.bytes = blob->offset};
	if (q < 0)
		return q;
	registry_cap(s->registry, blob->speed);
	s->tick = (struct http_tick){check_limits, &b};
	q = bring(&b, ref, true, ret, ret_error);
	/* The mirror may have sent the wrong ones. */
	if (q == -EBADMSG && b.mirrored && !b.ended)
		q = bring(&b, ref, false, ret, ret_error);
	s->tick = (struct http_tick){0};
	if (q == -ECANCELED && b.ended)
		q = 0;
	if (b.synced < b.bytes && sync_file(&b) < 0 && q == 0)
		q = error_set(ret_error, b.fault.code, "%s", b.fault.text);
	ret->bytes = b.bytes;
	ret->end = b.end;
	return q < 0 ? error_prefix(ret_error, "%s, %ju of %ju bytes", blob->digest.text,
				    (uintmax_t)b.bytes, (uintmax_t)blob->size)
		     : 0;
}
