/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* JSON Web Tokens: text and claims, no keys (rs256.h has those).  Pure. */

#include "base/base.h"
#include "base/err.h"

#define JWT_MAX		(64 * 1024)	/* bytes of compact text */

/* What a token says of itself.  Strings are NULL where a claim is absent. */
struct jwt {
	char *alg, *kid;
	char *iss, *aud, *sub, *email;
	bool email_verified;
	int64_t iat, exp;		/* 0 where absent */
	bool has_google;		/* carries the claim "google" */
	size_t signed_len;		/* bytes of the text that are signed */
	unsigned char *signature;
	size_t signature_len;
};

/* Exactly three base64url parts, objects in the first two.  aud must be one
   string.  The text itself is not kept.  ERR_UNAVAILABLE on anything else. */
int jwt_parse(const char *text, size_t len, struct jwt **ret, struct err *e);
struct jwt *jwt_free(struct jwt *j);
DEFINE_CLEANUP(struct jwt *, jwt_free)

struct jwt_expectation {
	const char *audience;	/* byte for byte */
	const char *email;	/* must be there, verified, and this one; or NULL */
	const char *universe;	/* may be the iss, too; NULL: no other one */
	int64_t now;		/* Unix seconds, best knowledge */
	int64_t iat_skew;	/* how far iat may lie ahead of now */
	int64_t max_life;	/* how far exp may lie ahead of now + iat_skew */
};

/* Is this the ID token of Google's that was asked for, and good now?  alg RS256,
   a kid, iss one of Google's two spellings, or the domain of another universe.
   ERR_UNAVAILABLE otherwise, with words that name the claim. */
int jwt_expect(const struct jwt *j, const struct jwt_expectation *x,
	       struct err *e);

struct jwt_assertion {
	const char *kid;		/* of the key that will sign; or NULL */
	const char *iss, *sub, *aud;	/* sub and aud may be NULL */
	int64_t iat, exp;
	const char *target_audience;	/* one of these two, */
	const char *scope;		/* NULL the other */
};

/* The part of an assertion that is to be signed: header.claims, both base64url,
   with claims in the order above. */
char *jwt_assertion_input(const struct jwt_assertion *a);
/* The same with any claims, JSON text of an object; kid may be NULL. */
char *jwt_input(const char *kid, const char *claims);
/* input.signature; freed with secret_free(). */
char *jwt_join(const char *input, const char *signature);
