/* SPDX-License-Identifier: Apache-2.0 */

/* /v1/jwt and /v1/sign: what an account signs for a caller.  Each is a request of
   the caller's own to Google, and counts as a new token does. */

#include <errno.h>
#include <string.h>

#include "api/requests.h"
#include "base/json.h"
#include "base/text.h"
#include "token/claims.h"
#include "token/signing.h"

/* What a V4 string of Cloud Storage begins with, and no JWT can. */
#define STORAGE_V4	"GOOG4-RSA-SHA256\n"

/* A body is held as it came, encoded, and as it is sent; the least stands for all
   else that a request under way needs. */
#define COST_MIN	4096
#define COST_FACTOR	4

/* A client that waits for a signature. */
struct signature_wait {
	struct api *api;
	struct http_exchange *x;
	struct account_wait *account_wait;
	struct signing *signing;
	struct claims *claims;		/* NULL: bytes are signed */
	void *bytes;
	size_t len;
	char *account;			/* as asked for */
	const struct flow_context *ctx;	/* once that is known */
	enum policy_kind kind;
	uint64_t owner, deadline;
	size_t cost;			/* charged for it */
};

static size_t
cost_of(size_t len)
{
	return MAX((size_t)COST_MIN, COST_FACTOR * len);
}

static void
wait_free(struct signature_wait *w)
{
	(void)http_exchange_charge(w->x, w->cost, 0);
	account_wait_free(w->account_wait);
	signing_free(w->signing);
	claims_free(w->claims);
	if (w->bytes)
		explicit_bzero(w->bytes, w->len);
	free(w->bytes);
	free(w->account);
	free(w);
}

static void
on_gone(void *userdata)
{
	wait_free(userdata);
}

static void
wait_fail(struct signature_wait *w, const struct err *e)
{
	struct http_exchange *x = w->x;

	wait_free(w);
	reply_error(x, e);
}

static struct policy_query
query_for(const struct signature_wait *w, const struct flow_context *ctx)
{
	return (struct policy_query){
		.kind = w->kind,
		.account = context_name(ctx),
		.audience = w->claims ? claims_audience(w->claims) : NULL,
	};
}

static int
check_policy(struct signature_wait *w, const struct flow_context *ctx, bool cold,
	     struct err *e)
{
	struct policy_query q = query_for(w, ctx);

	return request_check(w->api, w->x, &q, cold, e);
}

/* The policy has just said yes.  The exchange is gone once it is answered: what it
   was charged with is given back before. */
static void
send_signature(struct signature_wait *w, const char *key_id, const char *text)
{
	const char *name = w->claims ? "signedJwt" : "signedBlob";
	struct buf b = BUF_INIT(HTTP_MAX_BODY * 4);
	struct policy_query q = query_for(w, w->ctx);
	struct http_exchange *x = w->x;

	request_granted(w->api, x, &q, http_exchange_now(x));
	wait_free(w);
	buf_adds(&b, "{\"keyId\":");
	json_write_string(&b, key_id);
	buf_addf(&b, ",\"%s\":", name);
	json_write_string(&b, text);
	buf_adds(&b, "}\n");
	reply_ok(x, "application/json", "Cache-Control: no-store\r\n",
		 buf_str(&b), b.len);
	buf_free(&b);
}

static void
on_signature(void *userdata, const char *key_id, const char *text,
	     const struct err *failed)
{
	struct signature_wait *w = userdata;
	struct err e;

	if (failed)
		return wait_fail(w, failed);
	/* Judged again: the policy may be another one than before the wait. */
	if (check_policy(w, w->ctx, true, &e) < 0)
		return wait_fail(w, &e);
	send_signature(w, key_id, text);
}

/* A key that is here asks nobody, but is work all the same. */
static int
may_ask(const struct signature_wait *w, struct err *e)
{
	uint64_t payer = HTTP_PAYER_PEERS + w->owner;
	int r = signing_is_here(w->ctx) ? 0
		: http_client_may(w->api->ctx.http, payer, w->deadline, e);

	return r < 0 ? r : api_admit_flight(w->api, w->owner, e);
}

static void
ask_signature(struct signature_wait *w)
{
	struct err e;

	if (request_account(w->api, w->account, &w->ctx, &e) < 0 ||
	    check_policy(w, w->ctx, true, &e) < 0 || may_ask(w, &e) < 0 ||
	    signing_start(w->ctx, &(struct signing_ask){
			.claims = w->claims,
			.bytes = w->bytes,
			.len = w->len,
			.deadline = &w->deadline,
			.payer = HTTP_PAYER_PEERS + w->owner,
			.doubt_usec = flows_doubt_usec(w->ctx->flows),
		}, on_signature, w, &w->signing, &e) < 0)
		return wait_fail(w, &e);
	http_exchange_on_gone(w->x, on_gone, w);
}

static void ask_account(struct signature_wait *w);

