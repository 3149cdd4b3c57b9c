/* SPDX-License-Identifier: Apache-2.0 */

/* For those who look after the agent: /healthz, /v1/status, /v1/flush,
   /v1/reload. */

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "api/requests.h"
#include "base/json.h"
#include "base/text.h"

/* gce-oidc reads answers of up to 64 KiB; an entry of the cache takes at most
   ENTRY_MAX, its audience escaped; the account's scopes get a share, too. */
#define STATUS_MAX	(60 * 1024)
#define ENTRY_MAX	(6 * 1024)
#define SCOPES_MAX	(8 * 1024)
#define ACCOUNTS_END	(32 * 1024)	/* no account begins behind this */
#define LATER_MAX	(16 * 1024)	/* a line for each key */

/* Could a token be had now? */
void
healthz(struct api *a, struct http_exchange *x)
{
	struct err e;

	if (broker_health(a->ctx.broker, &e) >= 0)
		return reply_ok(x, "text/plain", NULL, "ok\n", 3);
	e.status = 503;
	reply_error(x, &e);
}

/* --- /v1/status ------------------------------------------------------------ */

static uint64_t
seconds_since(const struct api *a, uint64_t usec)
{
	return (api_now(a) - usec) / USEC_PER_SEC;
}

static void
add_error(struct buf *b, const struct err *e)
{
	buf_addf(b, ",\"error\":\"%s\",\"why\":", err_kind_name(e->kind));
	json_write_string(b, e->msg);
	if (e->hint[0]) {
		buf_adds(b, ",\"hint\":");
		json_write_string(b, e->hint);
	}
}

static void
add_health(struct buf *b, const struct api *a)
{
	static const char *const words[] = { "none", "cached", "any" };
	struct err e;
	int r = broker_health(a->ctx.broker, &e);

	buf_addf(b, ",\"health\":{\"tokens\":\"%s\"", words[r < 0 ? 0 : r + 1]);
	if (r <= 0)
		add_error(b, &e);
	buf_addc(b, '}');
}

static void
add_scopes(struct buf *b, const struct account *acc)
{
	char *const *scopes = account_scopes(acc);
	size_t end = b->len + SCOPES_MAX, left_out = 0;

	buf_adds(b, ",\"scopes\":[");
	for (size_t i = 0; scopes[i]; i++) {
		if (b->len + 2 * strlen(scopes[i]) > end) {
			left_out++;
			continue;
		}
		if (i > left_out)
			buf_addc(b, ',');
		json_write_string(b, scopes[i]);
	}
	buf_addf(b, "],\"scopes_left_out\":%zu", left_out);
}

static void
add_flows(struct buf *b, const struct flow_context *ctx)
{
	struct flow_status flows[FLOWS_MAX * TOKEN_FORMATS];
	size_t n = flows_status(ctx->flows, flows);

	buf_adds(b, ",\"flows\":[");
	for (size_t i = 0; i < n; i++) {
		buf_addf(b, "%s{\"flow\":\"%s\",\"format\":\"%s\",\"denied\":%s",
			 i ? "," : "", flows[i].name,
			 flows[i].format == TOKEN_FULL ? "full" : "standard",
			 flows[i].denied ? "true" : "false");
		if (flows[i].denied) {
			add_error(b, flows[i].why);
			buf_addf(b, ",\"again_in\":%" PRIu64,
				 flows[i].again_usec / USEC_PER_SEC);
		}
		buf_addc(b, '}');
	}
	buf_addc(b, ']');
}

static void
add_account(struct buf *b, const struct flow_context *ctx)
{
	static const char *const states[] = {
		[ACCOUNT_SOUGHT] = "sought",
		[ACCOUNT_FOUND] = "found",
		[ACCOUNT_NONE] = "none",
		[ACCOUNT_ELSEWHERE] = "elsewhere",
	};
	const struct account *acc = ctx->account;
	const struct err *last = account_last_error(acc);

	buf_addf(b, "{\"account\":\"%s\",\"state\":\"%s\"", account_name(acc),
		 states[account_state(acc)]);
	if (account_email(acc)) {
		buf_adds(b, ",\"email\":");
		json_write_string(b, account_email(acc));
		add_scopes(b, acc);
	}
	if (last)
		add_error(b, last);
	add_flows(b, ctx);
	buf_addc(b, '}');
}

static void
add_accounts(struct buf *b, const struct api *a)
{
	size_t n = accounts_len(a->ctx.accounts), i = 0;

	buf_adds(b, ",\"accounts\":[");
	for (; i < n && b->len < ACCOUNTS_END; i++) {
		if (i > 0)
			buf_addc(b, ',');
		add_account(b, accounts_at(a->ctx.accounts, i));
	}
	buf_addf(b, "],\"accounts_left_out\":%zu", n - i);
}

