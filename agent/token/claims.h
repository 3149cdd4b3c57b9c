/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Claims that a caller wants signed as a JWT (kind "jwt"), read so that every
   verifier will read them as we did, and written anew: the caller's bytes go
   nowhere.  Pure.

   A JWT that the account has signed itself is worth what its verifier makes of it,
   and Google's services make an access token of some.  So claims are refused that
   could be meant for them, in any spelling. */

#include "base/base.h"
#include "base/err.h"
#include "google/endpoints.h"

#define CLAIMS_DEPTH		8
#define CLAIMS_LIFE_MAX		(12 * 3600)	/* seconds; what Google signs */

struct claims;

/* One JSON object, strict (base/json.h), at most CLAIMS_DEPTH deep, its own names
   in printable ASCII without space; numbers are whole.

   aud is there, one string of at most max_audience characters of printable ASCII
   without space, quote and backslash; names no host of Google's (endpoints.h); and
   has a "*" in a URL's path only.  No scope, target_audience or prn in any
   spelling, and no other spelling of the names that we set or judge.

   ERR_REQUEST, with words that name the claim. */
int claims_read(const char *text, size_t len, const struct endpoints *at,
		size_t max_audience, struct claims **ret, struct err *e);
struct claims *claims_free(struct claims *c);
DEFINE_CLEANUP(struct claims *, claims_free)

const char *claims_audience(const struct claims *c);	/* borrowed */

/* Unix seconds, and seconds. */
struct claims_times {
	int64_t now;		/* the best knowledge of Google's clock */
	int64_t backdate;	/* how far iat lies before it, where absent */
	int64_t life;		/* from iat to exp, where absent */
};

/* The claims as email's own: JSON text, iss, sub, aud, iat and exp first.
   ERR_REQUEST where iss or sub are another's, and where exp is past, not behind
   iat, or further ahead than CLAIMS_LIFE_MAX. */
int claims_write(const struct claims *c, const char *email,
		 const struct claims_times *t, char **ret, struct err *e);
