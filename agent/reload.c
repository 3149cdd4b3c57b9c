/* SPDX-License-Identifier: Apache-2.0 */

/* The configuration once more, while the agent serves. */

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "agent_parts.h"
#include "base/log.h"
#include "service.h"

#define LATER_MAX	(16 * 1024)

/* Takes new over. */
static void
put_in_force(struct agent *agent, struct config *new, struct buf *later)
{
	struct config *c = agent->config;

	config_adopt(c, new, later);
	log_set_level(c->log_level);
	api_configure(agent->api, c->policy, &c->api);
	http_server_configure(agent->server, &c->server);
	config_free(new);	/* with the old policy, which nobody has any more */

	/* Whoever reloads may have mended what Google denied. */
	flows_flush(agent->flows);
}

static void
say_reloaded(const struct agent *agent, const struct buf *later)
{
	_cleanup_(freep) char *words = xstrdup(buf_str(later));
	char *rest = words, *line;

	log_info(LOG_NO_FIELDS, "configuration reloaded, %zu rules",
		 policy_len(agent->config->policy));
	while ((line = strsep(&rest, "\n")))
		if (*line)
			log_warning(LOG_NO_FIELDS, "%s", line);
}

int
agent_reload(void *userdata, struct buf *later, struct err *e)
{
	struct agent *agent = userdata;
	struct config *new;
	int r;

	service_reloading();
	r = config_load(&agent->from.paths, agent->from.by_hand, NULL, NULL, &new,
			e);
	if (r < 0) {
		(void)err_prefix(e, r, "configuration");
		log_error(LOG_NO_FIELDS, "%s; what was in force stays in force",
			  e->msg);
	} else {
		put_in_force(agent, new, later);
		say_reloaded(agent, later);
	}
	service_ready();
	return r;
}

static int
on_hangup(_unused_ sd_event_source *s, _unused_ const struct signalfd_siginfo *si,
	  void *userdata)
{
	struct buf later = BUF_INIT(LATER_MAX);
	struct agent *agent = userdata;
	struct err e;

	if (!agent->drain)
		(void)agent_reload(agent, &later, &e);
	buf_free(&later);
	return 0;
}

int
agent_reload_on_hangup(struct agent *agent, struct err *e)
{
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_sys(e, errno, "cannot block SIGHUP");
	r = sd_event_add_signal(agent->event, NULL, SIGHUP, on_hangup, agent);
	return r < 0 ? err_sys(e, -r, "cannot watch SIGHUP") : 0;
}
