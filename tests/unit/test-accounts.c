/* SPDX-License-Identifier: Apache-2.0 */

/* The set of accounts, and those that are impersonated. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "fake-metadata.h"
#include "token/accounts.h"
#include "vectors.h"

#define MS		USEC_PER_MSEC
#define WHO		"service-accounts/default/?recursive=true"
#define TOKEN		"service-accounts/default/token"
#define GENERATE	":generateAccessToken"
#define BILLING		"billing@example-proj-123.iam.gserviceaccount.com"
#define FAR		"far@example-proj-123.iam.gserviceaccount.com"

struct world {
	sd_event *event;
	struct http_client *http;
	struct fake *mds, *iam;
	struct endpoints at;
	struct clock *clock;
	struct account_options opt;
	struct account_setup setup;
	struct accounts *as;
	int64_t wall_shift;		/* of this machine's clock, usec */

	/* One who asks for an access token. */
	struct account_wait *wait;
	uint64_t deadline;
	unsigned called;
	struct token *token;
	struct err e;
};

static struct account *
add(struct world *w, struct account *a)
{
	return accounts_add(w->as, &(struct flow_context){ .account = a })->account;
}

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
	struct world *w = xcalloc(1, sizeof(*w));
	struct account *own;

	assert_true(sd_event_new(&w->event) >= 0);
	w->http = fake_client_new(w->event);
	w->mds = fake_new(w->event);
	w->iam = fake_new(w->event);
	w->at.universe = xstrdup(ENDPOINT_UNIVERSE);
	w->at.metadata = xstrdup(fake_url(w->mds));
	w->at.iam = xstrdup(fake_url(w->iam));
	w->clock = fake_clock_new(w->event, shifted, w);
	w->opt = (struct account_options){
		.discover_first_usec = MS,
		.discover_max_usec = 4 * MS,
		.none_usec = 20 * MS,
		.access_margin_usec = 60 * USEC_PER_SEC,
		.token_usec = 10 * USEC_PER_SEC,
	};
	w->setup = (struct account_setup){
		.event = w->event, .http = w->http, .at = &w->at,
		.clock = w->clock, .opt = &w->opt, .ops = &ops, .userdata = w,
	};
	w->deadline = UINT64_MAX;
	assert_true(sd_event_run(w->event, 0) >= 0);
	w->as = accounts_new();
	assert_int_equal(account_metadata_new(&w->setup, &own, NULL), 0);
	add(w, own);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	account_wait_free(w->wait);
	token_unref(w->token);
	accounts_free(w->as);
	clock_free(w->clock);
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

static struct account *
own(const struct world *w)
{
	return accounts_default(w->as)->account;
}

static void
find(struct world *w)
{
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	RUN_UNTIL(w->event, account_state(own(w)) == ACCOUNT_FOUND);
}

static struct account *
add_billing(struct world *w, char *const *delegates)
{
	return add(w, account_impersonated_new(&w->setup, "billing", BILLING,
					       own(w), delegates));
}

static const struct account *
found(const struct world *w, const char *name)
{
	const struct flow_context *ctx = accounts_find(w->as, name);

	return ctx ? ctx->account : NULL;
}

static void
on_token(void *userdata, struct token *t, const struct err *e)
{
	struct world *w = userdata;

	assert_true(!t == !!e);
	w->called++;
	token_unref(w->token);
	w->token = t ? token_ref(t) : NULL;
	if (e)
		w->e = *e;
}

static void
ask(struct world *w, struct account *a)
{
	struct token *t;
	int r = account_access_token(a, &w->deadline, on_token, w, &t, &w->wait,
				     &w->e);

	w->called = 0;
	if (r > 0)
		on_token(w, t, NULL);
	else
		assert_int_equal(r, 0);
}

