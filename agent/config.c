/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "config.h"
#include "config_credentials.h"
#include "config_names.h"
#include "config_table.h"
#include "config_upstream.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION	"0"
#endif

#define DEFAULT_BUILT_IN	"50-default.conf (built in)"

/* Not for people to turn: they bound memory, or are the protocol's. */
#define MAX_BODY	(256 * 1024)
#define MAX_BUFFERS	(16 * 1024 * 1024)
#define MAX_FAILURES	1024
#define MAX_PEER_BUFFERS (1024 * 1024)
#define MAX_STRANGERS	256U
#define HOST_CONNECTIONS 4
#define STRANGER_BODY	(4 * 1024)
#define BURST		64
#define BUCKETS		1024

/* The audit.  All buckets together stay below what the journal takes of one service
   by default: 10,000 lines in 30 s. */
#define AUDIT_ENTRIES	4096
#define AUDIT_PER_PEER	256
#define AUDIT_PEERS	128
#define AUDIT_EACH	USEC_PER_SEC
#define AUDIT_BURST	32

const char config_default_text[] =
	"# SPDX-License-Identifier: Apache-2.0\n"
	"# What holds with no other file; a file of this name in\n"
	"# /etc/gce-oidc-agent/agent.conf.d, or a link to /dev/null there, "
	"replaces it.\n"
	"\n"
	"[rule host-root]\n"
	"user     = root\n"
	"kind     = id monitor admin\n"
	"audience = **\n";

struct loader {
	struct config *c;
	char section[16];
	char *name;			/* the section's, or NULL */
	struct policy_rule *rule;	/* of these two at most one; */
	struct config_account *account;	/* none: a section of the table */
	bool by_hand;
	config_note_fn *note;
	void *userdata;
};

static int
on_section(void *userdata, const char *file, unsigned line, const char *section,
	   const char *name, struct err *e)
{
	struct loader *l = userdata;
	char show[TEXT_SHOW_SIZE];

	l->rule = NULL;
	l->account = NULL;
	l->section[0] = '\0';
	free(l->name);
	l->name = name ? xstrdup(name) : NULL;
	if (strcmp(section, "rule") == 0)
		return policy_rule(l->c->policy, name ? name : "", file, line,
				   &l->rule, e);

	if (strcmp(section, "account") == 0 && !name)
		return err_set(e, ERR_REQUEST, "an account needs a name: "
			       "[account default]");
	if (strcmp(section, "account") == 0 && strcmp(name, "default") != 0)
		return config_account_open(&l->c->accounts, name, file, line,
					   &l->account, e);

	if (config_option_find(section, NULL) == config_options_len ||
	    strlen(section) >= sizeof(l->section))
		return err_set(e, ERR_REQUEST, "unknown section [%s]",
			       text_show_str(show, section));
	if (name && !config_section_name(section))
		return err_set(e, ERR_REQUEST, "[%s] takes no name", section);
	(void)snprintf(l->section, sizeof(l->section), "%s", section);
	return 0;
}

static int
on_setting(void *userdata, const char *file, unsigned line, const char *key,
	   const char *value, struct err *e)
{
	struct loader *l = userdata;
	bool list;
	size_t i;
	int r;

	if (l->rule) {
		r = policy_rule_set(l->rule, key, value, e);
		list = policy_key_is_list(key);
	} else if (l->account) {
		r = config_account_set(l->account, key, value, e);
		list = config_account_key_is_list(key);
	} else {
		i = config_option_find(l->section, key);
		if (i == config_options_len)
			return err_set(e, ERR_REQUEST, "unknown key %s in [%s%s%s]",
				       key, l->section, l->name ? " " : "",
				       l->name ?: "");
		r = config_option_set(l->c, &config_options[i], value, e);
		list = config_option_is_list(&config_options[i]);
	}
	if (r < 0)
		return r;
	config_record_set(&l->c->record, &(struct config_setting){
		.section = l->rule ? (char *)"rule"
			   : l->account ? (char *)"account" : l->section,
		.name = l->name,
		.key = (char *)key,
		.value = (char *)value,
		.origin = (char *)file,
		.line = line,
	}, list);
	return 0;
}

