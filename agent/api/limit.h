/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Token buckets by peer: how many flights one peer may start.  Pure; bounded: a
   table of fixed size that forgets full buckets first, and when all are in use
   the one nearest to full. */

#include "base/base.h"

struct limit;

struct limit_options {
	double per_second;	/* refill */
	unsigned burst;		/* a bucket's size */
	size_t peers;		/* buckets kept */
};

struct limit *limit_new(const struct limit_options *o);
/* Another rate and size from now on; the number of buckets stays. */
void limit_configure(struct limit *l, const struct limit_options *o);
struct limit *limit_free(struct limit *l);
DEFINE_CLEANUP(struct limit *, limit_free)

/* Take one.  0, or -EAGAIN and in *ret_wait the microseconds until there is one
   again.  now in microseconds of a monotonic clock. */
int limit_take(struct limit *l, uint64_t peer, uint64_t now, uint64_t *ret_wait);