static void
add_upstreams(struct buf *b, const struct api *a)
{
	const struct http_upstream *u;

	buf_adds(b, ",\"upstreams\":[");
	for (unsigned i = 0; i < UPSTREAMS; i++) {
		u = http_client_upstream(a->ctx.http, i);
		buf_addf(b, "%s{\"upstream\":\"%s\",\"state\":\"%s\","
			 "\"requests\":%" PRIu64 ",\"tries\":%" PRIu64,
			 i ? "," : "", upstream_name(i), u->ended == 0 ? "unasked"
			 : u->failing ? "failing" : "answers", u->requests,
			 u->tries);
		if (u->failed > 0) {
			buf_addf(b, ",\"failed_ago\":%" PRIu64 ",\"why\":",
				 seconds_since(a, u->failed));
			json_write_string(b, u->why);
		}
		buf_addc(b, '}');
	}
	buf_addc(b, ']');
}

static void
add_keyring(struct buf *b, const struct api *a)
{
	struct keyring_status k;

	keyring_status(a->ctx.keyring, &k);
	buf_addf(b, ",\"keyring\":{\"keys\":%zu,\"fresh_for\":%" PRIu64, k.keys,
		 k.fresh_usec / USEC_PER_SEC);
	if (k.e)
		add_error(b, k.e);
	buf_addc(b, '}');
}

/* Google's clock against this machine's; null while it is not known. */
static void
add_clock(struct buf *b, const struct api *a)
{
	struct clock_status c;

	clock_status(a->ctx.clock, &c);
	if (c.known)
		buf_addf(b, ",\"clock\":{\"google_ahead\":%.1f,\"too_far\":%s}",
			 (double)c.ahead_usec / (double)USEC_PER_SEC,
			 c.bad ? "true" : "false");
	else
		buf_adds(b, ",\"clock\":null");
}

static void
add_limit(struct buf *b, const char *name, uint64_t now, uint64_t limit,
	  uint64_t refused)
{
	buf_addf(b, "%s{\"limit\":\"%s\",\"now\":%" PRIu64 ",\"most\":%" PRIu64
		 ",\"refused\":%" PRIu64 "}", b->data[b->len - 1] == '[' ? "" : ",",
		 name, now, limit, refused);
}

/* What has one for each peer has no "now" of its own: null. */
static void
add_peer_limit(struct buf *b, const char *name, double limit, uint64_t refused)
{
	buf_addf(b, ",{\"limit\":\"%s\",\"now\":null,\"most\":%g,\"refused\":%"
		 PRIu64 "}", name, limit, refused);
}

static void
add_limits(struct buf *b, const struct api *a, struct http_exchange *x)
{
	const struct broker_options *o = broker_options_of(a->ctx.broker);
	struct http_client_counts client;
	struct http_server_counts server;
	struct broker_counts n;

	http_server_count(http_exchange_server(x), &server);
	http_client_count(a->ctx.http, &client);
	broker_count(a->ctx.broker, &n);
	buf_adds(b, ",\"limits\":[");
	add_limit(b, "connections", server.connections, server.most,
		  server.turned_away);
	add_limit(b, "strangers", server.strangers, server.most_strangers,
		  server.strangers_closed);
	add_limit(b, "flights", n.flights, o->max_flights, 0);
	add_limit(b, "waiters", n.waiters, o->max_waiters, n.waiters_full);
	add_limit(b, "requests-per-minute", client.per_minute - client.left,
		  client.per_minute, client.refused);
	add_peer_limit(b, "peer-share", o->peer_share / 100.0,
		       n.refused - n.waiters_full);
	add_peer_limit(b, "connections-per-peer", a->opt.connections_per_peer,
		       clients_refused(a->clients));
	add_peer_limit(b, "requests-per-second", a->opt.limit.per_second,
		       a->rate_limited);
	buf_addf(b, "],\"cache\":{\"tokens\":%zu,\"most\":%zu,\"per_peer\":%zu,"
		 "\"evicted\":%" PRIu64 ",\"failures\":%zu}", n.cached,
		 o->cache.entries, o->cache.per_owner, n.evicted, n.failures);
}

struct listing {
	struct buf *b;
	const struct clients *clients;
	struct token_now now;
	size_t n;
};

/* Whom an entry counts for: the agent itself, a unit, or a uid. */
static void
add_owner(const struct listing *l, uint64_t owner)
{
	char who[CLIENT_OWNER_SIZE];

	buf_adds(l->b, ",\"owner\":");
	json_write_string(l->b, owner == CACHE_OWNER_AGENT ? "agent"
			  : client_owner_show(l->clients, owner, who));
}

