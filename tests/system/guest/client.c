/* SPDX-License-Identifier: Apache-2.0 */

/* What tests ask the agent and the kernel in machines that have neither curl nor
   Python.

	client get SOCKET TARGET
		prints the whole answer
	client day SOCKET NUMBER AUDIENCES
		asks for tokens so often, some on each connection; prints how
		many answers were one
	client peerpidfd SOCKET
		"yes" where this kernel has SO_PEERPIDFD
	client slept
		prints for how many seconds this machine was suspended
	client try
		tries what a sandbox may refuse: a line each, "NAME ERROR", of which
		"Success" is one */

#include <err.h>
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

static char answer[65536];

static int
connect_to(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(at.sun_path))
		errx(2, "%s: too long", path);
	memcpy(at.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		err(1, "%s", path);
	return fd;
}

/* Whether the answer so far, a string, is all of it. */
static bool
complete(size_t length)
{
	const char *body = strstr(answer, "\r\n\r\n");
	const char *field = strstr(answer, "\r\nContent-Length: ");

	if (!body || !field || field > body)
		return false;
	body += strlen("\r\n\r\n");
	field += strlen("\r\nContent-Length: ");
	return length >= (size_t)(body - answer) + strtoul(field, NULL, 10);
}

/* The length of the answer, which is a string. */
static size_t
ask(int fd, const char *target)
{
	size_t length = 0;
	ssize_t n;

	if (dprintf(fd, "GET %s HTTP/1.1\r\nHost: localhost\r\n"
		    "Metadata-Flavor: Google\r\n\r\n", target) < 0)
		err(1, "write");
	do {
		n = read(fd, answer + length, sizeof(answer) - 1 - length);
		if (n <= 0)
			err(1, "no complete answer");
		length += (size_t)n;
		answer[length] = '\0';
	} while (!complete(length));
	return length;
}

static void
day(const char *path, unsigned long number, unsigned long audiences)
{
	char target[128];
	unsigned long tokens = 0;
	int fd = -1;

	for (unsigned long i = 0; i < number; i++) {
		snprintf(target, sizeof(target),
			 "/v1/token?audience=https://day%lu.example.com",
			 i % audiences);
		if (i % 10 == 0) {
			if (fd >= 0)
				close(fd);
			fd = connect_to(path);
		}
		ask(fd, target);
		if (strncmp(answer, "HTTP/1.1 200 ", 13) == 0 &&
		    strstr(answer, "\r\n\r\neyJ"))
			tokens++;
	}
	printf("%lu\n", tokens);
}

static void
peerpidfd(const char *path)
{
	int pidfd, fd = connect_to(path);
	socklen_t size = sizeof(pidfd);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0)
		puts("yes");
	else if (errno == ENOPROTOOPT)
		puts("no");
	else
		err(1, "SO_PEERPIDFD");
}

/* What one clock counts and the other does not. */
static void
slept(void)
{
	struct timespec boot, awake;

	if (clock_gettime(CLOCK_MONOTONIC, &awake) < 0 ||
	    clock_gettime(CLOCK_BOOTTIME, &boot) < 0)
		err(1, "clock_gettime");
	printf("%.3f\n", (double)(boot.tv_sec - awake.tv_sec) +
	       (double)(boot.tv_nsec - awake.tv_nsec) / 1e9);
}

static int
set_user_id(void)
{
	return fchmod(memfd_create("try", MFD_CLOEXEC), 04700);
}

static int
writable_code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return page == MAP_FAILED ? -1 : 0;
}

static void
told(const char *name, int result)
{
	printf("%s %s\n", name, strerror(result < 0 ? errno : 0));
}

static void
try_all(void)
{
	static const struct {
		const char *name;
		int family;
	} families[] = {
		{ "AF_UNIX", AF_UNIX }, { "AF_INET", AF_INET },
		{ "AF_INET6", AF_INET6 }, { "AF_NETLINK", AF_NETLINK },
		{ "AF_PACKET", AF_PACKET },
	};

	for (size_t i = 0; i < sizeof(families) / sizeof(*families); i++)
		told(families[i].name, socket(families[i].family, SOCK_DGRAM, 0));
	told("set-user-id", set_user_id());
	told("writable-code", writable_code());
	told("personality", personality(ADDR_NO_RANDOMIZE));
	told("trace", (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL));
	told("user-namespace", unshare(CLONE_NEWUSER));
}

int
main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "get") == 0)
		fwrite(answer, 1, ask(connect_to(argv[2]), argv[3]), stdout);
	else if (argc == 5 && strcmp(argv[1], "day") == 0)
		day(argv[2], strtoul(argv[3], NULL, 10),
		    strtoul(argv[4], NULL, 10));
	else if (argc == 3 && strcmp(argv[1], "peerpidfd") == 0)
		peerpidfd(argv[2]);
	else if (argc == 2 && strcmp(argv[1], "slept") == 0)
		slept();
	else if (argc == 2 && strcmp(argv[1], "try") == 0)
		try_all();
	else
		errx(2, "usage: client get|day|peerpidfd|slept|try ...");
	return 0;
}
