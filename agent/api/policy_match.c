/* SPDX-License-Identifier: Apache-2.0 */

/* Whom and what a rule matches. */

#include <string.h>
#include <strings.h>

#include "api/policy_rule.h"
#include "google/endpoints.h"

static bool
patterns_match(const struct rule_patterns *l, const char *s, bool stars_escaped)
{
	for (size_t i = 0; i < l->n; i++)
		if (pattern_match(l->v[i], s, stars_escaped))
			return true;
	return false;
}

static bool
ids_have(const struct rule_ids *l, uint32_t id)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i] == id)
			return true;
	return false;
}

/* --- who --------------------------------------------------------------------- */

/* Each of these answers by what has been read so far. */

static enum tri
user_matches(const struct policy_rule *r, const struct peer *peer)
{
	return tri_of(peer->known, ids_have(&r->user, peer->uid));
}

static enum tri
group_matches(const struct policy_rule *r, const struct peer *peer)
{
	if (peer->known && ids_have(&r->group, peer->gid))
		return TRI_YES;
	for (size_t i = 0; peer->groups_known && i < peer->n_groups; i++)
		if (ids_have(&r->group, peer->groups[i]))
			return TRI_YES;
	return tri_of(peer->known && peer->groups_known, false);
}

static enum tri
unit_matches(const struct policy_rule *r, const struct peer *peer)
{
	char unit[CGROUP_NAME_SIZE];
	bool known = peer_unit(peer, unit);

	return tri_of(known, known && patterns_match(&r->unit, unit, false));
}

static enum tri
slice_matches(const struct policy_rule *r, const struct peer *peer)
{
	const char *path = peer->cgroup;
	char name[CGROUP_NAME_SIZE];

	if (!peer_unit(peer, name))
		return TRI_UNKNOWN;
	while (cgroup_slice(&path, name))
		if (patterns_match(&r->slice, name, false))
			return TRI_YES;
	return TRI_NO;
}

static enum tri
host_matches(const struct policy_rule *r, const struct peer *peer)
{
	return r->host == RULE_HOST_NO ? tri_not(peer->host) : peer->host;
}

/* In order of what it costs to read their facts. */
enum who_key { WHO_USER, WHO_GROUP, WHO_UNIT, WHO_SLICE, WHO_HOST, WHO_KEYS };

static const struct {
	const char *name;
	unsigned facts;
	enum tri (*matches)(const struct policy_rule *r, const struct peer *peer);
} who_keys[WHO_KEYS] = {
	[WHO_USER]	= { "user",	0,		user_matches },
	[WHO_GROUP]	= { "group",	PEER_GROUPS,	group_matches },
	[WHO_UNIT]	= { "unit",	PEER_UNIT,	unit_matches },
	[WHO_SLICE]	= { "slice",	PEER_UNIT,	slice_matches },
	[WHO_HOST]	= { "host",	PEER_HOST,	host_matches },
};

static bool
who_given(const struct policy_rule *r, enum who_key key)
{
	const bool given[WHO_KEYS] = {
		[WHO_USER]	= r->user.given,
		[WHO_GROUP]	= r->group.given,
		[WHO_UNIT]	= r->unit.given,
		[WHO_SLICE]	= r->slice.given,
		[WHO_HOST]	= r->host != RULE_HOST_ANY,
	};

	return given[key];
}

/* Is this enough to go on?  An allow rule ends at the first thing that is not
   known, a deny rule only at a plain no; so nothing dear is read in vain. */
static bool
is_settled(const struct policy_rule *r, enum tri v)
{
	return v == TRI_NO || (v == TRI_UNKNOWN && !r->deny);
}

/* The keys before end. */
static enum tri
rule_who(const struct policy_rule *r, struct peer *peer,
	 const struct peer_host *host, enum who_key end)
{
	/* Over TCP, whose uid is not known may not even be somebody here. */
	enum tri v = tri_of(!peer->tcp || peer->known, true), key;

	for (unsigned i = 0; i < end && !is_settled(r, v); i++) {
		if (!who_given(r, i))
			continue;
		key = who_keys[i].matches(r, peer);
		if (key == TRI_UNKNOWN && (who_keys[i].facts & ~peer->loaded)) {
			peer_need(peer, host, who_keys[i].facts);
			key = who_keys[i].matches(r, peer);
		}
		v = tri_and(v, key);
	}
	return v;
}

enum tri
policy_rule_names(const struct policy_rule *r, struct peer *peer,
		  const struct peer_host *host)
{
	return rule_who(r, peer, host, WHO_HOST);
}

enum tri
policy_rule_who(const struct policy_rule *r, struct peer *peer,
		const struct peer_host *host)
{
	return rule_who(r, peer, host, WHO_KEYS);
}

/* --- what -------------------------------------------------------------------- */

/* A question that lacks what a rule asks about is an unknown fact: each of these
   then says what the stricter answer takes it for. */

static bool
account_matches(const struct policy_rule *r, const struct policy_query *q)
{
	if (q->kind == POLICY_MONITOR || q->kind == POLICY_ADMIN)
		return true;
	return q->account ? patterns_match(&r->account, q->account, false)
			  : r->deny;
}

