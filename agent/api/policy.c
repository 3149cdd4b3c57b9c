/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <string.h>

#include "api/policy_rule.h"
#include "base/text.h"

struct policy {
	const struct policy_names *names;	/* NULL once sealed */
	struct policy_rule **rules;
	size_t n;
	uint64_t generation;
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

int
policy_seal(struct policy *p, policy_note_fn *note, void *userdata,
	    const char **ret_origin, unsigned *ret_line, struct err *e)
{
	p->names = NULL;
	for (size_t i = 0; i < p->n; i++) {
		int r = policy_rule_seal(p->rules[i], e);

		if (r < 0) {
			*ret_origin = p->rules[i]->origin;
			*ret_line = p->rules[i]->line;
			return r;
		}
	}
	for (size_t i = 0; note && i < p->n; i++)
		policy_rule_notes(p->rules[i], note, userdata);
	return 0;
}

/* Is this enough to go on?  An allow rule ends at the first thing that is not
   known, a deny rule only at a plain no; so nothing dear is read in vain. */
static bool
tri_settles(const struct policy_rule *r, enum tri v)
{
	return v == TRI_NO || (v == TRI_UNKNOWN && !r->deny);
}

static bool
ids_have(const struct rule_ids *l, uint32_t id)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i] == id)
			return true;
	return false;
}

static enum tri
rule_user(const struct policy_rule *r, const struct peer *peer)
{
	if (r->user.n == 0)
		return TRI_NO;
	if (!peer->known)
		return TRI_UNKNOWN;
	return ids_have(&r->user, peer->uid) ? TRI_YES : TRI_NO;
}

static enum tri
rule_group(const struct policy_rule *r, struct peer *peer,
	   const struct peer_host *host)
{
	if (r->group.n == 0)
		return TRI_NO;
	if (peer->known && ids_have(&r->group, peer->gid))
		return TRI_YES;

	peer_need(peer, host, PEER_GROUPS);
	for (size_t i = 0; peer->groups_known && i < peer->n_groups; i++)
		if (ids_have(&r->group, peer->groups[i]))
			return TRI_YES;
	return peer->known && peer->groups_known ? TRI_NO : TRI_UNKNOWN;
}

/* The keys that say who, cheap facts first. */
static enum tri
rule_who(const struct policy_rule *r, struct peer *peer,
	 const struct peer_host *host)
{
	enum tri v = TRI_YES;

	if (r->user.given)
		v = tri_and(v, rule_user(r, peer));
	if (r->group.given && !tri_settles(r, v))
		v = tri_and(v, rule_group(r, peer, host));
	if (r->host == RULE_HOST_ANY || tri_settles(r, v))
		return v;

	peer_need(peer, host, PEER_HOST);
	return tri_and(v, r->host == RULE_HOST_YES ? peer->host
						   : tri_not(peer->host));
}

static bool
patterns_match(const struct rule_patterns *l, const char *s, bool stars_escaped)
{
	for (size_t i = 0; i < l->n; i++)
		if (pattern_match(l->v[i], s, stars_escaped))
			return true;
	return false;
}

/* What is asked for has to lie inside an allow rule's scopes; a deny rule is met
   by any one of them.  An unnarrowed token has them all. */
static bool
rule_scopes(const struct policy_rule *r, const struct policy_query *q)
{
	if (!r->scope.given)
		return true;
	if (!q->scopes || !q->scopes[0])
		return r->deny;

	for (size_t i = 0; q->scopes[i]; i++)
		if (patterns_match(&r->scope, q->scopes[i], false) == r->deny)
			return r->deny;
	return !r->deny;
}

/* The keys that say what.  A question that lacks what a rule asks about is an
   unknown fact. */
static bool
rule_what(const struct policy_rule *r, const struct policy_query *q)
{
	if (!(r->kinds & (1u << q->kind)))
		return false;
	if (q->kind == POLICY_MONITOR || q->kind == POLICY_ADMIN)
		return true;

	if (!(q->account ? patterns_match(&r->account, q->account, false)
			 : r->deny))
		return false;
	if (q->kind == POLICY_ACCESS)
		return rule_scopes(r, q);
	if (q->kind != POLICY_ID && q->kind != POLICY_JWT)
		return true;

	/* Who verifies a JWT may read a "*" in its aud as a wildcard. */
	return !q->audience ? r->deny
			    : patterns_match(&r->audience, q->audience,
					     q->kind == POLICY_JWT && !r->deny);
}

static bool
rule_matches(const struct policy_rule *r, struct peer *peer,
	     const struct peer_host *host, const struct policy_query *q)
{
	enum tri who;

	if (policy_rule_is_void(r) || !rule_what(r, q))
		return false;
	who = rule_who(r, peer, host);
	return who == TRI_YES || (who == TRI_UNKNOWN && r->deny);
}

static const struct policy_rule *
policy_find(const struct policy *p, bool deny, struct peer *peer,
	    const struct peer_host *host, const struct policy_query *q)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->rules[i]->deny == deny &&
		    rule_matches(p->rules[i], peer, host, q))
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

static int
policy_denied(const struct policy_rule *deny, const struct peer *peer,
	      const struct policy_query *q, struct err *e)
{
	char who[PEER_SHOW_SIZE], account[TEXT_SHOW_SIZE];
	bool other = q->account && strcmp(q->account, "default") != 0;
	int r;

	(void)peer_show(peer, who);
	(void)text_show_str(account, other ? q->account : "");
	r = err_set(e, ERR_POLICY, "%s%s %s kind %s%s%s to %s",
		    deny ? "rule " : "no rule", deny ? deny->name : "",
		    deny ? "denies" : "admits", policy_kind_name(q->kind),
		    other ? " of account " : "", account, who);
	err_hint(e, "gce-oidc whoami --rule %s",
		 q->audience && is_paste_safe(q->audience) ? q->audience
							   : "AUDIENCE");
	return r;
}

int
policy_check(const struct policy *p, struct peer *peer,
	     const struct peer_host *host, const struct policy_query *q,
	     const char **ret_rule, struct err *e)
{
	const struct policy_rule *rule;

	assert(q->kind < POLICY_KINDS);

	rule = policy_find(p, true, peer, host, q);
	if (rule)
		return policy_denied(rule, peer, q, e);
	rule = policy_find(p, false, peer, host, q);
	if (!rule)
		return policy_denied(NULL, peer, q, e);

	if (ret_rule)
		*ret_rule = rule->name;
	return 0;
}

bool
policy_knows(const struct policy *p, struct peer *peer,
	     const struct peer_host *host)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct policy_rule *r = p->rules[i];

		if (!r->deny && !policy_rule_is_void(r) &&
		    rule_who(r, peer, host) == TRI_YES)
			return true;
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
