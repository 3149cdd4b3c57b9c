/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The insides of the agent, for agent.c, agent_accounts.c, detect.c, fetch.c,
   reload.c, retire.c and sockets.c only. */

#include <sys/queue.h>
#include <systemd/sd-event.h>

#include "agent.h"
#include "api/api.h"
#include "http/listen.h"

/* All that asks upstream: made together, of one configuration. */
struct agent_upstream {
	struct http_client *http;
	struct accounts *accounts;
	struct account *source;		/* an impersonated default's; or NULL */
	struct keyring *keyring;
	struct clock *clock;
	struct broker *broker;
	struct values *values;
};

struct agent {
	struct config *config;		/* what is in force */
	struct agent_source from;
	sd_event *event;
	struct peer_host *host;
	struct agent_upstream up;
	struct api *api;
	struct http_server *server;
	LIST_HEAD(, retired) retired;
	sd_event_source *retire;
	struct http_listen own;		/* the socket we bound ourselves, if any */
	char **tcp;			/* where else we listen: "[::1]:254" */
	size_t n_tcp;
	sd_event_source *detect, *drain, *lockdown;
	uint64_t detect_usec;		/* what detect was armed with */
	struct err *broken;		/* the configuration is bad: nothing is
					   there then that asks upstream */
	char *status;			/* what the service manager was told last */
};

/* Takes config over, also on failure. */
int agent_new(struct config *config, struct agent **ret, struct err *e);
/* All that asks upstream. */
int agent_reach_out(struct agent *agent, struct err *e);
void agent_upstream_clear(struct agent_upstream *up);
/* agent_accounts.c: those of the configuration, each with its flows. */
int agent_new_accounts(struct agent *agent, struct err *e);
/* What the api works with. */
struct api_context agent_context(struct agent *agent);
int agent_keep_warm(struct agent *agent, struct err *e);
/* As many descriptors as the connections take. */
void agent_raise_fd_limit(struct http_server_options *o);
void agent_say_status(struct agent *agent);
void agent_say_rules(const struct agent *agent);
/* Whether the policy binds is for the lockdown to say, or for nobody. */
void agent_watch_lockdown(struct agent *agent);
/* Nothing, where the policy is enforced. */
void agent_say_permissive(const struct agent *agent);
struct agent *agent_free(struct agent *agent);
DEFINE_CLEANUP(struct agent *, agent_free)

/* reload.c: read the configuration anew and put it in force; see api_context. */
int agent_reload(void *agent, struct buf *later, struct err *e);
/* The same on SIGHUP. */
int agent_reload_on_hangup(struct agent *agent, struct err *e);
/* The configuration is bad, as e says: that is all that is served. */
void agent_break(struct agent *agent, const struct err *e);
/* The same, when all that asks upstream is there, and has asked nobody yet. */
void agent_give_up(struct agent *agent, const struct err *e);

/* sockets.c: sockets passed in, and those of at; else the default one. */
int agent_listen(struct agent *agent, const struct agent_listen *at, struct err *e);
/* ERR_REQUEST where the metadata server of this configuration is the agent. */
int agent_check_metadata(const struct agent *agent, const struct config *c,
			 struct err *e);
/* retire.c: the same, made anew from new, which is taken over; those who wait on
   what was there keep it.  same_identity: what is cached is as good as before.  On
   failure nothing has changed, and new is not taken. */
int agent_replace_upstream(struct agent *agent, struct config *new,
			   bool same_identity, struct err *e);
void agent_free_retired(struct agent *agent);

/* detect.c: end the event loop with AGENT_EXIT_UNAVAILABLE where there is no
   metadata server to serve from, and nobody said that there would be. */
int agent_detect(struct agent *agent, struct err *e);
/* Who asked it until now goes: has it answered? */
void agent_detected(struct agent *agent);
