/* SPDX-License-Identifier: Apache-2.0 */

/* GET /metrics: what every module has counted.  Labels are words of this program,
   and nothing else: no audience, account, peer or host is ever one. */

#include <string.h>

#include "api/requests.h"
#include "base/log.h"
#include "base/metrics.h"

#define PREFIX		"gce_oidc_agent_"
#define METRICS_MAX	(64 * 1024)	/* bytes; in full it is a third of that */

struct number {
	const char *label;
	uint64_t value;
};

static void
one(struct metrics *m, enum metrics_type type, const char *name, const char *unit,
    const char *help, uint64_t value)
{
	metrics_family(m, type, name, unit, help);
	metrics_value(m, METRICS_NO_LABELS, value);
}

static void
several(struct metrics *m, enum metrics_type type, const char *name,
	const char *help, const char *label, const struct number *n, size_t len)
{
	metrics_family(m, type, name, NULL, help);
	for (size_t i = 0; i < len; i++)
		metrics_value(m, METRICS_LABELS({ label, n[i].label }), n[i].value);
}

#define SEVERAL(m, type, name, help, label, ...) \
	do { \
		const struct number n_[] = { __VA_ARGS__ }; \
		several(m, type, name, help, label, n_, ARRAY_SIZE(n_)); \
	} while (0)

static void
add_agent(struct metrics *m, const struct api *a)
{
	metrics_family(m, METRICS_INFO, PREFIX "build", NULL, "What is running.");
	metrics_value(m, METRICS_LABELS({ "version", PACKAGE_VERSION }), 1);
	one(m, METRICS_GAUGE, PREFIX "uptime_seconds", "seconds",
	    "Since this process began to serve.",
	    (api_now(a) - a->started) / USEC_PER_SEC);
	one(m, METRICS_COUNTER, PREFIX "log_lines_dropped", NULL,
	    "Log lines lost because nobody read them.", log_dropped());
}

/* Errors that never came are left out: most never will. */
static void
add_requests(struct metrics *m, const struct api *a)
{
	const char *code;

	metrics_family(m, METRICS_COUNTER, PREFIX "requests", NULL,
		       "Requests answered, by route and by error code (ok: none).");
	for (size_t route = 0; route < API_ROUTES; route++)
		for (int i = API_CODES - 1; i >= 0; i--) {
			code = i == API_CODE_OK ? "ok"
				: err_kind_name((enum err_kind)i);
			if (i == API_CODE_OK || a->answers[route][i] > 0)
				metrics_value(m, METRICS_LABELS(
					{ "route", api_route_name(route) },
					{ "code", code }),
					a->answers[route][i]);
		}
}

static void
add_connections(struct metrics *m, const struct http_server_counts *s)
{
	one(m, METRICS_GAUGE, PREFIX "connections", NULL,
	    "Clients' connections that are open.", s->connections);
	one(m, METRICS_COUNTER, PREFIX "connections_accepted", NULL,
	    "Clients' connections, those turned away among them.", s->accepted);
	one(m, METRICS_GAUGE, PREFIX "stranger_connections", NULL,
	    "Those of peers whom no rule admits to anything.", s->strangers);
	one(m, METRICS_COUNTER, PREFIX "malformed_requests", NULL,
	    "What came over a connection and was no request.", s->malformed);
	one(m, METRICS_GAUGE, PREFIX "buffers_bytes", "bytes",
	    "Held for requests and answers that are not whole, and for signatures.",
	    s->buffers);
}

static void
add_limits(struct metrics *m, const struct api *a,
	   const struct http_server_counts *s, const struct broker_counts *b)
{
	struct http_client_counts c;

	http_client_count(a->ctx.http, &c);
	SEVERAL(m, METRICS_COUNTER, PREFIX "limit_reached",
		"What was refused at a limit, by the key of the limit.", "limit",
		{ "connections", s->turned_away },
		{ "strangers", s->strangers_closed },
		{ "connections-per-peer", clients_refused(a->clients) },
		{ "requests-per-second", a->rate_limited },
		{ "requests-per-minute", c.refused },
		{ "waiters", b->waiters_full });
	one(m, METRICS_COUNTER, PREFIX "upstream_delayed", NULL,
	    "Tries that had to wait for their turn.", c.delayed);
	one(m, METRICS_GAUGE, PREFIX "upstream_budget_left", NULL,
	    "Tries that may be made at once, of requests-per-minute.", c.left);
}

static void
add_tokens(struct metrics *m, const struct broker_counts *b)
{
	SEVERAL(m, METRICS_COUNTER, PREFIX "token_lookups",
		"Questions for a token, answered from the cache, by a flight of "
		"their own, by another's, or from a failure remembered.", "result",
		{ "hit", b->hits }, { "miss", b->misses }, { "shared", b->shared },
		{ "remembered", b->remembered });
	SEVERAL(m, METRICS_COUNTER, PREFIX "flights",
		"Chains of requests for a token that have ended.", "result",
		{ "token", b->fetched }, { "failure", b->failed });
	SEVERAL(m, METRICS_COUNTER, PREFIX "refreshes",
		"Those of them that nobody waited for at first.", "result",
		{ "token", b->refreshed }, { "failure", b->refresh_failed });
	one(m, METRICS_GAUGE, PREFIX "flights_running", NULL,
	    "Chains of requests under way.", b->flights);
	one(m, METRICS_GAUGE, PREFIX "flights_queued", NULL,
	    "Chains of requests that wait for their turn.", b->queued);
	one(m, METRICS_GAUGE, PREFIX "waiters", NULL,
	    "Callers that wait for a token.", b->waiters);
	one(m, METRICS_GAUGE, PREFIX "cached_tokens", NULL,
	    "Tokens in the cache.", b->cached);
	one(m, METRICS_COUNTER, PREFIX "cache_evictions", NULL,
	    "Tokens pushed out of the cache for want of room.", b->evicted);
	one(m, METRICS_GAUGE, PREFIX "remembered_failures", NULL,
	    "Failures kept in memory.", b->failures);
}

