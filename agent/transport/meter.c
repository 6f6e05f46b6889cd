/* SPDX-License-Identifier: MIT */
#include "meter.h"

#include <linux/tcp.h> /* <netinet/tcp.h> lacks the fields since Linux 4.2 */
#include <netinet/in.h>
#include <sys/param.h>
#include <sys/socket.h>

#define IPV4_HEADERS	  40 /* with TCP's */
#define IPV6_HEADERS	  60
#define TIMESTAMP_BYTES	  12 /* of TCP's option, RFC 7323 */
#define SEGMENTS_OF_CLOSE 4
#define CREDIT_MS	  200 /* of a link that was idle */

/* The bytes of fd so far; 0: it is no TCP socket. *ret_header: of each of its packets. */
static uint64_t read_socket(int fd, uint64_t *ret_header)
{
	struct tcp_info i = {0};
	socklen_t n = sizeof(i);
	int domain = AF_INET;

	*ret_header = 0;
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &n) < 0)
		return 0;
	n = sizeof(domain);
	(void)getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n);
	*ret_header = (domain == AF_INET6 ? IPV6_HEADERS : IPV4_HEADERS) +
		      (i.tcpi_options & TCPI_OPT_TIMESTAMPS ? TIMESTAMP_BYTES : 0);
	return i.tcpi_bytes_received + i.tcpi_bytes_sent +
	       ((uint64_t)i.tcpi_segs_in + i.tcpi_segs_out) * *ret_header;
}

static void forget(struct meter *m, size_t i, uint64_t more)
{
	m->bytes += m->open[i].bytes + more;
	m->open[i] = m->open[--m->n];
}

void meter_open(struct meter *m, int fd)
{
	for (size_t i = m->n; i > 0; i--) {
		if (m->open[i - 1].fd == fd)
			forget(m, i - 1, 0);
	}
	if (m->n < METER_SOCKETS_MAX)
		m->open[m->n++] = (struct meter_socket){.fd = fd};
}

void meter_close(struct meter *m, int fd)
{
	uint64_t header;

	(void)meter_read(m);
	for (size_t i = m->n; i > 0; i--) {
		if (m->open[i - 1].fd != fd)
			continue;
		(void)read_socket(fd, &header);
		forget(m, i - 1, SEGMENTS_OF_CLOSE * header);
	}
}

uint64_t meter_read(struct meter *m)
{
	uint64_t bytes = m->bytes, header;

	for (size_t i = 0; i < m->n; i++) {
		m->open[i].bytes = MAX(m->open[i].bytes, read_socket(m->open[i].fd, &header));
		bytes += m->open[i].bytes;
	}
	return bytes;
}

void pace_begin(struct pace *p, uint64_t speed, uint64_t moved)
{
	*p = (struct pace){.speed = speed, .moved = moved, .due_ms = now_ms()};
}

uint64_t pace_wait_ms(struct pace *p, uint64_t moved)
{
	uint64_t now = now_ms();

	if (p->speed == 0)
		return 0;
	p->due_ms =
		MAX(p->due_ms, now - MIN(now, CREDIT_MS)) + (moved - p->moved) * 1000 / p->speed;
	p->moved = moved;
	return p->due_ms > now ? p->due_ms - now : 0;
}
