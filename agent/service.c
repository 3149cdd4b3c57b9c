/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <systemd/sd-daemon.h>

#include "base/text.h"
#include "http/listen_tcp.h"
#include "service.h"

/* A process has one service manager, and so one status. */
static char status[600];
static const char *status_remark = "";

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

int
service_watchdog(sd_event *event, struct err *e)
{
	int r = sd_event_set_watchdog(event, true);

	return r < 0 ? err_sys(e, -r, "watchdog") : 0;
}

void
service_ready(void)
{
	sd_notify(0, "READY=1");
}

void
service_reloading(void)
{
	struct timespec now;

	/* By the time a service manager tells this reload from an earlier one. */
	clock_gettime(CLOCK_MONOTONIC, &now);
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
		   (unsigned long long)now.tv_sec * USEC_PER_SEC +
		   (unsigned long long)now.tv_nsec / 1000);
}

void
service_stopping(void)
{
	sd_notify(0, "STOPPING=1");
}

static void
send_status(void)
{
	sd_notifyf(0, "STATUS=%s%s", status, status_remark);
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
