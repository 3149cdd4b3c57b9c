/* SPDX-License-Identifier: Apache-2.0 */

/* Source "keyfile": the account whose key is in a file.  Its access token is had
   for an assertion that is signed here; in a universe without a token endpoint such
   a JWT is one. */

#include "google/endpoints.h"
#include "token/account_source.h"
#include "token/trade.h"

struct account_keyfile {
	struct account base;
	const struct credential *credential;
	struct trade *trade;
	sd_event_source *soon;		/* what is signed here is no callback yet */
};

static int
on_soon(_unused_ sd_event_source *s, void *userdata)
{
	struct account_keyfile *k = userdata;
	_cleanup_(secret_freep) char *text = NULL;
	uint64_t life;
	struct err e;

	if (credential_self_signed(k->credential, k->base.clock,
				   SCOPE_CLOUD_PLATFORM, &text, &life, &e) < 0)
		account_access_failed(&k->base, &e);
	else
		account_access_came(&k->base, text, life);
	return 0;
}

static int
sign_soon(struct account_keyfile *k, struct err *e)
{
	int r;

	k->soon = sd_event_source_disable_unref(k->soon);
	r = sd_event_add_defer(k->base.event, &k->soon, on_soon, k);
	return r < 0 ? err_sys(e, -r, "cannot make an event source") : 0;
}

static void
on_access(void *userdata, const struct trade_got *got, const struct err *failed)
{
	struct account_keyfile *k = userdata;

	if (failed)
		account_access_failed(&k->base, failed);
	else
		account_access_came(&k->base, got->text, got->life);
}

static int
keyfile_ask_access(struct account *a, struct err *e)
{
	struct account_keyfile *k = container_of(a, struct account_keyfile, base);

	if (!endpoints_are_default(a->at))
		return sign_soon(k, e);
	return trade_start(&(struct trade_offer){
		.http = a->http,
		.url = a->at->token,
		.clock = a->clock,
		.credential = k->credential,
		.deadline = &a->access_deadline,
		.payer = HTTP_PAYER_ACCESS,
		.done = on_access,
		.userdata = k,
	}, &k->trade, e);
}

static void
keyfile_cancel_access(struct account *a)
{
	struct account_keyfile *k = container_of(a, struct account_keyfile, base);

	k->trade = trade_free(k->trade);
	k->soon = sd_event_source_disable_unref(k->soon);
}

static const struct account_source source_keyfile = {
	.name = "keyfile",
	.whom = "the token endpoint",
	.origin = IAM_OF_FILE,
	.account_size = sizeof(struct account_keyfile),
	.ask_access = keyfile_ask_access,
	.cancel_access = keyfile_cancel_access,
	.clear = keyfile_cancel_access,
};

struct account *
account_keyfile_new(const struct account_setup *s, const char *name,
		    const struct credential *c)
{
	struct account *a = account_alloc(&source_keyfile, name, s);
	struct metadata_account info = account_info(c->file->email, name);

	container_of(a, struct account_keyfile, base)->credential = c;
	account_known(a, &info);
	return a;
}
