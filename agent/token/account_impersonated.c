/* SPDX-License-Identifier: Apache-2.0 */

/* Source "impersonated": an account that another one may act as. */

#include "google/endpoints.h"
#include "google/iam_generate.h"
#include "token/account_source.h"
#include "token/clock.h"

struct account_impersonated {
	struct account base;
	struct account_wait *wait;	/* for the caller's access token */
	struct token *bearer;
	bool fresh_bearer;		/* a refused one was replaced already */
	struct http_call *call;
};

static account_token_fn on_bearer;
static http_done_fn on_access;

static struct iam_subject
subject_of(const struct account *a)
{
	return (struct iam_subject){
		.email = a->info.email,
		.caller = account_email(a->caller),
		.delegates = a->delegates,
		.origin = account_origin(a),
	};
}

static int
ask(struct account_impersonated *m, struct token *bearer, struct err *e)
{
	struct account *a = &m->base;
	struct iam_subject s = subject_of(a);
	struct http_request q = { 0 };

	token_unref(m->bearer);
	m->bearer = token_ref(bearer);
	iam_generate_access_token_request(a->at->iam, &s,
					  token_reveal(bearer, NULL),
					  a->info.scopes, &q);
	iam_request_quota(&q, a->at->quota_project);
	q.payer = HTTP_PAYER_ACCESS;
	return http_client_start(a->http, &q, &a->access_deadline, on_access, m,
				 &m->call, e);
}

static int
ask_bearer(struct account_impersonated *m, struct err *e)
{
	struct token *t;
	int r = account_access_token(m->base.caller, &m->base.access_deadline,
				     on_bearer, m, &t, &m->wait, e);

	return r > 0 ? ask(m, t, e) : r;
}

static int
impersonated_ask_access(struct account *a, struct err *e)
{
	struct account_impersonated *m =
		container_of(a, struct account_impersonated, base);

	m->fresh_bearer = false;
	return ask_bearer(m, e);
}

static void
on_bearer(void *userdata, struct token *t, const struct err *failed)
{
	struct account_impersonated *m = userdata;
	struct err e;

	if (failed)
		account_access_failed(&m->base, failed);
	else if (ask(m, t, &e) < 0)
		account_access_failed(&m->base, &e);
}

/* When the token ends is a date of Google's, which by a clock that is behind lies
   further off than the token lives. */
static int
read_access(struct account *a, const struct http_response *re, char **ret,
	    uint64_t *ret_life, struct err *e)
{
	struct iam_subject s = subject_of(a);
	int64_t now = clock_now(a->clock).google / (int64_t)USEC_PER_SEC, exp;
	int r = re->status == 200 ? clock_check(a->clock, e) : 0;

	if (r >= 0)
		r = iam_generate_access_token_response(re, &s, now, ret, &exp, e);
	if (r >= 0)
		*ret_life = MIN((uint64_t)(exp - now), (uint64_t)IAM_ACCESS_LIFE);
	return r;
}

static void
on_access(void *userdata, const struct http_response *re,
	  const struct err *failed)
{
	struct account_impersonated *m = userdata;
	_cleanup_(secret_freep) char *text = NULL;
	uint64_t life;
	struct err e;

	if (failed)
		return account_access_failed(&m->base, failed);
	clock_learn(m->base.clock, re);
	if (read_access(&m->base, re, &text, &life, &e) >= 0)
		return account_access_came(&m->base, text, life);
	if (e.status == 401) {
		/* It died early: one fresh one, once. */
		account_drop_token(m->base.caller, m->bearer);
		if (!m->fresh_bearer) {
			m->fresh_bearer = true;
			if (ask_bearer(m, &e) >= 0)
				return;
		}
	}
	e.status = 0;
	account_access_failed(&m->base, &e);
}

static void
impersonated_cancel_access(struct account *a)
{
	struct account_impersonated *m =
		container_of(a, struct account_impersonated, base);

	m->wait = account_wait_free(m->wait);
	m->call = http_call_free(m->call);
	m->bearer = token_unref(m->bearer);
}

static const struct account_source source_impersonated = {
	.name = "impersonated",
	.whom = "IAM",
	.origin = IAM_OF_SECTION,
	.account_size = sizeof(struct account_impersonated),
	.ask_access = impersonated_ask_access,
	.cancel_access = impersonated_cancel_access,
	.clear = impersonated_cancel_access,
};

static char **
strings_copy(char *const *list)
{
	size_t n = 0;
	char **copy;

	while (list && list[n])
		n++;
	copy = xcalloc(n + 1, sizeof(*copy));
	for (size_t i = 0; i < n; i++)
		copy[i] = xstrdup(list[i]);
	return copy;
}

struct account *
account_impersonated_new(const struct account_setup *s, const char *name,
			 const char *email, struct account *caller,
			 char *const *delegates)
{
	struct account *a = account_alloc(&source_impersonated, name, s);
	struct metadata_account info = account_info(email, name);

	free(a->delegates);
	a->delegates = strings_copy(delegates);
	a->caller = caller;
	account_known(a, &info);
	return a;
}
