/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An account signs what a caller has: claims as a JWT, or bytes.  Neither a flow
   nor a flight: what comes out is the caller's alone, and is not kept.

   Where the account's key is in a file it signs here; else IAM does it, by way of
   iam_call.h.

   Asynchronous contract: http/client.h. */

#include "token/claims.h"
#include "token/flow.h"

struct signing;

struct signing_ask {
	const struct claims *claims;	/* borrowed until the end; or NULL: */
	const void *bytes;		/* copied */
	size_t len;
	const uint64_t *deadline;	/* as in http_client_start() */
	uint64_t payer;			/* the same */
	uint64_t doubt_usec;		/* as in iam_call.h */
};

/* text: the JWT, or the signature in base64.  Exactly one of both texts and e. */
typedef void signing_done_fn(void *userdata, const char *key_id, const char *text,
			     const struct err *e);

/* Is the account's key here, so that nobody is asked? */
bool signing_is_here(const struct flow_context *ctx);

/* ERR_REQUEST where the claims are not those of this account, or it is a person's;
   else as the flows. */
int signing_start(const struct flow_context *ctx, const struct signing_ask *ask,
		  signing_done_fn *done, void *userdata, struct signing **ret,
		  struct err *e);
struct signing *signing_free(struct signing *s);
