/* SPDX-License-Identifier: Apache-2.0 */

/* Flow "metadata": the metadata server makes the ID token itself.  Needs no role,
   no API and no access scope.

	account        metadata server, once, then remembered
	ID token       metadata server, .../identity

   A full token describes the VM, and always has the email.  A standard one may
   lack it (Google has never said which), and without it nobody lets the token in:
   so this flow counts as denied for standard tokens where it does. */

#include <string.h>

#include "google/metadata.h"
#include "token/flow.h"
#include "token/jwt.h"

struct metadata_fetch {
	struct fetch base;
	struct account_wait *wait;
	struct http_call *call;
	char *email;
};

static account_done_fn on_account;
static http_done_fn on_identity;

static int
ask_identity(struct metadata_fetch *f, struct err *e)
{
	const struct flow_context *ctx = f->base.ctx;
	struct http_request q = { 0 };

	f->email = xstrdup(account_email(ctx->account));
	metadata_identity_request(ctx->at->metadata, f->base.audience,
				  f->base.format == TOKEN_FULL,
				  f->base.licenses, &q);
	q.payer = f->base.payer;
	return http_client_start(ctx->http, &q, f->base.deadline, on_identity, f,
				 &f->call, e);
}

static int
metadata_begin(struct fetch *base, struct err *e)
{
	struct metadata_fetch *f = container_of(base, struct metadata_fetch, base);
	int r;

	r = account_when_found(base->ctx->account, base->deadline, on_account, f,
			       &f->wait, e);
	return r > 0 ? ask_identity(f, e) : r;
}

static void
metadata_clear(struct fetch *base)
{
	struct metadata_fetch *f = container_of(base, struct metadata_fetch, base);

	account_wait_free(f->wait);
	http_call_free(f->call);
	free(f->email);
}

static void
on_account(void *userdata, _unused_ struct account *a, const struct err *failed)
{
	struct metadata_fetch *f = userdata;
	struct err e;

	if (failed)
		fetch_fail(&f->base, failed);
	else if (ask_identity(f, &e) < 0)
		fetch_fail(&f->base, &e);
}

/* What else may be wrong is for fetch_check() to say. */
static int
check_email(const struct metadata_fetch *f, const char *text, struct err *e)
{
	_cleanup_(jwt_freep) struct jwt *j = NULL;
	int r;

	if (jwt_parse(text, strlen(text), &j, NULL) < 0)
		return 0;
	if (j->email && strcmp(j->email, f->email) != 0)
		account_rediscover(f->base.ctx->account);
	if (j->email || f->base.format != TOKEN_STANDARD)
		return 0;
	r = err_set(e, ERR_GOOGLE, "metadata server: its standard tokens have no "
		    "email");
	e->scope = ERR_SCOPE_ACCOUNT;
	err_hint(e, "ask for format=full");
	return r;
}

static void
on_identity(void *userdata, const struct http_response *re,
	    const struct err *failed)
{
	struct metadata_fetch *f = userdata;
	_cleanup_(secret_freep) char *text = NULL;
	struct err e;
	int r;

	if (failed)
		return fetch_fail(&f->base, failed);

	r = metadata_identity_response(re, f->base.audience, &text, &e);
	if (r == err_kind_errno(ERR_NOT_FOUND))
		account_rediscover(f->base.ctx->account);
	if (r >= 0)
		r = check_email(f, text, &e);
	if (r < 0)
		return fetch_fail(&f->base, &e);
	fetch_check(&f->base, &(struct fetch_found){
		.text = text,
		.email = f->email,
		.from = "the metadata server",
		.tls = re->tls,
	});
}

const struct flow_ops flow_metadata = {
	.name = "metadata",
	.makes = { [TOKEN_STANDARD] = true, [TOKEN_FULL] = true },
	.plain_http = true,
	.fetch_size = sizeof(struct metadata_fetch),
	.begin = metadata_begin,
	.clear = metadata_clear,
};
