/* SPDX-License-Identifier: Apache-2.0 */

/* The configuration once more, while the agent serves. */

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "agent_parts.h"
#include "base/log.h"
#include "service.h"

#define LATER_MAX	(16 * 1024)

void
agent_break(struct agent *agent, const struct err *e)
{
	if (!agent->broken)
		agent->broken = xcalloc(1, sizeof(*agent->broken));
	err_set(agent->broken, ERR_UNAVAILABLE, "%s", e->msg);
	err_hint(agent->broken, "once it is mended: systemctl reload "
		 "gce-oidc-agent");
}

static void
configure(struct agent *agent)
{
	struct api_context context = agent_context(agent);
	const struct config *c = agent->config;

	log_set_level(c->log_level);
	api_configure(agent->api, &context, &c->api);
	http_server_configure(agent->server, &c->server);
}

void
agent_give_up(struct agent *agent, const struct err *e)
{
	agent_upstream_clear(&agent->up);
	agent_break(agent, e);
	configure(agent);
}

/* Takes new over.  The old policy goes, which nobody has any more. */
static int
put_in_force(struct agent *agent, struct config *new, struct buf *later,
	     struct err *e)
{
	enum config_change change = config_compare(agent->config, new);
	int r = 0;

	config_keep_fixed(new, agent->config, later);
	if (change == CONFIG_SAME_UPSTREAM) {
		config_adopt(agent->config, new);
		configure(agent);
		config_free(new);
	} else {
		r = agent_replace_upstream(agent, new,
					   change != CONFIG_OTHER_IDENTITY, e);
		if (r < 0)
			config_free(new);
		else
			configure(agent);
	}

	/* Whoever reloads may have mended what Google denied. */
	accounts_flush(agent->up.accounts);
	return r;
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
	agent_say_permissive(agent);
}

/* The first good configuration: nothing of the stand-in's is in use but by api and
   server, who keep what they serve of it by value.  Takes new over. */
static int
mend(struct agent *agent, struct config *new, struct err *e)
{
	struct config *stand_in = agent->config;
	int r;

	agent->config = new;
	r = agent_reach_out(agent, e);
	if (r < 0) {
		agent->config = stand_in;
		config_free(new);
		return r;
	}
	free(TAKE_PTR(agent->broken));
	agent_raise_fd_limit(&new->server);
	configure(agent);
	config_free(stand_in);
	agent_say_rules(agent);
	if (agent_keep_warm(agent, e) < 0)
		log_warning(LOG_NO_FIELDS, "warm: %s", e->msg);
	return 0;
}

static int
change(struct agent *agent, struct config *new, struct buf *later, struct err *e)
{
	int r;

	if (agent->broken)
		return mend(agent, new, e);
	r = put_in_force(agent, new, later, e);
	if (r >= 0)
		say_reloaded(agent, later);
	return r;
}

int
agent_reload(void *userdata, struct buf *later, struct err *e)
{
	struct agent *agent = userdata;
	struct config *new;
	int r;

	if (agent->drain)
		return err_set(e, ERR_UNAVAILABLE, "the agent is stopping");
	service_reloading();
	r = config_load(&agent->from.paths, agent->from.by_hand, NULL, NULL, &new,
			e);
	if (r >= 0) {
		r = agent_check_metadata(agent, new, e);
		if (r < 0)
			config_free(new);
	}
	if (r < 0)
		(void)err_prefix(e, r, "configuration");
	else
		r = change(agent, new, later, e);
	if (r < 0)
		log_error(LOG_NO_FIELDS, "%s; %s", e->msg, agent->broken ?
			  "every request is still answered 503" :
			  "what was in force stays in force");
	if (r < 0 && agent->broken)
		agent_break(agent, e);
	agent_watch_lockdown(agent);
	service_ready();
	agent_say_status(agent);
	return r;
}

static int
on_hangup(_unused_ sd_event_source *s, _unused_ const struct signalfd_siginfo *si,
	  void *userdata)
{
	struct buf later = BUF_INIT(LATER_MAX);
	struct agent *agent = userdata;
	struct err e;

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
