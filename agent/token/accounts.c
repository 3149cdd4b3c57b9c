/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>

#include "token/accounts.h"
#include "token/flows.h"

struct accounts {
	struct flow_context **v;
	size_t n;
};

struct accounts *
accounts_new(void)
{
	return xcalloc(1, sizeof(struct accounts));
}

struct accounts *
accounts_free(struct accounts *as)
{
	if (!as)
		return NULL;

	/* The later ones may ask by the first one's access token. */
	while (as->n > 0) {
		struct flow_context *ctx = as->v[--as->n];

		flows_free(ctx->flows);
		account_free(ctx->account);
		free(ctx);
	}
	free(as->v);
	free(as);
	return NULL;
}

struct flow_context *
accounts_add(struct accounts *as, const struct flow_context *ctx)
{
	as->v = xrealloc(as->v, as->n + 1, sizeof(struct flow_context *));
	return as->v[as->n++] = xmemdup(ctx, sizeof(*ctx));
}

size_t
accounts_len(const struct accounts *as)
{
	return as->n;
}

const struct flow_context *
accounts_at(const struct accounts *as, size_t i)
{
	assert(i < as->n);
	return as->v[i];
}

const struct flow_context *
accounts_default(const struct accounts *as)
{
	return accounts_at(as, 0);
}

bool
accounts_changed(struct accounts *as)
{
	bool changed = flows_account_changed(as->v[0]->flows);

	for (size_t i = 1; i < as->n; i++)
		(void)flows_account_changed(as->v[i]->flows);
	return changed;
}

void
accounts_inherit(struct accounts *as, const struct accounts *from)
{
	for (size_t i = 0; i < as->n; i++) {
		const struct flow_context *old =
			accounts_find(from, context_name(as->v[i]));

		if (old)
			flows_inherit(as->v[i]->flows, old->flows);
	}
}

void
accounts_flush(struct accounts *as)
{
	for (size_t i = 0; i < as->n; i++)
		flows_flush(as->v[i]->flows);
}

const struct flow_context *
accounts_find(const struct accounts *as, const char *name)
{
	for (size_t i = 1; i < as->n; i++)
		if (account_is(as->v[i]->account, name))
			return as->v[i];
	return account_is(as->v[0]->account, name) ? as->v[0] : NULL;
}
