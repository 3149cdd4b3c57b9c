/* SPDX-License-Identifier: Apache-2.0 */

/* Source "metadata": the VM's own account, as the metadata server tells it. */

#include <errno.h>

#include "token/account_source.h"

struct account_metadata {
	struct account base;
	struct http_call *call;		/* who it is */
	uint64_t call_deadline;
	struct http_call *access_call;
};

static http_done_fn on_discovered, on_access;

static int
metadata_ask(struct account *a, struct err *e)
{
	struct account_metadata *m = container_of(a, struct account_metadata, base);
	struct http_request q = { 0 };

	metadata_account_request(a->at->metadata, &q);
	q.once = true;			/* retried on the account's own schedule */
	m->call_deadline = UINT64_MAX;	/* the lane's time for one try holds */
	return http_client_start(a->http, &q, &m->call_deadline, on_discovered,
				 m, &m->call, e);
}

static void
on_discovered(void *userdata, const struct http_response *re,
	      const struct err *failed)
{
	struct account_metadata *m = userdata;
	struct account *a = &m->base;
	struct metadata_account info = { 0 };
	struct err e;
	int r = -EHOSTUNREACH;

	if (re && re->flavor_google)
		a->flavored = true;

	if (failed)
		e = *failed;
	else
		r = metadata_account_response(re, &info, &e);
	if (r >= 0)
		return account_found(a, &info);

	/* A metadata server may say 404 while the VM boots. */
	if (r == err_kind_errno(ERR_NOT_FOUND) &&
	    account_now(a) >= a->opt.boot_usec)
		return account_none(a);

	err_prefix(&e, r, "looking for the VM's service account");
	account_not_told(a, &e);
}

static int
metadata_ask_access(struct account *a, struct err *e)
{
	struct account_metadata *m = container_of(a, struct account_metadata, base);
	struct http_request q = { 0 };

	metadata_token_request(a->at->metadata, &q);
	q.payer = HTTP_PAYER_ACCESS;
	return http_client_start(a->http, &q, &a->access_deadline, on_access, m,
				 &m->access_call, e);
}

static void
on_access(void *userdata, const struct http_response *re,
	  const struct err *failed)
{
	struct account_metadata *m = userdata;
	_cleanup_(secret_freep) char *text = NULL;
	uint64_t life;
	struct err e;

	if (failed)
		account_access_failed(&m->base, failed);
	else if (metadata_token_response(re, &text, &life, &e) < 0)
		account_access_failed(&m->base, &e);
	else
		account_access_came(&m->base, text, life);
}

static void
metadata_cancel_access(struct account *a)
{
	struct account_metadata *m = container_of(a, struct account_metadata, base);

	m->access_call = http_call_free(m->access_call);
}

static void
metadata_clear(struct account *a)
{
	struct account_metadata *m = container_of(a, struct account_metadata, base);

	http_call_free(m->call);
	http_call_free(m->access_call);
}

static const struct account_source source_metadata = {
	.name = "metadata",
	.whom = "the metadata server",
	.account_size = sizeof(struct account_metadata),
	.ask = metadata_ask,
	.ask_access = metadata_ask_access,
	.cancel_access = metadata_cancel_access,
	.clear = metadata_clear,
};

int
account_metadata_new(const struct account_setup *s, struct account **ret,
		     struct err *e)
{
	_cleanup_(account_freep) struct account *a =
		account_alloc(&source_metadata, "default", s);
	int r = account_begin(a, e);

	if (r >= 0)
		*ret = TAKE_PTR(a);
	return r;
}
