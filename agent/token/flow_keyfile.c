/* SPDX-License-Identifier: Apache-2.0 */

/* Flow "keyfile": an assertion signed here, by the key of a file, and traded for an
   ID token.  One step; for machines that are not on Google's cloud. */

#include "token/flow.h"
#include "token/trade.h"

struct keyfile_fetch {
	struct fetch base;
	struct trade *trade;
};

static void
on_id_token(void *userdata, const struct trade_got *got, const struct err *failed)
{
	struct keyfile_fetch *f = userdata;

	if (failed)
		return fetch_fail(&f->base, failed);
	fetch_check(&f->base, &(struct fetch_found){
		.text = got->text,
		.email = f->base.ctx->credential->file->email,
		.from = "the token endpoint",
		.tls = got->tls,
	});
}

static int
keyfile_begin(struct fetch *base, struct err *e)
{
	struct keyfile_fetch *f = container_of(base, struct keyfile_fetch, base);
	const struct flow_context *ctx = base->ctx;

	return trade_start(&(struct trade_offer){
		.http = ctx->http,
		.url = ctx->at->token,
		.clock = ctx->clock,
		.credential = ctx->credential,
		.audience = base->audience,
		.deadline = base->deadline,
		.payer = base->payer,
		.done = on_id_token,
		.userdata = f,
	}, &f->trade, e);
}

static void
keyfile_clear(struct fetch *base)
{
	trade_free(container_of(base, struct keyfile_fetch, base)->trade);
}

const struct flow_ops flow_keyfile = {
	.name = "keyfile",
	.makes = { [TOKEN_STANDARD] = true },
	.exchanges = true,
	.fetch_size = sizeof(struct keyfile_fetch),
	.begin = keyfile_begin,
	.clear = keyfile_clear,
};
