/* SPDX-License-Identifier: Apache-2.0 */

/* Flow "user": somebody's refresh token is traded for his ID token, whose audience
   is another OAuth client of the same project: an application's behind IAP.

	account        who it is: the account's own business, once
	ID token       token endpoint, for the refresh token */

#include "token/credential.h"
#include "token/flow.h"

struct user_fetch {
	struct fetch base;
	struct account_wait *wait;
	struct http_call *trade;
	char *email;
};

static account_done_fn on_account;
static http_done_fn on_id_token;

static int
ask_id_token(struct user_fetch *f, struct err *e)
{
	const struct flow_context *ctx = f->base.ctx;
	struct token_endpoint_user user = credential_user(ctx->credential);
	struct http_request q = { 0 };

	f->email = xstrdup(account_email(ctx->account));
	token_endpoint_refresh_request(ctx->at->token, &user, f->base.audience, &q);
	q.payer = f->base.payer;
	return http_client_start(ctx->http, &q, f->base.deadline, on_id_token, f,
				 &f->trade, e);
}

static int
user_begin(struct fetch *base, struct err *e)
{
	struct user_fetch *f = container_of(base, struct user_fetch, base);
	int r;

	r = account_when_found(base->ctx->account, base->deadline, on_account, f,
			       &f->wait, e);
	return r > 0 ? ask_id_token(f, e) : r;
}

static void
on_account(void *userdata, _unused_ struct account *a, const struct err *failed)
{
	struct user_fetch *f = userdata;
	struct err e;

	if (failed)
		fetch_fail(&f->base, failed);
	else if (ask_id_token(f, &e) < 0)
		fetch_fail(&f->base, &e);
}

static void
on_id_token(void *userdata, const struct http_response *re,
	    const struct err *failed)
{
	struct user_fetch *f = userdata;
	_cleanup_(secret_freep) char *text = NULL;
	struct err e;

	if (failed)
		return fetch_fail(&f->base, failed);

	clock_learn(f->base.ctx->clock, re);
	if (token_endpoint_id_token_response(re, &(struct token_endpoint_ask){
		.audience = f->base.audience }, &text, NULL, &e) < 0)
		return fetch_fail(&f->base, &e);
	fetch_check(&f->base, &(struct fetch_found){
		.text = text,
		.email = f->email,
		.from = "the token endpoint",
		.tls = re->tls,
	});
}

static void
user_clear(struct fetch *base)
{
	struct user_fetch *f = container_of(base, struct user_fetch, base);

	account_wait_free(f->wait);
	http_call_free(f->trade);
	free(f->email);
}

const struct flow_ops flow_user = {
	.name = "user",
	.makes = { [TOKEN_STANDARD] = true },
	.exchanges = true,
	.fetch_size = sizeof(struct user_fetch),
	.begin = user_begin,
	.clear = user_clear,
};
