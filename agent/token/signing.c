/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "base/b64.h"
#include "google/iam_sign.h"
#include "token/credential.h"
#include "token/iam_call.h"
#include "token/jwt.h"
#include "token/signing.h"

/* The steps, each a pair, stand below in the order they happen. */
struct signing {
	const struct flow_context *ctx;
	const struct credential *own;	/* see own_credential(); or NULL */
	struct signing_ask ask;
	signing_done_fn *done;
	void *userdata;
	struct signing **slot;		/* the owner's, cleared at the end */
	struct account_wait *wait;
	struct iam_call *call;
	sd_event_source *turn;		/* its own signature, which is no callback
					   yet */
	void *bytes;
	char *email, *claims;		/* of a JWT: as the account that has it */
};

static account_done_fn on_account;
static iam_request_fn want_signature;
static iam_done_fn on_signature;

/* Of the account itself, and of none that it may act as. */
static const struct credential *
own_credential(const struct flow_context *ctx)
{
	return account_narrows(ctx->account) ? NULL : ctx->credential;
}

bool
signing_is_here(const struct flow_context *ctx)
{
	const struct credential *own = own_credential(ctx);

	return own && own->key;
}

struct signing *
signing_free(struct signing *s)
{
	if (!s)
		return NULL;

	account_wait_free(s->wait);
	iam_call_free(s->call);
	sd_event_source_unref(s->turn);
	free(s->bytes);
	free(s->email);
	free(s->claims);
	free(s);
	return NULL;
}

/* It is gone before the callback runs, which may free what it likes. */
static void
signing_end(struct signing *s, const char *key_id, const char *text,
	    const struct err *e)
{
	signing_done_fn *done = s->done;
	void *userdata = s->userdata;

	*s->slot = NULL;
	signing_free(s);
	done(userdata, key_id, text, e);
}

/* The signature, by a key that is here. */

static int
sign_bytes(const struct signing *s, char **ret, struct err *e)
{
	unsigned char *signature;
	size_t n;
	int r = rs256_sign(s->own->key, s->bytes, s->ask.len, &signature, &n, e);

	if (r < 0)
		return r;
	*ret = b64_encode(signature, n);
	explicit_bzero(signature, n);
	free(signature);
	return 0;
}

static int
sign_here(const struct signing *s, char **ret, struct err *e)
{
	_cleanup_(freep) char *input = NULL;

	if (!s->claims)
		return sign_bytes(s, ret, e);
	input = jwt_input(s->own->file->key_id, s->claims);
	return credential_jwt(s->own, input, ret, e);
}

static int
on_turn(_unused_ sd_event_source *source, void *userdata)
{
	struct signing *s = userdata;
	_cleanup_(secret_freep) char *text = NULL;
	struct err e;

	if (sign_here(s, &text, &e) < 0)
		signing_end(s, NULL, NULL, &e);
	else
		signing_end(s, s->own->file->key_id, text, NULL);
	return 0;
}

static int
sign_next_turn(struct signing *s, struct err *e)
{
	int r = sd_event_add_defer(s->ctx->event, &s->turn, on_turn, s);

	return r < 0 ? err_sys(e, -r, "cannot make an event source") : 0;
}

/* The signature, by IAM. */

static int
ask_iam(struct signing *s, struct err *e)
{
	return iam_call_start(s->ctx, &(struct iam_question){
		.method = s->claims ? IAM_SIGN_JWT : IAM_SIGN_BLOB,
		.request = want_signature,
		.done = on_signature,
		.userdata = s,
		.deadline = s->ask.deadline,
		.payer = s->ask.payer,
		.doubts = true,
		.doubt_usec = s->ask.doubt_usec,
	}, &s->call, e);
}

static void
want_signature(void *userdata, const char *base_url, const struct iam_subject *as,
	       const char *access_token, struct http_request *ret)
{
	struct signing *s = userdata;

	if (s->claims)
		iam_sign_jwt_request(base_url, as, access_token, s->claims, ret);
	else
		iam_sign_blob_request(base_url, as, access_token, s->bytes,
				      s->ask.len, ret);
}

