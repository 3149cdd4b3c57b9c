/* SPDX-License-Identifier: Apache-2.0 */

#include "token/want.h"

int
want_check(const struct broker_want *w, const struct token *t,
	   const struct token_now *now, struct err *e)
{
	uint64_t left = token_left(t, now);

	if (left == 0)
		return err_set(e, ERR_UNAVAILABLE, "the token expired meanwhile");
	if (left / USEC_PER_SEC < w->min_left)
		return err_set(e, ERR_UNAVAILABLE,
			       "the newest token is good for %llu s, not for the "
			       "%llu s asked for",
			       (unsigned long long)(left / USEC_PER_SEC),
			       (unsigned long long)w->min_left);
	return 0;
}

int
want_check_cached(const struct broker_want *w, const struct want_options *o,
		  const struct token *t, const struct token_now *now,
		  struct err *e)
{
	uint64_t left = token_left(t, now), age = token_age(t, now);
	uint64_t rest = age < o->brand_new_usec ? o->brand_new_usec - age : 0;
	uint64_t wish = token_kind(t) == TOKEN_ACCESS ? o->access_wish_usec
						      : o->wish_usec;
	int r;

	if (left / USEC_PER_SEC < w->min_left || (w->no_cache && rest == 0)) {
		if (rest == 0 || w->only_if_cached)
			return 0;
		r = want_check(w, t, now, e);
		e->retry_usec = rest;
		return r;
	}
	return rest > 0 || w->min_left > 0 || w->only_if_cached ||
		left >= wish;
}
