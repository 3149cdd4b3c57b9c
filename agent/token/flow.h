/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A way of getting an ID token for an audience.

   To add one: write flow_<name>.c with one struct flow_ops and add it to the
   table in flow.c.  Which of them is tried when is flows.h's business.

   Asynchronous contract: see http/client.h, it is the same one. */

#include <systemd/sd-event.h>

#include "base/base.h"
#include "base/err.h"
#include "google/endpoints.h"
#include "http/client.h"
#include "token/account.h"
#include "token/clock.h"
#include "token/keyring.h"
#include "token/token.h"

struct credential;
struct fetch;
struct flows;

/* Exactly one of token and e is set.  token is borrowed: token_ref() to keep. */
typedef void fetch_done_fn(void *userdata, struct token *token,
			   const struct err *e);

enum flow_verify {
	FLOW_VERIFY_AUTO,	/* the signature, too, but for what came by TLS */
	FLOW_VERIFY_CLAIMS,	/* iss, aud, iat, exp, email */
	FLOW_VERIFY_REQUIRED	/* the signature, too: no keys, no token */
};

struct flow_options {
	enum flow_verify verify;
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
	const struct credential *credential;	/* of a file; NULL: none */
	struct keyring *keyring;
	struct clock *clock;
	struct flows *flows;		/* for flow_any, which chooses among them */
	struct flow_options opt;
};

struct flow_ops {
	const char *name;	/* as written in the configuration file */
	bool makes[TOKEN_FORMATS];
	bool plain_http;	/* its tokens do not come by TLS */
	bool for_others;	/* also for an account that is impersonated */
	bool exchanges;		/* at the token endpoint: googleapis.com's only */
	const struct flow_ops *access;	/* takes its place for access tokens */
	size_t fetch_size;	/* of its own, which begins with a struct fetch */
	/* Negative, before anything is asked: the account cannot use this flow.
	   NULL: it always may.  Only while the account is known. */
	int (*possible)(const struct flow_context *ctx, struct err *e);
	int (*begin)(struct fetch *f, struct err *e);
	void (*clear)(struct fetch *f);	/* cancel and release; also half-built */
};

/* Embedded first in each flow's own struct: one attempt, one audience. */
struct fetch {
	const struct flow_ops *ops;
	const struct flow_context *ctx;
	struct fetch **slot;	/* the owner's pointer, cleared at the end */
	char *audience;
	enum token_format format;
	bool licenses;		/* with TOKEN_FULL: of the VM's images */
	char *scopes;		/* of an access token, apart by blanks; NULL: an ID
				   token is fetched */
	const uint64_t *deadline;	/* as in http_client_start() */
	uint64_t payer;			/* the same */
	fetch_done_fn *done;
	void *userdata;

	/* fetch_check()'s, while keys are waited for */
	struct jwt *jwt;
	char *text;
	struct token *token;
	struct keyring_wait *wait;
};

/* By its configured name; NULL if there is none. */
const struct flow_ops *flow_find(const char *name);
/* Negative, before anything is asked: the account cannot use this flow, or nobody
   can in this universe.  Only while the account is known. */
int flow_possible(const struct flow_ops *flow, const struct flow_context *ctx,
		  struct err *e);
/* The names, for messages: "signblob, generate, metadata, keyfile, user". */
const char *flow_names(void);

/* A token_key's variant begins with its format: "standard" (which "" is, too),
   "full" or "full+licenses"; behind a slash may stand more. */
const char *flow_variant(enum token_format format, bool licenses);

#define FETCH_SCOPES_MAX	32

/* An access token's variant is its scopes, apart by blanks; at most so many.  Where
   the account cannot narrow it is "".

   Of key kind, variant and audience count.  payer: who pays for what is asked for
   this key alone (enum http_payer). */
int flow_fetch(const struct flow_ops *flow, const struct flow_context *ctx,
	       const struct token_key *key, const uint64_t *deadline,
	       uint64_t payer, fetch_done_fn *done, void *userdata,
	       struct fetch **ret, struct err *e);
struct fetch *fetch_free(struct fetch *f);

/* For the flows: end a fetch.  Frees it, then runs the callback. */
void fetch_succeed(struct fetch *f, struct token *token);
void fetch_fail(struct fetch *f, const struct err *e);

/* For the flows: an ID token has come.  Nobody gets one that is not what was
   asked for, nor any while nobody can say what time it is (clock_check()); this
   ends the fetch, now or when Google's keys have come. */
struct fetch_found {
	const char *text;
	const char *email;	/* the account's, when it was asked for */
	const char *from;	/* for words: "the token endpoint" */
	bool tls;		/* http_response.tls */
};
void fetch_check(struct fetch *f, const struct fetch_found *found);

extern const struct flow_ops flow_access;	/* stands in no table */
extern const struct flow_ops flow_generate;
extern const struct flow_ops flow_signblob;
extern const struct flow_ops flow_metadata;
extern const struct flow_ops flow_keyfile;
extern const struct flow_ops flow_user;
