/* SPDX-License-Identifier: Apache-2.0 */

#include "google/endpoints.h"
#include "token/trade.h"

struct trade {
	struct trade_offer o;
	struct trade **slot;		/* the owner's, cleared at the end */
	struct http_call *call;
	int64_t date;			/* of the assertion, Unix seconds */
	bool dated_again;
};

static http_done_fn on_answer;

static int
ask(struct trade *t, struct err *e)
{
	const struct trade_offer *o = &t->o;
	_cleanup_(secret_freep) char *assertion = NULL;
	struct http_request q = { 0 };
	int r = credential_assertion(o->credential, o->clock, o->audience,
				     o->audience ? NULL : SCOPE_CLOUD_PLATFORM,
				     &assertion, &t->date, e);

	if (r < 0)
		return r;
	token_endpoint_assertion_request(o->url, assertion, &q);
	q.payer = o->payer;
	return http_client_start(o->http, &q, o->deadline, on_answer, t, &t->call,
				 e);
}

static int
read_answer(const struct trade *t, const struct http_response *re, char **ret_text,
	    uint64_t *ret_life, enum token_endpoint_verdict *ret_verdict,
	    struct err *e)
{
	const struct credfile *file = t->o.credential->file;
	const struct token_endpoint_ask asked = {
		.email = file->email,
		.key_id = file->key_id,
		.audience = t->o.audience,
		.now = clock_now(t->o.clock).wall / (int64_t)USEC_PER_SEC,
	};

	if (t->o.audience)
		return token_endpoint_id_token_response(re, &asked, ret_text,
							ret_verdict, e);
	return token_endpoint_access_token_response(re, &asked, ret_text, ret_life,
						    ret_verdict, e);
}

/* It was dated before we knew better, or too long ago. */
static bool
worth_another_date(const struct trade *t, enum token_endpoint_verdict verdict)
{
	return verdict == TOKEN_ENDPOINT_CLOCK && !t->dated_again &&
		clock_differs(t->o.clock, t->date);
}

static void
end(struct trade *t, const struct trade_got *got, const struct err *e)
{
	trade_done_fn *done = t->o.done;
	void *userdata = t->o.userdata;

	*t->slot = NULL;
	trade_free(t);
	done(userdata, got, e);
}

static void
on_answer(void *userdata, const struct http_response *re, const struct err *failed)
{
	struct trade *t = userdata;
	enum token_endpoint_verdict verdict = TOKEN_ENDPOINT_OTHER;
	_cleanup_(secret_freep) char *text = NULL;
	uint64_t life = 0;
	struct err e;

	if (failed)
		return end(t, NULL, failed);

	clock_learn(t->o.clock, re);
	if (read_answer(t, re, &text, &life, &verdict, &e) >= 0)
		return end(t, &(struct trade_got){
			.text = text, .life = life, .tls = re->tls }, NULL);

	if (worth_another_date(t, verdict)) {
		t->dated_again = true;
		if (ask(t, &e) >= 0)
			return;
	}
	end(t, NULL, &e);
}

int
trade_start(const struct trade_offer *o, struct trade **ret, struct err *e)
{
	_cleanup_(trade_freep) struct trade *t = xcalloc(1, sizeof(*t));
	int r;

	t->o = *o;
	t->slot = ret;
	r = ask(t, e);
	if (r >= 0)
		*ret = TAKE_PTR(t);
	return r < 0 ? r : 0;
}

struct trade *
trade_free(struct trade *t)
{
	if (!t)
		return NULL;
	http_call_free(t->call);
	free(t);
	return NULL;
}
