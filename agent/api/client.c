/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "api/client.h"
#include "api/peer_tcp.h"
#include "base/hash.h"
#include "base/text.h"

#define BUCKETS	256

/* Set in a unit's owner key (a uid is its own), and in a stranger's. */
#define OWNER_IS_UNIT		(UINT64_C(1) << 63)
#define OWNER_IS_STRANGER	(UINT64_C(1) << 62)

/* What one peer has. */
struct share {
	LIST_ENTRY(share) chain;
	uint64_t owner;
	char *unit;		/* NULL: the owner is a uid */
	unsigned n;		/* connections */
	size_t buffers;		/* bytes */
};

/* What was asked of which policy by which peer, and the rule that admits it;
   counted. */
struct verdict {
	LIST_ENTRY(verdict) chain;
	unsigned refs;
	bool once;		/* asked with scopes: answers no other question */
	char *why;		/* it would be denied; then it is not shared */
	enum policy_kind kind;
	uint64_t generation;	/* of the policy */
	uint64_t owner;
	char *account, *audience, *rule;
	struct audit_seen *note;
};

struct clients {
	struct clients_options opt;
	uint64_t refused;
	LIST_HEAD(, share) buckets[BUCKETS];
	size_t stranger_buffers;
	struct hash_key hash;
	LIST_HEAD(, verdict) verdicts[BUCKETS];
};

struct clients *
clients_new(const struct clients_options *o)
{
	struct clients *all = xcalloc(1, sizeof(*all));

	all->opt = *o;
	all->hash = hash_key_random();
	return all;
}

void
clients_configure(struct clients *all, const struct clients_options *o)
{
	all->opt = *o;
}

struct clients *
clients_free(struct clients *all)
{
	if (!all)
		return NULL;

	assert(all->stranger_buffers == 0);
	for (size_t i = 0; i < BUCKETS; i++) {
		assert(LIST_EMPTY(&all->buckets[i]));
		assert(LIST_EMPTY(&all->verdicts[i]));
	}
	free(all);
	return NULL;
}

/* Uids are handed out in runs, so their low bits spread them well enough; a user
   cannot choose many. */
static struct share *
share_find(const struct clients *all, uint64_t owner)
{
	struct share *s;

	LIST_FOREACH(s, &all->buckets[owner % BUCKETS], chain)
		if (s->owner == owner)
			return s;
	return NULL;
}

static struct share *
share_of(struct clients *all, uint64_t owner, const char *unit)
{
	struct share *s = share_find(all, owner);

	if (s)
		return s;
	s = xcalloc(1, sizeof(*s));
	s->owner = owner;
	s->unit = unit ? xstrdup(unit) : NULL;
	LIST_INSERT_HEAD(&all->buckets[owner % BUCKETS], s, chain);
	return s;
}

static void
share_drop(struct share *s)
{
	if (s->n > 0)
		return;
	assert(s->buffers == 0);
	LIST_REMOVE(s, chain);
	free(s->unit);
	free(s);
}

/* Whom a peer counts for; unit is its name, or "". */
static uint64_t
owner_of(const struct clients *all, struct client *c, const struct policy *policy,
	 const struct peer_host *host, char unit[static CGROUP_NAME_SIZE])
{
	uint64_t stranger = c->stranger ? OWNER_IS_STRANGER : 0, hash;

	unit[0] = '\0';
	if (!policy_names_unit(policy, &c->peer, host, unit))
		return c->peer.uid | stranger;
	hash = hash_bytes(&all->hash, unit, strlen(unit));
	return OWNER_IS_UNIT | (hash & ~OWNER_IS_STRANGER) | stranger;
}

char *
client_owner_show(const struct clients *all, uint64_t owner,
		  char ret[static CLIENT_OWNER_SIZE])
{
	const struct share *s = share_find(all, owner);
	char show[TEXT_SHOW_SIZE];

	if (owner == CLIENT_STRANGERS)
		(void)snprintf(ret, CLIENT_OWNER_SIZE, "strangers");
	else if (!(owner & OWNER_IS_UNIT))
		(void)snprintf(ret, CLIENT_OWNER_SIZE, "uid %llu",
			       (unsigned long long)(owner & ~OWNER_IS_STRANGER));
	else
		(void)snprintf(ret, CLIENT_OWNER_SIZE, "unit %s",
			       s ? text_show_str(show, s->unit) : "unknown");
	return ret;
}

/* One connection more. */
static int
share_take(struct clients *all, const struct client *c, const char *unit,
	   struct err *e)
{
	const struct clients_options *o = &all->opt;
	struct share *s = share_of(all, c->owner, unit);
	char who[CLIENT_OWNER_SIZE];
	int r;

	if (s->n < o->max_per_peer && s->n < o->share) {
		s->n++;
		return 0;
	}
	r = err_set(e, ERR_BUSY, "%s holds %u connections already, which is the "
		    "limit (%s)", client_owner_show(all, c->owner, who), s->n,
		    s->n < o->max_per_peer ? "peer-share of connections"
					   : "connections-per-peer");
	all->refused++;
	share_drop(s);
	return r;
}

/* No rule is asked: not even one for anyone means somebody from another machine. */
static int
who_is_that(struct err *e)
{
	return err_set(e, ERR_POLICY, "the kernel does not know whose process is "
		       "at the other end of this TCP connection: it has closed it, "
		       "or is not on this machine");
}

