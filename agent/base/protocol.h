/* SPDX-License-Identifier: MIT */
/* protocol: the lines that the programs exchange, one JSON object each; message.h has their fields.
 *   pullet-update -> pullet-fetch  batches of requests, then as many replies in order
 *   pulletd -> pullet-update       one job, then events in return, among them a result for each container */
#pragma once

#include "json.h"

#define PROTOCOL_LINE_MAX  ((size_t)256 * 1024) /* bytes */
#define PROTOCOL_BATCH_MAX 32			/* requests */

/* One end of a connection. Set fd, and the rest to zero; protocol_reader_free() leaves fd open. */
struct protocol_reader {
	int fd;
	char *buf;  /* PROTOCOL_LINE_MAX bytes */
	size_t len; /* that came and were not read yet */
};

/* Reads one line, waiting until deadline (now_ms(), at most INT_MAX ms ahead). -EPIPE: the other side closed before a
 * line was whole; -ETIMEDOUT, -ECANCELED (a signal), -EFBIG, -EBADMSG. The caller owns *ret. */
int protocol_read(struct protocol_reader *r, uint64_t deadline, json_t **ret,
		  struct error *ret_error) warn_unused;
void protocol_reader_free(struct protocol_reader *r);

/* The line of j, or NULL if it is too long. Caller frees. */
char *protocol_line(const json_t *j);
/* Writes one line. -errno; -EFBIG: it is too long. */
int protocol_write(int fd, const json_t *j) warn_unused;

/* {"error": {"code": NAME OF AN ERRNO, "text": TEXT, "retry-after": SECONDS}}, the reply to any request that failed.
 * Names of errnos, because their numbers differ between architectures. The caller owns it. */
json_t *protocol_error_to_json(const struct error *e, unsigned int retry_after_s);
/* The code of j's error, -EIO for an unknown one; 0: j has none. *ret_retry_after_s is at most a day, and set without
 * an error too; it may be NULL. */
int protocol_get_error(const json_t *j, unsigned int *ret_retry_after_s,
		       struct error *ret_error) warn_unused;
