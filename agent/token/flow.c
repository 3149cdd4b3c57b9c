/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <string.h>

#include "token/flow.h"
#include "token/jwt.h"

static const struct flow_ops *const flows[] = {
	&flow_signblob,
	&flow_generate,
	&flow_metadata,
	&flow_keyfile,
	&flow_user,
};

const struct flow_ops *
flow_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(flows); i++)
		if (strcmp(flows[i]->name, name) == 0)
			return flows[i];
	return NULL;
}

const char *
flow_names(void)
{
	return "signblob, generate, metadata, keyfile, user";
}

int
flow_possible(const struct flow_ops *flow, const struct flow_context *ctx,
	      struct err *e)
{
	int r;

	if (!flow->exchanges || endpoints_are_default(ctx->at))
		return flow->possible ? flow->possible(ctx, e) : 0;
	r = err_set(e, ERR_GOOGLE, "universe %s has no token endpoint that flow %s "
		    "could use: googleapis.com alone has one", ctx->at->universe,
		    flow->name);
	if (e)
		e->scope = ERR_SCOPE_ACCOUNT;
	err_hint(e, "flow generate takes its place");
	return r;
}

/* Variants. */

const char *
flow_variant(enum token_format format, bool licenses)
{
	if (format == TOKEN_STANDARD)
		return "standard";
	return licenses ? "full+licenses" : "full";
}

static void
variant_read(const char *variant, struct fetch *f)
{
	size_t len = strcspn(variant, "/");

	for (int licenses = 0; licenses < 2; licenses++) {
		const char *full = flow_variant(TOKEN_FULL, licenses);

		if (strlen(full) == len && memcmp(full, variant, len) == 0) {
			f->format = TOKEN_FULL;
			f->licenses = licenses;
		}
	}
}

/* A fetch, from its beginning to its end. */

int
flow_fetch(const struct flow_ops *flow, const struct flow_context *ctx,
	   const struct token_key *key, const uint64_t *deadline,
	   uint64_t payer, fetch_done_fn *done, void *userdata,
	   struct fetch **ret, struct err *e)
{
	struct fetch *f;
	int r;

	if (key->kind == TOKEN_ACCESS && flow->access)
		flow = flow->access;
	assert(flow->fetch_size >= sizeof(struct fetch));

	f = xcalloc(1, flow->fetch_size);
	f->ops = flow;
	f->ctx = ctx;
	f->slot = ret;
	f->audience = xstrdup(key->audience);
	if (key->kind == TOKEN_ACCESS)
		f->scopes = xstrdup(key->variant);
	else
		variant_read(key->variant, f);
	f->deadline = deadline;
	f->payer = payer;
	f->done = done;
	f->userdata = userdata;
	*ret = f;

	r = flow->begin(f, e);
	if (r < 0) {
		*ret = fetch_free(f);
		return r;
	}
	return 0;
}

struct fetch *
fetch_free(struct fetch *f)
{
	if (!f)
		return NULL;

	f->ops->clear(f);
	keyring_wait_free(f->wait);
	jwt_free(f->jwt);
	secret_free(f->text);
	token_unref(f->token);
	free(f->audience);
	free(f->scopes);
	free(f);
	return NULL;
}

/* The owner's pointer goes first: by the time the callback runs there is nothing
   left that it could pull away. */
static void
fetch_end(struct fetch *f, struct token *token, const struct err *e)
{
	_cleanup_(token_unrefp) struct token *keep =
		token ? token_ref(token) : NULL;
	fetch_done_fn *done = f->done;
	void *userdata = f->userdata;
	struct err copy;

	if (e)
		copy = *e;	/* it may lie in what is freed next */
	*f->slot = NULL;
	fetch_free(f);
	done(userdata, keep, e ? &copy : NULL);
}

void
fetch_succeed(struct fetch *f, struct token *token)
{
	fetch_end(f, token, NULL);
}

void
fetch_fail(struct fetch *f, const struct err *e)
{
	fetch_end(f, NULL, e);
}

/* What every ID token has to pass. */

static int
check_claims(struct fetch *f, const struct fetch_found *found,
	     const struct token_now *now, struct err *e)
{
	const struct flow_options *o = &f->ctx->opt;
	int r;

	r = jwt_parse(found->text, strlen(found->text), &f->jwt, e);
	if (r >= 0)
		r = jwt_expect(f->jwt, &(struct jwt_expectation){
			.audience = f->audience,
			.email = found->email,
			.universe = endpoints_are_default(f->ctx->at) ? NULL
				: f->ctx->at->universe,
			.now = now->google / (int64_t)USEC_PER_SEC,
			.iat_skew = (int64_t)(o->iat_skew_usec / USEC_PER_SEC),
			.max_life = (int64_t)(o->token_life_max_usec /
					      USEC_PER_SEC),
		}, e);
	/* Whoever wants no more than a standard token shall not tell its
	   audience about the VM. */
	if (r >= 0 && f->format == TOKEN_STANDARD && f->jwt->has_google)
		r = err_set(e, ERR_UNAVAILABLE, "ID token: it has the claim "
			    "google, and a standard one was asked for");
	return r;
}

static void
on_verified(void *userdata, const struct err *failed)
{
	struct fetch *f = userdata;

	if (failed)
		fetch_fail(f, failed);
	else
		fetch_succeed(f, f->token);
}

void
fetch_check(struct fetch *f, const struct fetch_found *found)
{
	enum flow_verify verify = f->ctx->opt.verify;
	struct token_now now = clock_now(f->ctx->clock);
	const struct jwt *j;
	struct err e;
	int r;

	if (clock_check(f->ctx->clock, &e) < 0)
		return fetch_fail(f, &e);
	f->jwt = jwt_free(f->jwt);
	r = check_claims(f, found, &now, &e);
	if (r < 0) {
		err_prefix(&e, r, "%s's ID token", found->from);
		return fetch_fail(f, &e);
	}
	j = f->jwt;
	f->token = token_new(TOKEN_ID, found->text, j->iat, j->exp, &now, j->email,
			     f->ops->name);
	if (j->has_google)
		token_mark_full(f->token);
	if (verify == FLOW_VERIFY_CLAIMS ||
	    (verify == FLOW_VERIFY_AUTO && found->tls))
		return fetch_succeed(f, f->token);

	f->text = xstrdup(found->text);
	r = keyring_verify(f->ctx->keyring, j, f->text, f->deadline, on_verified, f,
			   &f->wait, &e);
	if (r != 0)
		on_verified(f, r < 0 ? &e : NULL);
}
