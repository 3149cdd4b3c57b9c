/* SPDX-License-Identifier: Apache-2.0 */

/* Flow "keyfile": an assertion signed here, by the key of a file, and traded for an
   ID token.  One step; for machines that are not on Google's cloud. */

#include "token/credential.h"
#include "token/flow.h"

struct keyfile_fetch {
	struct fetch base;
	struct http_call *trade;
	int64_t date;			/* of the assertion, Unix seconds */
	bool dated_again;
};

static http_done_fn on_id_token;

static int
ask_id_token(struct keyfile_fetch *f, struct err *e)
{
	const struct flow_context *ctx = f->base.ctx;
	_cleanup_(secret_freep) char *assertion = NULL;
	struct http_request q = { 0 };
	int r = credential_assertion(ctx->credential, ctx->clock, f->base.audience,
				     NULL, &assertion, &f->date, e);

	if (r < 0)
		return r;
	token_endpoint_assertion_request(ctx->at->token, assertion, &q);
	q.payer = f->base.payer;
	return http_client_start(ctx->http, &q, f->base.deadline, on_id_token, f,
				 &f->trade, e);
}

/* It was dated before we knew better, or too long ago. */
static bool
worth_another_date(const struct keyfile_fetch *f,
		   enum token_endpoint_verdict verdict)
{
	return verdict == TOKEN_ENDPOINT_CLOCK && !f->dated_again &&
		clock_differs(f->base.ctx->clock, f->date);
}

static void
on_id_token(void *userdata, const struct http_response *re,
	    const struct err *failed)
{
	struct keyfile_fetch *f = userdata;
	const struct flow_context *ctx = f->base.ctx;
	const struct credfile *file = ctx->credential->file;
	enum token_endpoint_verdict verdict = TOKEN_ENDPOINT_OTHER;
	_cleanup_(secret_freep) char *text = NULL;
	struct err e;

	if (failed)
		return fetch_fail(&f->base, failed);

	clock_learn(ctx->clock, re);
	if (token_endpoint_id_token_response(re, &(struct token_endpoint_ask){
		.email = file->email,
		.key_id = file->key_id,
		.audience = f->base.audience,
		.now = clock_now(ctx->clock).wall / (int64_t)USEC_PER_SEC,
	    }, &text, &verdict, &e) >= 0)
		return fetch_check(&f->base, &(struct fetch_found){
			.text = text,
			.email = file->email,
			.from = "the token endpoint",
			.tls = re->tls,
		});

	if (worth_another_date(f, verdict)) {
		f->dated_again = true;
		if (ask_id_token(f, &e) >= 0)
			return;
	}
	fetch_fail(&f->base, &e);
}

static int
keyfile_begin(struct fetch *base, struct err *e)
{
	return ask_id_token(container_of(base, struct keyfile_fetch, base), e);
}

static void
keyfile_clear(struct fetch *base)
{
	http_call_free(container_of(base, struct keyfile_fetch, base)->trade);
}

const struct flow_ops flow_keyfile = {
	.name = "keyfile",
	.makes = { [TOKEN_STANDARD] = true },
	.exchanges = true,
	.fetch_size = sizeof(struct keyfile_fetch),
	.begin = keyfile_begin,
	.clear = keyfile_clear,
};
