/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Who may wait for which token, and when to fetch it.

   One flight per key however many callers wait for it.  A flight goes on when
   its callers have left, and fills the cache.  A failed flight is remembered for
   a short while, so that a broken audience costs one upstream request and not
   one per caller.

   One peer (owner) has at most peer_share of the flights that run, and more of them
   wait for its own to end; others' do not.  A flight that waits for its owner's
   turn becomes that of whoever joins it and has a place for it.  Flights ahead of
   an expiry have the last eighth of all places for themselves, and one more than
   their owner's share.

   Asynchronous contract: http/client.h. */

#include <systemd/sd-event.h>

#include "base/base.h"
#include "base/err.h"
#include "token/accounts.h"
#include "token/cache.h"
#include "token/failures.h"
#include "token/flow.h"
#include "token/refresh.h"
#include "token/want.h"

struct broker;
struct ticket;		/* one caller's place in the queue */

struct broker_options {
	struct cache_options cache;
	unsigned max_flights;	/* at once; more wait for their turn */
	unsigned max_waiters;	/* over all keys */
	unsigned peer_share;	/* percent of both for one peer; at least one */
	struct failures_options failures;
	struct refresh_options refresh;
	uint64_t access_ahead_usec;	/* of access tokens, and not earlier */
	uint64_t linger_usec;	/* a flight may take this long, whoever waits */
	uint64_t trouble_usec;	/* a failed flight tells of upstream for so long */
	struct want_options want;
};

enum broker_source { BROKER_HIT, BROKER_MISS, BROKER_SHARED };

/* Exactly one of token and e is set; token is borrowed. */
typedef void broker_done_fn(void *userdata, struct token *token,
			    enum broker_source source, const struct err *e);

/* Asked before a new flight is started for owner: 0, or a failure (ERR_BUSY). */
typedef int broker_admit_fn(void *userdata, uint64_t owner, struct err *e);

/* A key's account is the name of one of these, which outlive the broker. */
struct broker *broker_new(sd_event *event, const struct accounts *accounts,
			  const struct flow_ops *flow,
			  const struct broker_options *o,
			  broker_admit_fn *admit, void *userdata);
/* All tickets must be gone. */
struct broker *broker_free(struct broker *b);
DEFINE_CLEANUP(struct broker *, broker_free)

/* 1: *ret_token is set, borrowed, from cache.  0: done will run later, *ret is
   the ticket; it is set to NULL when done runs.  Negative: refused, e says why. */
int broker_get(struct broker *b, const struct token_key *key,
	       const struct broker_want *want,
	       broker_done_fn *done, void *userdata,
	       struct token **ret_token, struct ticket **ret, struct err *e);
struct ticket *ticket_free(struct ticket *t);	/* the flight goes on */

/* What broker_get() would return 1 for from cache alone, borrowed; or NULL, and
   broker_get() knows more.  For callers who keep nothing until they must wait. */
struct token *broker_hit(struct broker *b, const struct cache_key *key,
			 const struct broker_want *want,
			 const struct token_now *now);
struct cache_key *broker_key(const struct broker *b, const struct token_key *key);

/* Forget every token and every failure: the account is another one now.  Flights
   under way go on. */
void broker_flush(struct broker *b);
/* The same for one audience. */
void broker_flush_audience(struct broker *b, const char *audience);
/* The account has been found, and is the one that the tokens are for: forget what
   failed while it was sought. */
void broker_account_found(struct broker *b);

/* Nothing new is asked of it: those who wait are told, and what is cached goes to
   heir, or to nobody.  The accounts of both are the same ones then. */
void broker_retire(struct broker *b, struct broker *heir);

/* cache_walk() */
size_t broker_walk(const struct broker *b, cache_look_fn *look, void *userdata);

#define BROKER_WARM_MAX	64

/* Have a token for each of these audiences in the cache as soon as there is an
   account, and keep it fresh, used or not.  The list ends with NULL and is
   borrowed; once. */
int broker_keep_warm(struct broker *b, char *const *audiences, struct err *e);

/* Can a token be had now, as far as is known without asking?  1: yes.  0: those in
   the cache only.  Negative: none.  e says why for the last two: no account, all
   flows denied, clocks too far apart, or trouble upstream, which is what flights
   that failed tell. */
int broker_health(const struct broker *b, struct err *e);

/* Run from the event loop when the answer may have changed by a flight's end or
   with time; account and flows tell of theirs. */
typedef void broker_health_fn(void *userdata);
void broker_on_health(struct broker *b, broker_health_fn *changed, void *userdata);

struct broker_counts {
	unsigned flights, queued, waiters;
	size_t cached, failures;
	/* So far.  Callers: answered from the cache, by a flight of their own, by
	   somebody else's, from a failure remembered; those turned away because
	   too many wait, and because of any limit. */
	uint64_t hits, misses, shared, remembered, waiters_full, refused;
	/* Flights that brought a token, and those that did not; those of them that
	   were ahead of an expiry. */
	uint64_t fetched, failed, refreshed, refresh_failed;
	uint64_t evicted;	/* tokens pushed out of the cache by others */
};
void broker_count(const struct broker *b, struct broker_counts *ret);
const struct broker_options *broker_options_of(const struct broker *b);
