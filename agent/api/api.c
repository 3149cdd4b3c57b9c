/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/headers.h"
#include "api/peer_tcp.h"
#include "api/requests.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"

const char api_every_answer[] = "Metadata-Flavor: Google\r\n";

/* A route answers one path, or with "below" also everything under it; by GET and
   HEAD, or by POST. */
static const struct route {
	const char *path;
	bool below;
	bool open;		/* asked without Metadata-Flavor, too */
	handler_fn *get, *post;
} routes[] = {
	{ "/",			false,	true,	metadata_root,	NULL },
	{ "/healthz",		false,	true,	healthz,	NULL },
	{ "/computeMetadata",	true,	false,	metadata_get,	NULL },
	{ "/metrics",		false,	false,	metrics_get,	NULL },
	{ "/v1/flush",		false,	false,	NULL,		v1_flush },
	{ "/v1/jwt",		false,	false,	NULL,		v1_jwt },
	{ "/v1/reload",		false,	false,	NULL,		v1_reload },
	{ "/v1/sign",		false,	false,	NULL,		v1_sign },
	{ "/v1/status",		false,	false,	v1_status,	NULL },
	{ "/v1/token",		false,	false,	v1_token,	NULL },
	{ "/v1/whoami",		false,	false,	v1_whoami,	NULL },
};
_Static_assert(ARRAY_SIZE(routes) == API_ROUTES - 1, "each is counted");

const char *
api_route_name(size_t i)
{
	return i < ARRAY_SIZE(routes) ? routes[i].path : "other";
}

uint64_t
api_now(const struct api *a)
{
	uint64_t usec = 0;

	sd_event_now(a->ctx.event, CLOCK_BOOTTIME, &usec);
	return usec;
}

/* Answers. */

static bool
wants_json(const struct http_head *h)
{
	struct http_span accept = h->field[HTTP_FIELD_ACCEPT];

	return accept.p && memmem(accept.p, accept.len, "application/json",
				  strlen("application/json"));
}

static void
error_body(struct buf *b, const struct err *e, bool json)
{
	if (!json) {
		buf_addf(b, e->hint[0] ? "%s; %s\n" : "%s%s\n", e->msg, e->hint);
		return;
	}
	buf_addf(b, "{\"error\":\"%s\",\"error_description\":",
		 err_kind_name(e->kind));
	json_write_string(b, e->msg);
	if (e->hint[0]) {
		buf_adds(b, ",\"hint\":");
		json_write_string(b, e->hint);
	}
	buf_adds(b, "}\n");
}

void
reply_counted(struct http_exchange *x, int code, const struct http_reply *r)
{
	struct api *a = http_exchange_userdata(x);
	struct client *c = request_client(x);

	if (c)
		a->answers[c->route][code]++;
	http_exchange_reply(x, r);
}

/* allow: a line for 405, else "". */
static void
send_error(struct http_exchange *x, const struct err *e, const char *allow)
{
	struct buf body = BUF_INIT(8192);
	const struct client *c = request_client(x);
	bool json = c && c->json;
	char fields[128], retry[48] = "";
	uint64_t wait = e->retry_usec;

	if (e->kind == ERR_UNAVAILABLE || e->kind == ERR_BUSY)
		snprintf(retry, sizeof(retry), "Retry-After: %llu\r\n",
			 (unsigned long long)MAX(UINT64_C(1),
				(wait + USEC_PER_SEC - 1) / USEC_PER_SEC));
	snprintf(fields, sizeof(fields), "Gce-Oidc-Error: %s\r\n%s%s",
		 err_kind_name(e->kind), retry, allow);
	error_body(&body, e, json);

	reply_counted(x, e->kind, &(struct http_reply){
		.status = err_http_status(e),
		.content_type = json ? "application/json" : "text/plain",
		.fields = fields,
		.body = buf_str(&body),
		.body_len = body.len,
	});
	buf_free(&body);
}

void
reply_error(struct http_exchange *x, const struct err *e)
{
	send_error(x, e, "");
}

void
reply_ok(struct http_exchange *x, const char *content_type, const char *fields,
	 const void *body, size_t len)
{
	reply_counted(x, API_CODE_OK, &(struct http_reply){
		.status = 200,
		.content_type = content_type,
		.fields = fields,
		.body = body,
		.body_len = len,
	});
}

void
reply_no_account(struct http_exchange *x)
{
	static const char body[] =
		"{\"error\":\"invalid_request\",\"error_description\":"
		"\"Service account not enabled on this instance\"}";

	reply_counted(x, ERR_NOT_FOUND, &(struct http_reply){
		.status = 404,
		.content_type = "application/json",
		.fields = "Gce-Oidc-Error: not-found\r\n",
		.body = body,
		.body_len = strlen(body),
	});
}

/* Routing. */

static const struct route *
route_find(struct http_span path)
{
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		const struct route *r = &routes[i];
		size_t len = strlen(r->path);

		if (http_span_is(path, r->path))
			return r;
		if (r->below && path.len > len && path.p[len] == '/' &&
		    memcmp(path.p, r->path, len) == 0)
			return r;
	}
	return NULL;
}

static void
refuse_method(struct http_exchange *x, const struct route *route)
{
	struct err e;

	err_set_status(&e, ERR_REQUEST, 405, "%s answers %s only", route->path,
		       route->post ? "POST" : "GET and HEAD");
	send_error(x, &e, route->post ? "Allow: POST\r\n"
				      : "Allow: GET, HEAD\r\n");
}

