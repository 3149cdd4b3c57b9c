/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the key of a file is traded for at the token endpoint: an assertion is
   signed here and sent there; one that is not believed for its date is made once
   more where it would have another one.

   Asynchronous contract: http/client.h. */

#include "google/token_endpoint.h"
#include "http/client.h"
#include "token/clock.h"
#include "token/credential.h"

struct trade;

struct trade_got {
	const char *text;	/* wiped when the callback returns */
	uint64_t life;		/* seconds; of an access token */
	bool tls;		/* http_response.tls */
};

/* Exactly one of got and e is set. */
typedef void trade_done_fn(void *userdata, const struct trade_got *got,
			   const struct err *e);

/* All that it points to must live as long as the trade. */
struct trade_offer {
	struct http_client *http;
	const char *url;		/* of the token endpoint */
	struct clock *clock;
	const struct credential *credential;	/* has a key */
	const char *audience;		/* of an ID token; NULL: an access token
					   of SCOPE_CLOUD_PLATFORM */
	const uint64_t *deadline;	/* as in http_client_start() */
	uint64_t payer;			/* the same */
	trade_done_fn *done;
	void *userdata;
};

int trade_start(const struct trade_offer *o, struct trade **ret, struct err *e);
struct trade *trade_free(struct trade *t);
DEFINE_CLEANUP(struct trade *, trade_free)
