/* SPDX-License-Identifier: Apache-2.0 */

/* /v1/token, and the one way by which a token leaves for a client:
   reply_token(). */

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "api/metadata_tree.h"
#include "api/requests.h"
#include "base/text.h"

#define MIN_FRESH_MAX	3000	/* seconds; Google's tokens live for 3,600 */

/* A client that asked for a token. */
struct waiting {
	struct api *api;
	struct http_exchange *x;
	struct account_wait *account_wait;
	struct ticket *ticket;
	struct broker_want want;
	struct token_question q;	/* its account and audience are ours */
	const struct flow_context *ctx;	/* once the account is known */
	char *account, *audience;
	struct err *failed;		/* of one format; now the other is tried */
};

static void
waiting_free(struct waiting *w)
{
	account_wait_free(w->account_wait);
	ticket_free(w->ticket);
	scopes_free(w->q.scopes);
	free(w->audience);
	free(w->account);
	free(w->failed);
	free(w);
}

static void
on_gone(void *userdata)
{
	waiting_free(userdata);
}

int
request_account(const struct api *a, const char *name,
		const struct flow_context **ret, struct err *e)
{
	const struct flow_context *ctx = accounts_find(a->ctx.accounts, name);
	char shown[TEXT_SHOW_SIZE] _unset_;
	int r;

	if (ctx) {
		*ret = ctx;
		return 0;
	}
	(void)text_show_str(shown, name);
	if (accounts_len(a->ctx.accounts) == 1)
		return err_set(e, ERR_NOT_FOUND, "no account %s: there is default "
			       "only", shown);
	r = err_set(e, ERR_NOT_FOUND, "no account %s", shown);
	err_hint(e, METADATA_ROOT "v1/instance/service-accounts/ lists those that "
		 "you may use");
	return r;
}

/* An access token that cannot be narrowed has all scopes, whatever is asked for. */
static struct policy_query
query_for(const struct flow_context *ctx, const struct token_question *q)
{
	bool narrows = q->scopes && account_narrows(ctx->account);

	return (struct policy_query){
		.kind = q->kind,
		.account = context_name(ctx),
		.audience = q->scopes ? NULL : q->audience,
		.scopes = narrows ? (const char *const *)q->scopes->v : NULL,
	};
}

static int
check_policy(struct api *a, struct http_exchange *x,
	     const struct flow_context *ctx, const struct token_question *question,
	     bool cold, struct err *e)
{
	struct policy_query q = query_for(ctx, question);

	return request_check(a, x, &q, cold, e);
}

static int
read_freshness(const struct http_exchange *x, struct broker_want *w,
	       struct err *e)
{
	const struct http_head *h = http_exchange_head(x);
	struct http_span cc = h->field[HTTP_FIELD_CACHE_CONTROL];
	int r;

	if (!cc.p)
		return 0;

	r = http_directive(cc, "min-fresh", &w->min_left);
	if (r < 0 || (r > 0 && w->min_left > MIN_FRESH_MAX))
		return err_set(e, ERR_REQUEST, "min-fresh takes whole seconds, "
			       "once, at most %d", MIN_FRESH_MAX);
	w->no_cache = http_directive_present(cc, "no-cache");
	w->only_if_cached = http_directive_present(cc, "only-if-cached");
	return 0;
}

/* Lines of an answer's head, and what they were made from.  snprintf() would be a
   good part of the work of a warm request. */
struct lines {
	char text[256];
	size_t len;
	uint64_t left;
	enum token_format is;
	char flow[24];
};

static void
lines_add(struct lines *l, const char *s)
{
	size_t len = strlen(s);

	assert(len < sizeof(l->text) - l->len);
	memcpy(l->text + l->len, s, len + 1);
	l->len += len;
}

static enum token_format
format_of(const struct token *t)
{
	return token_is_full(t) ? TOKEN_FULL : TOKEN_STANDARD;
}

/* What an answer with this token says of it. */
static void
lines_write(struct lines *l, const struct token_question *q,
	    const struct token *t, uint64_t left, enum broker_source source)
{
	static const char *const sources[] = {
		[BROKER_HIT] = "\r\nGce-Oidc-Cache: hit\r\nGce-Oidc-Flow: ",
		[BROKER_MISS] = "\r\nGce-Oidc-Cache: miss\r\nGce-Oidc-Flow: ",
		[BROKER_SHARED] = "\r\nGce-Oidc-Cache: shared\r\nGce-Oidc-Flow: ",
	};
	char seconds[TEXT_U64_SIZE];

	l->len = 0;
	l->left = left;
	l->is = format_of(t);
	(void)snprintf(l->flow, sizeof(l->flow), "%s", token_flow(t));
	text_from_u64(seconds, left);
	lines_add(l, "Cache-Control: private, max-age=");
	lines_add(l, seconds);
	lines_add(l, sources[source]);
	lines_add(l, token_flow(t));
	lines_add(l, "\r\n");
	/* Stock SDKs always ask for a full token, and need no more of it than the
	   email, which ours always have. */
	if (!q->scopes &&
	    (l->is != q->format || (q->any_format && l->is == TOKEN_FULL)))
		lines_add(l, l->is == TOKEN_FULL ? "Gce-Oidc-Format: full\r\n"
			  : "Gce-Oidc-Format: standard\r\n");
}

