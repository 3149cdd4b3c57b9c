/* SPDX-License-Identifier: MIT */

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "conn.h"

/* A living agent answers by the deadline it was told, with words: ours comes
   that much later. */
#define GRACE_MS 250

#define BACKOFF_MAX_MS 200

static int
conn_fail(struct conn *c, int r, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void
conn_close(struct conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->state = CONN_IDLE;
	free(c->request);
	c->request = NULL;
}

/* Nothing after a failure looks at the answer, so it is wiped at once. */
static int
conn_fail(struct conn *c, int r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->words, sizeof(c->words), fmt, ap);
	va_end(ap);
	conn_close(c);
	answer_clear(&c->answer);
	return r;
}

static int
conn_fail_sys(struct conn *c, int errnum, const char *what)
{
	char buf[80];

	return conn_fail(c, errnum == ENOMEM || errnum == ENOBUFS ? -ENOMEM : -EIO,
			 "%s: %s", what, strerror_r(errnum, buf, sizeof(buf)));
}

/* Boot time, not monotonic: a machine that slept has let the time pass. */
static int64_t
now_ms(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_BOOTTIME, &ts) < 0)
		clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Whoever can write to the directory can pretend to be the agent.  Only the
   default path is held to this: another one is the caller's own choice. */
static int
check_directory(struct conn *c)
{
	char dir[] = GCE_OIDC_DEFAULT_SOCKET;
	struct stat st;

	*strrchr(dir, '/') = '\0';
	if (stat(dir, &st) < 0)
		return 0;	/* connect() will say it better */
	/* So it looks in a container whose users have numbers of their own. */
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return conn_fail(c, -ENOTCONN, "not asking %s: %s is neither"
				 " root's nor yours; in a container, mount it"
				 " elsewhere and name that: GCE_OIDC_SOCKET=PATH",
				 c->addr.sun_path, dir);
	if (!(st.st_mode & 022))
		return 0;
	return conn_fail(c, -ENOTCONN, "not asking %s: %s can be written to by"
			 " others than root", c->addr.sun_path, dir);
}

/* The listener's queue is full.  There is no event for "room again" on a Unix
   socket, so the descriptor to wait for becomes a timer. */
static int
conn_back_off(struct conn *c)
{
	struct itimerspec its = { 0 };
	int fd;

	c->backoff_ms = c->backoff_ms ? c->backoff_ms * 2 : 5;
	if (c->backoff_ms > BACKOFF_MAX_MS)
		c->backoff_ms = BACKOFF_MAX_MS;
	its.it_value.tv_nsec = (long)c->backoff_ms * 1000000;

	fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (fd < 0)
		return conn_fail_sys(c, errno, "cannot make a timer");
	if (timerfd_settime(fd, 0, &its, NULL) < 0) {
		close(fd);
		return conn_fail_sys(c, errno, "cannot set a timer");
	}
	c->fd = fd;
	c->state = CONN_BACKOFF;
	return 0;
}

static int
conn_connect(struct conn *c)
{
	char buf[80];
	int r;

	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		return conn_fail_sys(c, errno, "cannot open a socket");
	do
		r = connect(c->fd, (struct sockaddr *)&c->addr, sizeof(c->addr));
	while (r < 0 && errno == EINTR);
	if (r == 0) {
		c->state = CONN_SEND;
		return 0;
	}

	r = errno;
	close(c->fd);
	c->fd = -1;
	if (r == EAGAIN)
		return conn_back_off(c);
	return conn_fail(c, r == EPROTOTYPE ? -EPROTO : -ENOTCONN,
			 "no agent at %s (%s):"
			 " systemctl status gce-oidc-agent.socket",
			 c->addr.sun_path, strerror_r(r, buf, sizeof(buf)));
}

/* 1: sent.  A peer that closes early may still have said why, so a failing send
   ends in reading. */
static int
conn_send(struct conn *c)
{
	ssize_t n;

	while (c->sent < c->request_len) {
		n = send(c->fd, c->request + c->sent, c->request_len - c->sent,
			 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n >= 0) {
			c->sent += (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN)
			return 0;
		break;
	}
	c->state = CONN_RECV;
	return 1;
}

static int
conn_end(struct conn *c)
{
	if (c->answer.state == ANSWER_HEAD && c->answer.head_len == 0)
		return conn_fail(c, -ENOTCONN, "the agent at %s closed the"
				 " connection without an answer",
				 c->addr.sun_path);
	if (answer_end(&c->answer) < 0)
		return conn_fail(c, -EPROTO, "not an agent at %s: it sent %s",
				 c->addr.sun_path, c->answer.why);
	conn_close(c);
	return 1;
}

static int
conn_recv(struct conn *c)
{
	char buf[4096];
	ssize_t n;
	int r;

	for (;;) {
		n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0)
			return conn_end(c);
		r = answer_feed(&c->answer, buf, (size_t)n);
		explicit_bzero(buf, (size_t)n);
		if (r == -ENOMEM)
			return conn_fail(c, r, "memory is gone");
		if (r < 0)
			return conn_fail(c, r, "not an agent at %s: it sent %s",
					 c->addr.sun_path, c->answer.why);
		if (r > 0) {
			conn_close(c);
			return 1;
		}
	}
}

void
conn_init(struct conn *c)
{
	*c = (struct conn){ .fd = -1 };
}

