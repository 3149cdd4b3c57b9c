/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The insides of a broker, for broker.c, queue.c and ticket.c only. */

#include <sys/queue.h>

#include "base/hash.h"
#include "token/broker.h"

#define BROKER_BUCKETS	1024

/* What one peer holds, as long as that is anything. */
struct share {
	LIST_ENTRY(share) chain;	/* in the table */
	uint64_t owner;
	unsigned refs;			/* tickets, and flights in any state */
	unsigned flights;		/* that run */
	unsigned waiters;
	uint64_t turn;			/* when it was last served, or came */
};

struct ticket {
	TAILQ_ENTRY(ticket) entry;
	struct flight *flight;
	struct share *share;
	struct ticket **slot;		/* the owner's, cleared at the end */
	struct broker_want want;
	sd_event_source *timer;
	enum broker_source source;
	broker_done_fn *done;
	void *userdata;
};

struct flight {
	LIST_ENTRY(flight) chain;
	bool listed;			/* in the table: it may be joined */
	TAILQ_ENTRY(flight) queue;
	bool queued;			/* it waits for its turn */
	struct broker *broker;
	struct share *share;		/* its owner's */
	const struct flow_context *ctx;	/* of its account */
	struct token_key *key;
	void *bytes;			/* the same as one string */
	size_t len;
	uint64_t deadline;		/* the longest of all who wait or waited */
	bool ahead;			/* a refresh: wanted even if nobody waits */
	bool warm;			/* of an audience that is kept warm */
	struct fetch *fetch;		/* NULL while queued */
	TAILQ_HEAD(, ticket) tickets;
};

struct broker {
	sd_event *event;
	const struct accounts *accounts;
	const struct flow_context *ctx;		/* default's */
	const struct flow_ops *flow;
	struct broker_options opt;
	broker_admit_fn *admit;
	void *userdata;
	struct cache *cache;
	struct hash_key hash;
	uint64_t draws;			/* counts them, for jitter */
	bool clock_bad;			/* as the log has it */
	sd_event_source *refresh;	/* armed for the cache's next refresh */
	LIST_HEAD(, flight) flights[BROKER_BUCKETS];
	LIST_HEAD(, share) shares[BROKER_BUCKETS];
	uint64_t turns;			/* so far: share.turn is one of them */
	struct failures *failures;
	TAILQ_HEAD(, flight) queue;
	sd_event_source *run_queue;	/* a place became free, not by a landing */
	struct broker_counts n;		/* .flights: running ones */
	struct {
		struct err e;
		uint64_t until;		/* CLOCK_BOOTTIME; 0: there is none */
	} trouble;
	sd_event_source *health;
	broker_health_fn *health_changed;
	void *health_userdata;
	struct {
		char *const *audience;
		size_t len;
		uint64_t due[BROKER_WARM_MAX];	/* CLOCK_BOOTTIME; or UINT64_MAX */
		unsigned running;
		sd_event_source *timer;
	} warm;
};

/* At this turn of the event loop: CLOCK_BOOTTIME usec. */
static inline uint64_t
broker_boot(const struct broker *b)
{
	uint64_t usec = 0;

	sd_event_now(b->event, CLOCK_BOOTTIME, &usec);
	return usec;
}

/* Whatever it is in: tables, the queue.  Its tickets must be gone. */
void flight_free(struct flight *fl);
/* What counts for its owner upstream, but for a refresh. */
uint64_t flight_payer(const struct flight *fl);

/* queue.c */
struct share *share_ref(struct broker *b, uint64_t owner);
void share_unref(struct share *s);
unsigned share_flights(const struct broker *b);	/* one peer's, running at once */
unsigned share_waiters(const struct broker *b);
/* May one caller more of this peer wait? */
bool share_may_wait(struct broker *b, uint64_t owner);
/* A place for this flight, be it queued or new? */
bool queue_free_place(const struct flight *fl);
void queue_add(struct flight *fl);
void queue_remove(struct flight *fl);		/* if it is there */
/* It runs now, or no longer. */
void queue_started(struct flight *fl);
void queue_ended(struct flight *fl);
/* The one that is to be started now, or NULL. */
struct flight *queue_next(const struct broker *b);
/* Somebody else wants what waits for its owner's turn.  True: it may start now. */
bool queue_adopt(struct flight *fl, uint64_t owner);

/* ahead.c: the timer follows the cache; all of it is judged anew; when to fetch the
   next one after t. */
int ahead_init(struct broker *b);
void ahead_arm(struct broker *b);
void ahead_rejudge(struct broker *b);
uint64_t ahead_when(struct broker *b, const struct token *t,
		    const struct token_now *now);
/* A flight for nobody, if there is none already. */
void broker_refresh(struct broker *b, const struct token_key *key, uint64_t owner);

/* warm.c: the audience's index, -1: it is none of these; one of them has come, or
   not; a flight to one is gone; all of them are wanted (again). */
ssize_t warm_find(const struct broker *b, const struct token_key *key);
void warm_landed(struct broker *b, const struct token_key *key,
		 const struct err *failed);
void warm_left(struct broker *b);
void warm_all(struct broker *b);

/* health.c: a flight has ended, with a token or not; and it no longer matters. */
int health_init(struct broker *b);
void health_landed(struct broker *b, const struct err *failed);
void health_forget(struct broker *b);

/* One caller more for this flight; the rest of *ret is the caller's to fill. */
int ticket_new(struct flight *fl, const struct broker_want *want,
	       enum broker_source source, struct ticket **ret, struct err *e);
/* Tell the caller, once.  The ticket is gone before its callback runs. */
void ticket_end(struct ticket *t, struct token *token, enum broker_source source,
		const struct err *e);
/* The same for a failure: what is still good in the cache beats it, for those who
   made no demand. */
void ticket_fail(struct ticket *t, const struct err *e);
