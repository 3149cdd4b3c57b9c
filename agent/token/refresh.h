/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* When to fetch a token anew, ahead of its expiry.  Pure.

   All VMs of a fleet may have got theirs in the same second; so the time is
   drawn at random from a window, and the window ends early enough for a few
   failures before anybody notices. */

#include "base/base.h"

struct refresh_options {
	uint64_t ahead_usec;	/* at the latest this long before expiry */
	uint64_t jitter_usec;	/* and up to this much earlier */
	uint64_t pause_usec;	/* no sooner than this after a fetch, nor after a
				   failure has been forgotten */
	unsigned idle_limit;	/* stop after so many that nobody used */
};

/* In how many microseconds, for a token that is good for so many; random is any 64
   random bits.  At least half of its life passes before the window ends, a quarter
   before it begins. */
uint64_t refresh_after(const struct refresh_options *o, uint64_t left,
		       uint64_t random);