/* From the form that JWTs want to the API's own. */
static char *
to_base64(const char *b64url)
{
	size_t len;
	char *text;
	void *raw;

	if (b64url_decode(b64url, strlen(b64url), &raw, &len) < 0)
		return NULL;
	text = b64_encode(raw, len);
	free(raw);
	return text;
}

static int
read_answer(const struct signing *s, const struct http_response *re,
	    const struct iam_subject *as, char **ret_key_id, char **ret,
	    struct err *e)
{
	_cleanup_(secret_freep) char *b64url = NULL;
	int r;

	if (s->claims && strcmp(as->email, s->email) != 0)
		return err_set(e, ERR_UNAVAILABLE,
			       "the VM's service account has changed; ask again");
	if (s->claims)
		return iam_sign_jwt_response(re, as, ret, ret_key_id, e);
	r = iam_sign_blob_response(re, as, &b64url, ret_key_id, e);
	if (r >= 0)
		*ret = to_base64(b64url);
	return r;
}

static void
on_signature(void *userdata, const struct http_response *re,
	     const struct iam_subject *as, const struct err *failed)
{
	struct signing *s = userdata;
	_cleanup_(secret_freep) char *text = NULL;
	_cleanup_(freep) char *key_id = NULL;
	struct err e;

	if (failed)
		signing_end(s, NULL, NULL, failed);
	else if (read_answer(s, re, as, &key_id, &text, &e) < 0)
		signing_end(s, NULL, NULL, &e);
	else
		signing_end(s, key_id, text, NULL);
}

/* Whose is it? */

static int
ask_signature(struct signing *s, struct err *e)
{
	if (!s->own)
		return ask_iam(s, e);
	if (s->own->key)
		return sign_next_turn(s, e);
	return err_set(e, ERR_REQUEST, "account %s is a person's, as which nobody "
		       "signs: name a service account (account=)",
		       account_name(s->ctx->account));
}

/* The account, whose name is in the claims. */

static int
write_claims(struct signing *s, struct err *e)
{
	const struct flow_options *o = &s->ctx->opt;

	s->email = xstrdup(account_email(s->ctx->account));
	return claims_write(s->ask.claims, s->email, &(struct claims_times){
		.now = clock_date(s->ctx->clock),
		.backdate = (int64_t)(o->assertion_backdate_usec / USEC_PER_SEC),
		.life = (int64_t)(o->assertion_life_usec / USEC_PER_SEC),
	}, &s->claims, e);
}

static int
begin_jwt(struct signing *s, struct err *e)
{
	int r = write_claims(s, e);

	return r < 0 ? r : ask_signature(s, e);
}

static void
on_account(void *userdata, _unused_ struct account *a, const struct err *failed)
{
	struct signing *s = userdata;
	struct err e;

	if (failed)
		signing_end(s, NULL, NULL, failed);
	else if (begin_jwt(s, &e) < 0)
		signing_end(s, NULL, NULL, &e);
}

int
signing_start(const struct flow_context *ctx, const struct signing_ask *ask,
	      signing_done_fn *done, void *userdata, struct signing **ret,
	      struct err *e)
{
	struct signing *s = xcalloc(1, sizeof(*s));
	int r;

	s->ctx = ctx;
	s->own = own_credential(ctx);
	s->ask = *ask;
	s->done = done;
	s->userdata = userdata;
	s->slot = ret;
	if (ask->claims) {
		r = account_when_found(ctx->account, ask->deadline, on_account, s,
				       &s->wait, e);
		if (r > 0)
			r = begin_jwt(s, e);
	} else {
		s->bytes = xmemdup(ask->bytes, ask->len);
		r = ask_signature(s, e);
	}
	if (r < 0) {
		signing_free(s);
		return r;
	}
	*ret = s;
	return 0;
}
