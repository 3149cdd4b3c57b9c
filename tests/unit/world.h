/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What accounts and flows live in: an event loop, a client of http, the fakes of
   Google's servers, this machine's clock, and the test itself, which asks them for
   something.  A test makes of it what it needs; what is left NULL does not matter.

   To be included behind cmocka's headers. */

#include "fake-metadata.h"
#include "token/accounts.h"
#include "token/flows.h"

#define MS		USEC_PER_MSEC
#define WHO		"service-accounts/default/?recursive=true"
#define TOKEN		"service-accounts/default/token"
#define GENERATE	":generateAccessToken"
#define BILLING		"billing@example-proj-123.iam.gserviceaccount.com"

struct world {
	sd_event *event;
	struct http_client *http;
	struct fake *mds, *iam, *tok;
	struct endpoints at;		/* theirs; certs is at mds/certs */
	int64_t wall_shift;		/* of this machine's clock, usec */
	struct account_options account_opt;
	struct account_setup setup;	/* of all these */
	struct flow_context ctx;	/* likewise; owns clock, keyring, flows */
	struct account *a;		/* the machine's own, mostly */
	struct account *billing;	/* one by its leave */
	struct accounts *accounts;	/* or a set, which owns those in it */

	/* Who asks, until 20 s later. */
	uint64_t deadline;
	struct fetch *fetch;
	struct account_wait *wait;
	unsigned called;
	struct token *token;
	struct err e;
};

/* The fakes say nothing yet, and there is no account. */
struct world *world_new(void);
/* Of a test whose state it is. */
int world_teardown(void **state);

/* The loop knows what time it is, and the deadline counts from here. */
void world_begin(struct world *w);

/* w->a, looked for at the metadata server, where it is said to be VEC_EMAIL. */
void world_add_own(struct world *w);
void world_find(struct world *w, const struct account *a);

/* Fetch for the test, which is told by w->called, w->token and w->e. */
int world_fetch(struct world *w, const struct flow_ops *flow,
		const struct token_key *key);

/* IAM generates this access token, which ends so many seconds from now. */
void world_say_generated(struct world *w, const char *text, int64_t left);

/* Google's clock is known, and ahead of this machine's, the shift aside: as by two
   answers over TLS, which the fakes do not speak. */
void world_google_is_ahead(struct world *w, int64_t seconds);
