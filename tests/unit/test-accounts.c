/* SPDX-License-Identifier: Apache-2.0 */

/* The set of accounts, and those that are impersonated. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "vectors.h"
#include "world.h"

#define FAR		"far@example-proj-123.iam.gserviceaccount.com"

static struct account *
add(struct world *w, struct account *a)
{
	return accounts_add(w->accounts, &(struct flow_context){
		.account = a })->account;
}

static int
setup(void **state)
{
	struct world *w = world_new();
	struct account *own;

	w->deadline = UINT64_MAX;
	w->accounts = accounts_new();
	assert_int_equal(account_metadata_new(&w->setup, &own, NULL), 0);
	add(w, own);
	*state = w;
	return 0;
}

static struct account *
own(const struct world *w)
{
	return accounts_default(w->accounts)->account;
}

static void
find(struct world *w)
{
	world_find(w, own(w));
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
	const struct flow_context *ctx = accounts_find(w->accounts, name);

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
	assert_int_equal(accounts_len(w->accounts), 2);
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
	world_say_generated(w, "made", 3600);
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
	world_say_generated(w, "made", 3600);
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
	world_say_generated(w, "made", 3600);
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
	world_say_generated(w, "made", 3600);
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
	world_say_generated(w, "made", 3600);
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
	world_say_generated(w, "made", 3600);
	for (size_t i = 0; i < ARRAY_SIZE(behind); i++) {
		struct token_now now;

		w->wall_shift = -behind[i] * (int64_t)USEC_PER_SEC;
		ask(w, a);
		RUN_UNTIL(w->event, w->called);
		assert_non_null(w->token);
		now = clock_now(w->ctx.clock);
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
	world_google_is_ahead(w, 0);
	w->wall_shift = -1800 * (int64_t)USEC_PER_SEC;
	world_say_generated(w, "made", 3600);
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

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, world_teardown)

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
