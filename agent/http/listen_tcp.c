/* SPDX-License-Identifier: Apache-2.0 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/text.h"
#include "http/listen_tcp.h"

union address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_storage any;
};

static bool
address_read(const char *at, union address *ret)
{
	static const char v4[] = "127.0.0.1:", v6[] = "[::1]:";
	bool is_v6 = strncmp(at, v6, strlen(v6)) == 0;
	const char *port = at + strlen(is_v6 ? v6 : v4);
	uint64_t n;

	if ((!is_v6 && strncmp(at, v4, strlen(v4)) != 0) ||
	    !text_to_u64(port, strlen(port), UINT16_MAX, &n))
		return false;
	memset(ret, 0, sizeof(*ret));
	if (is_v6)
		ret->in6 = (struct sockaddr_in6){
			.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)n),
			.sin6_addr = IN6ADDR_LOOPBACK_INIT };
	else
		ret->in = (struct sockaddr_in){
			.sin_family = AF_INET, .sin_port = htons((uint16_t)n),
			.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	return true;
}

static int
bind_failed(const char *at, int errnum, struct err *e)
{
	if (errnum == EADDRINUSE)
		return err_set(e, ERR_BUSY, "somebody listens on %s already: "
			       "ss -ltnp shows who", at);
	if (errnum == EACCES)
		return err_set(e, ERR_REQUEST, "cannot listen on %s: ports below "
			       "1024 are root's", at);
	return err_sys(e, errnum, "cannot listen on %s", at);
}

int
http_listen_tcp(const char *at, int *ret_fd, struct err *e)
{
	_cleanup_(closep) int fd = -1;
	char shown[TEXT_SHOW_SIZE];
	union address a;
	int one = 1;

	if (!address_read(at, &a))
		return err_set(e, ERR_REQUEST, "--listen=%s: expected "
			       "127.0.0.1:PORT or [::1]:PORT; elsewhere nobody "
			       "could say who asks", text_show_str(shown, at));
	fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, errno, "cannot listen on %s", at);
	/* Connections of the agent before us may linger. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, &a.sa, a.sa.sa_family == AF_INET ? sizeof(a.in)
						      : sizeof(a.in6)) < 0 ||
	    listen(fd, SOMAXCONN) < 0)
		return bind_failed(at, errno, e);
	*ret_fd = fd;
	fd = -1;
	return 0;
}

static bool
address_of(int fd, union address *ret)
{
	socklen_t len = sizeof(*ret);

	memset(ret, 0, sizeof(*ret));
	return getsockname(fd, &ret->sa, &len) == 0;
}

int
http_listen_is_loopback(int fd)
{
	int type = 0, listens = 0;
	socklen_t type_len = sizeof(type), listens_len = sizeof(listens);
	union address a;

	if (!address_of(fd, &a) ||
	    (a.sa.sa_family != AF_INET && a.sa.sa_family != AF_INET6) ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_len) < 0 ||
	    type != SOCK_STREAM || !listens)
		return 0;
	if (a.sa.sa_family == AF_INET
			? a.in.sin_addr.s_addr == htonl(INADDR_LOOPBACK)
			: IN6_IS_ADDR_LOOPBACK(&a.in6.sin6_addr))
		return 1;
	return -EADDRNOTAVAIL;
}

char *
http_listen_show(int fd, char ret[static HTTP_LISTEN_SHOW_SIZE])
{
	union address a;

	if (!address_of(fd, &a))
		(void)snprintf(ret, HTTP_LISTEN_SHOW_SIZE, "an unknown address");
	else if (a.sa.sa_family == AF_INET)
		(void)snprintf(ret, HTTP_LISTEN_SHOW_SIZE, "127.0.0.1:%u",
			       ntohs(a.in.sin_port));
	else
		(void)snprintf(ret, HTTP_LISTEN_SHOW_SIZE, "[::1]:%u",
			       ntohs(a.in6.sin6_port));
	return ret;
}
