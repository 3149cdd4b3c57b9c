/* SPDX-License-Identifier: Apache-2.0 */

#include "token/refresh.h"

int64_t
refresh_time(const struct refresh_options *o, int64_t now, int64_t exp,
	     uint64_t random)
{
	uint64_t life = exp > now ? (uint64_t)(exp - now) : 0;
	uint64_t ahead = MIN(o->ahead_usec / USEC_PER_SEC, life / 2);
	uint64_t jitter = MIN(o->jitter_usec / USEC_PER_SEC, life / 4);

	return exp - (int64_t)(ahead + random % (jitter + 1));
}
