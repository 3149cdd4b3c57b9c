/* SPDX-License-Identifier: Apache-2.0 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench.h"

#define FILE_MAX_LEN	65536

void
die(const char *fmt, ...)
{
	int errnum = errno;
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "%s%s\n", errnum ? ": " : "",
		errnum ? strerror(errnum) : "");
	exit(1);
}

unsigned long
to_number(const char *text, unsigned long max)
{
	unsigned long v;
	char *end;

	errno = 0;
	v = strtoul(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || v > max)
		die("%s: not a number up to %lu", text, max);
	return v;
}

struct address
to_address(const char *text)
{
	struct address a = { .len = 0 };
	struct sockaddr_un *un = (struct sockaddr_un *)&a.sa;
	struct sockaddr_in *in = (struct sockaddr_in *)&a.sa;
	const char *colon = strrchr(text, ':');
	char host[INET_ADDRSTRLEN] = "";

	errno = 0;
	if (strchr(text, '/')) {
		if (strlen(text) >= sizeof(un->sun_path))
			die("%s: too long for a Unix socket", text);
		un->sun_family = AF_UNIX;
		memcpy(un->sun_path, text, strlen(text) + 1);
		a.len = sizeof(*un);
		return a;
	}

	if (colon && (size_t)(colon - text) < sizeof(host))
		memcpy(host, text, (size_t)(colon - text));
	in->sin_family = AF_INET;
	if (inet_pton(AF_INET, host, &in->sin_addr) != 1)
		die("%s: neither a path nor ADDRESS:PORT", text);
	in->sin_port = htons((in_port_t)to_number(colon + 1, 65535));
	a.len = sizeof(*in);
	return a;
}

int
address_open(const struct address *a, bool listening)
{
	const struct sockaddr *sa = (const struct sockaddr *)&a->sa;
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0)
		die("socket");
	if (sa->sa_family == AF_INET) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	}
	if (!listening && connect(fd, sa, a->len) < 0)
		die("connect");
	if (listening && (bind(fd, sa, a->len) < 0 || listen(fd, SOMAXCONN) < 0))
		die("listen");
	return fd;
}

char *
file_read(const char *path, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *data = malloc(FILE_MAX_LEN);
	ssize_t n;

	if (fd < 0 || !data)
		die("%s", path);
	n = read(fd, data, FILE_MAX_LEN);
	if (n <= 0)
		die("%s: empty, or not readable", path);
	close(fd);
	*ret_len = (size_t)n;
	return data;
}
