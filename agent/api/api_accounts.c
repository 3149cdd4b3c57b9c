/* SPDX-License-Identifier: Apache-2.0 */

/* Which accounts a client is shown. */

#include "api/metadata_render.h"
#include "api/requests.h"

/* Default is there for all; of the others, those of which some rule lets this
   client have something. */
static bool
is_listed(struct api *a, struct http_exchange *x, const struct flow_context *ctx)
{
	struct client *c = request_client(x);
	struct peer *peer = &c->peer;
	bool given;

	if (ctx == accounts_default(a->ctx.accounts))
		return account_email(ctx->account);
	if (c->stranger && !policy_is_permissive(a->ctx.policy))
		return false;	/* it is none whom a rule admits */
	given = policy_gives(a->ctx.policy, peer, a->ctx.host, context_name(ctx));
	peer_trim(peer);
	return given;
}

/* An account stands there by its email, where that means it, and by its name. */
struct metadata_named *
accounts_listed(struct api *a, struct http_exchange *x)
{
	const struct accounts *all = a->ctx.accounts;
	struct metadata_named *v = xcalloc(2 * accounts_len(all) + 1, sizeof(*v));
	size_t n = 0;

	for (size_t i = 0; i < accounts_len(all); i++) {
		const struct flow_context *ctx = accounts_at(all, i);
		const char *email = account_email(ctx->account);

		if (!is_listed(a, x, ctx))
			continue;
		if (accounts_find(all, email) == ctx)
			v[n++] = (struct metadata_named){ email, ctx->account };
		v[n++] = (struct metadata_named){ context_name(ctx), ctx->account };
	}
	return v;
}