/* Whoever has one of these may do what any other allows, or look at it; by "iam" he
   has a token made that may.  For deny rules, so in either case of letters. */
static bool
scope_holds_all(const char *scope)
{
	static const char *const all[] = {
		SCOPE_CLOUD_PLATFORM, SCOPE_CLOUD_PLATFORM ".read-only", SCOPE_IAM,
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (strcasecmp(scope, all[i]) == 0)
			return true;
	return false;
}

/* What is asked for has to lie inside an allow rule's scopes; a deny rule is met
   by any one of them.  An unnarrowed token has them all. */
static bool
scope_matches(const struct policy_rule *r, const struct policy_query *q)
{
	if (q->kind != POLICY_ACCESS || !r->scope.given)
		return true;
	if (!q->scopes || !q->scopes[0])
		return r->deny;

	for (size_t i = 0; q->scopes[i]; i++) {
		bool in = patterns_match(&r->scope, q->scopes[i], false) ||
			(r->deny && scope_holds_all(q->scopes[i]));

		if (in == r->deny)
			return r->deny;
	}
	return !r->deny;
}

/* Who verifies a JWT may read a "*" in its aud as a wildcard. */
static bool
audience_matches(const struct policy_rule *r, const struct policy_query *q)
{
	if (q->kind != POLICY_ID && q->kind != POLICY_JWT)
		return true;
	return !q->audience ? r->deny
			    : patterns_match(&r->audience, q->audience,
					     q->kind == POLICY_JWT && !r->deny);
}

static const struct {
	const char *name;
	bool (*matches)(const struct policy_rule *r, const struct policy_query *q);
} what_keys[] = {
	{ "account",	account_matches },
	{ "scope",	scope_matches },
	{ "audience",	audience_matches },
};

static bool
rule_what(const struct policy_rule *r, const struct policy_query *q)
{
	if (!(r->kinds & RULE_KIND(q->kind)))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(what_keys); i++)
		if (!what_keys[i].matches(r, q))
			return false;
	return true;
}

/* A uid on loopback is weaker evidence: it is for ID tokens, unless a rule says
   otherwise. */
static bool
tcp_matches(const struct policy_rule *r, const struct peer *peer,
	    const struct policy_query *q)
{
	return !peer->tcp || q->kind == POLICY_ID || r->tcp || r->deny;
}

bool
policy_rule_could(const struct policy_rule *r, const struct peer *peer)
{
	return !r->deny && !policy_rule_is_void(r) &&
		(!peer->tcp || r->tcp || (r->kinds & RULE_KIND(POLICY_ID)));
}

bool
policy_rule_matches(const struct policy_rule *r, struct peer *peer,
		    const struct peer_host *host, const struct policy_query *q)
{
	enum tri who;

	if (policy_rule_is_void(r) || !rule_what(r, q) || !tcp_matches(r, peer, q))
		return false;
	who = policy_rule_who(r, peer, host);
	return who == TRI_YES || (who == TRI_UNKNOWN && r->deny);
}

static bool
rule_denies_all(const struct policy_rule *r, enum policy_kind kind)
{
	bool all = kind != POLICY_ID && kind != POLICY_JWT;

	for (size_t i = 0; !all && i < r->audience.n; i++)
		all = pattern_is_all(r->audience.v[i]);
	return all && !r->scope.given;
}

bool
policy_rule_gives(const struct policy_rule *r, struct peer *peer,
		  const struct peer_host *host, const struct policy_query *q)
{
	enum tri who;

	if (policy_rule_is_void(r) || !(r->kinds & RULE_KIND(q->kind)) ||
	    !account_matches(r, q) || !tcp_matches(r, peer, q) ||
	    (r->deny && !rule_denies_all(r, q->kind)))
		return false;
	who = policy_rule_who(r, peer, host);
	return who == TRI_YES || (who == TRI_UNKNOWN && r->deny);
}

const char *
policy_rule_missing_key(const struct policy_rule *r, const struct peer *peer,
			const struct policy_query *q)
{
	const char *missing = NULL, *unsaid = NULL;
	unsigned n = 0;

	if (r->deny || policy_rule_is_void(r) || !(r->kinds & RULE_KIND(q->kind)))
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(what_keys); i++)
		if (what_keys[i].matches(r, q)) {
			continue;
		} else if (what_keys[i].matches == audience_matches &&
			   !q->audience) {
			unsaid = what_keys[i].name;	/* not known to miss */
		} else {
			missing = what_keys[i].name;
			n++;
		}
	if (!tcp_matches(r, peer, q)) {
		missing = "tcp";
		n++;
	}
	for (unsigned i = 0; i < WHO_KEYS; i++) {
		enum tri v = who_given(r, i) ? who_keys[i].matches(r, peer)
					     : TRI_YES;
		bool unread = who_keys[i].facts & ~peer->loaded;

		if (v == TRI_NO || (v == TRI_UNKNOWN && !unread)) {
			missing = who_keys[i].name;
			n++;
		}
	}
	return n == 0 ? unsaid : n == 1 ? missing : NULL;
}
