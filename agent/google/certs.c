/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "base/json.h"
#include "google/certs.h"
#include "google/endpoints.h"

#define N_MAX		1400		/* base64url of 8,192 bits, and some */
#define E_MAX		16
#define B64URL		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" \
			"0123456789-_"

void
certs_clear(struct certs *c)
{
	for (size_t i = 0; i < c->len; i++) {
		free(c->key[i].kid);
		free(c->key[i].n);
		free(c->key[i].e);
	}
	c->len = 0;
}

void
certs_request(const char *url, struct http_request *ret)
{
	*ret = (struct http_request){
		.lane = HTTP_LANE_GOOGLE,
		.upstream = UPSTREAM_CERTS,
		.method = "GET",
		.url = xstrdup(url),
	};
	http_request_field(ret, "Accept", "application/json");
}

static bool
is_b64url(const char *s, size_t max)
{
	size_t len = s ? strlen(s) : 0;

	return len > 0 && len <= max && strspn(s, B64URL) == len;
}

static bool
is_kid(const char *s)
{
	size_t len = s ? strlen(s) : 0;

	for (size_t i = 0; i < len; i++)
		if (s[i] <= ' ' || s[i] > '~')
			return false;
	return len > 0 && len <= CERTS_KID_MAX;
}

/* A member that is absent, or this string. */
static bool
is_or_absent(const struct json *key, const char *name, const char *should)
{
	const struct json *j = json_get(key, name);
	const char *is = json_string(j);

	return !j || (is && strcmp(is, should) == 0);
}

static bool
may_verify(const struct json *key)
{
	const struct json *ops = json_get(key, "key_ops");
	const char *op;

	for (size_t i = 0; i < json_array_len(ops); i++) {
		op = json_string(json_array_at(ops, i));
		if (op && strcmp(op, "verify") == 0)
			return true;
	}
	return !ops;
}

static bool
has(const struct certs *c, const char *kid)
{
	for (size_t i = 0; i < c->len; i++)
		if (strcmp(c->key[i].kid, kid) == 0)
			return true;
	return false;
}

static void
take_key(struct certs *c, const struct json *key)
{
	const char *kty = json_get_string(key, "kty");
	const char *kid = json_get_string(key, "kid");
	const char *n = json_get_string(key, "n");
	const char *e = json_get_string(key, "e");

	if (!kty || strcmp(kty, "RSA") != 0 || !is_kid(kid) ||
	    !is_b64url(n, N_MAX) || !is_b64url(e, E_MAX) ||
	    !is_or_absent(key, "alg", "RS256") ||
	    !is_or_absent(key, "use", "sig") || !may_verify(key) ||
	    c->len == CERTS_KEYS_MAX || has(c, kid))
		return;
	c->key[c->len++] = (struct certs_key){
		.kid = xstrdup(kid), .n = xstrdup(n), .e = xstrdup(e),
	};
}

static int
unavailable(const struct http_response *re, const char *why, struct err *e)
{
	int r = err_set(e, ERR_UNAVAILABLE, "Google's public keys: %s", why);

	if (e)
		e->retry_usec = re->retry_after_usec;
	return r;
}

int
certs_response(const struct http_response *re, struct certs *ret, struct err *e)
{
	_cleanup_(json_freep) struct json *j = NULL;
	struct certs c = { .len = 0 };
	const struct json *keys;
	int r;

	if (re->status != 200) {
		r = err_set(e, ERR_UNAVAILABLE, "Google's public keys: HTTP %u",
			    re->status);
		if (e)
			e->retry_usec = re->retry_after_usec;
		return r;
	}

	j = json_parse(re->body, re->body_len, JSON_DEPTH);
	keys = json_get(j, "keys");
	if (!json_is_array(keys))
		return unavailable(re, "the answer is no JWK set", e);
	for (size_t i = 0; i < json_array_len(keys); i++)
		take_key(&c, json_array_at(keys, i));
	if (c.len == 0)
		return unavailable(re, "the set holds no key for RS256", e);
	*ret = c;
	return 0;
}
