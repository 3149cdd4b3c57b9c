/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "base/b64.h"
#include "base/text.h"
#include "google/endpoints.h"
#include "token/credential.h"
#include "token/jwt.h"

static int
load_key(struct credential *c, struct err *e)
{
	const char *pem = c->file->private_key;
	int r = rs256_key_from_pem(pem, strlen(pem), &c->key, e);

	if (r < 0)
		return err_set(e, ERR_REQUEST, "private_key is no RSA key that "
			       "could be used (%s)", e ? e->msg : "");
	c->file->private_key = secret_free(c->file->private_key);
	return 0;
}

int
credential_new(struct credfile *file, struct credential **ret, struct err *e)
{
	_cleanup_(credential_freep) struct credential *c = xcalloc(1, sizeof(*c));
	int r = 0;

	c->file = file;
	if (file->type == CREDFILE_SERVICE_ACCOUNT)
		r = load_key(c, e);
	if (file->type == CREDFILE_IMPERSONATED) {
		r = credential_new(TAKE_PTR(file->source), &c->source, e);
		if (r < 0)
			r = err_prefix(e, r, "source_credentials");
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

struct credential *
credential_free(struct credential *c)
{
	if (!c)
		return NULL;

	rs256_key_free(c->key);
	credential_free(c->source);
	credfile_free(c->file);
	free(c);
	return NULL;
}

void
credential_set_times(struct credential *c, uint64_t life_usec,
		     uint64_t backdate_usec)
{
	c->assertion_life_usec = life_usec;
	c->assertion_backdate_usec = backdate_usec;
	if (c->source)
		credential_set_times(c->source, life_usec, backdate_usec);
}

int
credential_jwt(const struct credential *c, const char *input, char **ret,
	       struct err *e)
{
	_cleanup_(secret_freep) char *signature = NULL;
	unsigned char *bytes;
	size_t len;
	int r = rs256_sign(c->key, input, strlen(input), &bytes, &len, e);

	if (r < 0)
		return r;
	signature = b64url_encode(bytes, len);
	explicit_bzero(bytes, len);
	free(bytes);
	*ret = jwt_join(input, signature);
	return 0;
}

/* a has what it is for. */
static int
sign_assertion(const struct credential *c, int64_t date, struct jwt_assertion *a,
	       char **ret, struct err *e)
{
	_cleanup_(freep) char *input = NULL;

	a->kid = c->file->key_id;
	a->iss = c->file->email;
	a->iat = date - (int64_t)(c->assertion_backdate_usec / USEC_PER_SEC);
	a->exp = a->iat + (int64_t)(c->assertion_life_usec / USEC_PER_SEC);
	input = jwt_assertion_input(a);
	return credential_jwt(c, input, ret, e);
}

int
credential_assertion(const struct credential *c, const struct clock *clock,
		     const char *target_audience, const char *scope, char **ret,
		     int64_t *ret_date, struct err *e)
{
	struct jwt_assertion a = {
		.aud = TOKEN_AUDIENCE,
		.target_audience = target_audience,
		.scope = scope,
	};
	int64_t date = clock_date(clock);
	int r = sign_assertion(c, date, &a, ret, e);

	if (r >= 0)
		*ret_date = date;
	return r;
}

int
credential_self_signed(const struct credential *c, const struct clock *clock,
		       const char *scope, char **ret, uint64_t *ret_life,
		       struct err *e)
{
	struct jwt_assertion a = { .sub = c->file->email, .scope = scope };
	int64_t date = clock_date(clock);
	int r = sign_assertion(c, date, &a, ret, e);

	if (r >= 0)
		*ret_life = a.exp > date ? (uint64_t)(a.exp - date) : 0;
	return r;
}

struct token_endpoint_user
credential_user(const struct credential *c)
{
	return (struct token_endpoint_user){
		.client_id = c->file->client_id,
		.client_secret = c->file->client_secret,
		.refresh_token = c->file->refresh_token,
	};
}

/* A key under the same id may be another one: the right one, at last. */
bool
credential_same(const struct credential *a, const struct credential *b)
{
	const struct credfile *x, *y;

	if (!a || !b)
		return a == b;
	x = a->file;
	y = b->file;
	for (size_t i = 0; i < CREDFILE_DELEGATES_MAX; i++)
		if (!text_same(x->delegates[i], y->delegates[i]))
			return false;
	return x->type == y->type && text_same(x->email, y->email) &&
	       text_same(x->key_id, y->key_id) &&
	       rs256_key_same(a->key, b->key) &&
	       text_same(x->client_id, y->client_id) &&
	       text_same(x->client_secret, y->client_secret) &&
	       text_same(x->refresh_token, y->refresh_token) &&
	       credential_same(a->source, b->source);
}
