/* SPDX-License-Identifier: Apache-2.0 */

/* What a reload changes.  A setting takes a restart; or it is of the policy, the
   api or the server, which take other options as they come; or it is of what asks
   upstream, which is made anew. */

#include <string.h>

#include "config.h"
#include "config_table.h"

#define MEMBER(m) { offsetof(struct config, m), sizeof(((struct config *)NULL)->m) }

struct span {
	size_t at, size;
};

static bool
option_in(const struct config_option *o, const struct span *spans, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (o->offset >= spans[i].at &&
		    o->offset < spans[i].at + spans[i].size)
			return true;
	return false;
}

static bool
option_is_fixed(const struct config_option *o)
{
	return o->offset == offsetof(struct config, server.max_connections);
}

static bool
option_is_live(const struct config_option *o)
{
	static const struct span live[] = {
		MEMBER(log_level), MEMBER(permissive), MEMBER(server), MEMBER(api),
		MEMBER(detect_usec), MEMBER(drain_usec),
	};

	return option_in(o, live, ARRAY_SIZE(live));
}

/* Whose tokens, who may have made them, and who was believed. */
static bool
option_is_identity(const struct config_option *o)
{
	static const struct span identity[] = {
		MEMBER(at), MEMBER(ca_file), MEMBER(flow.verify), MEMBER(flows),
	};

	return option_in(o, identity, ARRAY_SIZE(identity));
}

static bool
option_stays(const struct config_option *o, const struct config *a,
	     const struct config *b)
{
	/* Only where it is not configured it has a second address. */
	if (o->offset == offsetof(struct config, at.metadata) &&
	    a->metadata_configured != b->metadata_configured)
		return false;
	/* "environment" is kept beside. */
	if (o->offset == offsetof(struct config, proxy) &&
	    a->client.proxy_environment != b->client.proxy_environment)
		return false;
	return config_option_same(o, a, b);
}

static bool
accounts_same(const struct config_accounts *a, const struct config_accounts *b)
{
	const struct config_account *other;

	for (size_t i = 0; i < a->n; i++) {
		other = config_account_find(b, a->v[i]->name);
		if (!other || !config_account_same(a->v[i], other))
			return false;
	}
	return a->n == b->n;
}

enum config_change
config_compare(const struct config *running, const struct config *new)
{
	enum config_change change = CONFIG_SAME_UPSTREAM;

	if (!accounts_same(&running->accounts, &new->accounts) ||
	    !credential_same(running->credential, new->credential))
		return CONFIG_OTHER_IDENTITY;
	for (size_t i = 0; i < config_options_len; i++) {
		const struct config_option *o = &config_options[i];

		if (option_is_fixed(o) || option_is_live(o) ||
		    option_stays(o, running, new))
			continue;
		if (option_is_identity(o))
			return CONFIG_OTHER_IDENTITY;
		change = CONFIG_OTHER_UPSTREAM;
	}
	return change;
}

static void
add_later(const struct config *new, const struct config_option *o,
	  struct buf *later)
{
	const char *name = config_section_name(o->section);
	const struct config_setting *at =
		config_record_find(&new->record, o->section, name, o->key);

	if (at)
		buf_addf(later, "%s:%u: ", at->origin, at->line);
	buf_addf(later, "%s in [%s%s%s] needs a restart; until then it stays what "
		 "it was\n", o->key, o->section, name ? " " : "", name ?: "");
}

void
config_keep_fixed(struct config *new, const struct config *running,
		  struct buf *later)
{
	for (size_t i = 0; i < config_options_len; i++)
		if (option_is_fixed(&config_options[i]) &&
		    !option_stays(&config_options[i], running, new))
			add_later(new, &config_options[i], later);

	/* Shares of what stays are of that. */
	new->server.max_connections = running->server.max_connections;
	new->server.client_fds = running->server.client_fds;
	config_set_shares(new);
}

static void
swap_policy(struct config *a, struct config *b)
{
	struct policy *p = a->policy;

	a->policy = b->policy;
	b->policy = p;
}

void
config_adopt(struct config *running, struct config *new)
{
	swap_policy(running, new);
	running->log_level = new->log_level;
	running->permissive = new->permissive;
	running->detect_usec = new->detect_usec;
	running->drain_usec = new->drain_usec;
	running->server = new->server;
	running->api = new->api;
}
