/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The one object that owns all others: order of birth and death. */

#include "base/base.h"
#include "base/err.h"
#include "config.h"

/* Exit statuses beyond 0 and 1, from sysexits.h. */
#define AGENT_EXIT_USAGE	64
#define AGENT_EXIT_UNAVAILABLE	69	/* no agent, no metadata server */
#define AGENT_EXIT_CONFIG	78

/* Where sockets are bound without --socket and without any passed in. */
#define AGENT_SOCKET_DEFAULT	"/run/gce-oidc-agent/agent.sock"

/* What is bound besides, or instead of, what was passed in. */
#define AGENT_LISTEN_MAX	4
struct agent_listen {
	const char *path;	/* --socket, or NULL */
	const char *tcp[AGENT_LISTEN_MAX];	/* --listen, or NULL */
};

/* Where the configuration comes from, also on reload. */
struct agent_source {
	struct config_paths paths;
	bool by_hand;
};

/* Serve until told to stop.  Takes config over;
   NULL: it is bad, as e says, and every request is told so until a reload finds it
   mended.  Returns the exit status; what went wrong has been logged. */
int agent_run(struct config *config, const struct err *e,
	      const struct agent_source *from, const struct agent_listen *at);

/* Have the agent at this socket read its configuration anew.  Returns the exit
   status, and has said why where that is not 0. */
int agent_ask_reload(const char *socket_path);

/* One whole fetch in the foreground; the token goes to standard output. */
int agent_fetch(struct config *config, const char *audience);
