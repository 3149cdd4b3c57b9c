/* SPDX-License-Identifier: Apache-2.0 */

/* Source "metadata": the VM's own account, as the metadata server tells it, once it
   is known that the VM is in the universe that is configured: before that, nobody
   knows whom its tokens are for. */

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "token/account_source.h"

struct account_metadata {
	struct account base;
	bool at_home;			/* the universe is the one configured */
	struct http_call *call;		/* where it is, then who */
	uint64_t call_deadline;
	struct http_call *access_call;
};

static http_done_fn on_universe, on_discovered, on_access;

/* Takes the request over. */
static int
ask_once(struct account_metadata *m, struct http_request *q, http_done_fn *done,
	 struct err *e)
{
	q->once = true;			/* retried on the account's own schedule */
	m->call_deadline = UINT64_MAX;	/* the lane's time for one try holds */
	return http_client_start(m->base.http, q, &m->call_deadline, done, m,
				 &m->call, e);
}

static void
note_flavor(struct account *a, const struct http_response *re)
{
	if (re && re->flavor_google)
		a->flavored = true;
}

/* Where. */

static int
ask_universe(struct account_metadata *m, struct err *e)
{
	struct http_request q = { 0 };

	metadata_universe_request(m->base.at->metadata, &q);
	return ask_once(m, &q, on_universe, e);
}

static void
wrong_universe(const struct endpoints *at, const char *domain, struct err *e)
{
	bool home = endpoints_are_default(at);
	char shown[TEXT_SHOW_SIZE];

	text_show_str(shown, domain);
	err_set(e, ERR_GOOGLE, "this machine is in universe %s, as its metadata "
		"server says, and the agent is in %s%s", shown, at->universe,
		home ? ", the default" : "");
	e->scope = ERR_SCOPE_ACCOUNT;
	if (strcmp(domain, ENDPOINT_UNIVERSE) == 0)
		err_hint(e, "take universe out of [upstream], and reload");
	else
		err_hint(e, "if the machine is meant to be there: universe = %s in "
			 "[upstream], and reload", shown);
}

static int ask_account(struct account_metadata *m, struct err *e);

static void
on_universe(void *userdata, const struct http_response *re,
	    const struct err *failed)
{
	struct account_metadata *m = userdata;
	struct account *a = &m->base;
	_cleanup_(freep) char *domain = NULL;
	bool known = false;
	struct err e;
	int r = -EHOSTUNREACH;

	note_flavor(a, re);
	if (failed)
		e = *failed;
	else
		r = metadata_universe_response(re, &domain, &known, &e);
	if (r >= 0 && strcmp(domain, a->at->universe) != 0) {
		wrong_universe(a->at, domain, &e);
		/* A metadata server may say 404 while the VM boots. */
		if (known || account_now(a) >= a->opt.boot_usec)
			return account_elsewhere(a, &e);
		r = err_kind_errno(e.kind);
	} else if (r >= 0) {
		m->at_home = true;
		r = ask_account(m, &e);
		if (r >= 0)
			return;
	}
	err_prefix(&e, r, "looking for the VM's service account");
	account_not_told(a, &e);
}

/* Who. */

static int
ask_account(struct account_metadata *m, struct err *e)
{
	struct http_request q = { 0 };

	metadata_account_request(m->base.at->metadata, &q);
	return ask_once(m, &q, on_discovered, e);
}

static int
metadata_ask(struct account *a, struct err *e)
{
	struct account_metadata *m = container_of(a, struct account_metadata, base);

	return m->at_home ? ask_account(m, e) : ask_universe(m, e);
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

	note_flavor(a, re);
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

/* Its access token. */

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
