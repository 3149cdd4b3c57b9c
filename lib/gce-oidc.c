/* SPDX-License-Identifier: MIT */

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conn.h"

#pragma GCC visibility push(default)
#include "gce-oidc.h"
#pragma GCC visibility pop

#define DEFAULT_TIMEOUT_MS 30000
#define MAX_WAIT_SECONDS 120	/* the agent holds nobody longer */
#define MAX_AUDIENCE 2048
#define MAX_ACCOUNT 512

struct gce_oidc_token {
	int64_t expires;
	size_t len;
	char text[];
};

struct gce_oidc {
	char *socket;		/* NULL: the default */
	char *account;		/* NULL: the VM's own */
	int timeout_ms;
	int min_fresh;		/* seconds; 0: no demand */
	bool fresh;
	int retry_after;	/* seconds */
	struct conn conn;	/* its words are gce_oidc_error() */
};

static int
fail(struct gce_oidc *c, int r, const char *words)
{
	snprintf(c->conn.words, sizeof(c->conn.words), "%s", words);
	return r;
}

/* Whatever could end a header line or be taken for two words is not a token:
   callers put it into "Authorization: Bearer" unseen. */
static bool
is_bearer(const char *s, size_t len)
{
	if (len == 0 || strlen(s) != len)
		return false;
	return strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		      "0123456789-._~+/=") == len;
}

static int
take_token(struct gce_oidc *c, struct gce_oidc_token **ret)
{
	const struct answer *a = &c->conn.answer;
	int64_t left = answer_max_age(a);
	struct gce_oidc_token *t;

	if (a->status != 200 || !is_bearer(a->body, a->body_len))
		return fail(c, -EPROTO, "the agent's answer is not a token");
	if (left < 0)
		return fail(c, -EPROTO, "the agent does not say how long the"
			    " token is good for");
	t = malloc(sizeof(*t) + a->body_len + 1);
	if (!t)
		return fail(c, -ENOMEM, "memory is gone");
	t->expires = (int64_t)time(NULL) + left;
	t->len = a->body_len;
	memcpy(t->text, a->body, a->body_len + 1);
	*ret = t;
	return 1;
}

/* The answer is whole: a token, or the agent's refusal with its words. */
static int
take_answer(struct gce_oidc *c, struct gce_oidc_token **ret)
{
	const struct answer *a = &c->conn.answer;
	int r = answer_verdict(a);

	if (r == 0) {
		r = take_token(c, ret);
	} else {
		c->retry_after = answer_retry_after(a);
		answer_text(a, c->conn.words, sizeof(c->conn.words));
		if (r == -EPROTO || !c->conn.words[0])
			snprintf(c->conn.words, sizeof(c->conn.words),
				 "the agent answered %d%s", a->status,
				 r == -EPROTO ? " without a code that this"
				 " library knows" : "");
	}
	answer_clear(&c->conn.answer);
	return r;
}

/* The agent hears how long we wait, so that it can say why there is nothing. */
static int
wait_seconds(int timeout_ms)
{
	int s = timeout_ms / 1000 + (timeout_ms % 1000 > 0);

	if (timeout_ms < 0 || s > MAX_WAIT_SECONDS)
		return MAX_WAIT_SECONDS;
	return s < 1 ? 1 : s;
}

static void
format_fields(const struct gce_oidc *c, char *buf, size_t size)
{
	char min_fresh[32] = "";

	if (c->min_fresh > 0)
		snprintf(min_fresh, sizeof(min_fresh), "%smin-fresh=%d",
			 c->fresh ? ", " : "", c->min_fresh);
	snprintf(buf, size, "Prefer: wait=%d\r\n%s%s%s%s",
		 wait_seconds(c->timeout_ms),
		 c->fresh || c->min_fresh > 0 ? "Cache-Control: " : "",
		 c->fresh ? "no-cache" : "", min_fresh,
		 c->fresh || c->min_fresh > 0 ? "\r\n" : "");
}

static char *
format_target(const struct gce_oidc *c, const char *audience)
{
	char *aud = conn_encode(audience), *target = NULL;
	char *account = conn_encode(c->account ? c->account : "");
	int r = -1;

	if (aud && account)
		r = asprintf(&target, "/v1/token?audience=%s%s%s", aud,
			     *account ? "&account=" : "", account);
	free(account);
	free(aud);
	return r < 0 ? NULL : target;
}

