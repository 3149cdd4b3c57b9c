/* SPDX-License-Identifier: Apache-2.0 */

/* Whose turn it is: what each peer holds of flights and waiters, and the flights
   that wait for a place.  A peer at its share stands in nobody's way. */

#include "token/flight.h"

/* At least one of everything. */
static unsigned
part(const struct broker *b, unsigned limit)
{
	uint64_t n = (uint64_t)limit * b->opt.peer_share / 100;

	return n > 1 ? (unsigned)n : 1;
}

/* Shares. */

struct share *
share_ref(struct broker *b, uint64_t owner)
{
	size_t i = hash_bytes(&b->hash, &owner, sizeof(owner)) % BROKER_BUCKETS;
	struct share *s;

	LIST_FOREACH(s, &b->shares[i], chain)
		if (s->owner == owner)
			break;
	if (!s) {
		s = xcalloc(1, sizeof(*s));
		s->owner = owner;
		s->turn = ++b->turns;
		LIST_INSERT_HEAD(&b->shares[i], s, chain);
	}
	s->refs++;
	return s;
}

void
share_unref(struct share *s)
{
	if (--s->refs > 0)
		return;
	LIST_REMOVE(s, chain);
	free(s);
}

unsigned
share_flights(const struct broker *b)
{
	return part(b, b->opt.max_flights);
}

unsigned
share_waiters(const struct broker *b)
{
	return part(b, b->opt.max_waiters);
}

bool
share_may_wait(struct broker *b, uint64_t owner)
{
	struct share *s = share_ref(b, owner);
	bool may = s->waiters < share_waiters(b);

	share_unref(s);
	return may;
}

/* The queue. */

/* The last places, which are for flights ahead of an expiry alone: whatever
   callers ask for, and however long that hangs, tokens in use stay fresh. */
static unsigned
kept_places(const struct broker *b)
{
	return b->opt.max_flights < 4 ? 0 : MAX(b->opt.max_flights / 8, 1U);
}

/* For such a flight one more than the share: its owner may be who floods. */
static unsigned
own_places(const struct flight *fl)
{
	return share_flights(fl->broker) + fl->ahead;
}

bool
queue_free_place(const struct flight *fl)
{
	const struct broker *b = fl->broker;
	unsigned all = b->opt.max_flights - (fl->ahead ? 0 : kept_places(b));

	return b->n.flights < all && fl->share->flights < own_places(fl);
}

void
queue_add(struct flight *fl)
{
	struct broker *b = fl->broker;

	TAILQ_INSERT_TAIL(&b->queue, fl, queue);
	b->n.queued++;
	fl->queued = true;
}

void
queue_remove(struct flight *fl)
{
	struct broker *b = fl->broker;

	if (!fl->queued)
		return;
	TAILQ_REMOVE(&b->queue, fl, queue);
	b->n.queued--;
	fl->queued = false;
}

void
queue_started(struct flight *fl)
{
	fl->broker->n.flights++;
	fl->share->flights++;
	fl->share->turn = ++fl->broker->turns;
}

void
queue_ended(struct flight *fl)
{
	fl->broker->n.flights--;
	fl->share->flights--;
}

static bool
goes_before(const struct share *a, const struct share *b)
{
	if (a->flights != b->flights)
		return a->flights < b->flights;
	return a->turn < b->turn;
}

/* Who has least under way, and of those who was served longest ago: however many
   peers have filled the queue, whoever comes with one flight waits for one of each
   of theirs at the most. */
struct flight *
queue_next(const struct broker *b)
{
	struct flight *fl, *best = NULL;

	TAILQ_FOREACH(fl, &b->queue, queue)
		if (queue_free_place(fl) &&
		    (!best || goes_before(fl->share, best->share)))
			best = fl;
	return best;
}

/* Only where its owner is why it waits: then it is the other's from here on. */
bool
queue_adopt(struct flight *fl, uint64_t owner)
{
	struct broker *b = fl->broker;
	struct share *s;

	if (!fl->queued || queue_free_place(fl))
		return false;
	s = share_ref(b, owner);
	if (fl->share->flights < own_places(fl) ||
	    s->flights >= own_places(fl)) {
		share_unref(s);
		return false;
	}
	share_unref(fl->share);
	fl->share = s;
	return queue_free_place(fl);
}
