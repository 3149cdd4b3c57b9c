/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <errno.h>

#include "api/limit.h"

/* A bucket is one number: when it will be full again (the generic cell rate
   algorithm).  In the past: it is full, and nothing is lost by forgetting it. */
struct bucket {
	uint64_t peer;
	uint64_t full_at;
};

struct limit {
	uint64_t each_usec;	/* a token drips in that often */
	uint64_t depth_usec;	/* an empty bucket is full after this */
	size_t n;
	struct bucket buckets[];
};

struct limit *
limit_new(const struct limit_options *o)
{
	struct limit *l;

	assert(o->peers > 0);

	l = xcalloc(1, sizeof(*l) + o->peers * sizeof(l->buckets[0]));
	l->n = o->peers;
	limit_configure(l, o);
	return l;
}

void
limit_configure(struct limit *l, const struct limit_options *o)
{
	double each = (double)USEC_PER_SEC / o->per_second;

	assert(o->per_second > 0 && o->burst > 0);

	l->each_usec = each < 1 ? 1 : (uint64_t)each;
	l->depth_usec = l->each_usec * o->burst;
}

struct limit *
limit_free(struct limit *l)
{
	free(l);
	return NULL;
}

/* The peer's bucket, else the one nearest to full: its peer gains least. */
static struct bucket *
limit_bucket(struct limit *l, uint64_t peer, uint64_t now)
{
	struct bucket *b = &l->buckets[0];

	for (size_t i = 0; i < l->n; i++) {
		if (l->buckets[i].peer == peer && l->buckets[i].full_at > now)
			return &l->buckets[i];
		if (l->buckets[i].full_at < b->full_at)
			b = &l->buckets[i];
	}
	*b = (struct bucket){ .peer = peer, .full_at = now };
	return b;
}

int
limit_take(struct limit *l, uint64_t peer, uint64_t now, uint64_t *ret_wait)
{
	struct bucket *b = limit_bucket(l, peer, now);
	uint64_t full_at = MAX(b->full_at, now) + l->each_usec;

	if (full_at > now + l->depth_usec) {
		*ret_wait = full_at - now - l->depth_usec;
		return -EAGAIN;
	}
	b->full_at = full_at;
	return 0;
}
