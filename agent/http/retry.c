/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>

#include "http/retry.h"

bool
retry_status_is_transient(unsigned status)
{
	switch (status) {
	case 0:			/* no answer */
	case 408:
	case 429:
		return true;
	case 501:		/* will not be implemented a second later */
	case 505:
		return false;
	default:
		return status >= 500 && status <= 599;
	}
}

/* Twice the bound of the delay before, never above the maximum. */
static uint64_t
delay_bound(const struct retry_options *o, unsigned done)
{
	uint64_t bound = o->first_usec;

	for (unsigned i = 1; i < done && bound < o->max_usec; i++)
		bound = bound > UINT64_MAX / 2 ? UINT64_MAX : bound * 2;
	return MIN(bound, o->max_usec);
}

/* Everybody who was told the same in one second would come back in one second: so
   later than that by up to half of it, or by what the delay may be without it, but
   by no more than half of the time that is left then. */
static uint64_t
delay_after(uint64_t wish, uint64_t bound, uint64_t left, uint64_t random)
{
	uint64_t rest = left > wish ? left - wish : 0;

	return wish + random % (MIN(MAX(bound, wish / 2), rest / 2) + 1);
}

bool
retry_next(const struct retry_options *o, unsigned done, unsigned status,
	   uint64_t retry_after_usec, uint64_t now, uint64_t deadline,
	   uint64_t random, uint64_t *ret_delay)
{
	uint64_t bound, delay, left = now < deadline ? deadline - now : 0;

	assert(done > 0);

	if (done >= o->tries || !retry_status_is_transient(status))
		return false;
	if (retry_after_usec > o->retry_after_max_usec)
		return false;

	bound = delay_bound(o, done);
	if (retry_after_usec > 0)
		delay = delay_after(retry_after_usec, bound, left, random);
	else
		delay = bound == UINT64_MAX ? random : random % (bound + 1);
	if (delay >= left)
		return false;

	*ret_delay = delay;
	return true;
}
