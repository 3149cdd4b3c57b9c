/* SPDX-License-Identifier: Apache-2.0 */

/* Flow "user": somebody's refresh token is traded for his ID token, whose audience
   is another OAuth client of the same project: an application's behind IAP.  One
   step, which does not wait until it is known who that is: the token says so. */

#include <string.h>

#include "token/credential.h"
#include "token/flow.h"
#include "token/jwt.h"

struct user_fetch {
	struct fetch base;
	struct http_call *trade;
};

/* What else may be wrong is for fetch_check() to say. */
static int
read_email(const char *text, char **ret, struct err *e)
{
	_cleanup_(jwt_freep) struct jwt *j = NULL;
	int r;

	if (jwt_parse(text, strlen(text), &j, NULL) < 0)
		return 0;
	if (j->email) {
		*ret = xstrdup(j->email);
		return 0;
	}
	r = err_set(e, ERR_GOOGLE, "token endpoint: the user's ID tokens have no "
		    "email");
	if (e)
		e->scope = ERR_SCOPE_ACCOUNT;
	err_hint(e, "sign in again with scopes openid and email: gcloud auth "
		 "application-default login --client-id-file=FILE");
	return r;
}

static void
on_id_token(void *userdata, const struct http_response *re,
	    const struct err *failed)
{
	struct user_fetch *f = userdata;
	_cleanup_(secret_freep) char *text = NULL;
	_cleanup_(freep) char *email = NULL;
	struct err e;
	int r;

	if (failed)
		return fetch_fail(&f->base, failed);

	clock_learn(f->base.ctx->clock, re);
	r = token_endpoint_id_token_response(re, &(struct token_endpoint_ask){
		.audience = f->base.audience,
	}, &text, NULL, &e);
	if (r >= 0)
		r = read_email(text, &email, &e);
	if (r < 0)
		return fetch_fail(&f->base, &e);
	fetch_check(&f->base, &(struct fetch_found){
		.text = text,
		.email = email,
		.from = "the token endpoint",
		.tls = re->tls,
	});
}

static int
user_begin(struct fetch *base, struct err *e)
{
	struct user_fetch *f = container_of(base, struct user_fetch, base);
	const struct flow_context *ctx = base->ctx;
	struct token_endpoint_user user = credential_user(ctx->credential);
	struct http_request q = { 0 };

	token_endpoint_refresh_request(ctx->at->token, &user, base->audience, &q);
	q.payer = base->payer;
	return http_client_start(ctx->http, &q, base->deadline, on_id_token, f,
				 &f->trade, e);
}

static void
user_clear(struct fetch *base)
{
	http_call_free(container_of(base, struct user_fetch, base)->trade);
}

const struct flow_ops flow_user = {
	.name = "user",
	.makes = { [TOKEN_STANDARD] = true },
	.fetch_size = sizeof(struct user_fetch),
	.begin = user_begin,
	.clear = user_clear,
};