void
conn_clear(struct conn *c)
{
	conn_close(c);
	answer_clear(&c->answer);
	c->words[0] = '\0';
}

const char *
conn_default_path(void)
{
	const char *path = secure_getenv("GCE_OIDC_SOCKET");

	return path && *path ? path : GCE_OIDC_DEFAULT_SOCKET;
}

/* Everything but the request itself. */
static int
conn_begin(struct conn *c, const char *path, int timeout_ms)
{
	size_t len = strlen(path);

	conn_clear(c);
	if (len == 0 || len >= sizeof(c->addr.sun_path))
		return conn_fail(c, -EINVAL, "a socket's path has 1 to %zu bytes",
				 sizeof(c->addr.sun_path) - 1);
	c->addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(c->addr.sun_path, path, len + 1);
	c->pid = getpid();
	c->uid = geteuid();
	c->backoff_ms = 0;
	c->timeout_ms = timeout_ms;
	c->deadline_ms = timeout_ms < 0 ? -1 : now_ms() + timeout_ms + GRACE_MS;

	if (strcmp(path, GCE_OIDC_DEFAULT_SOCKET) == 0)
		return check_directory(c);
	return 0;
}

static int
conn_ask(struct conn *c, const char *method, const char *target,
	 const char *fields, const void *body, size_t body_len)
{
	size_t len;
	char *whole;
	int r;

	r = asprintf(&c->request, "%s %s HTTP/1.1\r\n"
		     "Host: localhost\r\n"
		     "Metadata-Flavor: Google\r\n"
		     "User-Agent: libgce-oidc/" PACKAGE_VERSION "\r\n"
		     "Connection: close\r\n"
		     "%s\r\n", method, target, fields);
	if (r < 0)
		c->request = NULL;
	len = r < 0 ? 0 : (size_t)r;
	whole = r < 0 ? NULL : realloc(c->request, len + body_len + 1);
	if (!whole)
		return conn_fail(c, -ENOMEM, "memory is gone");
	c->request = whole;
	if (body_len > 0)
		memcpy(whole + len, body, body_len);
	c->request_len = len + body_len;
	c->sent = 0;
	return conn_connect(c);
}

int
conn_start(struct conn *c, const char *path, const char *target,
	   const char *fields, int timeout_ms)
{
	int r = conn_begin(c, path, timeout_ms);

	return r < 0 ? r : conn_ask(c, "GET", target, fields, NULL, 0);
}

int
conn_start_post(struct conn *c, const char *path, const char *target,
		const char *fields, const void *body, size_t len, int timeout_ms)
{
	char *all = NULL;
	int r = conn_begin(c, path, timeout_ms);

	if (r < 0)
		return r;
	if (asprintf(&all, "%sContent-Length: %zu\r\n", fields, len) < 0)
		return conn_fail(c, -ENOMEM, "memory is gone");
	r = conn_ask(c, "POST", target, all, body, len);
	free(all);
	return r;
}

int
conn_step(struct conn *c)
{
	uint64_t ticks;
	int r = 0;

	if (c->state == CONN_IDLE)
		return conn_fail(c, -EINVAL, "no request is under way");
	if (c->pid != getpid() || c->uid != geteuid())
		return conn_fail(c, -ENOTCONN, "the request was started by another"
				 " process or user: start again");

	if (c->state == CONN_BACKOFF &&
	    read(c->fd, &ticks, sizeof(ticks)) == (ssize_t)sizeof(ticks)) {
		close(c->fd);
		r = conn_connect(c);
		if (r < 0)
			return r;
	}
	if (c->state == CONN_SEND)
		r = conn_send(c);
	if (c->state == CONN_RECV)
		r = conn_recv(c);
	if (r == 0 && conn_left_ms(c) == 0)
		return conn_fail(c, -ETIMEDOUT, "no answer from the agent at %s in"
				 " %d.%d s", c->addr.sun_path,
				 c->timeout_ms / 1000, c->timeout_ms % 1000 / 100);
	return r;
}

int
conn_fd(const struct conn *c)
{
	return c->fd;
}

int
conn_events(const struct conn *c)
{
	if (c->state == CONN_IDLE)
		return 0;
	return c->state == CONN_SEND ? POLLOUT : POLLIN;
}

int
conn_left_ms(const struct conn *c)
{
	int64_t left;

	if (c->state == CONN_IDLE || c->deadline_ms < 0)
		return -1;
	left = c->deadline_ms - now_ms();
	return left <= 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

int
conn_run(struct conn *c)
{
	struct pollfd p;
	int r;

	while ((r = conn_step(c)) == 0) {
		p = (struct pollfd){ .fd = c->fd,
				     .events = (short)conn_events(c) };
		if (poll(&p, 1, conn_left_ms(c)) < 0 && errno != EINTR)
			return conn_fail_sys(c, errno, "cannot wait");
	}
	return r;
}

char *
conn_encode(const char *s)
{
	static const char hex[] = "0123456789ABCDEF";
	char *out = malloc(3 * strlen(s) + 1), *p = out;

	if (!out)
		return NULL;
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
		    (c >= 'A' && c <= 'Z') || strchr("-._~", c)) {
			*p++ = (char)c;
			continue;
		}
		*p++ = '%';
		*p++ = hex[c >> 4];
		*p++ = hex[c & 15];
	}
	*p = '\0';
	return out;
}
