/* SPDX-License-Identifier: MIT */
/* Preloaded into a program: the connection is reset just before the first request is sent over it. */
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

ssize_t send(int fd, const void *data, size_t n, int flags)
{
	static int sent;
	int domain = 0;
	socklen_t len = sizeof(domain);

	(void)getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len);
	if (domain != AF_INET || sent++ > 0)
		return syscall(SYS_sendto, fd, data, n, flags, NULL, 0);
	(void)shutdown(fd, SHUT_RDWR);
	errno = ECONNRESET;
	return -1;
}
