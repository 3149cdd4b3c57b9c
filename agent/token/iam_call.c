/* SPDX-License-Identifier: Apache-2.0 */

#include "token/iam_call.h"

/* The steps, each a pair, stand below in the order they happen. */
struct iam_call {
	const struct flow_context *ctx;
	struct iam_question q;
	struct iam_call **slot;		/* the owner's, cleared at the end */
	struct account_wait *wait;	/* for the account, or the access token */
	struct http_call *call;
	struct token *bearer;		/* of this attempt */
	char *email, *caller;		/* in use while the question is out */
	sd_event_source *again;		/* the second question, after a doubt */
	bool fresh_bearer;		/* a refused one was replaced already */
	bool doubted;			/* it has been asked twice */
};

static account_done_fn on_account;
static account_token_fn on_bearer;
static http_done_fn on_answer;
static int ask_account(struct iam_call *c, struct err *e);

static struct account *
caller_of(const struct iam_call *c)
{
	return account_caller(c->ctx->account);
}

static struct iam_subject
subject_of(const struct iam_call *c)
{
	return (struct iam_subject){
		.email = c->email,
		.caller = c->caller,
		.delegates = account_delegates(c->ctx->account),
		.origin = account_origin(c->ctx->account),
	};
}

int
iam_call_possible(const struct flow_context *ctx, enum iam_method method,
		  struct err *e)
{
	const struct account *caller = account_caller(ctx->account);

	if (account_state(caller) != ACCOUNT_FOUND ||
	    iam_scopes_suffice(account_scopes(caller)))
		return 0;
	return iam_scopes_error(method, &(struct iam_subject){
		.email = account_email(caller) }, e);
}

struct iam_call *
iam_call_free(struct iam_call *c)
{
	if (!c)
		return NULL;

	account_wait_free(c->wait);
	http_call_free(c->call);
	sd_event_source_disable_unref(c->again);
	token_unref(c->bearer);
	free(c->email);
	free(c->caller);
	free(c);
	return NULL;
}

/* The call is gone before the callback runs, which may free what it likes; what the
   callback is shown is not. */
static void
call_end(struct iam_call *c, const struct http_response *re, const struct err *e)
{
	_cleanup_(freep) char *email = TAKE_PTR(c->email);
	_cleanup_(freep) char *caller = TAKE_PTR(c->caller);
	struct iam_subject s = subject_of(c);
	struct iam_question q = c->q;
	struct err copy;

	s.email = email;
	s.caller = caller;
	if (e)
		copy = *e;
	*c->slot = NULL;
	iam_call_free(c);
	q.done(q.userdata, re, email ? &s : NULL, e ? &copy : NULL);
}

/* The end, but for a doubt. */

static int
on_again(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata)
{
	struct iam_call *c = userdata;
	struct err e;

	c->again = sd_event_source_unref(c->again);
	if (ask_account(c, &e) < 0)
		call_end(c, NULL, &e);
	return 0;
}

/* Asked once more, if there is time for it?  What is said then is the answer. */
static bool
ask_later(struct iam_call *c, struct err *failed)
{
	uint64_t now = 0;

	if (!failed->doubtful || !c->q.doubts)
		return false;
	if (c->doubted) {
		failed->doubtful = false;
		return false;
	}
	sd_event_now(c->ctx->event, CLOCK_BOOTTIME, &now);
	if (now + c->q.doubt_usec >= *c->q.deadline)
		return false;
	c->doubted = true;
	return sd_event_add_time(c->ctx->event, &c->again, CLOCK_BOOTTIME,
				 now + c->q.doubt_usec, 1, on_again, c) >= 0;
}

static void
call_fail(struct iam_call *c, struct err *e)
{
	if (!ask_later(c, e))
		call_end(c, NULL, e);
}

/* The question. */

static int
ask(struct iam_call *c, struct err *e)
{
	const char *email = account_email(c->ctx->account);
	const char *caller = account_email(caller_of(c));
	struct http_request q = { 0 };
	struct iam_subject s;

	if (!email || !caller)	/* lost while we waited for the access token */
		return err_set(e, ERR_UNAVAILABLE,
			       "the VM's service account has changed; ask again");
	free(c->email);
	free(c->caller);
	c->email = xstrdup(email);
	c->caller = xstrdup(caller);
	s = subject_of(c);
	c->q.request(c->q.userdata, c->ctx->at->iam, &s,
		     token_reveal(c->bearer, NULL), &q);
	iam_request_quota(&q, c->ctx->at->quota_project);
	q.payer = c->q.payer;
	return http_client_start(c->ctx->http, &q, c->q.deadline, on_answer, c,
				 &c->call, e);
}

/* The access token. */

static int
ask_bearer(struct iam_call *c, struct err *e)
{
	struct token *t;
	int r = iam_call_possible(c->ctx, c->q.method, e);

	if (r >= 0)
		r = account_access_token(caller_of(c), c->q.deadline, on_bearer, c,
					 &t, &c->wait, e);
	if (r <= 0)
		return r;
	token_unref(c->bearer);
	c->bearer = token_ref(t);
	return ask(c, e);
}

static void
on_bearer(void *userdata, struct token *t, const struct err *failed)
{
	struct iam_call *c = userdata;
	struct err e;

	if (failed) {
		e = *failed;	/* where the caller is impersonated, of IAM, too */
		return call_fail(c, &e);
	}
	token_unref(c->bearer);
	c->bearer = token_ref(t);
	if (ask(c, &e) < 0)
		call_end(c, NULL, &e);
}

/* The account whose access token it is: where it is another one, the account itself
   is known. */
static int
ask_account(struct iam_call *c, struct err *e)
{
	int r = account_when_found(caller_of(c), c->q.deadline, on_account, c,
				   &c->wait, e);

	return r > 0 ? ask_bearer(c, e) : r;
}

static void
on_account(void *userdata, _unused_ struct account *a, const struct err *failed)
{
	struct iam_call *c = userdata;
	struct err e;

	if (failed)
		call_end(c, NULL, failed);
	else if (ask_bearer(c, &e) < 0)
		call_end(c, NULL, &e);
}

static void
on_answer(void *userdata, const struct http_response *re, const struct err *failed)
{
	struct iam_call *c = userdata;
	struct iam_subject s = subject_of(c);
	struct err e;
	int r;

	if (failed)
		return call_end(c, NULL, failed);
	clock_learn(c->ctx->clock, re);
	if (re->status == 200)
		return call_end(c, re, NULL);

	r = iam_failure(c->q.method, re, &s, &e);
	if (e.status == 401 && !c->fresh_bearer) {
		/* It died early: one fresh one, once. */
		c->fresh_bearer = true;
		account_drop_token(caller_of(c), c->bearer);
		r = ask_bearer(c, &e);
	} else if (re->status == 404) {
		account_rediscover(c->ctx->account);
	}
	if (r >= 0)
		return;
	e.status = 0;	/* 401 was for us, not for whoever asked us */
	call_fail(c, &e);
}

int
iam_call_start(const struct flow_context *ctx, const struct iam_question *q,
	       struct iam_call **ret, struct err *e)
{
	struct iam_call *c = xcalloc(1, sizeof(*c));
	int r;

	c->ctx = ctx;
	c->q = *q;
	c->slot = ret;
	*ret = c;
	r = ask_account(c, e);
	if (r < 0)
		*ret = iam_call_free(c);
	return r;
}
