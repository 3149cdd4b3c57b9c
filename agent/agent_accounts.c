/* SPDX-License-Identifier: Apache-2.0 */

/* The accounts, as they are configured, and what is told of their changes. */

#include <string.h>

#include "agent_parts.h"
#include "base/log.h"

static void
say_found(const struct account *a)
{
	const char *email = account_email(a);

	log_info(LOG_FIELDS(log_field("ACCOUNT", "%s", email)),
		 "%s %s found", endpoint_is_account(email) ? "service account" :
		 "user", email);
}

/* What the VM's own account has become: a line in the log. */
static void
on_account_changed(void *userdata, const struct account *a)
{
	struct agent *agent = userdata;
	enum account_state state = account_state(a);

	/* Of before a reload? */
	if (a != accounts_default(agent->up.accounts)->account)
		return;
	/* Whatever is cached speaks for an account that is no longer ours, unless
	   it is found to be the same as before a reload. */
	if (state != ACCOUNT_FOUND || accounts_changed(agent->up.accounts))
		broker_flush(agent->up.broker);
	else
		broker_account_found(agent->up.broker);

	switch (state) {
	case ACCOUNT_FOUND:
		say_found(a);
		break;
	case ACCOUNT_NONE:
		log_warning(LOG_NO_FIELDS, "this VM has no service account; it is "
			    "looked for again from time to time. To give it one: "
			    "stop the VM, gcloud compute instances "
			    "set-service-account, start it");
		break;
	case ACCOUNT_ELSEWHERE:
		log_error(LOG_NO_FIELDS, "%s: no token can be had; %s",
			  account_last_error(a)->msg, account_last_error(a)->hint);
		break;
	default:
		break;
	}
	agent_say_status(agent);
}

/* One line a change; while a flow stays denied for one reason there is none. */
static void
on_flow_changed(void *userdata, const struct flow_status *s)
{
	const char *of = s->format == TOKEN_FULL ? " for full tokens" : "";
	_cleanup_(freep) char *whose = strcmp(s->account, "default") == 0 ?
		xstrdup("") : xasprintf("account %s: ", s->account);

	if (s->denied)
		log_warning(LOG_FIELDS(log_field("FLOW", "%s", s->name)),
			    "%sflow %s is denied%s: %s%s%s", whose, s->name, of,
			    s->why->msg, s->why->hint[0] ? "; " : "", s->why->hint);
	else
		log_notice(LOG_FIELDS(log_field("FLOW", "%s", s->name)),
			   "%sflow %s serves again%s", whose, s->name, of);
	agent_say_status(userdata);
}

/* Keys that may be needed are there when they are. */
static void
fetch_keys(struct agent *agent)
{
	const struct config *c = agent->config;
	bool needed = c->flow.verify == FLOW_VERIFY_REQUIRED;

	for (size_t i = 0; c->flows[i]; i++)
		if (c->flow.verify == FLOW_VERIFY_AUTO && c->flows[i]->plain_http)
			needed = true;
	if (needed)
		keyring_prefetch(agent->up.keyring);
}

/* Takes the account over. */
static int
add_account(struct agent *agent, struct account *a,
	    const struct flow_ops *const *flows, struct err *e)
{
	const struct config *c = agent->config;
	struct flow_context *ctx = accounts_add(agent->up.accounts,
						&(struct flow_context){
		.event = agent->event,
		.http = agent->up.http,
		.at = &c->at,
		.account = a,
		.credential = c->credential,
		.keyring = agent->up.keyring,
		.clock = agent->up.clock,
		.opt = c->flow,
	});

	return flows_new(ctx, flows, &c->flows_opt, on_flow_changed, agent,
			 &ctx->flows, e);
}

static int
add_impersonated(struct agent *agent, const struct config_account *as,
		 const struct account_setup *setup, struct err *e)
{
	const struct flow_context *own = accounts_default(agent->up.accounts);
	const struct flow_context *ctx;
	int r;

	r = add_account(agent, account_impersonated_new(setup, as->name, as->email,
							own->account,
							as->delegates),
			as->flows, e);
	if (r < 0)
		return r;
	ctx = accounts_at(agent->up.accounts, accounts_len(agent->up.accounts) - 1);
	flows_account_changed(ctx->flows);
	return 0;
}

/* The default account's: an account of its file, or the VM's own. */
static int
new_default(struct agent *agent, const struct account_setup *setup,
	    struct account **ret, struct err *e)
{
	static const struct account_ops quiet = { .changed = NULL };
	const struct credential *c = agent->config->credential;
	struct account **source = &agent->up.source;
	struct account_setup hidden = *setup;
	int r;

	if (!c)
		return account_metadata_new(setup, ret, e);
	if (c->file->type == CREDFILE_SERVICE_ACCOUNT) {
		*ret = account_keyfile_new(setup, "default", c);
		return 0;
	}
	if (c->file->type == CREDFILE_AUTHORIZED_USER)
		return account_user_new(setup, "default", c, ret, e);

	/* By whose access token: no account that anybody could ask for. */
	hidden.ops = &quiet;
	if (c->source->file->type == CREDFILE_SERVICE_ACCOUNT) {
		*source = account_keyfile_new(&hidden, "source", c->source);
	} else {
		r = account_user_new(&hidden, "source", c->source, source, e);
		if (r < 0)
			return r;
	}
	*ret = account_impersonated_new(setup, "default", c->file->email,
					*source, c->file->delegates);
	return 0;
}

int
agent_new_accounts(struct agent *agent, struct err *e)
{
	static const struct account_ops ops = { .changed = on_account_changed };
	const struct config *c = agent->config;
	const struct account_setup setup = {
		.event = agent->event, .http = agent->up.http, .at = &c->at,
		.clock = agent->up.clock, .opt = &c->account, .ops = &ops,
		.userdata = agent,
	};
	struct account *a;
	int r;

	fetch_keys(agent);
	agent->up.accounts = accounts_new();
	r = new_default(agent, &setup, &a, e);
	if (r >= 0)
		r = add_account(agent, a, c->flows, e);
	if (r >= 0 && account_state(a) == ACCOUNT_FOUND) {
		say_found(a);
		flows_account_changed(accounts_default(agent->up.accounts)->flows);
	}
	for (size_t i = 0; r >= 0 && i < c->accounts.n; i++)
		r = add_impersonated(agent, c->accounts.v[i], &setup, e);
	return r;
}
