/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "fake-metadata.h"
#include "token/flows.h"
#include "vectors.h"

#define MS		USEC_PER_MSEC
#define S		((int64_t)USEC_PER_SEC)
#define WHO		"service-accounts/default/?recursive=true"
#define TOKEN		"service-accounts/default/token"
#define GENERATE	":generateAccessToken"
#define BILLING		"billing@example-proj-123.iam.gserviceaccount.com"
#define LIFE		3600
#define DOUBT		(20 * MS)

struct world {
	sd_event *event;
	struct http_client *http;
	struct fake *mds, *iam;
	struct endpoints at;
	struct account *own, *billing;
	struct flow_context ctx;	/* of billing */
	int64_t wall_shift;		/* of this machine's clock, usec */

	/* One who fetches. */
	struct fetch *fetch;
	uint64_t deadline;
	unsigned called;
	struct token *token;
	struct err e;
};

static void
shifted(void *userdata, uint64_t *ret_boot, int64_t *ret_wall)
{
	const struct world *w = userdata;
	struct token_now now = clock_machine_now(w->event);

	*ret_boot = now.boot;
	*ret_wall = now.wall + w->wall_shift;
}

static int
setup(void **state)
{
	static const struct account_ops ops = { .changed = NULL };
	const struct account_options o = {
		.discover_first_usec = MS,
		.discover_max_usec = 4 * MS,
		.none_usec = 20 * MS,
		.access_margin_usec = 60 * USEC_PER_SEC,
		.token_usec = 10 * USEC_PER_SEC,
	};
	static const struct flow_ops *const list[] = { &flow_generate, NULL };
	struct world *w = xcalloc(1, sizeof(*w));
	struct account_setup s;

	assert_true(sd_event_new(&w->event) >= 0);
	w->http = fake_client_new(w->event);
	w->mds = fake_new(w->event);
	w->iam = fake_new(w->event);
	w->at.universe = xstrdup(ENDPOINT_UNIVERSE);
	w->at.metadata = xstrdup(fake_url(w->mds));
	w->at.iam = xstrdup(fake_url(w->iam));
	assert_true(sd_event_run(w->event, 0) >= 0);
	w->ctx = (struct flow_context){
		.event = w->event, .http = w->http, .at = &w->at,
		.clock = fake_clock_new(w->event, shifted, w),
	};
	s = (struct account_setup){
		.event = w->event, .http = w->http, .at = &w->at,
		.clock = w->ctx.clock, .opt = &o, .ops = &ops, .userdata = w,
	};
	assert_int_equal(account_metadata_new(&s, &w->own, NULL), 0);
	w->billing = account_impersonated_new(&s, "billing", BILLING, w->own, NULL);
	w->ctx.account = w->billing;
	assert_int_equal(flows_new(&w->ctx, list, &(struct flows_options){
		.doubt_usec = DOUBT, .again_usec = USEC_PER_MIN,
		.again_max_usec = USEC_PER_MIN }, NULL, NULL, &w->ctx.flows, NULL),
		0);
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	fake_say(w->mds, TOKEN, 200, VEC_A4_BODY);
	w->deadline = fake_now() + 20 * USEC_PER_SEC;
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	fetch_free(w->fetch);
	token_unref(w->token);
	flows_free(w->ctx.flows);
	account_free(w->billing);
	account_free(w->own);
	clock_free(w->ctx.clock);
	http_client_free(w->http);
	fake_free(w->mds);
	fake_free(w->iam);
	free(w->at.universe);
	free(w->at.metadata);
	free(w->at.iam);
	sd_event_unref(w->event);
	free(w);
	return 0;
}

static void
on_fetched(void *userdata, struct token *token, const struct err *e)
{
	struct world *w = userdata;

	assert_true(!token == !!e);
	assert_null(w->fetch);
	w->called++;
	w->token = token_unref(w->token);
	if (token)
		w->token = token_ref(token);
	else
		w->e = *e;
}

static void
run(struct world *w)
{
	static const struct token_key key = { TOKEN_ACCESS, "billing",
					      "a-scope b-scope", "" };

	w->called = 0;
	assert_int_equal(flow_fetch(&flow_access, &w->ctx, &key, &w->deadline,
				    HTTP_PAYER_PEERS, on_fetched, w, &w->fetch,
				    &w->e), 0);
	assert_int_equal(w->called, 0);
	RUN_UNTIL(w->event, w->called);
}

