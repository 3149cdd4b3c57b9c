/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <errno.h>
#include <limits.h>

#include "http/budget.h"

#define RESERVE	10	/* one part of so many is payer 0's */

/* One comes in every each_usec, until it is full. */
struct refill {
	uint64_t each_usec;
	uint64_t depth_usec;	/* from empty to full */
};

/* A bucket is one number: when it will be full again. */
struct payer {
	uint64_t id;
	uint64_t full_at;
};

struct budget {
	bool limited;
	struct refill all, share;
	uint64_t reserve_usec;
	uint64_t full_at;	/* of the bucket for all */
	size_t n;
	struct payer payers[];
};

/* Rounded so that a minute never brings one more. */
static struct refill
refill_of(uint64_t per_minute)
{
	uint64_t each = (USEC_PER_MIN + per_minute - 1) / per_minute;

	return (struct refill){ each, each * per_minute };
}

static uint64_t
refill_wait(const struct refill *r, uint64_t full_at, uint64_t now,
	    uint64_t keep)
{
	uint64_t then = MAX(full_at, now) + r->each_usec,
		 most = now + r->depth_usec - keep;

	return then > most ? then - most : 0;
}

struct budget *
budget_new(const struct budget_options *o)
{
	struct budget *b;
	uint64_t share = (uint64_t)o->per_minute * o->share / 100, reserve;

	if (o->per_minute == 0)
		return xcalloc(1, sizeof(*b));

	assert(o->share >= 1 && o->share <= 100 && o->payers > 0);

	b = xcalloc(1, sizeof(*b) + o->payers * sizeof(b->payers[0]));
	b->limited = true;
	b->all = refill_of(o->per_minute);
	b->share = refill_of(MAX(share, UINT64_C(1)));
	reserve = MAX(o->per_minute / RESERVE, 1U);
	b->reserve_usec = MIN(reserve, o->per_minute - 1) * b->all.each_usec;
	b->n = o->payers;
	return b;
}

struct budget *
budget_free(struct budget *b)
{
	free(b);
	return NULL;
}

static const struct payer *
payer_find(const struct budget *b, uint64_t id, uint64_t now)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->payers[i].id == id && b->payers[i].full_at > now)
			return &b->payers[i];
	return NULL;
}

static void
payer_charge(struct budget *b, uint64_t id, uint64_t now)
{
	const struct payer *known = payer_find(b, id, now);
	struct payer *p = known ? &b->payers[known - b->payers] : &b->payers[0];

	for (size_t i = 0; !known && i < b->n; i++)
		if (b->payers[i].full_at < p->full_at)
			p = &b->payers[i];
	if (!known)
		*p = (struct payer){ .id = id, .full_at = now };
	p->full_at += b->share.each_usec;
}

int
budget_ask(const struct budget *b, uint64_t payer, uint64_t now,
	   uint64_t *ret_wait)
{
	const struct payer *p;
	uint64_t all, own, keep = payer > 0 ? b->reserve_usec : 0;

	if (!b->limited)
		return 0;

	p = payer > 0 ? payer_find(b, payer, now) : NULL;
	all = refill_wait(&b->all, b->full_at, now, keep);
	own = p ? refill_wait(&b->share, p->full_at, now, 0) : 0;
	if (all == 0 && own == 0)
		return 0;
	*ret_wait = MAX(all, own);
	return own > 0 ? -EDQUOT : -EAGAIN;
}

int
budget_take(struct budget *b, uint64_t payer, uint64_t now, uint64_t *ret_wait)
{
	int r = budget_ask(b, payer, now, ret_wait);

	if (r < 0 || !b->limited)
		return r;
	b->full_at = MAX(b->full_at, now) + b->all.each_usec;
	if (payer > 0)
		payer_charge(b, payer, now);
	return 0;
}

unsigned
budget_left(const struct budget *b, uint64_t now)
{
	uint64_t lacks = b->full_at > now ? b->full_at - now : 0;

	if (!b->limited)
		return UINT_MAX;
	return (unsigned)((b->all.depth_usec - MIN(lacks, b->all.depth_usec)) /
			  b->all.each_usec);
}
