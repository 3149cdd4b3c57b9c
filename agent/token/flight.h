/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The insides of a broker, for broker.c and ticket.c only. */

#include <sys/queue.h>

#include "base/hash.h"
#include "token/broker.h"

#define BROKER_BUCKETS	1024

struct ticket {
	TAILQ_ENTRY(ticket) entry;
	struct flight *flight;
	struct ticket **slot;		/* the owner's, cleared at the end */
	struct broker_want want;
	sd_event_source *timer;
	enum broker_source source;
	broker_done_fn *done;
	void *userdata;
};

struct flight {
	LIST_ENTRY(flight) chain;	/* in the table */
	TAILQ_ENTRY(flight) queue;	/* while it waits for its turn */
	struct broker *broker;
	struct token_key *key;
	void *bytes;			/* the same as one string */
	size_t len;
	uint64_t owner;
	uint64_t deadline;		/* the longest of all who wait or waited */
	bool ahead;			/* a refresh: wanted even if nobody waits */
	struct fetch *fetch;		/* NULL while queued */
	TAILQ_HEAD(, ticket) tickets;
};

struct broker {
	sd_event *event;
	const struct flow_context *ctx;
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
	struct failures *failures;
	TAILQ_HEAD(, flight) queue;
	struct broker_counts n;		/* .flights: running ones */
};

/* At this turn of the event loop: CLOCK_BOOTTIME usec. */
static inline uint64_t
broker_boot(const struct broker *b)
{
	uint64_t usec = 0;

	sd_event_now(b->event, CLOCK_BOOTTIME, &usec);
	return usec;
}

/* One caller more for this flight; the rest of *ret is the caller's to fill. */
int ticket_new(struct flight *fl, const struct broker_want *want,
	       enum broker_source source, struct ticket **ret, struct err *e);
/* Tell the caller, once.  The ticket is gone before its callback runs. */
void ticket_end(struct ticket *t, struct token *token, enum broker_source source,
		const struct err *e);
/* The same for a failure: what is still good in the cache beats it, for those who
   made no demand. */
void ticket_fail(struct ticket *t, const struct err *e);
