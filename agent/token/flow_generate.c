/* SPDX-License-Identifier: Apache-2.0 */

/* Flow "generate": IAM makes the ID token itself (generateIdToken).  One step,
   and the email is in it. */

#include "google/iam_generate.h"
#include "token/flow.h"
#include "token/iam_call.h"

struct generate_fetch {
	struct fetch base;
	struct iam_call *call;
};

static int
generate_possible(const struct flow_context *ctx, struct err *e)
{
	return iam_call_possible(ctx, IAM_GENERATE_ID_TOKEN, e);
}

static void
want_id_token(void *userdata, const char *base_url, const struct iam_subject *s,
	      const char *access_token, struct http_request *ret)
{
	const struct generate_fetch *f = userdata;

	iam_generate_id_token_request(base_url, s, access_token, f->base.audience,
				      ret);
}

static void
on_id_token(void *userdata, const struct http_response *re,
	    const struct iam_subject *s, const struct err *failed)
{
	struct generate_fetch *f = userdata;
	_cleanup_(secret_freep) char *text = NULL;
	struct err e;

	if (failed)
		return fetch_fail(&f->base, failed);
	if (iam_generate_id_token_response(re, s, &text, &e) < 0)
		return fetch_fail(&f->base, &e);
	fetch_check(&f->base, &(struct fetch_found){
		.text = text,
		.email = s->email,
		.from = "IAM generateIdToken",
		.tls = re->tls,
	});
}

static int
generate_begin(struct fetch *base, struct err *e)
{
	struct generate_fetch *f = container_of(base, struct generate_fetch, base);

	return iam_call_start(base->ctx, &(struct iam_question){
		.method = IAM_GENERATE_ID_TOKEN,
		.request = want_id_token,
		.done = on_id_token,
		.userdata = f,
		.deadline = base->deadline,
		.payer = base->payer,
	}, &f->call, e);
}

static void
generate_clear(struct fetch *base)
{
	struct generate_fetch *f = container_of(base, struct generate_fetch, base);

	iam_call_free(f->call);
}

const struct flow_ops flow_generate = {
	.name = "generate",
	.makes = { [TOKEN_STANDARD] = true },
	.for_others = true,
	.fetch_size = sizeof(struct generate_fetch),
	.possible = generate_possible,
	.begin = generate_begin,
	.clear = generate_clear,
};
