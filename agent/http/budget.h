/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How many requests may go upstream, and how many of them for whom.  Pure.

   One bucket for all, refilled evenly, and one for each payer's share of it.  A
   bucket holds what a minute brings: an agent that has been idle can start a
   machine's services with everything they want at once, and in no minute are
   there more than twice as many requests as its budget.

   Payer 0 is nobody in particular: what the agent asks for itself.  It has no
   share, and the last tenth of the bucket is its own.  Whatever is taken from that
   is refilled before payers get anything more, so payers cannot starve it. */

#include "base/base.h"

struct budget;

struct budget_options {
	unsigned per_minute;	/* 0: no limit */
	unsigned share;		/* percent of it that one payer may take */
	size_t payers;		/* kept apart; see budget_take() */
};

struct budget *budget_new(const struct budget_options *o);
struct budget *budget_free(struct budget *b);
DEFINE_CLEANUP(struct budget *, budget_free)

/* Take one.  0; or -EDQUOT where the payer has used up its share, -EAGAIN where
   all together have, and in *ret_wait the microseconds until there is one again,
   if nobody else comes first.  now in microseconds of a monotonic clock.

   A share at least lets one request a minute through.  Payers that have spent
   nothing are not kept; where there are more others than that, the one that has
   spent least is forgotten, which the bucket for all does not notice. */
int budget_take(struct budget *b, uint64_t payer, uint64_t now,
		uint64_t *ret_wait);
/* The same question, and nothing taken. */
int budget_ask(const struct budget *b, uint64_t payer, uint64_t now,
	       uint64_t *ret_wait);

/* What payer 0 could take now; UINT_MAX without a limit. */
unsigned budget_left(const struct budget *b, uint64_t now);
