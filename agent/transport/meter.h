/* SPDX-License-Identifier: MIT */
/* meter: the bytes that a process moves over TCP, both ways, as a metered link counts them: payload, TLS, handshakes,
 * retransmissions, and the headers of each packet. Not counted: DNS, and what arrives behind a close. */
#pragma once

#include "util.h"

#define METER_SOCKETS_MAX 16

/* All zero: nothing was moved. */
struct meter {
	uint64_t bytes; /* of closed sockets */
	struct meter_socket {
		int fd;
		uint64_t bytes; /* when it was last read */
	} open[METER_SOCKETS_MAX];
	size_t n;
};

/* Counts a new socket. It replaces an open one of the same number, which was closed unseen. */
void meter_open(struct meter *m, int fd);
/* The socket is about to be closed. */
void meter_close(struct meter *m, int fd);
/* All bytes until now. */
uint64_t meter_read(struct meter *m);

/* Slows down what a meter counts. Time in which nothing was moved is not made up for. */
struct pace {
	uint64_t speed;	 /* bytes a second; 0: any */
	uint64_t moved;	 /* what the meter said last */
	uint64_t due_ms; /* when that is within the speed; now_ms() */
};

void pace_begin(struct pace *p, uint64_t speed, uint64_t moved);
/* How long to move nothing, after the meter has said moved. */
uint64_t pace_wait_ms(struct pace *p, uint64_t moved);
