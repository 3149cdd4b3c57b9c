/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Tokens by key, with an owner, an expiry and a time to refresh.

   Pure data structure: no clock, no I/O.  Every function that depends on time
   takes "now", which is how the tests travel in time; when to refresh is said in
   microseconds of CLOCK_BOOTTIME.  Who fetches a token, and how many callers wait
   for it, is broker.h's business.

   An entry counts for the owner that caused it.  An owner at its share loses its
   own least recently used entry; a full cache loses the least recently used
   entry of the owner that holds the most.  So nobody can push out others'.  What
   the agent itself wants there stays while others have any. */

#include "base/base.h"
#include "token/token.h"

struct cache;

#define CACHE_OWNER_AGENT	UINT64_MAX

struct cache_options {
	size_t entries;		/* in all */
	size_t per_owner;
};

struct cache *cache_new(const struct cache_options *o);
struct cache *cache_free(struct cache *c);
DEFINE_CLEANUP(struct cache *, cache_free)

/* The token if it is not expired at now, else NULL (an expired entry goes).
   Borrowed: token_ref() to keep it past the next cache call.  Counts as a use. */
struct token *cache_get(struct cache *c, const struct token_key *key,
			const struct token_now *now);

/* The same for those who look up one key often: made ready once, by one cache for
   itself, and freed by free(). */
struct cache_key {
	uint64_t hash;
	size_t len;
	char bytes[];
};
struct cache_key *cache_key_new(const struct cache *c, const struct token_key *key);
struct token *cache_get_ready(struct cache *c, const struct cache_key *key,
			      const struct token_now *now);

/* Replaces what was there (the entry keeps its owner then).  Takes a reference of
   its own.  refresh_at: CACHE_NEVER or earlier. */
#define CACHE_NEVER	((uint64_t)INT64_MAX)
void cache_put(struct cache *c, const struct token_key *key, uint64_t owner,
	       struct token *t, uint64_t refresh_at);

/* Other limits; who is above them loses what was used least recently. */
void cache_configure(struct cache *c, const struct cache_options *o);

/* Drop one entry, all of an audience, or all there are. */
void cache_drop(struct cache *c, const struct token_key *key);
void cache_drop_audience(struct cache *c, const char *audience);
void cache_flush(struct cache *c);

/* An entry to look at; borrowed.  It may have expired. */
struct cache_item {
	const struct token_key *key;
	const struct token *token;
	uint64_t owner;
};
typedef bool cache_look_fn(void *userdata, const struct cache_item *item);

/* Show entries, in no order, until look() says false; it must leave the cache
   alone, and nothing counts as a use.  Returns how many it said true to. */
size_t cache_walk(const struct cache *c, cache_look_fn *look, void *userdata);

/* No token in it is good any longer than until then, in Unix seconds; INT64_MIN
   where it is empty.  What has been pushed out may have been the last one. */
int64_t cache_last_exp(const struct cache *c);

/* When the next entry wants refreshing; CACHE_NEVER if none does. */
uint64_t cache_next_refresh(const struct cache *c);

/* Take the first entry that wants refreshing by then: a copy of its key in
   *ret_key, which is the caller's to free(), its owner, and how many tokens in a
   row, put one after the other, nobody has used, with the one that is there.  It
   wants none any more until cache_put(), cache_refresh_at() or cache_due_again().
   false where there is none. */
bool cache_due(struct cache *c, uint64_t boot, struct token_key **ret_key,
	       uint64_t *ret_owner, unsigned *ret_unused);

/* Whoever took these brings none any more: all that want no refreshing want it
   again, for cache_rejudge() to say when. */
void cache_due_again(struct cache *c);

/* Refresh it then; nothing if it is not there.  One that is expired at now goes. */
void cache_refresh_at(struct cache *c, const struct token_key *key,
		      const struct token_now *now, uint64_t when);

/* Judge all anew, after a clock was set: what is expired goes, and what waits to
   be refreshed is refreshed at when(token) if that is earlier.  when() leaves the
   cache alone. */
typedef uint64_t cache_when_fn(void *userdata, const struct token *t);
void cache_rejudge(struct cache *c, const struct token_now *now,
		   cache_when_fn *when, void *userdata);

size_t cache_len(const struct cache *c);
uint64_t cache_evicted(const struct cache *c);	/* for want of room, so far */
size_t cache_owner_len(const struct cache *c, uint64_t owner);