/* Before it is looked at any further. */
static void
refuse_head(struct http_exchange *x, const struct err *e)
{
	struct client *c = request_client(x);

	if (c) {			/* what it has is of the request before */
		c->json = false;
		c->route = API_ROUTES - 1;
	}
	reply_error(x, e);
}

static void
api_request(void *userdata, struct http_exchange *x)
{
	const struct http_head *h = http_exchange_head(x);
	struct client *c = request_client(x);
	char shown[TEXT_SHOW_SIZE] _unset_;
	const struct route *route;
	struct api *a = userdata;
	struct err e _unset_;

	if (c->peer.tcp && headers_check_tcp(h, peer_tcp_port(&c->peer), &e) < 0)
		return refuse_head(x, &e);
	route = route_find(h->path);
	c->json = wants_json(h);
	c->route = (uint8_t)(route ? route - routes : API_ROUTES - 1);
	if (!(route && route->open) && headers_check(h, &e) < 0)
		return reply_error(x, &e);

	if (a->ctx.broken && !(route && route->post == v1_reload))
		return reply_error(x, a->ctx.broken);
	if (!route) {
		err_set(&e, ERR_NOT_FOUND, "no such path: %s",
			text_show(shown, h->path.p, h->path.len));
		return reply_error(x, &e);
	}
	if (h->method == HTTP_POST && route->post) {
		if (headers_check_post(h, &e) < 0)
			return reply_error(x, &e);
		return route->post(a, x);
	}
	if (!route->get || (h->method != HTTP_GET && h->method != HTTP_HEAD))
		return refuse_method(x, route);
	route->get(a, x);
}

/* The same bytes may have come over the Unix socket. */
static bool
api_again(void *userdata, struct http_exchange *x)
{
	const struct client *c = request_client(x);
	struct err e _unset_;

	if (c->peer.tcp && headers_check_tcp(http_exchange_head(x),
					     peer_tcp_port(&c->peer), &e) < 0)
		return false;
	return reply_noted(userdata, x, http_exchange_note(x));
}

static void
api_refuse(_unused_ void *userdata, struct http_exchange *x, const struct err *e)
{
	refuse_head(x, e);
}

static int
api_admit(void *userdata, int fd, _unused_ int tag, void **ret_ctx, struct err *e)
{
	struct api *a = userdata;
	struct client *c;
	int r;

	r = client_new(a->clients, fd, a->ctx.policy, a->ctx.host, &c, e);
	if (r < 0)
		return r;
	*ret_ctx = c;
	return c->stranger ? HTTP_STRANGER : 0;
}

static bool
api_privileged(void *userdata, void *ctx)
{
	struct api *a = userdata;

	/* The agent's own is the command that reloads. */
	return client_is_agent(ctx) || client_is_root(ctx, a->ctx.host);
}

static bool
api_charge(void *userdata, void *ctx, size_t old, size_t new)
{
	struct api *a = userdata;

	return client_charge(a->clients, ctx, old, new);
}

static void
api_forget(void *userdata, void *ctx)
{
	struct api *a = userdata;

	client_free(a->clients, ctx);
}

static void
api_drop(_unused_ void *userdata, void *note)
{
	noted_free(note);
}

const struct http_server_ops api_server_ops = {
	.admit = api_admit,
	.forget = api_forget,
	.privileged = api_privileged,
	.charge = api_charge,
	.request = api_request,
	.again = api_again,
	.refuse = api_refuse,
	.drop = api_drop,
};

int
api_admit_flight(void *userdata, uint64_t owner, struct err *e)
{
	struct api *a = userdata;
	char who[CLIENT_OWNER_SIZE];
	uint64_t wait;

	if (limit_take(a->limit, owner, api_now(a), &wait) >= 0)
		return 0;
	a->rate_limited++;
	err_set(e, ERR_BUSY, "too many new tokens asked for by %s "
		"(requests-per-second)",
		client_owner_show(a->clients, owner, who));
	e->retry_usec = wait;
	return -EAGAIN;
}

static struct clients_options
clients_options(const struct api_options *o)
{
	return (struct clients_options){
		.max_per_peer = o->connections_per_peer,
		.share = o->connections_share,
		.peer_buffers = o->peer_buffers,
		.recheck_usec = o->recheck_usec,
	};
}

struct api *
api_new(const struct api_context *ctx, const struct api_options *o)
{
	const struct clients_options clients = clients_options(o);
	struct api *a = xcalloc(1, sizeof(*a));

	a->ctx = *ctx;
	a->opt = *o;
	a->limit = limit_new(&o->limit);
	a->audit = audit_new(&o->audit, api_audit_write, NULL);
	a->clients = clients_new(&clients);
	a->audience = BUF_INIT(o->max_audience);
	a->started = api_now(a);
	return a;
}

void
api_configure(struct api *a, const struct api_context *ctx,
	      const struct api_options *o)
{
	const struct clients_options clients = clients_options(o);

	a->ctx = *ctx;
	a->opt = *o;
	limit_configure(a->limit, &o->limit);
	audit_configure(a->audit, &o->audit);
	clients_configure(a->clients, &clients);
}

void
api_stop(struct api *a)
{
	a->stopping = true;
	metadata_release(a);
}

struct api *
api_free(struct api *a)
{
	if (!a)
		return NULL;

	limit_free(a->limit);
	clients_free(a->clients);
	audit_free(a->audit, api_now(a));
	buf_free(&a->audience);
	free(a);
	return NULL;
}
