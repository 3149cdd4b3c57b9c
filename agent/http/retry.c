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

bool
retry_next(const struct retry_options *o, unsigned done, unsigned status,
	   uint64_t retry_after_usec, uint64_t now, uint64_t deadline,
	   uint64_t random, uint64_t *ret_delay)
{
	uint64_t bound, delay;

	assert(done > 0);

	if (done >= o->tries || !retry_status_is_transient(status))
		return false;
	if (retry_after_usec > o->retry_after_max_usec)
		return false;

	bound = delay_bound(o, done);
	delay = bound == UINT64_MAX ? random : random % (bound + 1);
	delay = MAX(delay, retry_after_usec);
	if (now >= deadline || delay >= deadline - now)
		return false;

	*ret_delay = delay;
	return true;
}