/* After a reload it is another one, which may still be sought. */
static void
on_account(void *userdata, _unused_ struct account *a, const struct err *failed)
{
	struct signature_wait *w = userdata;

	if (failed)
		return wait_fail(w, failed);
	ask_account(w);
}

/* What is no name may be the email of default, once that is known. */
static void
ask_account(struct signature_wait *w)
{
	const struct flow_context *own = accounts_default(w->api->ctx.accounts);
	struct err e;
	int r;

	/* It could be no other: whom no rule gives it need not wait. */
	if (check_policy(w, own, false, &e) < 0)
		return wait_fail(w, &e);
	r = account_when_found(own->account, &w->deadline, on_account, w,
			       &w->account_wait, &e);
	if (r < 0)
		return wait_fail(w, &e);
	if (r > 0)
		return ask_signature(w);
	http_exchange_on_gone(w->x, on_gone, w);
}

static int
charge(struct signature_wait *w, size_t cost, struct err *e)
{
	int r = http_exchange_charge(w->x, 0, cost);

	if (r >= 0)
		w->cost = cost;
	else if (r == -EDQUOT)
		r = err_set(e, ERR_BUSY, "this peer has as much to be signed as it "
			    "may (1 MiB of buffers); ask again when some of it is");
	else
		r = err_set(e, ERR_BUSY, "all peers together have as much to be "
			    "signed as they may (16 MiB of buffers); ask again "
			    "when some of it is");
	return r;
}

/* Parameters and body are well; the claims are taken over. */
static void
reply_signature(struct api *a, struct http_exchange *x, enum policy_kind kind,
		struct claims *claims)
{
	struct http_span body = http_exchange_body(x);
	struct signature_wait *w = xcalloc(1, sizeof(*w));
	_cleanup_(freep) char *account = NULL;
	struct err e;

	w->api = a;
	w->x = x;
	w->kind = kind;
	w->claims = claims;
	w->owner = client_payer(request_client(x));
	if (request_param(x, "account", &account, &e) < 0 ||
	    request_deadline(a, x, &w->deadline, &e) < 0)
		return wait_fail(w, &e);
	if (charge(w, cost_of(body.len), &e) < 0)
		return wait_fail(w, &e);
	w->account = account ? TAKE_PTR(account) : xstrdup("default");
	if (!claims) {
		w->bytes = xmemdup(body.p, body.len);
		w->len = body.len;
	}
	if (accounts_find(a->ctx.accounts, w->account))
		return ask_signature(w);
	ask_account(w);
}

/* The type alone; parameters of it, such as charset, may follow. */
static int
check_type(const struct http_exchange *x, const char *type, struct err *e)
{
	struct http_span is = http_exchange_head(x)->field[HTTP_FIELD_CONTENT_TYPE];
	const char *end = memchr(is.p, ';', is.len);

	if (end)
		is.len = (size_t)(end - is.p);
	if (http_span_is_case(http_span_trim(is), type))
		return 0;
	return err_set_status(e, ERR_REQUEST, 415, "the body has to come as %s",
			      type);
}

/* Before anything is made of what it sends: could this peer have anything of the
   kind at all?  What is no name may be the email of default. */
static int
check_kind(struct api *a, struct http_exchange *x, enum policy_kind kind,
	   struct err *e)
{
	struct peer *peer = &request_client(x)->peer;
	const struct flow_context *ctx = NULL;
	_cleanup_(freep) char *account = NULL;
	struct policy_query q = { .kind = kind };
	int r = request_param(x, "account", &account, e);
	bool given;

	if (r < 0)
		return r;
	if (account)
		ctx = accounts_find(a->ctx.accounts, account);
	q.account = context_name(ctx ?: accounts_default(a->ctx.accounts));
	given = policy_gives_kind(a->ctx.policy, peer, a->ctx.host, kind,
				  q.account);
	peer_trim(peer);
	return given ? 0 : request_check(a, x, &q, false, e);
}

void
v1_jwt(struct api *a, struct http_exchange *x)
{
	struct http_span body = http_exchange_body(x);
	struct claims *claims;
	struct err e;

	if (check_type(x, "application/json", &e) < 0 ||
	    check_kind(a, x, POLICY_JWT, &e) < 0 ||
	    claims_read(body.p, body.len, accounts_default(a->ctx.accounts)->at,
			a->opt.max_audience, &claims, &e) < 0)
		return reply_error(x, &e);
	reply_signature(a, x, POLICY_JWT, claims);
}

void
v1_sign(struct api *a, struct http_exchange *x)
{
	struct http_span body = http_exchange_body(x);
	size_t n = strlen(STORAGE_V4);
	bool storage = body.len >= n && memcmp(body.p, STORAGE_V4, n) == 0;
	struct err e;

	if (check_type(x, "application/octet-stream", &e) < 0)
		return reply_error(x, &e);
	if (body.len == 0) {
		err_set(&e, ERR_REQUEST, "there is nothing to sign");
		return reply_error(x, &e);
	}
	reply_signature(a, x, storage ? POLICY_SIGN : POLICY_SIGN_ANY, NULL);
}
