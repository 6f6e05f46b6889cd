/* SPDX-License-Identifier: MIT */
/* protocol: the lines that the programs exchange, one JSON object each; message.h has their fields.
 *   pullet-update -> pullet-fetch  batches of requests, then as many replies in order; a request may carry descriptors
 *   pulletd -> pullet-update       one job, then events in return, among them a result for each container
 *   both of them -> pullet run-unit  one request and its answer; unit-start.h
 *   pullet -> pullet-update        the job doctor, by root alone; then the events of doctor.h */
#pragma once

#include <signal.h>

#include "json.h"

#define PROTOCOL_LINE_MAX  ((size_t)256 * 1024) /* bytes */
#define PROTOCOL_BATCH_MAX 32			/* requests */
#define PROTOCOL_FDS_MAX   3			/* descriptors beside a request */

/* Connects to the socket of a program. flags: SOCK_NONBLOCK or 0. Returns the descriptor or a negative errno. */
int protocol_connect(const char *path, int flags, struct error *ret_error) warn_unused;

/* Waits until fd can be read, or is at its end. -ETIMEDOUT at deadline (now_ms()); -ECANCELED: *cancel is set, which is seen
 * within a second; cancel NULL: by any signal. */
int wait_readable(int fd, uint64_t deadline, const volatile sig_atomic_t *cancel,
		  struct error *ret_error) warn_unused;

/* One end of a connection. Set fd, maybe cancel, and the rest to zero; protocol_reader_free() leaves fd open. */
struct protocol_reader {
	int fd;
	const volatile sig_atomic_t *cancel; /* as of wait_readable() */
	char *buf;			     /* PROTOCOL_LINE_MAX bytes */
	size_t len;			     /* that came and were not read yet */
	/* Set: descriptors beside the lines are kept, close-on-exec, of files, and as the last one of a pipe; else the kernel
	 * closes them. */
	bool takes_fds;
	int fds[PROTOCOL_FDS_MAX]; /* that came since protocol_close_fds() */
	size_t n_fds;
};

/* Reads one line, waiting until deadline (now_ms()). -EPIPE: the other side closed before a line was whole; -ETIMEDOUT,
 * -ECANCELED, -EFBIG, -EBADMSG (also other descriptors than files and, as number
 * PROTOCOL_FDS_MAX, a pipe; or more). The caller owns *ret. */
int protocol_read(struct protocol_reader *r, uint64_t deadline, json_t **ret,
		  struct error *ret_error) warn_unused;
/* Closes the descriptors that came. */
void protocol_close_fds(struct protocol_reader *r);
void protocol_reader_free(struct protocol_reader *r);

/* The line of j, or NULL if it is too long. Caller frees. */
char *protocol_line(const json_t *j);
/* Writes one line. -errno; -EFBIG: it is too long. */
int protocol_write(int fd, const json_t *j) warn_unused;
/* The same to a socket: a peer that hung up raises no SIGPIPE, and a signal ends it (-ECANCELED). */
int protocol_send(int fd, const json_t *j) warn_unused;
/* The same with n_fds descriptors, at most PROTOCOL_FDS_MAX, which stay the caller's (SCM_RIGHTS, unix(7)). */
int protocol_send_fds(int fd, const json_t *j, const int *fds, size_t n_fds) warn_unused;

/* {"error": {"code": NAME OF AN ERRNO, "text": TEXT, "retry-after": SECONDS}}, the reply to any request that failed.
 * Names of errnos, because their numbers differ between architectures. The caller owns it. */
json_t *protocol_error_to_json(const struct error *e, unsigned int retry_after_s);
/* The code of j's error, -EIO for an unknown one; 0: j has none. *ret_retry_after_s is at most a day, and set without
 * an error too; it may be NULL. */
int protocol_get_error(const json_t *j, unsigned int *ret_retry_after_s,
		       struct error *ret_error) warn_unused;
