/* SPDX-License-Identifier: Apache-2.0 */

/* Flow "access": an access token.  Not configured, nor one of the account's flows:
   there is one way to it.

   An account has an access token of its own, all scopes in it, which is passed on
   as it is.  For one that is impersonated IAM makes one (generateAccessToken), with
   the scopes that are asked for. */

#include <string.h>

#include "google/iam_generate.h"
#include "token/flows.h"
#include "token/iam_call.h"

struct access_fetch {
	struct fetch base;
	struct account_wait *wait;
	struct token *own;
	sd_event_source *soon;		/* own is there already */
	struct iam_call *call;
};

static void
access_clear(struct fetch *base)
{
	struct access_fetch *f = container_of(base, struct access_fetch, base);

	account_wait_free(f->wait);
	token_unref(f->own);
	sd_event_source_disable_unref(f->soon);
	iam_call_free(f->call);
}

/* Its own. */

static void
on_own(void *userdata, struct token *t, const struct err *failed)
{
	struct access_fetch *f = userdata;

	if (failed)
		fetch_fail(&f->base, failed);
	else
		fetch_succeed(&f->base, t);
}

static int
on_soon(_unused_ sd_event_source *s, void *userdata)
{
	struct access_fetch *f = userdata;

	fetch_succeed(&f->base, f->own);
	return 0;
}

/* A fetch never ends before it has begun. */
static int
ask_own(struct access_fetch *f, struct err *e)
{
	const struct flow_context *ctx = f->base.ctx;
	struct token *t;
	int r = account_access_token(ctx->account, f->base.deadline, on_own, f, &t,
				     &f->wait, e);

	if (r <= 0)
		return r;
	f->own = token_ref(t);
	r = sd_event_add_defer(ctx->event, &f->soon, on_soon, f);
	return r < 0 ? err_sys(e, -r, "cannot defer a token") : 0;
}

/* Another account's. */

static void
want_access_token(void *userdata, const char *base_url,
		  const struct iam_subject *s, const char *access_token,
		  struct http_request *ret)
{
	const struct access_fetch *f = userdata;
	_cleanup_(freep) char *copy = xstrdup(f->base.scopes);
	char *scopes[FETCH_SCOPES_MAX + 1] = { NULL }, *rest = copy, *scope;
	size_t n = 0;

	while (n < FETCH_SCOPES_MAX && (scope = strsep(&rest, " ")))
		scopes[n++] = scope;
	iam_generate_access_token_request(base_url, s, access_token, scopes, ret);
}

/* When it ends is a date of Google's; when it began is not said, and not read off a
   clock that may be behind: by that it would live longer than it does. */
static void
on_access_token(void *userdata, const struct http_response *re,
		const struct iam_subject *s, const struct err *failed)
{
	struct access_fetch *f = userdata;
	_cleanup_(secret_freep) char *text = NULL;
	_cleanup_(token_unrefp) struct token *t = NULL;
	struct token_now now = clock_now(f->base.ctx->clock);
	int64_t exp;
	struct err e;

	if (failed)
		return fetch_fail(&f->base, failed);
	if (clock_check(f->base.ctx->clock, &e) < 0 ||
	    iam_generate_access_token_response(re, s, now.google /
					       (int64_t)USEC_PER_SEC, &text, &exp,
					       &e) < 0)
		return fetch_fail(&f->base, &e);
	t = token_new(TOKEN_ACCESS, text, exp - IAM_ACCESS_LIFE, exp, &now,
		      s->email, "generate");
	fetch_succeed(&f->base, t);
}

static int
access_begin(struct fetch *base, struct err *e)
{
	struct access_fetch *f = container_of(base, struct access_fetch, base);

	if (!account_narrows(base->ctx->account))
		return ask_own(f, e);
	return iam_call_start(base->ctx, &(struct iam_question){
		.method = IAM_GENERATE_ACCESS_TOKEN,
		.request = want_access_token,
		.done = on_access_token,
		.userdata = f,
		.deadline = base->deadline,
		.payer = base->payer,
		/* No other flow's turn comes here, so nobody else sees to it. */
		.doubts = true,
		.doubt_usec = flows_doubt_usec(base->ctx->flows),
	}, &f->call, e);
}

const struct flow_ops flow_access = {
	.name = "access",
	.fetch_size = sizeof(struct access_fetch),
	.begin = access_begin,
	.clear = access_clear,
};
