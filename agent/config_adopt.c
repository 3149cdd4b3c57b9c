/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "config.h"
#include "config_table.h"

/* What asks upstream, what is cached, and how many may connect stays as it was made
   at start; this takes effect at once. */
static bool
option_is_live(const struct config_option *o)
{
	static const struct {
		size_t at, size;
	} live[] = {
#define MEMBER(m) { offsetof(struct config, m), sizeof(((struct config *)NULL)->m) }
		MEMBER(log_level), MEMBER(permissive), MEMBER(server), MEMBER(api),
		MEMBER(detect_usec), MEMBER(drain_usec),
#undef MEMBER
	};

	if (o->offset == offsetof(struct config, server.max_connections))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(live); i++)
		if (o->offset >= live[i].at &&
		    o->offset < live[i].at + live[i].size)
			return true;
	return false;
}

static bool
option_stays(const struct config_option *o, const struct config *a,
	     const struct config *b)
{
	/* "environment" is kept beside. */
	if (o->offset == offsetof(struct config, proxy) &&
	    a->client.proxy_environment != b->client.proxy_environment)
		return false;
	return config_option_same(o, a, b);
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

/* Accounts stay as they were made at start, too. */
static void
add_later_accounts(const struct config *running, const struct config *new,
		   struct buf *later)
{
	for (size_t i = 0; i < new->accounts.n; i++) {
		const struct config_account *a = new->accounts.v[i], *old =
			config_account_find(&running->accounts, a->name);

		if (!old || !config_account_same(old, a))
			buf_addf(later, "%s:%u: [account %s] needs a restart; "
				 "until then it %s\n", a->origin, a->line, a->name,
				 old ? "stays what it was" : "is not there");
	}
	for (size_t i = 0; i < running->accounts.n; i++) {
		const char *name = running->accounts.v[i]->name;

		if (!config_account_find(&new->accounts, name))
			buf_addf(later, "the end of [account %s] needs a restart; "
				 "until then it stays what it was\n", name);
	}
}

static void
swap_policy(struct config *a, struct config *b)
{
	struct policy *p = a->policy;

	a->policy = b->policy;
	b->policy = p;
}

void
config_adopt(struct config *running, struct config *new, struct buf *later)
{
	struct http_server_options server = running->server;
	struct api_options api = running->api;

	for (size_t i = 0; i < config_options_len; i++)
		if (!option_is_live(&config_options[i]) &&
		    !option_stays(&config_options[i], running, new))
			add_later(new, &config_options[i], later);

	add_later_accounts(running, new, later);

	swap_policy(running, new);
	running->log_level = new->log_level;
	running->permissive = new->permissive;
	running->detect_usec = new->detect_usec;
	running->drain_usec = new->drain_usec;

	/* Shares of what stays stay. */
	running->server = new->server;
	running->server.max_connections = server.max_connections;
	running->server.max_strangers = server.max_strangers;
	running->server.client_fds = server.client_fds;
	running->api = new->api;
	running->api.connections_share = api.connections_share;
}
