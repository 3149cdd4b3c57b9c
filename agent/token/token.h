/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What is asked for, and what is handed out. */

#include "base/base.h"

enum token_kind {
	TOKEN_ID,		/* OIDC ID token */
	TOKEN_ACCESS		/* OAuth 2.0 access token */
};

/* How much an ID token says: a full one describes the VM, too (claim google). */
enum token_format { TOKEN_STANDARD, TOKEN_FULL, TOKEN_FORMATS };

/* Which token: the whole identity of an entry in the cache and of a flight.
   account is the resolved name, variant tells apart what is otherwise the same
   (flow, format, licences, scopes); both may be "", never NULL. */
struct token_key {
	enum token_kind kind;
	const char *account;
	const char *variant;
	const char *audience;
};

/* The key as one unambiguous byte string: the kind, then each member behind its
   length.  Newly allocated. */
void *token_key_bytes(const struct token_key *key, size_t *ret_len);

/* The same backwards, strings and all in one piece: free() frees it. */
struct token_key *token_key_read(const void *bytes);

/* Is this the key, as bytes, of a token for that audience? */
bool token_key_is_for(const void *bytes, size_t len, const char *audience);

/* One moment, by every clock that a token is judged by, in microseconds.  From
   clock_now() in token/clock.h. */
struct token_now {
	uint64_t boot;		/* CLOCK_BOOTTIME */
	int64_t wall;		/* since 1970, by this machine */
	int64_t google;		/* the same by Google; wall where not known */
};

/* A token, immutable and counted.  Its text grants access: it is no string that
   could be printed by mistake, is reached by token_reveal() only, and is wiped
   with the last reference. */
struct token;

/* text is copied; exp and iat in Unix seconds; email and flow may be NULL.  now is
   when it came: from then on its time runs on CLOCK_BOOTTIME, too, whatever becomes
   of the other clocks. */
struct token *token_new(enum token_kind kind, const char *text, int64_t iat,
			int64_t exp, const struct token_now *now,
			const char *email, const char *flow);
/* The same of one that comes with seconds to live and no date: its iat is now, and
   Google's clock has no say in its end. */
struct token *token_new_lasting(enum token_kind kind, const char *text,
				uint64_t life, const struct token_now *now,
				const char *email, const char *flow);
struct token *token_ref(struct token *t);
struct token *token_unref(struct token *t);
DEFINE_CLEANUP(struct token *, token_unref)

/* For its maker, before anybody else has it: this one is full. */
void token_mark_full(struct token *t);

enum token_kind token_kind(const struct token *t);
int64_t token_exp(const struct token *t);
int64_t token_iat(const struct token *t);
const char *token_flow(const struct token *t);	/* "" if unknown */
const char *token_email(const struct token *t);	/* likewise */
bool token_is_full(const struct token *t);

/* Microseconds that the token is good for, by the clock that gives it the least, of
   those that have a say; 0: it is expired by one of them. */
uint64_t token_left(const struct token *t, const struct token_now *now);
/* Microseconds since it was issued. */
uint64_t token_age(const struct token *t, const struct token_now *now);

/* The secret.  Callers: the answer to a peer that the policy admits, and the
   request that carries a bearer.  Found by grep. */
const char *token_reveal(const struct token *t, size_t *ret_len);
