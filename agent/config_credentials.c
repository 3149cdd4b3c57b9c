/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "config_credentials.h"
#include "config_table.h"
#include "credentials.h"

/* With a service account's key the agent needs nobody to sign, and a metadata
   server's tokens would be another account's. */
static const struct {
	const char *flows[3];		/* where none are written */
	const char *others[3];		/* that go with it, too */
} fits[] = {
	[CREDFILE_SERVICE_ACCOUNT] = { { "keyfile" }, { "signblob", "generate" } },
	[CREDFILE_AUTHORIZED_USER] = { { "user" }, { NULL } },
	[CREDFILE_IMPERSONATED] = { { "signblob", "generate" }, { NULL } },
};

static bool
list_has(const char *const *list, const char *name)
{
	for (; *list; list++)
		if (strcmp(*list, name) == 0)
			return true;
	return false;
}

static bool
flow_fits(const struct config *c, const char *flow)
{
	enum credfile_type type;

	if (!c->credential)
		return strcmp(flow, "keyfile") != 0 && strcmp(flow, "user") != 0;
	type = c->credential->file->type;
	return list_has(fits[type].flows, flow) ||
	       list_has(fits[type].others, flow);
}

static int
flow_misfits(const struct config *c, const char *flow, struct err *e)
{
	const struct credfile *file = c->credential ? c->credential->file : NULL;

	if (!file)
		return err_set(e, ERR_REQUEST, "flow %s needs credentials, and "
			       "there are none", flow);
	if (file->type == CREDFILE_AUTHORIZED_USER)
		return err_set(e, ERR_REQUEST, "flow %s is only supported for "
			       "service account credentials, and these are a "
			       "user's: flow user is for them", flow);
	return err_set(e, ERR_REQUEST, "flow %s does not go with credentials of "
		       "type %s", flow, credfile_type_name(file->type));
}

static int
check_flows(const struct config *c, struct err *e)
{
	if (!c->flows[0])
		return err_set(e, ERR_REQUEST, "none left: there is %s",
			       flow_names());
	for (size_t i = 0; c->flows[i]; i++) {
		const char *name = c->flows[i]->name;

		if (!flow_fits(c, name))
			return flow_misfits(c, name, e);
	}
	return 0;
}

static void
set_flows(struct config *c)
{
	const char *const *names = fits[c->credential->file->type].flows;

	memset(c->flows, 0, sizeof(c->flows));
	for (size_t i = 0; names[i]; i++)
		c->flows[i] = flow_find(names[i]);
}

/* Only googleapis.com has a token endpoint to take somebody's refresh token to. */
static int
check_universe(const struct config *c, struct err *e)
{
	const struct credential *x = c->credential;

	if (endpoints_are_default(&c->at))
		return 0;
	x = x->source ?: x;
	if (x->file->type != CREDFILE_AUTHORIZED_USER)
		return 0;
	return err_set(e, ERR_REQUEST, "they are a user's, whose sign-in is good "
		       "in universe " ENDPOINT_UNIVERSE " alone, and the agent's "
		       "is %s", c->at.universe);
}

static void
flows_of_credentials(struct config *c)
{
	credential_set_times(c->credential, c->flow.assertion_life_usec,
			     c->flow.assertion_backdate_usec);
	if (!config_option_written(c, "account", "flows"))
		set_flows(c);
}

int
config_credentials_check(struct config *c, bool by_hand, config_note_fn *note,
			 void *userdata, struct err *e)
{
	const struct config_setting *at =
		config_option_written(c, "account", "credentials");
	int r = 0;

	if (c->credentials)
		r = credentials_load(c->credentials, by_hand, c->at.universe,
				     &c->credential, e);
	if (r >= 0 && c->credential)
		r = check_universe(c, e);
	if (r < 0)
		return config_option_error(c, "account", "credentials", r, e);
	if (c->credential)
		flows_of_credentials(c);
	if (!endpoints_are_default(&c->at))
		config_flows_generate(c->flows,
				      config_option_written(c, "account", "flows"));
	r = check_flows(c, e);
	if (r < 0)
		return config_option_error(c, "account", "flows", r, e);

	if (note && at && config_credentials_note(c)) {
		_cleanup_(freep) char *line = xasprintf("%s:%u: %s", at->origin,
			at->line, config_credentials_note(c));

		note(userdata, line);
	}
	return 0;
}

const char *
config_credentials_note(const struct config *c)
{
	const struct credential *x = c->credential;

	if (!x || x->file->type != CREDFILE_AUTHORIZED_USER)
		return NULL;
	return "credentials are a user's, not a service account's: every process "
	       "that a rule admits acts as that user";
}