static void
add_clock(struct metrics *m, const struct api *a)
{
	struct clock_status c;

	clock_status(a->ctx.clock, &c);
	one(m, METRICS_GAUGE, PREFIX "clock_known", NULL,
	    "1: Google's clock is known.", c.known);
	one(m, METRICS_GAUGE, PREFIX "clock_too_far", NULL,
	    "1: it is too far from this machine's for new tokens.", c.bad);
}

/* What all accounts have of one flow and format is one row of the sum. */
static size_t
sum_flows(const struct api *a, struct flow_status sum[static FLOWS_MAX *
						      TOKEN_FORMATS],
	  uint64_t denied[static FLOWS_MAX * TOKEN_FORMATS])
{
	struct flow_status s[FLOWS_MAX * TOKEN_FORMATS];
	size_t len = 0, k;

	for (size_t i = 0; i < accounts_len(a->ctx.accounts); i++) {
		size_t n = flows_status(accounts_at(a->ctx.accounts, i)->flows, s);

		for (size_t j = 0; j < n; j++) {
			for (k = 0; k < len; k++)
				if (strcmp(sum[k].name, s[j].name) == 0 &&
				    sum[k].format == s[j].format)
					break;
			if (k == len) {
				denied[k] = 0;
				sum[len++] = s[j];
			}
			denied[k] += s[j].denied;
		}
	}
	return len;
}

static void
add_account(struct metrics *m, const struct api *a)
{
	struct flow_status flows[FLOWS_MAX * TOKEN_FORMATS];
	uint64_t denied[ARRAY_SIZE(flows)];
	struct keyring_status keys;
	const struct flow_context *own = accounts_default(a->ctx.accounts);
	size_t n = sum_flows(a, flows, denied);

	one(m, METRICS_GAUGE, PREFIX "account_found", NULL,
	    "1: the VM's service account is known.",
	    account_state(own->account) == ACCOUNT_FOUND);
	metrics_family(m, METRICS_GAUGE, PREFIX "flow_denied", NULL,
		       "Accounts to which Google denies this way to a token.");
	for (size_t i = 0; i < n; i++)
		metrics_value(m, METRICS_LABELS({ "flow", flows[i].name },
			{ "format", flows[i].format == TOKEN_FULL ? "full"
						: "standard" }),
			denied[i]);
	add_clock(m, a);
	keyring_status(a->ctx.keyring, &keys);
	one(m, METRICS_GAUGE, PREFIX "keyring_keys", NULL,
	    "Google's public keys that are known.", keys.keys);
	one(m, METRICS_GAUGE, PREFIX "keyring_fresh_seconds", "seconds",
	    "For so long they are current.", keys.fresh_usec / USEC_PER_SEC);
}

static void
upstream_tries(struct metrics *m, const struct api *a)
{
	static const char *const names[] = {
		"none", "1xx", "2xx", "3xx", "4xx", "5xx",
	};
	const struct http_upstream *u;

	metrics_family(m, METRICS_COUNTER, PREFIX "upstream_answers", NULL,
		       "Tries that have ended, by status (none: no answer).");
	for (unsigned i = 0; i < UPSTREAMS; i++) {
		u = http_client_upstream(a->ctx.http, i);
		for (size_t k = 0; k < ARRAY_SIZE(names); k++)
			metrics_value(m, METRICS_LABELS(
				{ "upstream", upstream_name(i) },
				{ "status", names[k] }), u->answers[k]);
	}
}

#define UPSTREAM(m, a, type, name, help, member) \
	do { \
		metrics_family(m, type, PREFIX name, NULL, help); \
		for (unsigned i_ = 0; i_ < UPSTREAMS; i_++) \
			metrics_value(m, METRICS_LABELS( \
				{ "upstream", upstream_name(i_) }), \
				http_client_upstream((a)->ctx.http, i_)->member); \
	} while (0)

static void
add_upstreams(struct metrics *m, const struct api *a)
{
	UPSTREAM(m, a, METRICS_COUNTER, "upstream_requests",
		 "Requests to Google and the metadata server.", requests);
	UPSTREAM(m, a, METRICS_COUNTER, "upstream_tries",
		 "Times that one of them was sent.", tries);
	upstream_tries(m, a);
	UPSTREAM(m, a, METRICS_COUNTER, "upstream_given_up",
		 "Requests that got no answer in the end.", gave_up);
	UPSTREAM(m, a, METRICS_GAUGE, "upstream_failing",
		 "1: the last try had no answer, or one that may pass.", failing);
}

void
metrics_get(struct api *a, struct http_exchange *x)
{
	_cleanup_(buf_free) struct buf b = BUF_INIT(METRICS_MAX);
	struct metrics m = { .to = &b };
	struct http_server_counts server;
	struct broker_counts broker;
	struct err e;

	if (!request_admitted(a, x, POLICY_MONITOR))
		return;
	http_server_count(http_exchange_server(x), &server);
	broker_count(a->ctx.broker, &broker);
	add_agent(&m, a);
	add_requests(&m, a);
	add_connections(&m, &server);
	add_limits(&m, a, &server, &broker);
	add_tokens(&m, &broker);
	add_account(&m, a);
	add_upstreams(&m, a);
	metrics_end(&m);
	if (b.overflow) {
		err_set(&e, ERR_INTERNAL, "the metrics are longer than %d bytes",
			METRICS_MAX);
		return reply_error(x, &e);
	}
	reply_ok(x, METRICS_CONTENT_TYPE, NULL, buf_str(&b), b.len);
}
