/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "api/policy_rule.h"
#include "base/text.h"

struct policy {
	const struct policy_names *names;	/* NULL once sealed */
	struct policy_rule **rules;
	size_t n;
	uint64_t generation;
	bool reuses_pids, permissive;
	const char *const *accounts;		/* NULL once sealed */
};

struct policy *
policy_new(const struct policy_names *names)
{
	static uint64_t last_generation;
	struct policy *p = xcalloc(1, sizeof(*p));

	p->names = names;
	p->generation = ++last_generation;
	return p;
}

struct policy *
policy_free(struct policy *p)
{
	if (!p)
		return NULL;

	for (size_t i = 0; i < p->n; i++)
		policy_rule_free(p->rules[i]);
	free(p->rules);
	free(p);
	return NULL;
}

void
policy_kernel_reuses_pids(struct policy *p)
{
	p->reuses_pids = true;
}

void
policy_permit(struct policy *p)
{
	p->permissive = true;
}

int
policy_rule(struct policy *p, const char *name, const char *origin, unsigned line,
	    struct policy_rule **ret, struct err *e)
{
	int r = policy_rule_check_name(name, e);

	assert(p->names);
	if (r < 0)
		return r;

	for (size_t i = 0; i < p->n; i++) {
		if (strcmp(p->rules[i]->name, name) != 0)
			continue;
		if (strcmp(p->rules[i]->origin, origin) != 0)
			return err_set(e, ERR_REQUEST, "rule %s is in %s:%u "
				       "already", name, p->rules[i]->origin,
				       p->rules[i]->line);
		*ret = p->rules[i];
		return 0;
	}

	p->rules = xrealloc(p->rules, p->n + 1, sizeof(*p->rules));
	*ret = p->rules[p->n++] = policy_rule_new(p->names, name, origin, line);
	return 0;
}

void
policy_accounts(struct policy *p, const char *const *names)
{
	p->accounts = names;
}

int
policy_seal(struct policy *p, policy_note_fn *note, void *userdata,
	    const char **ret_origin, unsigned *ret_line, struct err *e)
{
	const char *const *accounts = p->accounts;

	p->names = NULL;
	p->accounts = NULL;
	for (size_t i = 0; i < p->n; i++) {
		int r = policy_rule_seal(p->rules[i], e);

		if (r < 0) {
			*ret_origin = p->rules[i]->origin;
			*ret_line = p->rules[i]->line;
			return r;
		}
	}
	for (size_t i = 0; note && i < p->n; i++)
		policy_rule_notes(p->rules[i], &(struct rule_world){
			.keeps_process = !p->reuses_pids, .accounts = accounts,
		}, note, userdata);
	return 0;
}

static const struct policy_rule *
policy_find(const struct policy *p, bool deny, struct peer *peer,
	    const struct peer_host *host, const struct policy_query *q)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->rules[i]->deny == deny &&
		    policy_rule_matches(p->rules[i], peer, host, q))
			return p->rules[i];
	return NULL;
}

/* Fit to be shown, and to be pasted into a shell, as it stands? */
static bool
is_paste_safe(const char *s)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyz"
		"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/@%+=,";
	char show[TEXT_SHOW_SIZE];

	return *s && *s != '-' && strspn(s, good) == strlen(s) &&
		strcmp(text_show_str(show, s), s) == 0;
}

size_t
policy_near(const struct policy *p, const struct peer *peer,
	    const struct policy_query *q, struct policy_near *ret, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n && n < max; i++) {
		const char *key = policy_rule_missing_key(p->rules[i], peer, q);

		if (key)
			ret[n++] = (struct policy_near){ p->rules[i]->name, key };
	}
	return n;
}

/* " (nearly: web but for unit, sre but for group)", or nothing. */
static void
near_words(const struct policy *p, const struct peer *peer,
	   const struct policy_query *q, char *ret, size_t size)
{
	struct policy_near near[2];
	size_t n = policy_near(p, peer, q, near, ARRAY_SIZE(near)), len = 0;

	ret[0] = '\0';
	for (size_t i = 0; i < n && len < size; i++)
		len += (size_t)snprintf(ret + len, size - len, "%s%s but for %s%s",
					i == 0 ? " (nearly: " : ", ",
					near[i].rule, near[i].key,
					i + 1 == n ? ")" : "");
}

/* The command that prints a stanza.  It asks by the Unix socket. */
static void
hint_rule(const struct peer *peer, const struct policy_query *q,
	  const char *account, struct err *e)
{
	bool audience = q->kind == POLICY_ID || q->kind == POLICY_JWT;

	err_hint(e, "gce-oidc whoami%s%s%s%s%s%s%s", audience ? " --rule " : "",
		 !audience ? ""
			   : q->audience && is_paste_safe(q->audience)
				     ? q->audience : "AUDIENCE",
		 q->kind == POLICY_ID ? "" : " --kind=",
		 q->kind == POLICY_ID ? "" : policy_kind_name(q->kind),
		 account && is_paste_safe(account) ? " --account=" : "",
		 account && is_paste_safe(account) ? account : "",
		 peer->tcp ? " --tcp" : "");
}

