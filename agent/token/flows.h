/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The flows of an account, in order, and which of them Google denies it.

   A flow counts as denied only for reasons of the account (err.scope): a missing
   role, scope or API closes it for every audience, and the next one is tried; a
   bad audience concerns nobody else, and a flow that is merely down stays the one
   to wait for.  A denial that may be throttling in disguise (err.doubtful) counts
   when it has come twice, doubt_usec apart, to requests that were alone; the first
   one is tried again after that time.  A denied flow is tried again on a miss,
   after a time that doubles.

   Denials are kept per flow and format: the metadata server makes full tokens
   where it makes no standard ones that are of use.

   flow_any is itself a flow: what the broker starts. */

#include "base/base.h"
#include "base/err.h"
#include "token/flow.h"

#define FLOWS_MAX	8

struct flows_options {
	uint64_t doubt_usec;
	uint64_t again_usec;		/* a denied flow is tried again after ... */
	uint64_t again_max_usec;	/* ... doubling up to this */
};

struct flow_status {
	const char *account;		/* its name */
	const char *name;
	enum token_format format;
	bool denied;
	uint64_t again_usec;		/* until a miss tries it; 0: the next */
	const struct err *why;		/* while denied, else NULL */
};

/* A flow is denied, for a new reason, or serves again. */
typedef void flows_changed_fn(void *userdata, const struct flow_status *s);

/* list ends with NULL; ctx outlives it, and names it in ctx->flows. */
int flows_new(const struct flow_context *ctx, const struct flow_ops *const *list,
	      const struct flows_options *o, flows_changed_fn *changed,
	      void *userdata, struct flows **ret, struct err *e);
/* All fetches must be gone. */
struct flows *flows_free(struct flows *fs);
DEFINE_CLEANUP(struct flows *, flows_free)

/* The variant of a token_key: the format that is to be had (standard where no
   flow makes full ones), the flows, and a number that stands for the account's
   email and scopes.  Valid until flows_account_changed(). */
const char *flows_variant(const struct flows *fs, enum token_format format,
			  bool licenses);
/* Another number whenever variants change. */
uint64_t flows_generation(const struct flows *fs);
/* The format for those who do not care: the one that the first flow is best at. */
enum token_format flows_format(const struct flows *fs);

/* How long to wait before a denial that may be throttling is asked about again. */
uint64_t flows_doubt_usec(const struct flows *fs);

/* Forget all denials: every flow is tried at the next miss, and what it is denied
   is told anew. */
void flows_flush(struct flows *fs);
/* The account was found, or is another one: forgets them, too, and what its scopes
   deny is known at once.  True where it is not the one that was found before. */
bool flows_account_changed(struct flows *fs);
/* Go on as those of the same account did: until it is found, the same keys. */
void flows_inherit(struct flows *fs, const struct flows *from);

/* 0: some flow is not denied, or has been for so long that the next miss tries
   it.  Else the first one's denial. */
int flows_error(const struct flows *fs, struct err *e);
/* In the order of configuration, one a flow and format.  Returns how many; why is
   valid until the next turn of the event loop. */
size_t flows_status(const struct flows *fs,
		    struct flow_status ret[static FLOWS_MAX * TOKEN_FORMATS]);

extern const struct flow_ops flow_any;
