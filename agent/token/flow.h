/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A way of getting an ID token for an audience.

   To add one: write flow_<name>.c with one struct flow_ops and add it to the
   table in flow.c.

   Asynchronous contract: see http/client.h, it is the same one. */

#include <systemd/sd-event.h>

#include "base/base.h"
#include "base/err.h"
#include "google/endpoints.h"
#include "http/client.h"
#include "token/account.h"
#include "token/token.h"

struct fetch;

/* Exactly one of token and e is set.  token is borrowed: token_ref() to keep. */
typedef void fetch_done_fn(void *userdata, struct token *token,
			   const struct err *e);

struct flow_options {
	uint64_t assertion_life_usec;
	uint64_t assertion_backdate_usec;
	uint64_t iat_skew_usec;		/* a token's iat may lie so far ahead */
	uint64_t token_life_max_usec;	/* and its exp so far */
};

/* What every flow works with. */
struct flow_context {
	sd_event *event;
	struct http_client *http;
	const struct endpoints *at;
	struct account *account;
	struct flow_options opt;
};

struct flow_ops {
	const char *name;	/* as written in the configuration file */
	size_t fetch_size;	/* of its own, which begins with a struct fetch */
	int (*begin)(struct fetch *f, struct err *e);
	void (*clear)(struct fetch *f);	/* cancel and release; also half-built */
};

/* Embedded first in each flow's own struct: one attempt, one audience. */
struct fetch {
	const struct flow_ops *ops;
	const struct flow_context *ctx;
	struct fetch **slot;	/* the owner's pointer, cleared at the end */
	char *audience;
	const uint64_t *deadline;	/* as in http_client_start() */
	fetch_done_fn *done;
	void *userdata;
};

/* By its configured name; NULL if there is none. */
const struct flow_ops *flow_find(const char *name);
/* The names, for messages: "signblob". */
const char *flow_names(void);

int flow_fetch(const struct flow_ops *flow, const struct flow_context *ctx,
	       const char *audience, const uint64_t *deadline,
	       fetch_done_fn *done, void *userdata, struct fetch **ret,
	       struct err *e);
struct fetch *fetch_free(struct fetch *f);

/* For the flows: end a fetch.  Frees it, then runs the callback. */
void fetch_succeed(struct fetch *f, struct token *token);
void fetch_fail(struct fetch *f, const struct err *e);

/* Unix seconds at this turn of the event loop. */
int64_t fetch_now(const struct fetch *f);

extern const struct flow_ops flow_signblob;
