/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a credential file says, ready for use: a key that signs, or somebody's
   refresh token.  Pure. */

#include "base/base.h"
#include "base/err.h"
#include "google/credfile.h"
#include "google/token_endpoint.h"
#include "token/clock.h"
#include "token/rs256.h"

struct credential {
	struct credfile *file;		/* its private key wiped: it is in key */
	struct rs256_key *key;		/* service_account, else NULL */
	struct credential *source;	/* of an impersonated account, else NULL */
	uint64_t assertion_life_usec;	/* of those that key signs */
	uint64_t assertion_backdate_usec;
};

/* Takes file over.  ERR_REQUEST where its private key is none. */
int credential_new(struct credfile *file, struct credential **ret, struct err *e);
struct credential *credential_free(struct credential *c);
DEFINE_CLEANUP(struct credential *, credential_free)

/* When assertions are made, and for how long. */
void credential_set_times(struct credential *c, uint64_t life_usec,
			  uint64_t backdate_usec);

/* The JWT of "header.claims", signed by the file's key; for secret_free(). */
int credential_jwt(const struct credential *c, const char *input, char **ret,
		   struct err *e);

/* An assertion of the account's, signed, for one of target_audience and scope;
   freed with secret_free().  *ret_date: by clock_date(). */
int credential_assertion(const struct credential *c, const struct clock *clock,
			 const char *target_audience, const char *scope,
			 char **ret, int64_t *ret_date, struct err *e);

/* What Google's services take in place of an access token, with this scope: a JWT
   that the account signed itself; freed with secret_free().  *ret_life: seconds. */
int credential_self_signed(const struct credential *c, const struct clock *clock,
			   const char *scope, char **ret, uint64_t *ret_life,
			   struct err *e);

/* Of an authorized_user; borrows from c. */
struct token_endpoint_user credential_user(const struct credential *c);

/* Do both say the same? */
bool credential_same(const struct credential *a, const struct credential *b);
