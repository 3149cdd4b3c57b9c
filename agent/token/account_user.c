/* SPDX-License-Identifier: Apache-2.0 */

/* Source "user": somebody who signed in, by the refresh token in a file.  Who that
   is the file does not say: an ID token for the file's own OAuth client does. */

#include <string.h>

#include "base/text.h"
#include "token/account_source.h"
#include "token/credential.h"
#include "token/jwt.h"

#define EMAIL_MAX	254		/* bytes */

struct account_user {
	struct account base;
	const struct credential *credential;
	struct http_call *call;		/* who it is */
	uint64_t call_deadline;
	struct http_call *access_call;
};

static http_done_fn on_told, on_access;

static int
user_ask(struct account *a, struct err *e)
{
	struct account_user *u = container_of(a, struct account_user, base);
	struct token_endpoint_user user = credential_user(u->credential);
	struct http_request q = { 0 };

	token_endpoint_refresh_request(a->at->token, &user, user.client_id, &q);
	q.once = true;			/* retried on the account's own schedule */
	u->call_deadline = UINT64_MAX;	/* the lane's time for one try holds */
	return http_client_start(a->http, &q, &u->call_deadline, on_told, u,
				 &u->call, e);
}

static int
read_email(struct account_user *u, const char *text, char **ret, struct err *e)
{
	_cleanup_(jwt_freep) struct jwt *j = NULL;
	struct token_now now = clock_now(u->base.clock);
	int r = jwt_parse(text, strlen(text), &j, e);

	if (r >= 0)
		r = jwt_expect(j, &(struct jwt_expectation){
			.audience = u->credential->file->client_id,
			.now = now.google / (int64_t)USEC_PER_SEC,
			.iat_skew = 24 * 3600, .max_life = 24 * 3600,
		}, e);
	if (r < 0)
		return r;
	if (!j->email || !text_is_graph(j->email, EMAIL_MAX)) {
		r = err_set(e, ERR_GOOGLE, "token endpoint: the user's ID tokens "
			    "have no email");
		err_hint(e, "sign in again with the scopes openid and email: "
			 "gcloud auth application-default login "
			 "--client-id-file=FILE");
		return r;
	}
	*ret = xstrdup(j->email);
	return 0;
}

static void
on_told(void *userdata, const struct http_response *re, const struct err *failed)
{
	struct account_user *u = userdata;
	struct account *a = &u->base;
	_cleanup_(secret_freep) char *text = NULL;
	_cleanup_(freep) char *email = NULL;
	struct token_endpoint_ask ask = {
		.audience = u->credential->file->client_id,
	};
	struct metadata_account info;
	int r = -1;
	struct err e;

	if (failed) {
		e = *failed;
	} else {
		clock_learn(a->clock, re);
		r = token_endpoint_id_token_response(re, &ask, &text, NULL, &e);
	}
	if (r >= 0)
		r = read_email(u, text, &email, &e);
	if (r >= 0) {
		info = account_info(email, account_name(a));
		return account_found(a, &info);
	}

	/* What was denied for good is not asked again and again. */
	if (e.kind == ERR_GOOGLE) {
		e.retry_usec = a->opt.none_usec;
		e.scope = ERR_SCOPE_ACCOUNT;
	}
	(void)err_prefix(&e, r, "looking for the user of the credentials");
	account_not_told(a, &e);
}

static int
user_ask_access(struct account *a, struct err *e)
{
	struct account_user *u = container_of(a, struct account_user, base);
	struct token_endpoint_user user = credential_user(u->credential);
	struct http_request q = { 0 };

	token_endpoint_refresh_request(a->at->token, &user, NULL, &q);
	q.payer = HTTP_PAYER_ACCESS;
	return http_client_start(a->http, &q, &a->access_deadline, on_access, u,
				 &u->access_call, e);
}

static void
on_access(void *userdata, const struct http_response *re,
	  const struct err *failed)
{
	struct account_user *u = userdata;
	const struct token_endpoint_ask ask = { .email = NULL };
	_cleanup_(secret_freep) char *text = NULL;
	uint64_t life;
	struct err e;

	if (failed)
		return account_access_failed(&u->base, failed);
	clock_learn(u->base.clock, re);
	if (token_endpoint_access_token_response(re, &ask, &text, &life, NULL,
						 &e) < 0)
		return account_access_failed(&u->base, &e);
	account_access_came(&u->base, text, life);
}

static void
user_cancel_access(struct account *a)
{
	struct account_user *u = container_of(a, struct account_user, base);

	u->access_call = http_call_free(u->access_call);
}

static void
user_clear(struct account *a)
{
	struct account_user *u = container_of(a, struct account_user, base);

	http_call_free(u->call);
	http_call_free(u->access_call);
}

static const struct account_source source_user = {
	.name = "user",
	.whom = "the token endpoint",
	.origin = IAM_OF_FILE,
	.denial_counts = true,
	.account_size = sizeof(struct account_user),
	.ask = user_ask,
	.ask_access = user_ask_access,
	.cancel_access = user_cancel_access,
	.clear = user_clear,
};

int
account_user_new(const struct account_setup *s, const char *name,
		 const struct credential *c, struct account **ret, struct err *e)
{
	_cleanup_(account_freep) struct account *a =
		account_alloc(&source_user, name, s);
	int r;

	container_of(a, struct account_user, base)->credential = c;
	r = account_begin(a, e);
	if (r >= 0)
		*ret = TAKE_PTR(a);
	return r;
}
