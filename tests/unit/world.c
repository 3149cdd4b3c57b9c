/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "vectors.h"
#include "world.h"

static void
shifted(void *userdata, uint64_t *ret_boot, int64_t *ret_wall)
{
	const struct world *w = userdata;
	struct token_now now = clock_machine_now(w->event);

	*ret_boot = now.boot;
	*ret_wall = now.wall + w->wall_shift;
}

void
world_begin(struct world *w)
{
	assert_true(sd_event_run(w->event, 0) >= 0);
	w->deadline = fake_now() + 20 * USEC_PER_SEC;
}

struct world *
world_new(void)
{
	static const struct account_ops ops = { .changed = NULL };
	struct world *w = xcalloc(1, sizeof(*w));

	assert_true(sd_event_new(&w->event) >= 0);
	w->http = fake_client_new(w->event);
	w->mds = fake_new(w->event);
	w->iam = fake_new(w->event);
	w->tok = fake_new(w->event);
	w->at.universe = xstrdup(ENDPOINT_UNIVERSE);
	w->at.metadata = xstrdup(fake_url(w->mds));
	w->at.iam = xstrdup(fake_url(w->iam));
	w->at.token = xasprintf("%s/token", fake_url(w->tok));
	w->at.certs = xasprintf("%s/certs", fake_url(w->mds));
	w->account_opt = (struct account_options){
		.discover_first_usec = MS,
		.discover_max_usec = 4 * MS,
		.none_usec = 20 * MS,
		.access_margin_usec = 60 * USEC_PER_SEC,
		.token_usec = 10 * USEC_PER_SEC,
	};
	world_begin(w);
	w->ctx = (struct flow_context){
		.event = w->event, .http = w->http, .at = &w->at,
		.clock = fake_clock_new(w->event, shifted, w),
	};
	w->setup = (struct account_setup){
		.event = w->event, .http = w->http, .at = &w->at,
		.clock = w->ctx.clock, .opt = &w->account_opt, .ops = &ops,
		.userdata = w,
	};
	return w;
}

int
world_teardown(void **state)
{
	struct world *w = *state;

	fetch_free(w->fetch);
	account_wait_free(w->wait);
	token_unref(w->token);
	flows_free(w->ctx.flows);
	keyring_free(w->ctx.keyring);
	accounts_free(w->accounts);
	account_free(w->billing);
	account_free(w->a);
	clock_free(w->ctx.clock);
	http_client_free(w->http);
	fake_free(w->mds);
	fake_free(w->iam);
	fake_free(w->tok);
	endpoints_clear(&w->at);
	sd_event_unref(w->event);
	free(w);
	return 0;
}

void
world_add_own(struct world *w)
{
	assert_int_equal(account_metadata_new(&w->setup, &w->a, NULL), 0);
	w->ctx.account = w->a;
}

void
world_find(struct world *w, const struct account *a)
{
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	RUN_UNTIL(w->event, account_state(a) == ACCOUNT_FOUND);
}

static void
on_fetched(void *userdata, struct token *token, const struct err *e)
{
	struct world *w = userdata;

	assert_true(!token == !!e);
	assert_null(w->fetch);
	assert_null(w->token);
	w->called++;
	if (token)
		w->token = token_ref(token);
	else
		w->e = *e;
}

int
world_fetch(struct world *w, const struct flow_ops *flow,
	    const struct token_key *key)
{
	w->called = 0;
	w->token = token_unref(w->token);
	w->e.status = 0;
	return flow_fetch(flow, &w->ctx, key, &w->deadline, HTTP_PAYER_PEERS,
			  on_fetched, w, &w->fetch, &w->e);
}

void
world_say_generated(struct world *w, const char *text, int64_t left)
{
	_cleanup_(freep) char *body = NULL;
	time_t end = time(NULL) + left;
	char when[32];
	struct tm tm;

	gmtime_r(&end, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	body = xasprintf("{\"accessToken\":\"%s\",\"expireTime\":\"%s\"}", text,
			 when);
	fake_say(w->iam, GENERATE, 200, body);
}

void
world_google_is_ahead(struct world *w, int64_t seconds)
{
	for (int i = 0; i < 2; i++)
		clock_learn(w->ctx.clock, &(struct http_response){
			.status = 200, .body = "", .tls = true,
			.date = (int64_t)time(NULL) + seconds });
}
