/* SPDX-License-Identifier: Apache-2.0 */

#include "token/refresh.h"

uint64_t
refresh_after(const struct refresh_options *o, uint64_t left, uint64_t random)
{
	uint64_t ahead = MIN(o->ahead_usec, left / 2);
	uint64_t jitter = MIN(o->jitter_usec, left / 4);

	return left - ahead - random % (jitter + 1);
}
