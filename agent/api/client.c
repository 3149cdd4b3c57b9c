/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <string.h>
#include <sys/queue.h>

#include "api/client.h"

#define BUCKETS	256

/* The connections of one peer. */
struct share {
	LIST_ENTRY(share) chain;
	uint64_t owner;
	unsigned n;
};

struct clients {
	unsigned max_per_peer;
	uint64_t recheck_usec;
	LIST_HEAD(, share) buckets[BUCKETS];
};

struct clients *
clients_new(unsigned max_per_peer, uint64_t recheck_usec)
{
	struct clients *all = xcalloc(1, sizeof(*all));

	all->max_per_peer = max_per_peer;
	all->recheck_usec = recheck_usec;
	return all;
}

struct clients *
clients_free(struct clients *all)
{
	if (!all)
		return NULL;

	for (size_t i = 0; i < BUCKETS; i++)
		assert(LIST_EMPTY(&all->buckets[i]));
	free(all);
	return NULL;
}

/* Uids are handed out in runs, so their low bits spread them well enough; a user
   cannot choose many. */
static struct share *
share_of(struct clients *all, uint64_t owner)
{
	struct share *s;

	LIST_FOREACH(s, &all->buckets[owner % BUCKETS], chain)
		if (s->owner == owner)
			return s;

	s = xcalloc(1, sizeof(*s));
	s->owner = owner;
	LIST_INSERT_HEAD(&all->buckets[owner % BUCKETS], s, chain);
	return s;
}

static void
share_drop(struct share *s)
{
	if (s->n > 0)
		return;
	LIST_REMOVE(s, chain);
	free(s);
}

int
client_new(struct clients *all, int fd, bool pin, struct client **ret,
	   struct err *e)
{
	struct client *c = xcalloc(1, sizeof(*c));
	char who[PEER_SHOW_SIZE];
	int r;

	peer_init(&c->peer, fd, pin);
	if (!c->peer.known) {
		r = err_set(e, ERR_INTERNAL,
			    "the kernel does not say who is at the other end");
		goto fail;
	}

	c->owner = c->peer.uid;
	c->share = share_of(all, c->owner);
	if (c->share->n >= all->max_per_peer) {
		r = err_set(e, ERR_BUSY, "%s holds %u connections already, which "
			    "is the limit (connections-per-peer)",
			    peer_show(&c->peer, who), c->share->n);
		share_drop(c->share);
		goto fail;
	}
	c->share->n++;
	*ret = c;
	return 0;

fail:
	peer_clear(&c->peer);
	free(c);
	return r;
}

void
client_free(_unused_ struct clients *all, struct client *c)
{
	c->share->n--;
	share_drop(c->share);
	peer_clear(&c->peer);
	free(c->account);
	free(c->audience);
	free(c);
}

static bool
same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static void
keep(char **slot, const char *s)
{
	free(*slot);
	*slot = s ? xstrdup(s) : NULL;
}

int
client_check(struct clients *all, struct client *c, const struct policy *policy,
	     const struct peer_host *host, const struct policy_query *q,
	     uint64_t now, bool cold, struct err *e)
{
	int r;

	if (cold || now - c->looked >= all->recheck_usec) {
		peer_recheck(&c->peer);
		c->looked = now;
		c->generation = 0;
	}
	/* Scopes are no part of the key: with them nothing is kept. */
	if (!q->scopes && c->generation == policy_generation(policy) &&
	    c->kind == q->kind && same(c->account, q->account) &&
	    same(c->audience, q->audience))
		return 0;

	c->generation = 0;
	r = policy_check(policy, &c->peer, host, q, NULL, e);
	if (r < 0 || q->scopes)
		return r;

	c->generation = policy_generation(policy);
	c->kind = q->kind;
	keep(&c->account, q->account);
	keep(&c->audience, q->audience);
	return 0;
}