int
client_new(struct clients *all, int fd, const struct policy *policy,
	   const struct peer_host *host, struct client **ret, struct err *e)
{
	bool pin = (policy_facts(policy) & PEER_PROCESS) && host &&
		!peer_host_keeps_process(host);
	struct client *c = xcalloc(1, sizeof(*c));
	char unit[CGROUP_NAME_SIZE];
	int r;

	peer_init(&c->peer, fd, pin);
	if (!c->peer.known)
		peer_tcp_init(&c->peer, fd, peer_host_diag(host));
	if (!c->peer.known) {
		r = c->peer.tcp ? who_is_that(e)
				: err_set(e, ERR_INTERNAL, "the kernel does not "
					  "say who is at the other end");
		goto fail;
	}

	/* What is unknown now admits nobody later either. */
	c->stranger = !policy_knows(policy, &c->peer, host);
	c->owner = owner_of(all, c, policy, host, unit);
	peer_trim(&c->peer);
	r = share_take(all, c, unit[0] ? unit : NULL, e);
	if (r < 0)
		goto fail;
	*ret = c;
	return 0;

fail:
	peer_clear(&c->peer);
	free(c);
	return r;
}

bool
client_charge(struct clients *all, const struct client *c, size_t old, size_t new)
{
	size_t *sum = c->stranger ? &all->stranger_buffers
				  : &share_of(all, c->owner, NULL)->buffers;

	assert(old <= *sum);
	if (new > old && new - old > all->opt.peer_buffers - *sum)
		return false;
	*sum = *sum - old + new;
	return true;
}

bool
client_is_root(struct client *c, const struct peer_host *host)
{
	if (!c->peer.known || c->peer.uid != 0)
		return false;
	peer_need(&c->peer, host, PEER_HOST);
	return c->peer.host == TRI_YES;
}

bool
client_is_agent(const struct client *c)
{
	return c->peer.known && !c->peer.tcp && c->peer.uid == geteuid();
}

uint64_t
clients_refused(const struct clients *all)
{
	return all->refused;
}

static bool
verdict_is(const struct verdict *q, uint64_t generation,
	    const struct policy_query *asked)
{
	return !q->once && q->generation == generation &&
		q->kind == asked->kind &&
		text_same(q->account, asked->account) &&
		text_same(q->audience, asked->audience);
}

static struct verdict *
verdict_unref(struct verdict *q)
{
	if (!q || --q->refs > 0)
		return NULL;

	LIST_REMOVE(q, chain);
	audit_seen_unref(q->note);
	free(q->account);
	free(q->audience);
	free(q->rule);
	free(q->why);
	free(q);
	return NULL;
}

/* rule is NULL: it would be denied, as why says. */
static struct verdict *
verdict_new(struct clients *all, size_t bucket, uint64_t owner, uint64_t generation,
	    const struct policy_query *asked, const char *rule, const char *why)
{
	struct verdict *q = xcalloc(1, sizeof(*q));

	q->refs = 1;
	q->once = asked->scopes != NULL;
	q->owner = owner;
	q->rule = rule ? xstrdup(rule) : NULL;
	q->why = rule ? NULL : xstrdup(why);
	q->generation = generation;
	q->kind = asked->kind;
	q->account = asked->account ? xstrdup(asked->account) : NULL;
	q->audience = asked->audience ? xstrdup(asked->audience) : NULL;
	LIST_INSERT_HEAD(&all->verdicts[bucket], q, chain);
	return q;
}

/* Thousands of clients ask a few questions: they share them. */
static struct verdict *
verdict_get(struct clients *all, uint64_t owner, uint64_t generation,
	    const struct policy_query *asked, const char *rule, const char *why)
{
	const char *audience = asked->audience ?: "";
	uint64_t hash = hash_bytes(&all->hash, audience, strlen(audience));
	size_t i = (hash ^ owner) % BUCKETS;
	struct verdict *q;

	LIST_FOREACH(q, &all->verdicts[i], chain) {
		if (!asked->scopes && q->owner == owner &&
		    verdict_is(q, generation, asked) && text_same(q->rule, rule) &&
		    !q->why) {
			q->refs++;
			return q;
		}
	}
	return verdict_new(all, i, owner, generation, asked, rule, why);
}

void
client_free(struct clients *all, struct client *c)
{
	struct share *s = share_of(all, c->owner, NULL);

	s->n--;
	share_drop(s);
	peer_clear(&c->peer);
	verdict_unref(c->admitted);
	free(c);
}

int
client_check(struct clients *all, struct client *c, const struct policy *policy,
	     const struct peer_host *host, const struct policy_query *q,
	     uint64_t now, bool cold, struct err *e)
{
	uint64_t generation = policy_generation(policy);
	const char *rule;
	int r;

	if (c->peer.tcp)
		peer_tcp_recheck(&c->peer, peer_host_diag(host));
	if (cold || !c->peer.known || now - c->looked >= all->opt.recheck_usec) {
		peer_recheck(&c->peer);
		c->looked = now;
		c->admitted = verdict_unref(c->admitted);
	}
	/* Scopes are no part of the key: with them each is judged anew. */
	if (!q->scopes && c->admitted && verdict_is(c->admitted, generation, q))
		return c->admitted->why ? 1 : 0;

	c->admitted = verdict_unref(c->admitted);
	r = policy_check(policy, &c->peer, host, q, &rule, e);
	peer_trim(&c->peer);
	if (r >= 0)
		c->admitted = verdict_get(all, c->owner, generation, q, rule,
					  e ? e->msg : "");
	return r;
}

uint64_t
client_payer(const struct client *c)
{
	return c->stranger ? CLIENT_STRANGERS : c->owner;
}

const char *
client_rule(const struct client *c)
{
	return c->admitted->rule;
}

const char *
client_why(const struct client *c)
{
	return c->admitted->why;
}

struct audit_seen **
client_note(struct client *c)
{
	return &c->admitted->note;
}
