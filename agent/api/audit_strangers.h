/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The buckets of strangers' uids, for audit.c only: all strangers have one bucket
   of lines together, and each uid a part of that, so that one of them leaves lines
   to the others.  Pure. */

#include <sys/types.h>

#include "base/base.h"

/* As many uids are told apart, those that had a line of late; the rest are one. */
#define AUDIT_STRANGERS_TOLD	64

struct audit_strangers {
	/* See struct audit_peer for full_at. */
	struct {
		uid_t uid;
		uint64_t full_at;
	} by_uid[AUDIT_STRANGERS_TOLD];
	uint64_t rest_full_at;
};

/* When this uid's bucket will be full again, to be moved on.  The table starts as
   all zeroes. */
uint64_t *audit_strangers_bucket(struct audit_strangers *s, uid_t uid,
				 uint64_t now);
