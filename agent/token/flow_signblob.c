/* SPDX-License-Identifier: Apache-2.0 */

/* Flow "signblob": the VM's service account signs an assertion through IAM and
   trades it for an ID token.  Needs no key on disk.

	account        metadata server, once, then remembered
	access token   metadata server, remembered until shortly before it expires
	signature      IAM signBlob, over the assertion
	ID token       token endpoint, for the signed assertion

   Each step is a pair: ask_x() sends, on_x() reads the answer and asks for the
   next.  They stand below in the order they happen. */

#include <string.h>

#include "base/text.h"
#include "google/iam.h"
#include "google/token_endpoint.h"
#include "token/flow.h"
#include "token/jwt.h"

struct signblob_fetch {
	struct fetch base;
	struct account_wait *wait;	/* for the account or its access token */
	struct http_call *call;		/* the step in flight; there is only one */
	struct token *access;		/* the bearer of this attempt */
	char *email;			/* the account that signs */
	char *input;			/* header.claims, to be signed */
	int64_t date;			/* of that, Unix seconds */
	bool fresh_bearer;		/* a refused bearer was replaced already */
	bool signed_again;		/* a refused assertion was, too */
};

typedef int ask_fn(struct signblob_fetch *f, struct err *e);

static ask_fn ask_account, ask_access_token, ask_signature;
static account_done_fn on_account;
static account_token_fn on_access_token;
static http_done_fn on_signature, on_id_token;

/* The scopes are fixed while the VM runs: without the right one the API would say
   no before it looks at any role. */
static int
signblob_possible(const struct flow_context *ctx, struct err *e)
{
	if (account_state(ctx->account) != ACCOUNT_FOUND ||
	    iam_scopes_suffice(account_scopes(ctx->account)))
		return 0;
	return iam_scopes_error(account_email(ctx->account), e);
}

static int
signblob_begin(struct fetch *base, struct err *e)
{
	return ask_account(container_of(base, struct signblob_fetch, base), e);
}

static void
signblob_clear(struct fetch *base)
{
	struct signblob_fetch *f = container_of(base, struct signblob_fetch, base);

	account_wait_free(f->wait);
	http_call_free(f->call);
	token_unref(f->access);
	free(f->email);
	free(f->input);
}

/* The account. */

static int
ask_account(struct signblob_fetch *f, struct err *e)
{
	struct account *a = f->base.ctx->account;
	int r;

	r = account_when_found(a, f->base.deadline, on_account, f, &f->wait, e);
	return r > 0 ? ask_access_token(f, e) : r;
}

static void
on_account(void *userdata, _unused_ struct account *a, const struct err *failed)
{
	struct signblob_fetch *f = userdata;
	struct err e;

	if (failed)
		fetch_fail(&f->base, failed);
	else if (ask_access_token(f, &e) < 0)
		fetch_fail(&f->base, &e);
}

/* Its access token. */

static int
ask_access_token(struct signblob_fetch *f, struct err *e)
{
	struct account *a = f->base.ctx->account;
	struct token *t;
	int r;

	r = signblob_possible(f->base.ctx, e);
	if (r < 0)
		return r;
	r = account_access_token(a, f->base.deadline, on_access_token, f, &t,
				 &f->wait, e);
	if (r <= 0)
		return r;

	token_unref(f->access);
	f->access = token_ref(t);
	return ask_signature(f, e);
}

static void
on_access_token(void *userdata, struct token *t, const struct err *failed)
{
	struct signblob_fetch *f = userdata;
	struct err e;

	if (failed)
		return fetch_fail(&f->base, failed);

	token_unref(f->access);
	f->access = token_ref(t);
	if (ask_signature(f, &e) < 0)
		fetch_fail(&f->base, &e);
}

/* The signature. */