static bool
add_token(void *userdata, const struct cache_item *item)
{
	bool access = item->key->kind == TOKEN_ACCESS;
	struct listing *l = userdata;
	struct buf *b = l->b;

	if (b->len + ENTRY_MAX > STATUS_MAX)
		return false;
	buf_addf(b, "%s{\"kind\":\"%s\",\"account\":\"%s\",\"%s\":",
		 l->n++ ? "," : "", access ? "access" : "id", item->key->account,
		 access ? "scopes" : "audience");
	json_write_string(b, access ? item->key->variant : item->key->audience);
	if (!access)
		buf_addf(b, ",\"format\":\"%s\"",
			 token_is_full(item->token) ? "full" : "standard");
	buf_addf(b, ",\"seconds_left\":%" PRIu64 ",\"flow\":",
		 token_left(item->token, &l->now) / USEC_PER_SEC);
	json_write_string(b, token_flow(item->token));
	add_owner(l, item->owner);
	buf_addc(b, '}');
	return true;
}

static void
add_tokens(struct buf *b, const struct api *a)
{
	struct listing l = { .b = b, .clients = a->clients,
			     .now = clock_now(a->ctx.clock) };
	struct broker_counts n;
	size_t shown;

	broker_count(a->ctx.broker, &n);
	buf_adds(b, ",\"tokens\":[");
	shown = broker_walk(a->ctx.broker, add_token, &l);
	buf_addf(b, "],\"tokens_left_out\":%zu", n.cached - shown);
}

/* Each part begins with a comma and ends whole; the tokens come last, because
   they get the room that is left. */
void
v1_status(struct api *a, struct http_exchange *x)
{
	_cleanup_(buf_free) struct buf b = BUF_INIT(STATUS_MAX + ENTRY_MAX);
	struct err e;

	if (!request_admitted(a, x, POLICY_MONITOR))
		return;
	buf_addf(&b, "{\"version\":\"%s\",\"uptime\":%" PRIu64
		 ",\"policy\":{\"mode\":\"%s\",\"rules\":%zu}",
		 PACKAGE_VERSION, seconds_since(a, a->started),
		 policy_is_permissive(a->ctx.policy) ? "permissive" : "enforce",
		 policy_len(a->ctx.policy));
	buf_addf(&b, ",\"universe\":\"%s\"",
		 accounts_default(a->ctx.accounts)->at->universe);
	add_health(&b, a);
	add_accounts(&b, a);
	add_upstreams(&b, a);
	add_keyring(&b, a);
	add_clock(&b, a);
	add_limits(&b, a, x);
	add_tokens(&b, a);
	buf_adds(&b, "}\n");
	if (b.overflow) {
		err_set(&e, ERR_INTERNAL, "the status is longer than %d bytes",
			STATUS_MAX);
		return reply_error(x, &e);
	}
	reply_ok(x, "application/json", NULL, buf_str(&b), b.len);
}

/* --- /v1/flush ------------------------------------------------------------- */

void
v1_flush(struct api *a, struct http_exchange *x)
{
	char shown[TEXT_SHOW_SIZE];
	const char *audience = NULL;
	struct err e;

	if (!request_admitted(a, x, POLICY_ADMIN))
		return;
	if (http_exchange_body(x).len > 0) {
		err_set(&e, ERR_REQUEST, "flush takes no body: name an audience as "
			"a parameter");
		return reply_error(x, &e);
	}
	if (request_has(x, "audience") &&
	    !(audience = request_audience(a, x, &e)))
		return reply_error(x, &e);

	accounts_flush(a->ctx.accounts);
	if (audience) {
		broker_flush_audience(a->ctx.broker, audience);
		request_did(x, "tokens for %s flushed",
			    text_show_str(shown, audience));
	} else {
		broker_flush(a->ctx.broker);
		request_did(x, "all tokens flushed");
	}
	reply_counted(x, API_CODE_OK, &(struct http_reply){ .status = 204 });
}

/* --- /v1/reload ------------------------------------------------------------ */

/* Root and the agent's own user whatever the files say: else one that admits
   nobody, or is bad, could not be mended. */
static bool
reload_admitted(struct api *a, struct http_exchange *x)
{
	struct client *c = request_client(x);

	if (client_is_agent(c) || client_is_root(c, a->ctx.host))
		return true;
	if (!a->ctx.broken)
		return request_admitted(a, x, POLICY_ADMIN);
	reply_error(x, a->ctx.broken);
	return false;
}

void
v1_reload(struct api *a, struct http_exchange *x)
{
	_cleanup_(buf_free) struct buf later = BUF_INIT(LATER_MAX);
	struct err e;

	if (!reload_admitted(a, x))
		return;
	if (http_exchange_body(x).len > 0 ||
	    http_exchange_head(x)->query.len > 0) {
		err_set(&e, ERR_REQUEST, "reload takes no parameter and no body");
		return reply_error(x, &e);
	}
	if (a->ctx.reload(a->ctx.userdata, &later, &e) < 0) {
		/* Of a file that cannot be read, too; or the agent stops. */
		if (e.kind != ERR_UNAVAILABLE)
			e.kind = ERR_REQUEST;
		e.status = 0;
		return reply_error(x, &e);
	}
	if (later.len > 0)
		return reply_ok(x, "text/plain", NULL, buf_str(&later), later.len);
	reply_counted(x, API_CODE_OK, &(struct http_reply){ .status = 204 });
}
