/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One try of a request: what http/call.c asks of http/client.c, and nobody else
   does.  call.c decides when to try, again or no more; client.c knows how. */

#include <systemd/sd-event.h>

#include "base/buf.h"
#include "http/client.h"

struct http_client {
	sd_event *event;
	struct http_client_options opt;	/* its strings are ours */
	void *multi;			/* libcurl's; NULL before the first call */
	sd_event_source *timer;		/* libcurl's, too */
	uint64_t sent;
	size_t n_transfers;
	bool draining, doomed;		/* freed while it reports: see client.c */
};

/* How a try ended. */
struct transfer_end {
	char failed[200];		/* why there is no answer, or "" */
	bool for_good;			/* another try would end the same */
	struct http_response re;	/* without the body ... */
	struct buf body;		/* ... which may be taken from here */
};

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

/* What a try that runs is waiting for. */
const char *transfer_stage(const struct transfer *t);