static void
say_generated(struct world *w, const char *text, int64_t life)
{
	_cleanup_(freep) char *body = NULL;
	time_t end = time(NULL) + life;
	char when[32];
	struct tm tm;

	gmtime_r(&end, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	body = xasprintf("{\"accessToken\":\"%s\",\"expireTime\":\"%s\"}", text,
			 when);
	fake_say(w->iam, GENERATE, 200, body);
}

/* --- the set ------------------------------------------------------------------ */

static void
a_name_and_an_email_mean_one_account(void **state)
{
	struct world *w = *state;
	struct account *billing = add_billing(w, NULL);

	assert_ptr_equal(found(w, "default"), own(w));
	assert_null(found(w, VEC_EMAIL));
	find(w);
	assert_ptr_equal(found(w, VEC_EMAIL), own(w));
	assert_ptr_equal(found(w, "billing"), billing);
	assert_ptr_equal(found(w, BILLING), billing);
	assert_null(found(w, "Billing"));
	assert_null(found(w, ""));
	assert_int_equal(accounts_len(w->as), 2);
}

static void
a_configured_email_means_the_configured_account(void **state)
{
	struct world *w = *state;
	struct account *self = add(w, account_impersonated_new(
		&w->setup, "self", VEC_EMAIL, own(w), NULL));

	assert_ptr_equal(found(w, VEC_EMAIL), self);
	find(w);
	assert_ptr_equal(found(w, VEC_EMAIL), self);
	assert_ptr_equal(found(w, "default"), own(w));
}

/* --- by impersonation --------------------------------------------------------- */

static void
an_impersonated_account_is_known_from_the_start(void **state)
{
	char *const hops[] = { (char *)VEC_HOP, NULL };
	struct world *w = *state;
	struct account *a = add_billing(w, hops);

	assert_int_equal(account_state(a), ACCOUNT_FOUND);
	assert_string_equal(account_email(a), BILLING);
	assert_string_equal(account_aliases(a)[0], "billing");
	assert_string_equal(account_scopes(a)[0], SCOPE_CLOUD_PLATFORM);
	assert_ptr_equal(account_caller(a), own(w));
	assert_string_equal(account_delegates(a)[0], VEC_HOP);
	assert_null(account_delegates(a)[1]);
	assert_true(account_narrows(a));
	assert_false(account_narrows(own(w)));
	assert_ptr_equal(account_caller(own(w)), own(w));
	assert_null(account_delegates(own(w))[0]);
	account_rediscover(a);		/* there is nothing to look for */
	assert_int_equal(account_state(a), ACCOUNT_FOUND);
}

static void
its_access_token_is_asked_for_by_its_callers(void **state)
{
	char *const hops[] = { (char *)VEC_HOP, NULL };
	struct world *w = *state;
	struct account *a = add_billing(w, hops);

	find(w);
	fake_say(w->mds, TOKEN, 200, VEC_A4_BODY);
	say_generated(w, "made", 3600);
	ask(w, a);
	RUN_UNTIL(w->event, w->called);
	assert_string_equal(token_reveal(w->token, NULL), "made");
	assert_string_equal(token_email(w->token), BILLING);
	assert_non_null(strstr(fake_last(w->iam)->text, BILLING GENERATE));
	assert_non_null(strstr(fake_last(w->iam)->text,
			       "Bearer " VEC_ACCESS_TOKEN "\r\n"));
	assert_non_null(strstr(fake_last(w->iam)->body, VEC_HOP));
	/* And kept. */
	ask(w, a);
	assert_int_equal(w->called, 1);
	assert_int_equal(fake_count(w->iam), 1);
}

static void
along_a_chain_each_ones_is_asked_for_by_the_one_before(void **state)
{
	struct world *w = *state;
	struct account *middle = add_billing(w, NULL);
	struct account *a = add(w, account_impersonated_new(&w->setup, "far", FAR,
							    middle, NULL));

	find(w);
	fake_say(w->mds, TOKEN, 200, VEC_A4_BODY);
	say_generated(w, "made", 3600);
	ask(w, a);
	RUN_UNTIL(w->event, w->called);
	assert_non_null(strstr(fake_request(w->iam, 0)->text, BILLING GENERATE));
	assert_non_null(strstr(fake_request(w->iam, 1)->text, FAR GENERATE));
	assert_non_null(strstr(fake_request(w->iam, 1)->text, "Bearer made\r\n"));
}

static void
it_waits_for_a_caller_that_is_still_sought(void **state)
{
	struct world *w = *state;
	struct account *a = add_billing(w, NULL);

	fake_say(w->mds, TOKEN, 200, VEC_A4_BODY);
	say_generated(w, "made", 3600);
	ask(w, a);
	RUN_UNTIL(w->event, fake_count_of(w->mds, WHO) > 0);
	assert_int_equal(w->called, 0);
	find(w);
	RUN_UNTIL(w->event, w->called);
	assert_string_equal(token_reveal(w->token, NULL), "made");
}

static void
a_callers_token_that_is_refused_is_replaced_once(void **state)
{
	struct world *w = *state;
	struct account *a = add_billing(w, NULL);

	find(w);
	fake_say(w->mds, TOKEN, 200, VEC_A4_BODY);
	fake_say_once(w->iam, GENERATE, 401, VEC_B5_BODY);
	say_generated(w, "made", 3600);
	ask(w, a);
	RUN_UNTIL(w->event, w->called);
	assert_non_null(w->token);
	assert_int_equal(fake_count_of(w->mds, TOKEN), 2);
	assert_int_equal(fake_count_of(w->iam, GENERATE), 2);
}

static void
a_callers_token_that_is_refused_twice_is_unavailable(void **state)
{
	struct world *w = *state;
	struct account *a = add_billing(w, NULL);

	find(w);
	fake_say(w->mds, TOKEN, 200, VEC_A4_BODY);
	fake_say(w->iam, GENERATE, 401, VEC_B5_BODY);
	ask(w, a);
	RUN_UNTIL(w->event, w->called);
	assert_null(w->token);
	assert_int_equal(w->e.kind, ERR_UNAVAILABLE);
	assert_int_equal(w->e.status, 0);
	assert_int_equal(fake_count_of(w->iam, GENERATE), 2);
	/* Neither of the two is used again. */
	say_generated(w, "made", 3600);
	ask(w, a);
	RUN_UNTIL(w->event, w->called);
	assert_int_equal(fake_count_of(w->mds, TOKEN), 3);
}

static void
where_the_caller_is_none_it_has_no_token(void **state)
{
	struct world *w = *state;
	struct account *a = add_billing(w, NULL);
	struct token *t;

	fake_say(w->mds, WHO, 404, VEC_A12_BODY);
	RUN_UNTIL(w->event, account_state(own(w)) == ACCOUNT_NONE);
	assert_true(account_access_token(a, &w->deadline, on_token, w, &t, &w->wait,
					 &w->e) < 0);
	assert_int_equal(w->e.kind, ERR_NOT_FOUND);
	assert_int_equal(fake_count(w->iam), 0);
}

/* Its end is a date of Google's. */
static void
its_access_token_lives_no_longer_by_a_clock_that_is_behind(void **state)
{
	static const int64_t behind[] = { 300, 1800, 86400 };
	struct world *w = *state;
	struct account *a = add_billing(w, NULL);

	find(w);
	fake_say(w->mds, TOKEN, 200, VEC_A4_BODY);
	say_generated(w, "made", 3600);
	for (size_t i = 0; i < ARRAY_SIZE(behind); i++) {
		struct token_now now;

		w->wall_shift = -behind[i] * (int64_t)USEC_PER_SEC;
		ask(w, a);
		RUN_UNTIL(w->event, w->called);
		assert_non_null(w->token);
		now = clock_now(w->clock);
		now.boot += 3600 * USEC_PER_SEC;
		assert_true(token_left(w->token, &now) == 0);
		account_drop_token(a, w->token);
	}
}

static void
it_has_none_while_nobody_can_say_what_time_it_is(void **state)
{
	struct world *w = *state;
	struct account *a = add_billing(w, NULL);

	find(w);
	fake_say(w->mds, TOKEN, 200, VEC_A4_BODY);
	for (int i = 0; i < 2; i++)
		clock_learn(w->clock, &(struct http_response){
			.status = 200, .body = "", .tls = true,
			.date = (int64_t)time(NULL) });
	w->wall_shift = -1800 * (int64_t)USEC_PER_SEC;
	say_generated(w, "made", 3600);
	ask(w, a);
	RUN_UNTIL(w->event, w->called);
	assert_null(w->token);
	assert_int_equal(w->e.kind, ERR_UNAVAILABLE);
	assert_non_null(strstr(w->e.msg, "this machine's clock is "));
	/* What Google denies it says all the same. */
	fake_say(w->iam, GENERATE, 403, VEC_B2_BODY);
	ask(w, a);
	RUN_UNTIL(w->event, w->called);
	assert_int_equal(w->e.kind, ERR_GOOGLE);
}

static void
it_may_be_freed_with_questions_under_way(void **state)
{
	struct world *w = *state;
	struct account *a = add_billing(w, NULL);

	find(w);
	fake_say(w->mds, TOKEN, 200, VEC_A4_BODY);
	ask(w, a);
	RUN_UNTIL(w->event, fake_count(w->iam) == 1);
	w->wait = account_wait_free(w->wait);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(a_name_and_an_email_mean_one_account),
		TEST(a_configured_email_means_the_configured_account),
		TEST(an_impersonated_account_is_known_from_the_start),
		TEST(its_access_token_is_asked_for_by_its_callers),
		TEST(along_a_chain_each_ones_is_asked_for_by_the_one_before),
		TEST(it_waits_for_a_caller_that_is_still_sought),
		TEST(a_callers_token_that_is_refused_is_replaced_once),
		TEST(a_callers_token_that_is_refused_twice_is_unavailable),
		TEST(where_the_caller_is_none_it_has_no_token),
		TEST(its_access_token_lives_no_longer_by_a_clock_that_is_behind),
		TEST(it_has_none_while_nobody_can_say_what_time_it_is),
		TEST(it_may_be_freed_with_questions_under_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
