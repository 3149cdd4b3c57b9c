/* SPDX-License-Identifier: Apache-2.0 */

/* What asks upstream, made anew while the agent serves: whoever waits on the old
   one is answered by what he began with, judged by the new policy, and then the old
   one goes. */

#include "agent_parts.h"
#include "base/log.h"

struct retired {
	LIST_ENTRY(retired) list;
	int era;		/* of those who may wait for it */
	struct config *config;
	struct agent_upstream up;
};

static void
give_back(struct agent *agent, struct retired *old)
{
	agent_upstream_clear(&agent->up);
	agent->config = old->config;
	agent->up = old->up;
	free(old);
}

static void
retired_free(struct retired *old)
{
	agent_upstream_clear(&old->up);
	config_free(old->config);
	free(old);
}

void
agent_free_retired(struct agent *agent)
{
	struct retired *old;

	while ((old = LIST_FIRST(&agent->retired))) {
		LIST_REMOVE(old, list);
		retired_free(old);
	}
	agent->retire = sd_event_source_unref(agent->retire);
}

/* Whoever waits since an era may by now hold what a later one began with, never
   what an earlier one did: so nothing goes that is newer than the oldest that is
   waited on.  The newest comes first. */
static int
on_retire(_unused_ sd_event_source *s, void *userdata)
{
	struct agent *agent = userdata;
	struct retired *free_from = LIST_FIRST(&agent->retired), *old, *next;

	LIST_FOREACH(old, &agent->retired, list)
		if (http_server_waiting(agent->server, old->era) > 0)
			free_from = LIST_NEXT(old, list);
	for (old = free_from; old; old = next) {
		next = LIST_NEXT(old, list);
		LIST_REMOVE(old, list);
		retired_free(old);
		log_debug(LOG_NO_FIELDS, "nobody waits any more on what asked "
			  "upstream before a reload");
	}
	return 0;
}

static void
on_left(void *userdata)
{
	struct agent *agent = userdata;

	sd_event_source_set_enabled(agent->retire, SD_EVENT_ONESHOT);
}

static int
begin_era(struct agent *agent, struct retired *old, struct err *e)
{
	int r = 0;

	if (!agent->retire)
		r = sd_event_add_defer(agent->event, &agent->retire, on_retire,
				       agent);
	if (r < 0)
		return err_sys(e, -r, "cannot make an event source");
	old->era = http_server_begin_era(agent->server, on_left, agent);
	if (old->era >= 0)
		return 0;
	r = err_set(e, ERR_UNAVAILABLE, "requests still wait on what asked "
		    "upstream %d reloads ago: try again in a minute",
		    HTTP_ERAS - 1);
	e->retry_usec = USEC_PER_MIN;
	return r;
}

int
agent_replace_upstream(struct agent *agent, struct config *new,
		       bool same_identity, struct err *e)
{
	struct retired *old = xcalloc(1, sizeof(*old));
	int r;

	agent_detected(agent);
	old->config = agent->config;
	old->up = agent->up;
	agent->config = new;
	agent->up = (struct agent_upstream){ 0 };
	r = agent_reach_out(agent, e);
	if (r >= 0 && same_identity)
		accounts_inherit(agent->up.accounts, old->up.accounts);
	if (r >= 0)
		r = agent_keep_warm(agent, e);
	if (r >= 0)
		r = begin_era(agent, old, e);
	if (r < 0) {
		give_back(agent, old);
		return r;
	}
	broker_retire(old->up.broker, same_identity ? agent->up.broker : NULL);
	LIST_INSERT_HEAD(&agent->retired, old, list);
	log_info(LOG_NO_FIELDS, "what asks upstream is made anew; %u requests "
		 "still wait on what was, and %s",
		 http_server_waiting(agent->server, old->era),
		 same_identity ? "tokens stay cached"
			       : "nothing is cached any more");
	on_left(agent);
	return 0;
}
