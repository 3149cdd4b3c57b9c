/* SPDX-License-Identifier: Apache-2.0 */

#include "token/want.h"

int
want_check(const struct broker_want *w, const struct token *t, int64_t now,
	   struct err *e)
{
	uint64_t left = token_left(t, now);

	if (left == 0)
		return err_set(e, ERR_UNAVAILABLE, "the token expired meanwhile");
	if (token_left_surely(t, now) < w->min_left)
		return err_set(e, ERR_UNAVAILABLE,
			       "the newest token is good for %llu s, not for the "
			       "%llu s asked for",
			       (unsigned long long)token_left_surely(t, now),
			       (unsigned long long)w->min_left);
	return 0;
}

int
want_check_cached(const struct broker_want *w, const struct want_options *o,
		  const struct token *t, int64_t now, struct err *e)
{
	int64_t rest = (int64_t)(o->brand_new_usec / USEC_PER_SEC) -
			MAX(now - token_iat(t), 0);
	uint64_t left = token_left(t, now);
	int r;

	if (token_left_surely(t, now) < w->min_left || (w->no_cache && rest <= 0)) {
		if (rest <= 0 || w->only_if_cached)
			return 0;
		r = want_check(w, t, now, e);
		e->retry_usec = (uint64_t)rest * USEC_PER_SEC;
		return r;
	}
	return rest > 0 || w->min_left > 0 || w->only_if_cached ||
		left >= o->wish_usec / USEC_PER_SEC;
}
