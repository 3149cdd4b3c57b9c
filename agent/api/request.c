/* SPDX-License-Identifier: Apache-2.0 */

/* What every handler asks of a request: its parameters, and the policy's yes. */

#include <string.h>

#include "api/requests.h"
#include "base/text.h"

struct client *
request_client(const struct http_exchange *x)
{
	return http_exchange_ctx(x);
}

bool
request_has(const struct http_exchange *x, const char *name)
{
	struct buf b = BUF_INIT(HTTP_MAX_LINE);
	struct err e;
	int r = http_query_get(http_exchange_head(x)->query, name, &b, &e);

	buf_free(&b);
	return r != 0;
}

int
request_param(const struct http_exchange *x, const char *name, char **ret,
	      struct err *e)
{
	struct buf b = BUF_INIT(512);
	int r;

	r = http_query_get(http_exchange_head(x)->query, name, &b, e);
	if (r > 0 && memchr(buf_str(&b), 0, b.len))
		r = err_set(e, ERR_REQUEST, "%s holds a NUL byte", name);
	if (r > 0)
		*ret = buf_steal(&b);
	buf_free(&b);
	return r;
}

int
request_flag(const struct http_exchange *x, const char *name, bool *ret,
	     struct err *e)
{
	static const char *const yes[] = { "true", "on", "yes", "1" };
	_cleanup_(freep) char *value = NULL;
	int r;

	r = request_param(x, name, &value, e);
	if (r < 0)
		return r;

	*ret = false;
	for (size_t i = 0; r > 0 && i < ARRAY_SIZE(yes); i++)
		*ret = *ret || strcasecmp(value, yes[i]) == 0;
	return 0;
}

const char *
request_audience(struct api *a, const struct http_exchange *x, struct err *e)
{
	struct buf *b = &a->audience;
	int r;

	buf_reset(b);
	r = http_query_get(http_exchange_head(x)->query, "audience", b, e);
	if (r < 0 && b->overflow)
		err_set(e, ERR_REQUEST, "the audience is longer than %zu bytes",
			a->opt.max_audience);
	if (r >= 0 && b->len == 0)
		r = err_set(e, ERR_REQUEST,
			    "non-empty audience parameter required");
	else if (r >= 0 && (!text_is_utf8(buf_str(b), b->len) ||
			    !text_is_plain(buf_str(b), b->len)))
		r = err_set(e, ERR_REQUEST, "the audience holds bytes that are not "
			    "UTF-8, or control characters");
	return r >= 0 ? buf_str(b) : NULL;
}

int
request_deadline(const struct api *a, const struct http_exchange *x,
		 uint64_t *ret, struct err *e)
{
	struct http_span prefer = http_exchange_head(x)->field[HTTP_FIELD_PREFER];
	uint64_t wait = a->opt.wait_usec, seconds;
	int r = 0;

	if (prefer.p)
		r = http_directive(prefer, "wait", &seconds);
	if (r < 0)
		return err_set(e, ERR_REQUEST,
			       "Prefer: wait= takes whole seconds, once");
	if (r > 0)
		wait = seconds < a->opt.wait_max_usec / USEC_PER_SEC
			? seconds * USEC_PER_SEC : a->opt.wait_max_usec;
	*ret = api_now(a) + wait;
	return 0;
}

int
request_check(struct api *a, struct http_exchange *x,
	      const struct policy_query *q, bool cold, struct err *e)
{
	uint64_t now = http_exchange_now(x);
	int r;

	r = client_check(a->clients, request_client(x), a->ctx.policy, a->ctx.host,
			 q, now, cold, e);
	if (r < 0)
		request_denied(a, x, q, now, e);
	return r;
}

bool
request_admitted(struct api *a, struct http_exchange *x, enum policy_kind kind)
{
	struct policy_query q = { .kind = kind, .account = "default" };
	struct err e;

	if (request_check(a, x, &q, true, &e) >= 0) {
		request_granted(a, x, &q, http_exchange_now(x));
		return true;
	}
	reply_error(x, &e);
	return false;
}