/* Would lines_write() write the same again, for the same question and source? */
static bool
lines_hold(const struct lines *l, const struct token *t, uint64_t left)
{
	return l->len > 0 && l->left == left && l->is == format_of(t) &&
		strcmp(l->flow, token_flow(t)) == 0;
}

/* check_policy() has just said yes. */
static void
send_token(struct api *a, struct http_exchange *x,
	   const struct flow_context *ctx, const struct token_question *q,
	   const struct token *t, const struct lines *fields)
{
	struct policy_query asked = query_for(ctx, q);
	const char *text;
	size_t len;

	request_granted(a, x, &asked, http_exchange_now(x));
	if (q->scopes)
		return reply_access(x, q, t, fields->text, fields->left);
	text = token_reveal(t, &len);
	reply_ok(x, q->content_type, fields->text, text, len);
}

static void
send_waiting(const struct waiting *w, const struct token *t,
	     enum broker_source source)
{
	struct token_now now = clock_now(w->api->ctx.clock);
	struct lines fields _unset_;

	lines_write(&fields, &w->q, t, token_left(t, &now) / USEC_PER_SEC, source);
	send_token(w->api, w->x, w->ctx, &w->q, t, &fields);
}

static void
send_failure(struct http_exchange *x, const struct token_question *q,
	     const struct err *e)
{
	if (q->metadata_face && e->kind == ERR_NOT_FOUND)
		reply_no_account(x);
	else
		reply_error(x, e);
}

static struct token_key
key_for(const struct flow_context *ctx, const struct token_question *q,
	enum token_format format)
{
	if (q->scopes)
		return (struct token_key){
			.kind = TOKEN_ACCESS,
			.account = context_name(ctx),
			.variant = account_narrows(ctx->account) ? q->scopes->key
								 : "",
			.audience = "",
		};
	return (struct token_key){
		.kind = TOKEN_ID,
		.account = context_name(ctx),
		.variant = flows_variant(ctx->flows, format, q->licenses),
		.audience = q->audience,
	};
}

static void ask_broker(struct waiting *w);

/* No token.  Whoever named no format gets one of the other, where that is in the
   cache, or where it can be had and the first is denied to the account. */
static void
token_failed(struct waiting *w, const struct err *e)
{
	bool denied = e->kind == ERR_GOOGLE && e->scope == ERR_SCOPE_ACCOUNT;

	if (w->q.any_format && !w->failed) {
		w->failed = xmemdup(e, sizeof(*e));
		if (!denied)
			w->want.only_if_cached = true;
		return ask_broker(w);
	}
	send_failure(w->x, &w->q, w->failed ?: e);
	waiting_free(w);
}

static void
on_token(void *userdata, struct token *t, enum broker_source source,
	 const struct err *failed)
{
	struct waiting *w = userdata;
	struct err e _unset_;

	/* Judged again: the policy may be another one than before the wait. */
	if (failed)
		return token_failed(w, failed);
	if (check_policy(w->api, w->x, w->ctx, &w->q, true, &e) < 0)
		reply_error(w->x, &e);
	else
		send_waiting(w, t, source);
	waiting_free(w);
}

static void
ask_broker(struct waiting *w)
{
	enum token_format format = w->q.format;
	struct api *a = w->api;
	struct token_key key;
	struct token *t;
	struct err e _unset_;
	int r;

	if (request_account(a, w->account, &w->ctx, &e) < 0 ||
	    check_policy(a, w->x, w->ctx, &w->q, false, &e) < 0) {
		reply_error(w->x, &e);
		return waiting_free(w);
	}

	if (w->failed)
		format = format == TOKEN_FULL ? TOKEN_STANDARD : TOKEN_FULL;
	key = key_for(w->ctx, &w->q, format);
	r = broker_get(a->ctx.broker, &key, &w->want, on_token, w, &t, &w->ticket,
		       &e);
	if (r == 0)
		return http_exchange_on_gone(w->x, on_gone, w);
	if (r < 0)
		return token_failed(w, &e);
	send_waiting(w, t, BROKER_HIT);
	waiting_free(w);
}

static void ask_account(struct waiting *w);

/* After a reload it is another one, which may still be sought. */
static void
on_account(void *userdata, _unused_ struct account *acc, const struct err *failed)
{
	struct waiting *w = userdata;

	if (!failed)
		return ask_account(w);
	send_failure(w->x, &w->q, failed);
	waiting_free(w);
}

