/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <string.h>
#include <sys/queue.h>

#include "api/client.h"
#include "base/hash.h"

#define BUCKETS	256

/* The connections of one peer. */
struct share {
	LIST_ENTRY(share) chain;
	uint64_t owner;
	unsigned n;
};

/* What was asked of which policy; counted. */
struct question {
	LIST_ENTRY(question) chain;
	unsigned refs;
	uint64_t generation;	/* of the policy */
	enum policy_kind kind;
	char *account, *audience;
};

struct clients {
	unsigned max_per_peer;
	uint64_t recheck_usec;
	LIST_HEAD(, share) buckets[BUCKETS];
	struct hash_key hash;
	LIST_HEAD(, question) questions[BUCKETS];
};

struct clients *
clients_new(unsigned max_per_peer, uint64_t recheck_usec)
{
	struct clients *all = xcalloc(1, sizeof(*all));

	all->max_per_peer = max_per_peer;
	all->recheck_usec = recheck_usec;
	all->hash = hash_key_random();
	return all;
}

struct clients *
clients_free(struct clients *all)
{
	if (!all)
		return NULL;

	for (size_t i = 0; i < BUCKETS; i++) {
		assert(LIST_EMPTY(&all->buckets[i]));
		assert(LIST_EMPTY(&all->questions[i]));
	}
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
	struct share *s;
	int r;

	peer_init(&c->peer, fd, pin);
	if (!c->peer.known) {
		r = err_set(e, ERR_INTERNAL,
			    "the kernel does not say who is at the other end");
		goto fail;
	}

	c->owner = c->peer.uid;
	s = share_of(all, c->owner);
	if (s->n >= all->max_per_peer) {
		r = err_set(e, ERR_BUSY, "%s holds %u connections already, which "
			    "is the limit (connections-per-peer)",
			    peer_show(&c->peer, who), s->n);
		share_drop(s);
		goto fail;
	}
	s->n++;
	*ret = c;
	return 0;

fail:
	peer_clear(&c->peer);
	free(c);
	return r;
}

static bool
same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool
question_is(const struct question *q, uint64_t generation,
	    const struct policy_query *asked)
{
	return q->generation == generation && q->kind == asked->kind &&
		same(q->account, asked->account) &&
		same(q->audience, asked->audience);
}

static struct question *
question_unref(struct question *q)
{
	if (!q || --q->refs > 0)
		return NULL;

	LIST_REMOVE(q, chain);
	free(q->account);
	free(q->audience);
	free(q);
	return NULL;
}

/* Thousands of clients ask a few questions: they share them. */
static struct question *
question_get(struct clients *all, uint64_t generation,
	     const struct policy_query *asked)
{
	const char *audience = asked->audience ?: "";
	size_t i = hash_bytes(&all->hash, audience, strlen(audience)) % BUCKETS;
	struct question *q;

	LIST_FOREACH(q, &all->questions[i], chain) {
		if (question_is(q, generation, asked)) {
			q->refs++;
			return q;
		}
	}

	q = xcalloc(1, sizeof(*q));
	q->refs = 1;
	q->generation = generation;
	q->kind = asked->kind;
	q->account = asked->account ? xstrdup(asked->account) : NULL;
	q->audience = asked->audience ? xstrdup(asked->audience) : NULL;
	LIST_INSERT_HEAD(&all->questions[i], q, chain);
	return q;
}

void
client_free(struct clients *all, struct client *c)
{
	struct share *s = share_of(all, c->owner);

	s->n--;
	share_drop(s);
	peer_clear(&c->peer);
	question_unref(c->admitted);
	free(c);
}

int
client_check(struct clients *all, struct client *c, const struct policy *policy,
	     const struct peer_host *host, const struct policy_query *q,
	     uint64_t now, bool cold, struct err *e)
{
	uint64_t generation = policy_generation(policy);
	int r;

	if (cold || now - c->looked >= all->recheck_usec) {
		peer_recheck(&c->peer);
		c->looked = now;
		c->admitted = question_unref(c->admitted);
	}
	/* Scopes are no part of the key: with them nothing is kept. */
	if (!q->scopes && c->admitted && question_is(c->admitted, generation, q))
		return 0;

	c->admitted = question_unref(c->admitted);
	r = policy_check(policy, &c->peer, host, q, NULL, e);
	if (r >= 0 && !q->scopes)
		c->admitted = question_get(all, generation, q);
	return r;
}
