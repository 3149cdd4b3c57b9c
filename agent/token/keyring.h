/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Google's current public keys, and whether one of them signed a token.

   A set is fetched when it is asked for early, when a key is wanted that is not
   in it, and when it is wanted past its time (max-age less Age).  Until another
   one has come the old set stays good: a key that is in it verifies at once,
   whatever becomes of the fetch.  Nothing is fetched for nobody, and never more
   often than once in refetch_usec.  RS256 only.

   Asynchronous contract: http/client.h. */

#include <systemd/sd-event.h>

#include "base/base.h"
#include "base/err.h"
#include "google/endpoints.h"
#include "http/client.h"
#include "token/jwt.h"

struct keyring;
struct keyring_wait;

struct keyring_options {
	uint64_t min_usec;	/* a set is current for no less than this ... */
	uint64_t max_usec;	/* ... and no more, whatever max-age says */
	uint64_t refetch_usec;	/* between fetches, unknown key or not */
	uint64_t retry_usec;	/* after a failed one; doubles up to refetch_usec */
	uint64_t fetch_usec;	/* for one fetch, retries included */
	uint64_t early_usec;	/* an early one comes within this time */
};

struct keyring *keyring_new(sd_event *event, struct http_client *http,
			    const struct endpoints *at,
			    const struct keyring_options *o);
/* All waits must be gone. */
struct keyring *keyring_free(struct keyring *k);
DEFINE_CLEANUP(struct keyring *, keyring_free)

/* Fetch a set from the loop, so that it is there when it is wanted: at random
   within early_usec, because a whole fleet may have booted in this second.  Who
   wants a key before that does not wait for it. */
void keyring_prefetch(struct keyring *k);
/* How long after that call, for any 64 random bits.  Pure. */
uint64_t keyring_early_delay(const struct keyring_options *o, uint64_t random);

/* e NULL: the signature is good. */
typedef void keyring_done_fn(void *userdata, const struct err *e);

/* Was this token signed with one of Google's keys?  1: yes.  0: done will run,
   *ret is the wait; j and text, its compact text, must live as long as that.
   Negative: no, or nobody can say (ERR_UNAVAILABLE, ERR_TIMEOUT).  *deadline is
   CLOCK_BOOTTIME in microseconds; it is read anew when it has come. */
int keyring_verify(struct keyring *k, const struct jwt *j, const char *text,
		   const uint64_t *deadline, keyring_done_fn *done,
		   void *userdata, struct keyring_wait **ret, struct err *e);
struct keyring_wait *keyring_wait_free(struct keyring_wait *w);

struct keyring_status {
	size_t keys;
	uint64_t fresh_usec;	/* the set is current for so long; 0: no longer */
	const struct err *e;	/* of the last fetch, NULL if it was good */
};
/* e is valid until the next turn of the event loop. */
void keyring_status(const struct keyring *k, struct keyring_status *ret);