/* What is no name may be the email of default, once that is known. */
static void
ask_account(struct waiting *w)
{
	const struct flow_context *own = accounts_default(w->api->ctx.accounts);
	struct err e _unset_;
	int r;

	/* It could be no other: whom no rule gives it need not wait. */
	if (check_policy(w->api, w->x, own, &w->q, false, &e) < 0) {
		reply_error(w->x, &e);
		return waiting_free(w);
	}
	r = account_when_found(own->account, &w->want.deadline, on_account, w,
			       &w->account_wait, &e);
	if (r == 0)
		return http_exchange_on_gone(w->x, on_gone, w);
	if (r > 0)
		return ask_broker(w);
	send_failure(w->x, &w->q, &e);
	waiting_free(w);
}

/* A request for a token, as it was understood: nothing here depends on who asks, or
   when.  want has no owner and no deadline. */
struct noted {
	const struct flow_context *ctx;
	uint64_t policy;		/* in force then, and ctx */
	uint64_t generation;		/* the key's, of its flows */
	uint8_t route;
	struct token_question q;
	struct broker_want want;
	struct cache_key *key;
	char *audience;
	bool json;
	struct lines fields;		/* of the last answer from the cache */
};

struct noted *
noted_free(struct noted *n)
{
	if (!n)
		return NULL;
	free(n->key);
	free(n->audience);
	free(n);
	return NULL;
}

static struct noted *
noted_new(const struct api *a, const struct http_exchange *x,
	  const struct flow_context *ctx, const struct token_question *q,
	  const struct broker_want *want)
{
	const struct token_key key = key_for(ctx, q, q->format);
	struct noted *n = xcalloc(1, sizeof(*n));

	n->ctx = ctx;
	n->q = *q;
	n->q.account = context_name(ctx);
	n->q.audience = n->audience = xstrdup(q->audience);
	n->want.min_left = want->min_left;
	n->want.no_cache = want->no_cache;
	n->want.only_if_cached = want->only_if_cached;
	n->policy = policy_generation(a->ctx.policy);
	n->generation = flows_generation(ctx->flows);
	n->key = broker_key(a->ctx.broker, &key);
	n->json = request_client(x)->json;
	n->route = request_client(x)->route;
	return n;
}

bool
reply_noted(struct api *a, struct http_exchange *x, struct noted *n)
{
	struct err e _unset_;
	struct token_now now = clock_now_at(a->ctx.clock, http_exchange_now(x),
					    http_exchange_wall(x));
	struct token *t;
	uint64_t left;

	if (n->policy != policy_generation(a->ctx.policy) ||
	    n->generation != flows_generation(n->ctx->flows))
		return false;
	request_client(x)->json = n->json;
	request_client(x)->route = n->route;
	if (check_policy(a, x, n->ctx, &n->q, false, &e) < 0) {
		reply_error(x, &e);
		return true;
	}
	t = broker_hit(a->ctx.broker, n->key, &n->want, &now);
	if (!t)
		return false;
	left = token_left(t, &now) / USEC_PER_SEC;
	if (!lines_hold(&n->fields, t, left))
		lines_write(&n->fields, &n->q, t, left, BROKER_HIT);
	send_token(a, x, n->ctx, &n->q, t, &n->fields);
	return true;
}

void
reply_token(struct api *a, struct http_exchange *x, struct token_question q)
{
	const struct flow_context *ctx = accounts_find(a->ctx.accounts, q.account);
	struct broker_want want = { .owner = client_payer(request_client(x)) };
	struct err e _unset_;
	struct waiting *w;

	if (read_freshness(x, &want, &e) < 0 ||
	    request_deadline(a, x, &want.deadline, &e) < 0) {
		scopes_free(q.scopes);
		return reply_error(x, &e);
	}

	w = xcalloc(1, sizeof(*w));
	w->api = a;
	w->x = x;
	w->want = want;
	w->q = q;
	w->q.account = w->account = xstrdup(q.account);
	w->q.audience = w->audience = xstrdup(q.audience);
	if (!ctx)
		return ask_account(w);
	if (!q.scopes && http_exchange_keeps(x))
		http_exchange_keep(x, noted_new(a, x, ctx, &q, &want));
	ask_broker(w);
}

void
v1_token(struct api *a, struct http_exchange *x)
{
	const struct flow_context *ctx;
	_cleanup_(freep) char *account = NULL;
	const char *audience;
	struct err e _unset_;

	if (request_param(x, "account", &account, &e) < 0 ||
	    !(audience = request_audience(a, x, &e)))
		return reply_error(x, &e);

	ctx = accounts_find(a->ctx.accounts, account ?: "default")
		?: accounts_default(a->ctx.accounts);
	reply_token(a, x, (struct token_question){
		.audience = audience,
		.account = account ?: "default",
		.content_type = "text/plain",
		.format = flows_format(ctx->flows),
		.any_format = true,
	});
}
