/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Failures remembered for a while, so that a broken audience costs one upstream
   request and not one per caller.

   A denial by Google is remembered for a fixed time; trouble upstream, of which a
   denial in doubt is some (err.doubtful), and what is not found there for one that
   doubles while it lasts; other failures cost nothing to find out again and are not
   remembered.

   Pure: every function takes "now" in microseconds of CLOCK_BOOTTIME.  Keys are the
   byte strings of token_key_bytes(). */

#include "base/base.h"
#include "base/err.h"

struct failures;

struct failures_options {
	uint64_t denied_usec;
	uint64_t unavailable_first_usec;
	uint64_t unavailable_max_usec;
	size_t max;		/* at the limit the oldest is forgotten */
};

struct failures *failures_new(const struct failures_options *o);
struct failures *failures_free(struct failures *f);
DEFINE_CLEANUP(struct failures *, failures_free)

void failures_put(struct failures *f, const void *key, size_t len,
		  const struct err *e, uint64_t now);

/* 0: nothing is remembered against this key now.  Negative: the failure, with
   the time until it may be tried again in ret->retry_usec. */
int failures_get(const struct failures *f, const void *key, size_t len,
		 uint64_t now, struct err *ret);

void failures_drop(struct failures *f, const void *key, size_t len);
void failures_drop_audience(struct failures *f, const char *audience);
void failures_flush(struct failures *f);
size_t failures_len(const struct failures *f);