static int
policy_denied(const struct policy *p, const struct policy_rule *deny,
	      const struct peer *peer, const struct policy_query *q, struct err *e)
{
	char who[PEER_SHOW_SIZE], account[TEXT_SHOW_SIZE], near[192] = "";
	bool other = q->account && strcmp(q->account, "default") != 0;
	int r;

	if (!deny)
		near_words(p, peer, q, near, sizeof(near));

	(void)peer_show(peer, who);
	(void)text_show_str(account, other ? q->account : "");
	r = err_set(e, ERR_POLICY, "%s%s %s kind %s%s%s to %s%s",
		    deny ? "rule " : "no rule", deny ? deny->name : "",
		    deny ? "denies" : "admits", policy_kind_name(q->kind),
		    other ? " of account " : "", account, who, near);
	hint_rule(peer, q, other ? q->account : NULL, e);
	return r;
}

int
policy_check(const struct policy *p, struct peer *peer,
	     const struct peer_host *host, const struct policy_query *q,
	     const char **ret_rule, struct err *e)
{
	const struct policy_rule *rule;
	int r;

	assert(q->kind < POLICY_KINDS);

	rule = policy_find(p, true, peer, host, q);
	if (rule)
		return policy_denied(p, rule, peer, q, e);
	rule = policy_find(p, false, peer, host, q);
	if (!rule) {
		r = policy_denied(p, NULL, peer, q, e);
		/* Somebody of this machine, and not for another kind. */
		if (!p->permissive || q->kind != POLICY_ID || !peer->known)
			return r;
	}

	if (ret_rule)
		*ret_rule = rule ? rule->name : NULL;
	return rule ? 0 : 1;
}

static bool
any_rule_gives(const struct policy *p, bool deny, struct peer *peer,
	       const struct peer_host *host, const struct policy_query *q)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->rules[i]->deny == deny &&
		    policy_rule_gives(p->rules[i], peer, host, q))
			return true;
	return false;
}

bool
policy_gives_kind(const struct policy *p, struct peer *peer,
		  const struct peer_host *host, enum policy_kind kind,
		  const char *account)
{
	const struct policy_query q = { .kind = kind, .account = account };

	if (!any_rule_gives(p, false, peer, host, &q) &&
	    !(p->permissive && kind == POLICY_ID && peer->known))
		return false;
	return !any_rule_gives(p, true, peer, host, &q);
}

bool
policy_gives(const struct policy *p, struct peer *peer,
	     const struct peer_host *host, const char *account)
{
	for (int kind = 0; kind < POLICY_KINDS; kind++)
		if (kind != POLICY_MONITOR && kind != POLICY_ADMIN &&
		    policy_gives_kind(p, peer, host, (enum policy_kind)kind,
				      account))
			return true;
	return false;
}

bool
policy_knows(const struct policy *p, struct peer *peer,
	     const struct peer_host *host)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct policy_rule *r = p->rules[i];

		if (policy_rule_could(r, peer) &&
		    policy_rule_who(r, peer, host) == TRI_YES)
			return true;
	}
	return false;
}

bool
policy_names_unit(const struct policy *p, struct peer *peer,
		  const struct peer_host *host, char ret[static CGROUP_NAME_SIZE])
{
	for (size_t i = 0; i < p->n; i++) {
		const struct policy_rule *r = p->rules[i];

		if (!r->deny && r->unit.given && !policy_rule_is_void(r) &&
		    policy_rule_names(r, peer, host) == TRI_YES)
			return peer_unit(peer, ret);
	}
	return false;
}

unsigned
policy_facts(const struct policy *p)
{
	unsigned facts = 0;

	for (size_t i = 0; i < p->n; i++) {
		if (policy_rule_is_void(p->rules[i]))
			continue;
		if (p->rules[i]->group.given)
			facts |= PEER_GROUPS;
		if (p->rules[i]->unit.given || p->rules[i]->slice.given)
			facts |= PEER_UNIT;
		if (p->rules[i]->host != RULE_HOST_ANY)
			facts |= PEER_HOST;
	}
	return facts;
}

uint64_t
policy_generation(const struct policy *p)
{
	return p->generation;
}

size_t
policy_len(const struct policy *p)
{
	return p->n;
}

bool
policy_is_permissive(const struct policy *p)
{
	return p->permissive;
}
