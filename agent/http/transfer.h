/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One try of a request: what http/call.c asks of http/transfer.c, and nobody else
   does.  call.c decides when to try, again or no more; transfer.c knows how, and
   client.c lives in the event loop for it. */

#include <sys/queue.h>
#include <systemd/sd-event.h>

#include "base/buf.h"
#include "http/client.h"

struct http_client {
	sd_event *event;
	struct http_client_options opt;	/* its strings are ours */
	void *multi;			/* libcurl's; NULL before the first call */
	sd_event_source *timer;		/* libcurl's, too */
	uint64_t sent;
	bool detours;			/* http/detour.h: the second has answered */
	struct http_upstream upstream[HTTP_UPSTREAMS];
	size_t n_transfers;
	bool busy, doomed;		/* freed while it reports: client_rest() */

	struct budget *budget;
	TAILQ_HEAD(, turn) tries;	/* under way; http/turn.h */
	TAILQ_HEAD(, turn) turns;	/* of those who wait */
	sd_event_source *turn;		/* when the next one may come; or NULL */
	uint64_t turn_at;		/* the same; UINT64_MAX: it is off */
	struct http_client_counts n;
};

/* How a try ended. */
struct transfer_end {
	char failed[200];		/* why there is no answer, or "" */
	bool for_good;			/* another try would end the same */
	bool unreachable;		/* there is no way to the address */
	struct http_response re;	/* without the body ... */
	struct buf body;		/* ... which may be taken from here */
};

/* The end of a loop that began with busy set and ran callbacks: one of them may
   have freed the client. */
static inline void
client_rest(struct http_client *c)
{
	c->busy = false;
	if (c->doomed)
		http_client_free(c);
}

/* libcurl is there from the first try on. */
int client_open(struct http_client *c, struct err *e);

struct transfer;
typedef void transfer_done_fn(void *userdata);

/* q and end are borrowed as long as the transfer lives.  A try that ends by
   itself fills in end and runs done. */
int transfer_new(struct http_client *c, const struct http_request *q,
		 struct transfer_end *end, transfer_done_fn *done,
		 void *userdata, struct transfer **ret, struct err *e);
/* May be done at any time, even from within done. */
struct transfer *transfer_free(struct transfer *t);

int transfer_run(struct transfer *t, struct err *e);
void transfer_stop(struct transfer *t);

/* client.c: this is how it ended for libcurl (CURLcode). */
void transfer_ended(struct transfer *t, int curl_code);

/* Has anything been sent or received? */
bool transfer_reached(const struct transfer *t);
/* What a try that runs is waiting for. */
const char *transfer_stage(const struct transfer *t);
