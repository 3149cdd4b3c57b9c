/* SPDX-License-Identifier: Apache-2.0 */

/* Flow "signblob": the service account signs an assertion through IAM and trades it
   for an ID token.  Needs no key on disk.

	signature      IAM signBlob, over the assertion (iam_call.h: by the access
	               token of whoever may sign as the account)
	ID token       token endpoint, for the signed assertion

   Each step is a pair: ask_x() sends, on_x() reads the answer and asks for the
   next.  They stand below in the order they happen. */

#include <string.h>

#include "google/iam_sign.h"
#include "google/token_endpoint.h"
#include "token/flow.h"
#include "token/iam_call.h"
#include "token/jwt.h"

struct signblob_fetch {
	struct fetch base;
	struct iam_call *sign;		/* one of these is in flight */
	struct http_call *trade;
	char *email;			/* the account that signs */
	char *input;			/* header.claims, to be signed */
	int64_t date;			/* of that, Unix seconds */
	bool signed_again;		/* a refused assertion was made once more */
};

static iam_request_fn want_signature;
static iam_done_fn on_signature;
static http_done_fn on_id_token;

static int
signblob_possible(const struct flow_context *ctx, struct err *e)
{
	return iam_call_possible(ctx, IAM_SIGN_BLOB, e);
}

static void
signblob_clear(struct fetch *base)
{
	struct signblob_fetch *f = container_of(base, struct signblob_fetch, base);

	iam_call_free(f->sign);
	http_call_free(f->trade);
	free(f->email);
	free(f->input);
}

/* The signature. */

static int
ask_signature(struct signblob_fetch *f, struct err *e)
{
	return iam_call_start(f->base.ctx, &(struct iam_question){
		.method = IAM_SIGN_BLOB,
		.request = want_signature,
		.done = on_signature,
		.userdata = f,
		.deadline = f->base.deadline,
		.payer = f->base.payer,
	}, &f->sign, e);
}

static int
signblob_begin(struct fetch *base, struct err *e)
{
	return ask_signature(container_of(base, struct signblob_fetch, base), e);
}

static void
want_signature(void *userdata, const char *base_url, const struct iam_subject *s,
	       const char *access_token, struct http_request *ret)
{
	struct signblob_fetch *f = userdata;
	const struct flow_context *ctx = f->base.ctx;
	int64_t iat;

	free(f->email);
	f->email = xstrdup(s->email);
	f->date = clock_date(ctx->clock);
	iat = f->date -
		(int64_t)(ctx->opt.assertion_backdate_usec / USEC_PER_SEC);
	free(f->input);
	f->input = jwt_assertion_input(&(struct jwt_assertion){
		.iss = s->email,
		.aud = TOKEN_AUDIENCE,
		.iat = iat,
		.exp = iat +
			(int64_t)(ctx->opt.assertion_life_usec / USEC_PER_SEC),
		.target_audience = f->base.audience,
	});
	iam_sign_blob_request(base_url, s, access_token, f->input,
			      strlen(f->input), ret);
}

static int
ask_id_token(struct signblob_fetch *f, const char *signature, struct err *e)
{
	_cleanup_(secret_freep) char *assertion = jwt_join(f->input, signature);
	struct http_request q = { 0 };

	token_endpoint_assertion_request(f->base.ctx->at->token, assertion, &q);
	q.payer = f->base.payer;
	return http_client_start(f->base.ctx->http, &q, f->base.deadline,
				 on_id_token, f, &f->trade, e);
}

static void
on_signature(void *userdata, const struct http_response *re,
	     const struct iam_subject *s, const struct err *failed)
{
	struct signblob_fetch *f = userdata;
	_cleanup_(secret_freep) char *signature = NULL;
	_cleanup_(freep) char *key_id = NULL;
	struct err e;

	if (failed)
		fetch_fail(&f->base, failed);
	else if (iam_sign_blob_response(re, s, &signature, &key_id, &e) < 0 ||
		 ask_id_token(f, signature, &e) < 0)
		fetch_fail(&f->base, &e);
}

/* The ID token. */

/* Would another one be believed?  The key may have been changed between the two
   steps; or this one was dated before we knew better, or too long ago. */
static bool
worth_another_signature(const struct signblob_fetch *f,
			enum token_endpoint_verdict verdict)
{
	if (f->signed_again)
		return false;
	if (verdict == TOKEN_ENDPOINT_CLOCK)
		return clock_differs(f->base.ctx->clock, f->date);
	return verdict == TOKEN_ENDPOINT_SIGNATURE;
}

static void
on_id_token(void *userdata, const struct http_response *re,
	    const struct err *failed)
{
	struct signblob_fetch *f = userdata;
	_cleanup_(secret_freep) char *text = NULL;
	enum token_endpoint_verdict verdict = TOKEN_ENDPOINT_OTHER;
	struct err e;
	int r;

	if (failed)
		return fetch_fail(&f->base, failed);

	clock_learn(f->base.ctx->clock, re);
	r = token_endpoint_id_token_response(re, &(struct token_endpoint_ask){
		.email = f->email,
		.audience = f->base.audience,
		.now = clock_now(f->base.ctx->clock).wall / (int64_t)USEC_PER_SEC,
	}, &text, &verdict, &e);
	if (r >= 0)
		return fetch_check(&f->base, &(struct fetch_found){
			.text = text,
			.email = f->email,
			.from = "the token endpoint",
			.tls = re->tls,
		});

	if (verdict == TOKEN_ENDPOINT_ACCOUNT)
		account_rediscover(f->base.ctx->account);
	if (worth_another_signature(f, verdict)) {
		f->signed_again = true;
		if (ask_signature(f, &e) >= 0)
			return;
	}
	fetch_fail(&f->base, &e);
}

const struct flow_ops flow_signblob = {
	.name = "signblob",
	.makes = { [TOKEN_STANDARD] = true },
	.for_others = true,
	.exchanges = true,
	.fetch_size = sizeof(struct signblob_fetch),
	.possible = signblob_possible,
	.begin = signblob_begin,
	.clear = signblob_clear,
};
