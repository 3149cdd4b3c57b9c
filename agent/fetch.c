/* SPDX-License-Identifier: Apache-2.0 */

/* --fetch: one token in the foreground, by the agent's own means. */

#include <stdio.h>

#include "agent_parts.h"
#include "config_value.h"

struct foreground {
	struct agent *agent;
	struct ticket *ticket;
};

static void
print_token(const struct token *t)
{
	size_t len;
	const char *text = token_reveal(t, &len);

	fwrite(text, 1, len, stdout);
	putchar('\n');
}

static void
on_fetched(void *userdata, struct token *t, _unused_ enum broker_source source,
	   const struct err *e)
{
	struct foreground *f = userdata;

	if (t)
		print_token(t);
	else
		fprintf(stderr, e->hint[0] ? "gce-oidc-agent: %s; %s\n"
			: "gce-oidc-agent: %s%s\n", e->msg, e->hint);
	sd_event_exit(f->agent->event, t ? 0 : err_kind_exit_code(e->kind));
}

int
agent_fetch(struct config *config, const char *audience)
{
	_cleanup_(agent_freep) struct agent *agent = NULL;
	struct broker_want want = { 0 };
	struct foreground f = { 0 };
	struct token *t;
	struct err e;
	int r;

	r = agent_new(config, &agent, &e);
	if (r >= 0)
		r = agent_reach_out(agent, &e);
	if (r >= 0)
		r = config_value_audience(audience, config->api.max_audience, &e);
	if (r >= 0)
		r = agent_detect(agent, &e);
	if (r >= 0) {
		const struct flows *fs =
			accounts_default(agent->up.accounts)->flows;

		f.agent = agent;
		sd_event_now(agent->event, CLOCK_BOOTTIME, &want.deadline);
		want.deadline += config->api.wait_usec;
		r = broker_get(agent->up.broker, &(struct token_key){
			.kind = TOKEN_ID, .account = "default",
			.variant = flows_variant(fs, flows_format(fs), false),
			.audience = audience,
		}, &want, on_fetched, &f, &t, &f.ticket, &e);
	}
	if (r < 0) {
		fprintf(stderr, "gce-oidc-agent: %s\n", e.msg);
		return err_kind_exit_code(e.kind);
	}
	r = sd_event_loop(agent->event);
	ticket_free(f.ticket);
	return r < 0 ? 1 : r;
}