/* A token that Google's clock, which is right, has end so many seconds from now. */
static void
say_generated(struct world *w, int64_t left)
{
	_cleanup_(freep) char *body = NULL;
	time_t end = time(NULL) + left;
	char when[32];
	struct tm tm;

	gmtime_r(&end, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	body = xasprintf("{\"accessToken\":\"made\",\"expireTime\":\"%s\"}", when);
	fake_say(w->iam, GENERATE, 200, body);
}

static void
google_is_right(struct world *w)
{
	for (int i = 0; i < 2; i++)
		clock_learn(w->ctx.clock, &(struct http_response){
			.status = 200, .body = "", .tls = true,
			.date = (int64_t)time(NULL) });
}

/* --- another account's -------------------------------------------------------- */

static void
it_is_made_by_iam_with_the_scopes_that_are_asked_for(void **state)
{
	struct world *w = *state;

	say_generated(w, LIFE);
	run(w);
	assert_non_null(w->token);
	assert_string_equal(token_reveal(w->token, NULL), "made");
	assert_string_equal(token_email(w->token), BILLING);
	assert_string_equal(token_flow(w->token), "generate");
	assert_int_equal(token_kind(w->token), TOKEN_ACCESS);
	assert_true(token_exp(w->token) - token_iat(w->token) == LIFE);
	assert_non_null(strstr(fake_last(w->iam)->body,
			       "[\"a-scope\",\"b-scope\"]"));
}

/* Its end is a date of Google's: no clock of this machine's may lengthen it. */
static void
it_is_not_served_after_its_end_by_a_clock_that_is_behind(void **state)
{
	static const struct {
		int64_t behind, left;	/* seconds */
	} table[] = {
		{ 0, LIFE }, { 300, LIFE }, { 1800, LIFE }, { 86400, LIFE },
		{ 1800, 100 + LIFE },	/* and no answer may */
		{ -1800, LIFE - 1800 },
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct token_now now;
		uint64_t most = MIN(table[i].left, (int64_t)LIFE) * USEC_PER_SEC;

		w->wall_shift = -table[i].behind * S;
		say_generated(w, table[i].behind < 0 ? LIFE : table[i].left);
		run(w);
		assert_non_null(w->token);
		now = clock_now(w->ctx.clock);
		assert_true(token_left(w->token, &now) <= most);
		assert_true(token_left(w->token, &now) > 0);
		now.boot += most;
		assert_true(token_left(w->token, &now) == 0);
	}
}

static void
there_is_none_while_nobody_can_say_what_time_it_is(void **state)
{
	static const int64_t shifts[] = {
		-1800 * S, 1800 * S, -7200 * S, 7200 * S,
	};
	struct world *w = *state;

	google_is_right(w);
	for (size_t i = 0; i < ARRAY_SIZE(shifts); i++) {
		w->wall_shift = shifts[i];
		say_generated(w, LIFE);
		run(w);
		assert_null(w->token);
		assert_int_equal(w->e.kind, ERR_UNAVAILABLE);
		assert_non_null(strstr(w->e.msg, "this machine's clock is "));
	}
	w->wall_shift = 300 * S;
	run(w);
	assert_non_null(w->token);
}

/* IAM says so where it is only busy, too. */
static void
a_missing_role_is_asked_about_once_more_after_a_while(void **state)
{
	struct world *w = *state;

	fake_say_once(w->iam, GENERATE, 403, VEC_B2_BODY);
	say_generated(w, LIFE);
	run(w);
	assert_non_null(w->token);
	assert_int_equal(fake_count(w->iam), 2);
	assert_true(fake_request(w->iam, 1)->came >=
		    fake_request(w->iam, 0)->came + DOUBT);
}

static void
a_role_that_is_missing_twice_is_missing(void **state)
{
	struct world *w = *state;

	fake_say(w->iam, GENERATE, 403, VEC_B2_BODY);
	run(w);
	assert_null(w->token);
	assert_int_equal(w->e.kind, ERR_GOOGLE);
	assert_false(w->e.doubtful);
	assert_int_equal(fake_count(w->iam), 2);
}

static void
where_there_is_no_time_to_ask_again_the_doubt_stays(void **state)
{
	struct world *w = *state;

	fake_say(w->iam, GENERATE, 403, VEC_B2_BODY);
	w->ctx.flows = flows_free(w->ctx.flows);
	assert_int_equal(flows_new(&w->ctx, (const struct flow_ops *[]){
		&flow_generate, NULL }, &(struct flows_options){
		.doubt_usec = USEC_PER_MIN }, NULL, NULL, &w->ctx.flows, NULL), 0);
	run(w);
	assert_int_equal(w->e.kind, ERR_GOOGLE);
	assert_true(w->e.doubtful);
	assert_int_equal(fake_count(w->iam), 1);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(it_is_made_by_iam_with_the_scopes_that_are_asked_for),
		TEST(it_is_not_served_after_its_end_by_a_clock_that_is_behind),
		TEST(there_is_none_while_nobody_can_say_what_time_it_is),
		TEST(a_missing_role_is_asked_about_once_more_after_a_while),
		TEST(a_role_that_is_missing_twice_is_missing),
		TEST(where_there_is_no_time_to_ask_again_the_doubt_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
