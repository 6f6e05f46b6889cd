/* SPDX-License-Identifier: MIT */
/* probe VERB=ARGUMENT...: tries each from inside a unit's sandbox, and prints the attempt and "ok" or
 * the error's name, one a line. Static: the sandbox need not have libraries for it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int try_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	return connect(fd, (struct sockaddr *)&address, sizeof(address));
}

/* A datagram: the answer of a filter in the kernel comes at once, where a connection would wait. */
static int try_send(const char *text)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(9)};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0 || inet_pton(AF_INET, text, &address.sin_addr) != 1)
		return -1;
	return sendto(fd, "?", 1, 0, (struct sockaddr *)&address, sizeof(address)) < 0 ? -1 : 0;
}

static int try_write(const char *directory)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/probe", directory);
	if (open(path, O_WRONLY | O_CREAT | O_EXCL, 0600) < 0)
		return -1;
	return unlink(path);
}

static int try(const char *verb, const char *argument)
{
	if (strcmp(verb, "connect") == 0)
		return try_connect(argument);
	if (strcmp(verb, "send") == 0)
		return try_send(argument);
	if (strcmp(verb, "write") == 0)
		return try_write(argument);
	if (strcmp(verb, "read") == 0)
		return open(argument, O_RDONLY) < 0 ? -1 : 0;
	errno = EINVAL;
	return -1;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		char *argument = strchr(argv[i], '=');
		int r;

		if (!argument)
			return 2;
		*argument++ = '\0';
		r = try(argv[i], argument);
		printf("%s %s %s\n", argv[i], argument, r < 0 ? strerrorname_np(errno) : "ok");
	}
	return argc < 2;
}