static int
set_string(char **where, const char *value, size_t max)
{
	char *copy = NULL;

	if (value) {
		if (!*value || strlen(value) > max)
			return -EINVAL;
		copy = strdup(value);
		if (!copy)
			return -ENOMEM;
	}
	free(*where);
	*where = copy;
	return 0;
}

int
gce_oidc_get_token(const char *audience, struct gce_oidc_token **ret)
{
	struct gce_oidc *c;
	int r;

	r = gce_oidc_new(&c);
	if (r < 0)
		return r;
	r = gce_oidc_token(c, audience, ret);
	gce_oidc_free(c);
	return r;
}

const char *
gce_oidc_token_string(const struct gce_oidc_token *t)
{
	return t->text;
}

int64_t
gce_oidc_token_expires(const struct gce_oidc_token *t)
{
	return t->expires;
}

struct gce_oidc_token *
gce_oidc_token_free(struct gce_oidc_token *t)
{
	if (t) {
		explicit_bzero(t->text, t->len);
		free(t);
	}
	return NULL;
}

int
gce_oidc_new(struct gce_oidc **ret)
{
	struct gce_oidc *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	conn_init(&c->conn);
	c->timeout_ms = DEFAULT_TIMEOUT_MS;
	*ret = c;
	return 0;
}

struct gce_oidc *
gce_oidc_free(struct gce_oidc *c)
{
	if (!c)
		return NULL;
	conn_clear(&c->conn);
	free(c->socket);
	free(c->account);
	free(c);
	return NULL;
}

int
gce_oidc_set_socket(struct gce_oidc *c, const char *path)
{
	return set_string(&c->socket, path, sizeof(c->conn.addr.sun_path) - 1);
}

int
gce_oidc_set_timeout(struct gce_oidc *c, int msec)
{
	c->timeout_ms = msec < 0 ? -1 : msec;
	return 0;
}

int
gce_oidc_set_account(struct gce_oidc *c, const char *account)
{
	return set_string(&c->account, account, MAX_ACCOUNT);
}

int
gce_oidc_set_min_fresh(struct gce_oidc *c, int seconds)
{
	if (seconds < 0)
		return -EINVAL;
	c->min_fresh = seconds;
	return 0;
}

int
gce_oidc_set_fresh(struct gce_oidc *c, int on)
{
	c->fresh = on != 0;
	return 0;
}

int
gce_oidc_token(struct gce_oidc *c, const char *audience,
	       struct gce_oidc_token **ret)
{
	int r;

	r = gce_oidc_start(c, audience);
	if (r < 0)
		return r;
	r = conn_run(&c->conn);
	if (r > 0)
		r = take_answer(c, ret);
	return r < 0 ? r : 0;
}

const char *
gce_oidc_error(struct gce_oidc *c)
{
	return c->conn.words;
}

int
gce_oidc_retry_after(struct gce_oidc *c)
{
	return c->retry_after;
}

int
gce_oidc_start(struct gce_oidc *c, const char *audience)
{
	char fields[128], *target;
	int r;

	conn_clear(&c->conn);
	c->retry_after = 0;
	if (!audience || !*audience || strlen(audience) > MAX_AUDIENCE)
		return fail(c, -EINVAL, "an audience has 1 to 2048 bytes");
	target = format_target(c, audience);
	if (!target)
		return fail(c, -ENOMEM, "memory is gone");
	format_fields(c, fields, sizeof(fields));
	r = conn_start(&c->conn, c->socket ? c->socket : conn_default_path(),
		       target, fields, c->timeout_ms);
	free(target);
	return r;
}

int
gce_oidc_fd(struct gce_oidc *c)
{
	return conn_fd(&c->conn);
}

int
gce_oidc_events(struct gce_oidc *c)
{
	return conn_events(&c->conn);
}

int
gce_oidc_timeout(struct gce_oidc *c)
{
	return conn_left_ms(&c->conn);
}

int
gce_oidc_step(struct gce_oidc *c, struct gce_oidc_token **ret)
{
	int r = conn_step(&c->conn);

	return r > 0 ? take_answer(c, ret) : r;
}