static void
on_file(void *userdata, const char *file, bool masked)
{
	struct loader *l = userdata;
	_cleanup_(freep) char *words = xasprintf("%s%s", file, masked ?
		" (not read: a file of the same name masks it)" : "");

	config_record_file(&l->c->record, words);
}

static const struct config_file_ops file_ops = {
	.section = on_section,
	.setting = on_setting,
	.file = on_file,
};

static void
set_defaults(struct loader *l)
{
	for (size_t i = 0; i < config_options_len; i++) {
		const struct config_option *o = &config_options[i];
		int r = 0;

		if (!config_option_written(l->c, o->section, o->key) && o->value)
			r = config_option_set(l->c, o, o->value, NULL);
		assert(r == 0);
	}
}

/* Of a wait and its upper bound, what was not written gives way to what was. */
static int
check_pairs(struct loader *l, struct err *e)
{
	char *base = (char *)l->c;

	for (size_t i = 0; i < config_pairs_len; i++) {
		const struct config_pair *p = &config_pairs[i];
		size_t first = config_option_find("timing", p->first);
		size_t max = config_option_find("timing", p->max);
		uint64_t *a = (uint64_t *)(base + config_options[first].offset);
		uint64_t *b = (uint64_t *)(base + config_options[max].offset);

		if (*a <= *b)
			continue;
		if (!config_option_written(l->c, "timing", p->first)) {
			*a = *b;
			continue;
		}
		if (config_option_written(l->c, "timing", p->max))
			return config_option_error(l->c, "timing", p->first,
						   err_set(e, ERR_REQUEST,
							   "longer than %s",
							   p->max), e);
		*b = *a;
	}
	return 0;
}

/* At least one. */
static unsigned
config_share(unsigned whole, unsigned percent)
{
	return MAX(1U, (unsigned)((uint64_t)whole * percent / 100));
}

/* What is to be there at all times must find room at all times. */
static int
check_warm(struct loader *l, struct err *e)
{
	const struct cache_options *o = &l->c->broker.cache;
	size_t n = 0, most = MIN(o->entries, o->per_owner);

	while (l->c->warm && l->c->warm[n])
		n++;
	if (n <= most)
		return 0;
	return config_option_error(l->c, "cache", "warm",
				   err_set(e, ERR_REQUEST, "%zu audiences are more "
					   "than entries or per-peer allow (%zu)",
					   n, most), e);
}

void
config_set_shares(struct config *c)
{
	unsigned share = config_share(c->server.max_connections, c->peer_share);

	c->server.max_strangers = MIN(MAX_STRANGERS, share);
	c->api.connections_share = share;
}

static void
set_constants(struct config *c)
{
	config_set_shares(c);
	c->client.user_agent = "gce-oidc-agent/" PACKAGE_VERSION;
	c->client.ca_file = c->ca_file;
	c->client.proxy = c->proxy;
	c->client.max_body = MAX_BODY;
	c->client.host_connections = HOST_CONNECTIONS;
	c->client.plain_http = c->at.test;
	c->client.budget.share = c->peer_share;
	c->client.budget.payers = BUCKETS;
	c->client.lane[HTTP_LANE_LOCAL].retry.retry_after_max_usec =
		c->client.lane[HTTP_LANE_GOOGLE].retry.retry_after_max_usec;
	c->server.max_buffers = MAX_BUFFERS;
	c->server.stranger_body = STRANGER_BODY;
	c->server.every_answer = api_every_answer;
	c->broker.failures.max = MAX_FAILURES;
	c->broker.want.access_wish_usec = c->account.access_margin_usec;
	c->broker.access_ahead_usec = c->account.access_margin_usec;
	c->broker.peer_share = c->peer_share;
	c->api.peer_buffers = MAX_PEER_BUFFERS;
	c->api.max_audience = CONFIG_MAX_AUDIENCE;
	c->api.limit.burst = BURST;
	c->api.limit.peers = BUCKETS;
	c->api.audit.entries = AUDIT_ENTRIES;
	c->api.audit.per_peer = AUDIT_PER_PEER;
	c->api.audit.peers = AUDIT_PEERS;
	c->api.audit.each_usec = AUDIT_EACH;
	c->api.audit.burst = AUDIT_BURST;
}

