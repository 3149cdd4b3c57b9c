/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Is this token what a caller wants?  Pure; judged before and after every wait. */

#include "base/base.h"
#include "base/err.h"
#include "token/token.h"

/* What the caller wants, beyond the key.  Without min_left a token good for
   wish_usec more is a wish: less is served if nothing better can be had. */
struct broker_want {
	uint64_t owner;		/* whom entries and flights count for */
	uint64_t deadline;	/* CLOCK_BOOTTIME usec: answered by then */
	uint64_t min_left;	/* seconds it must be good for; 0: see above */
	bool no_cache;		/* a new one, unless the cached one is brand-new */
	bool only_if_cached;	/* never ask upstream */
};

struct want_options {
	uint64_t wish_usec;	/* how long a token should still be good for */
	uint64_t access_wish_usec;	/* and an access token */
	uint64_t brand_new_usec; /* a token younger than this is not fetched anew */
};

/* A token that has just come.  0, or ERR_UNAVAILABLE. */
int want_check(const struct broker_want *w, const struct token *t,
	       const struct token_now *now, struct err *e);

/* A token from the cache.  1: it does.  0: a new one is to be fetched.  Negative:
   it does not, and it is too new to be replaced; e says for how long. */
int want_check_cached(const struct broker_want *w, const struct want_options *o,
		      const struct token *t, const struct token_now *now,
		      struct err *e);
