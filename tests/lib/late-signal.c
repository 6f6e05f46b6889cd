/* SPDX-License-Identifier: MIT */
/* Preloaded into a program: SIGTERM comes right before the first poll() that waits for an answer on a stream. */
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int poll(struct pollfd *p, nfds_t n, int timeout_ms)
{
	static int raised;
	struct timespec left = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
	int domain = 0;
	socklen_t len = sizeof(domain);

	if (n == 1)
		(void)getsockopt(p->fd, SOL_SOCKET, SO_DOMAIN, &domain, &len);
	if (domain == AF_UNIX && timeout_ms > 0 && p->events == POLLIN && !raised++)
		(void)raise(SIGTERM);
	return (int)syscall(SYS_ppoll, p, n, timeout_ms < 0 ? NULL : &left, NULL, 0);
}