static void
on_note(void *userdata, const char *origin, unsigned line, const char *words)
{
	struct loader *l = userdata;
	_cleanup_(freep) char *text = xasprintf("%s:%u: %s", origin, line, words);

	l->note(l->userdata, text);
}

/* Everything is read: judge it as a whole. */
static int
finish(struct loader *l, struct err *e)
{
	const char *file, **names;
	unsigned line;
	int r;

	set_defaults(l);
	r = check_pairs(l, e);
	if (r >= 0)
		r = config_upstream_check(l->c, e);
	if (r >= 0)
		r = check_warm(l, e);
	if (r >= 0)
		r = config_accounts_check(&l->c->accounts, &l->c->at, e);
	if (r >= 0)
		r = config_credentials_check(l->c, l->by_hand, l->note,
					     l->userdata, e);
	if (r < 0)
		return r;
	set_constants(l->c);

	if (l->c->permissive)
		policy_permit(l->c->policy);
	if (!peer_kernel_keeps_process())
		policy_kernel_reuses_pids(l->c->policy);
	names = config_account_names(&l->c->accounts);
	policy_accounts(l->c->policy, names);
	r = policy_seal(l->c->policy, l->note ? on_note : NULL, l, &file, &line, e);
	free(names);
	return r < 0 ? err_prefix(e, r, "%s:%u", file, line) : 0;
}

static int
load_built_in(struct loader *l, struct err *e)
{
	on_file(l, DEFAULT_BUILT_IN, false);
	return config_file_parse(DEFAULT_BUILT_IN, config_default_text,
				 strlen(config_default_text), &file_ops, l, e);
}

static int
load(struct loader *l, const struct config_paths *paths, bool by_hand,
     struct err *e)
{
	size_t n;
	int r = config_file_read_all(paths, by_hand, &file_ops, l, &n, e);

	if (r >= 0 && n == 0)
		r = load_built_in(l, e);
	return r < 0 ? r : finish(l, e);
}

/* Whatever /etc/passwd says, root is 0. */
struct config *
config_stand_in(void)
{
	static const struct policy_name root = { .name = (char *)"root", .id = 0 };
	const struct policy_names names = { .users = &root, .n_users = 1 };
	struct config *c = xcalloc(1, sizeof(*c));
	struct loader l = { .c = c };
	const char *file;
	unsigned line;
	int r;

	c->policy = policy_new(&names);
	r = load_built_in(&l, NULL);
	set_defaults(&l);
	endpoints_complete(&c->at);
	set_constants(c);
	if (r >= 0)
		r = policy_seal(c->policy, NULL, NULL, &file, &line, NULL);
	assert(r >= 0);
	free(l.name);
	return c;
}

int
config_load(const struct config_paths *paths, bool by_hand,
	    config_note_fn *note, void *userdata,
	    struct config **ret, struct err *e)
{
	_cleanup_(config_freep) struct config *c = xcalloc(1, sizeof(*c));
	struct loader l = { .c = c, .by_hand = by_hand, .note = note,
			    .userdata = userdata };
	struct policy_names names;
	struct config_names read;
	int r;

	config_names_read("/etc/passwd", "/etc/group", &read);
	names = (struct policy_names){ .users = read.users, .n_users = read.n_users,
		.groups = read.groups, .n_groups = read.n_groups };
	c->policy = policy_new(&names);

	r = load(&l, paths, by_hand, e);

	free(l.name);
	config_names_clear(&read);
	if (r >= 0)
		*ret = TAKE_PTR(c);
	return r < 0 ? r : 0;
}

struct config *
config_free(struct config *c)
{
	if (!c)
		return NULL;

	config_record_clear(&c->record);
	policy_free(c->policy);
	endpoints_clear(&c->at);
	free(c->ca_file);
	free(c->proxy);
	free(c->credentials);
	credential_free(c->credential);
	config_warm_free(c->warm);
	config_accounts_clear(&c->accounts);
	free(c);
	return NULL;
}
