/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Google's OAuth 2.0 token endpoint: an assertion or a refresh token in, an ID
   token or an access token out. */

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

/* Somebody who signed in: authorized_user of a credential file. */
struct token_endpoint_user {
	const char *client_id, *client_secret, *refresh_token;
};

/* RFC 6749 grant.  audience: whom the ID token is for, an OAuth client; NULL: an
   access token, of all scopes that the user agreed to. */
void token_endpoint_refresh_request(const char *url,
				    const struct token_endpoint_user *u,
				    const char *audience, struct http_request *ret);

/* What was asked, for words about a refusal. */
struct token_endpoint_ask {
	const char *email;	/* the account's; NULL: by a user's refresh token */
	const char *key_id;	/* of a key in a file; NULL: Google signed */
	const char *audience;	/* of an ID token; NULL: an access token */
	int64_t now;		/* Unix seconds, by this machine */
};

/* What a refused assertion asks of whoever made it. */
enum token_endpoint_verdict {
	TOKEN_ENDPOINT_OTHER,		/* nothing: see e */
	TOKEN_ENDPOINT_CLOCK,		/* iat or exp not believed: skewed clock */
	TOKEN_ENDPOINT_SIGNATURE,	/* key rotated: sign once more */
	TOKEN_ENDPOINT_ACCOUNT,		/* account not found: look it up anew */
};

/* The token's text, freed with secret_free().  *ret_verdict (which may be NULL) is
   set on failure.  What the endpoint does not accept for this audience or scope is
   ERR_GOOGLE of scope request; a missing, disabled or deleted account, a revoked
   refresh token and a refused OAuth client are ERR_GOOGLE of scope account; a
   skewed clock ERR_UNAVAILABLE with a hint, and the local time set against
   re->date where that is known. */
int token_endpoint_id_token_response(const struct http_response *re,
				     const struct token_endpoint_ask *ask,
				     char **ret_id_token,
				     enum token_endpoint_verdict *ret_verdict,
				     struct err *e);
/* *ret_life is in seconds. */
int token_endpoint_access_token_response(const struct http_response *re,
					 const struct token_endpoint_ask *ask,
					 char **ret_token, uint64_t *ret_life,
					 enum token_endpoint_verdict *ret_verdict,
					 struct err *e);
