/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Google's OAuth 2.0 token endpoint: an assertion in, an ID token out. */

#include "base/base.h"
#include "base/err.h"
#include "http/message.h"

/* What mends a machine's clock, for hints. */
#define TOKEN_ENDPOINT_SET_CLOCK \
	"set the clock: timedatectl status; chronyc makestep " \
	"(or systemctl restart systemd-timesyncd)"

/* RFC 7523 grant. */
void token_endpoint_assertion_request(const char *url, const char *assertion,
				      struct http_request *ret);

/* What a refused assertion asks of whoever made it. */
enum token_endpoint_verdict {
	TOKEN_ENDPOINT_OTHER,		/* nothing: see e */
	TOKEN_ENDPOINT_CLOCK,		/* iat or exp not believed: skewed clock */
	TOKEN_ENDPOINT_SIGNATURE,	/* key rotated: sign once more */
	TOKEN_ENDPOINT_ACCOUNT,		/* account not found: look it up anew */
};

/* The ID token's text, freed with secret_free().  On failure *ret_verdict is set
   (it may be NULL).  An audience that the endpoint does not accept is ERR_GOOGLE
   of scope request; a missing, disabled or deleted account ERR_GOOGLE of scope
   account; a skewed clock ERR_UNAVAILABLE with a hint, and the local time set
   against re->date where that is known. */
int token_endpoint_id_token_response(const struct http_response *re,
				     const char *email, const char *audience,
				     int64_t now, char **ret_id_token,
				     enum token_endpoint_verdict *ret_verdict,
				     struct err *e);