static int
ask_signature(struct signblob_fetch *f, struct err *e)
{
	const struct flow_context *ctx = f->base.ctx;
	const char *email = account_email(ctx->account);
	struct http_request q = { 0 };
	int64_t iat;

	if (!email)	/* lost while we waited for its access token */
		return err_set(e, ERR_UNAVAILABLE,
			       "the VM's service account has changed; ask again");

	free(f->email);
	f->email = xstrdup(email);
	f->date = clock_date(ctx->clock);
	iat = f->date -
		(int64_t)(ctx->opt.assertion_backdate_usec / USEC_PER_SEC);
	free(f->input);
	f->input = jwt_assertion_input(&(struct jwt_assertion){
		.iss = email,
		.aud = TOKEN_AUDIENCE,
		.iat = iat,
		.exp = iat +
			(int64_t)(ctx->opt.assertion_life_usec / USEC_PER_SEC),
		.target_audience = f->base.audience,
	});

	iam_sign_blob_request(ctx->at->iam, email, token_reveal(f->access, NULL),
			      f->input, strlen(f->input), &q);
	q.payer = f->base.payer;
	return http_client_start(ctx->http, &q, f->base.deadline, on_signature, f,
				 &f->call, e);
}

static int
ask_id_token(struct signblob_fetch *f, const char *signature, struct err *e)
{
	_cleanup_(secret_freep) char *assertion = jwt_join(f->input, signature);
	struct http_request q = { 0 };

	token_endpoint_assertion_request(f->base.ctx->at->token, assertion, &q);
	q.payer = f->base.payer;
	return http_client_start(f->base.ctx->http, &q, f->base.deadline,
				 on_id_token, f, &f->call, e);
}

static void
on_signature(void *userdata, const struct http_response *re,
	     const struct err *failed)
{
	struct signblob_fetch *f = userdata;
	_cleanup_(secret_freep) char *signature = NULL;
	_cleanup_(freep) char *key_id = NULL;
	struct err e;
	int r;

	if (failed)
		return fetch_fail(&f->base, failed);

	clock_learn(f->base.ctx->clock, re);
	r = iam_sign_blob_response(re, f->email, &signature, &key_id, &e);
	if (r >= 0) {
		r = ask_id_token(f, signature, &e);
	} else if (e.status == 401 && !f->fresh_bearer) {
		/* The bearer died early: one fresh one, once. */
		f->fresh_bearer = true;
		account_drop_token(f->base.ctx->account, f->access);
		r = ask_access_token(f, &e);
	} else if (re->status == 404) {
		account_rediscover(f->base.ctx->account);
	}
	if (r < 0) {
		if (re->status == 404)
			account_rediscover(f->base.ctx->account);
		e.status = 0;	/* 401 was for us, not for whoever asked us */
		fetch_fail(&f->base, &e);
	}
}

/* The ID token. */

/* Would another one be believed?  The key may have been changed between the two
   steps; or this one was dated before we knew better, or too long ago. */
static bool
worth_another_signature(const struct signblob_fetch *f,
			enum token_endpoint_verdict verdict)
{
	const struct clock *c = f->base.ctx->clock;

	if (f->signed_again)
		return false;
	if (verdict == TOKEN_ENDPOINT_CLOCK)
		return clock_check(c, NULL) >= 0 && clock_differs(c, f->date);
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
	int64_t now;
	int r;

	if (failed)
		return fetch_fail(&f->base, failed);

	clock_learn(f->base.ctx->clock, re);
	now = clock_now(f->base.ctx->clock).wall / (int64_t)USEC_PER_SEC;
	r = token_endpoint_id_token_response(re, f->email, f->base.audience, now,
					     &text, &verdict, &e);
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
		if (ask_access_token(f, &e) >= 0)
			return;
	}
	fetch_fail(&f->base, &e);
}

const struct flow_ops flow_signblob = {
	.name = "signblob",
	.makes = { [TOKEN_STANDARD] = true },
	.fetch_size = sizeof(struct signblob_fetch),
	.possible = signblob_possible,
	.begin = signblob_begin,
	.clear = signblob_clear,
};
