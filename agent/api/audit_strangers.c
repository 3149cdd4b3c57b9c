/* SPDX-License-Identifier: Apache-2.0 */

#include "api/audit_strangers.h"

/* Whose bucket is full is forgotten: it would be, when he comes back. */
uint64_t *
audit_strangers_bucket(struct audit_strangers *s, uid_t uid, uint64_t now)
{
	size_t spare = AUDIT_STRANGERS_TOLD;

	for (size_t i = 0; i < AUDIT_STRANGERS_TOLD; i++) {
		if (s->by_uid[i].full_at <= now)
			spare = i;
		else if (s->by_uid[i].uid == uid)
			return &s->by_uid[i].full_at;
	}
	if (spare == AUDIT_STRANGERS_TOLD)
		return &s->rest_full_at;
	s->by_uid[spare].uid = uid;
	return &s->by_uid[spare].full_at;
}
