/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <systemd/sd-daemon.h>

#include "base/text.h"
#include "http/listen_tcp.h"
#include "service.h"

/* A process has one service manager, and so one state and one status. */
static char status[600];
static const char *status_remark = "";

/* What is not said yet.  Of either, the last alone is of interest. */
static struct {
	sd_event *event;
	sd_event_source *room;	/* while the manager's queue is full */
	char state[80];
	bool status;
} unsaid;

/* Does the variable hold our own process id? */
static bool
names_us(const char *variable)
{
	const char *pid = getenv(variable);
	uint64_t v;

	return pid && text_to_u64(pid, strlen(pid), INT32_MAX, &v) &&
		(pid_t)v == getpid();
}

bool
service_by_hand(void)
{
	return !getenv("NOTIFY_SOCKET") && !getenv("LISTEN_PID") &&
		!names_us("SYSTEMD_EXEC_PID");
}

/* Do we serve a socket that was passed in, as the n-th? */
static int
check_socket(int fd, int n, struct err *e)
{
	int r;

	if (sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) > 0)
		return 0;
	r = http_listen_is_loopback(fd);
	if (r > 0)
		return 0;
	if (r < 0)
		return err_set(e, ERR_REQUEST, "socket %d of those passed in "
			       "listens on another address than 127.0.0.1 and "
			       "[::1]: fix ListenStream= in "
			       "gce-oidc-agent-loopback.socket", n);
	return err_set(e, ERR_REQUEST, "socket %d of those passed in is no "
		       "listening Unix or TCP stream socket: fix ListenStream= in "
		       "gce-oidc-agent.socket", n);
}

int
service_sockets(int **ret_fds, struct err *e)
{
	int n, r;

	if (!getenv("LISTEN_PID"))
		return 0;
	if (!names_us("LISTEN_PID"))
		return err_set(e, ERR_REQUEST, "LISTEN_PID names another process "
			       "than this one (%d): sockets were passed to another",
			       (int)getpid());

	n = sd_listen_fds(1);
	if (n < 0)
		return err_sys(e, -n, "sockets passed in");
	if (n == 0)
		return 0;
	*ret_fds = xcalloc((size_t)n, sizeof(**ret_fds));
	for (int i = 0; i < n; i++) {
		(*ret_fds)[i] = SD_LISTEN_FDS_START + i;
		r = check_socket((*ret_fds)[i], i + 1, e);
		if (r >= 0)
			continue;
		free(*ret_fds);
		*ret_fds = NULL;
		return r;
	}
	return n;
}

/* A socket connected to the service manager's, or -1: there is none. */
static int
reach_manager(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path ? strlen(path) : 0;
	int fd;

	if (len < 2 || len >= sizeof(to.sun_path) || !strchr("/@", *path))
		return -1;
	memcpy(to.sun_path, path, len);
	if (*path == '@')
		to.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	len += offsetof(struct sockaddr_un, sun_path);
	if (connect(fd, (struct sockaddr *)&to, (socklen_t)len) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Was it said, or will never be?  false: when there is room. */
static bool
say(int fd, const char *text)
{
	return send(fd, text, strlen(text), MSG_NOSIGNAL) >= 0 || errno != EAGAIN;
}

static bool
say_all(int fd)
{
	char text[sizeof("STATUS=") + sizeof(status) + 200];

	if (*unsaid.state && !say(fd, unsaid.state))
		return false;
	*unsaid.state = '\0';
	snprintf(text, sizeof(text), "STATUS=%s%s", status, status_remark);
	if (unsaid.status && !say(fd, text))
		return false;
	unsaid.status = false;
	return true;
}

static int
on_room(sd_event_source *s _unused_, int fd, uint32_t events _unused_,
	void *userdata _unused_)
{
	if (say_all(fd))
		unsaid.room = sd_event_source_unref(unsaid.room);
	return 0;
}

/* Not by sd_notify(), which waits for room: a manager that hangs must not hold up
   the loop. */
static void
notify(void)
{
	int fd;

	if (unsaid.room)
		return;
	fd = reach_manager();
	if (fd < 0)
		return;
	if (!say_all(fd) && unsaid.event &&
	    sd_event_add_io(unsaid.event, &unsaid.room, fd, EPOLLOUT, on_room,
			    NULL) >= 0)
		sd_event_source_set_io_fd_own(unsaid.room, true);
	else
		close(fd);
}

_printf_(1, 2) static void
notify_state(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(unsaid.state, sizeof(unsaid.state), fmt, ap);
	va_end(ap);
	notify();
}

/* One that finds no room is none: the next one comes soon. */
static int
on_beat(sd_event_source *s, uint64_t usec _unused_, void *userdata)
{
	const uint64_t *pause = userdata;
	int fd = reach_manager();

	if (fd >= 0) {
		(void)say(fd, "WATCHDOG=1");
		close(fd);
	}
	return sd_event_source_set_time_relative(s, *pause);
}

int
service_watchdog(sd_event *event, struct err *e)
{
	static uint64_t pause;
	sd_event_source *beat = NULL;
	uint64_t usec;
	int r;

	unsaid.event = event;
	r = sd_watchdog_enabled(0, &usec);
	if (r == 0)
		return 0;
	if (r > 0) {
		pause = usec / 2;
		r = sd_event_add_time_relative(event, &beat, CLOCK_MONOTONIC, 0,
					       pause / 4, on_beat, &pause);
	}
	if (r >= 0)
		r = sd_event_source_set_enabled(beat, SD_EVENT_ON);
	if (r >= 0)
		r = sd_event_source_set_floating(beat, true);
	sd_event_source_unref(beat);
	return r < 0 ? err_sys(e, -r, "watchdog") : 0;
}

void
service_ready(void)
{
	notify_state("READY=1");
}

void
service_reloading(void)
{
	/* By the time a service manager tells this reload from an earlier one. */
	notify_state("RELOADING=1\nMONOTONIC_USEC=%llu",
		     (unsigned long long)now_usec(CLOCK_MONOTONIC));
}

void
service_stopping(void)
{
	notify_state("STOPPING=1");
}

static void
send_status(void)
{
	unsaid.status = true;
	notify();
}

void
service_status(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(status, sizeof(status), fmt, ap);
	va_end(ap);
	send_status();
}

void
service_remark(const char *remark)
{
	status_remark = remark;
	send_status();
}
