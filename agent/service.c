/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include "base/text.h"
#include "service.h"

bool
service_by_hand(void)
{
	return !getenv("NOTIFY_SOCKET") && !getenv("LISTEN_PID");
}

int
service_sockets(int **ret_fds, struct err *e)
{
	const char *pid = getenv("LISTEN_PID");
	uint64_t listen_pid;
	int n;

	if (!pid)
		return 0;
	if (!text_to_u64(pid, strlen(pid), INT32_MAX, &listen_pid) ||
	    (pid_t)listen_pid != getpid())
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
		if (sd_is_socket_unix((*ret_fds)[i], SOCK_STREAM, 1, NULL, 0) > 0)
			continue;
		free(*ret_fds);
		*ret_fds = NULL;
		return err_set(e, ERR_REQUEST, "socket %d of those passed in is no "
			       "listening Unix stream socket: fix ListenStream= in "
			       "gce-oidc-agent.socket", i + 1);
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
service_stopping(void)
{
	sd_notify(0, "STOPPING=1");
}

void
service_status(const char *fmt, ...)
{
	char text[600] = "STATUS=";
	size_t len = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + len, sizeof(text) - len, fmt, ap);
	va_end(ap);
	sd_notify(0, text);
}
