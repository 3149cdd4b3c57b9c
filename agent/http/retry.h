/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Try again, and when?  Pure: exponential, full jitter, Retry-After honoured
   and capped, with jitter above it, never past the deadline. */

#include "base/base.h"

struct retry_options {
	unsigned tries;			/* in all, the first included */
	uint64_t first_usec;		/* upper bound of the first delay */
	uint64_t max_usec;		/* upper bound of any delay */
	uint64_t retry_after_max_usec;	/* a longer wish means: do not try again */
};

/* Status 0 stands for "no answer": refused, reset, timed out, cut short. */
bool retry_status_is_transient(unsigned status);

/* After "done" tries, the last of which ended at "now" with this status: true
   and the delay before the next, or false to stop.  random is any 64 random
   bits.  All times in microseconds of one clock. */
bool retry_next(const struct retry_options *o, unsigned done, unsigned status,
		uint64_t retry_after_usec, uint64_t now, uint64_t deadline,
		uint64_t random, uint64_t *ret_delay);
