/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* All accounts that the agent speaks for: "default" first, which is always there,
   then the configured ones.  Each is a struct flow_context: the account, its flows,
   and what these work with. */

#include "token/flow.h"

struct accounts;

struct accounts *accounts_new(void);
/* With all accounts and their flows, the last one first.  Whatever fetches for them
   must be gone. */
struct accounts *accounts_free(struct accounts *as);
DEFINE_CLEANUP(struct accounts *, accounts_free)

/* One more, a copy of ctx.  Takes over its account; its flows are the caller's to
   make: flows_new() wants the copy, which stays where it is. */
struct flow_context *accounts_add(struct accounts *as,
				  const struct flow_context *ctx);

size_t accounts_len(const struct accounts *as);
const struct flow_context *accounts_at(const struct accounts *as, size_t i);
const struct flow_context *accounts_default(const struct accounts *as);

/* Default has: all others are asked for by its access token, so this is
   flows_account_changed() for each.  Returns default's. */
bool accounts_changed(struct accounts *as);
/* flows_inherit() for each that has one of its name there. */
void accounts_inherit(struct accounts *as, const struct accounts *from);

/* flows_flush() for each. */
void accounts_flush(struct accounts *as);

/* By name or email; NULL if there is none.  An email that is configured means the
   account it is configured for, also where the VM's own has it. */
const struct flow_context *accounts_find(const struct accounts *as,
					 const char *name);

/* The name that caches, flights and the policy know an account by. */
static inline const char *
context_name(const struct flow_context *ctx)
{
	return account_name(ctx->account);
}
