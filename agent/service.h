/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* All talk with the service manager. */

#include <systemd/sd-event.h>

#include "base/base.h"
#include "base/err.h"

/* Was this process started by a person, and not by a service manager?  Shells may
   have a service's INVOCATION_ID in their environment: it tells nothing. */
bool service_by_hand(void);

/* Listening sockets passed in.  The number (0: none), with *ret_fds newly
   allocated; negative where they are not for us (LISTEN_PID names another
   process; nothing is touched then) or of a kind we do not serve. */
int service_sockets(int **ret_fds, struct err *e);

/* Beats as often as the service manager asks for, from the event loop, so that
   they stop with it.  From here on, what the manager has no room for is said when
   it has: never is it waited for. */
int service_watchdog(sd_event *event, struct err *e);

void service_ready(void);
/* The configuration is being read anew: READY or a failure follows. */
void service_reloading(void);
void service_stopping(void);

/* What systemctl status shows, at most 600 bytes; a remark stands behind it, also
   behind later ones, until another one replaces it ("": none).  remark is kept as
   it is: a string that stays. */
void service_status(const char *fmt, ...) _printf_(1, 2);
void service_remark(const char *remark);
