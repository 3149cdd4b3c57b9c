/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "vectors.h"
#include "world.h"

#define S		((int64_t)USEC_PER_SEC)
#define LIFE		3600
#define DOUBT		(20 * MS)

static int
setup(void **state)
{
	static const struct flow_ops *const list[] = { &flow_generate, NULL };
	struct world *w = world_new();

	world_add_own(w);
	w->billing = account_impersonated_new(&w->setup, "billing", BILLING, w->a,
					      NULL);
	w->ctx.account = w->billing;
	assert_int_equal(flows_new(&w->ctx, list, &(struct flows_options){
		.doubt_usec = DOUBT, .again_usec = USEC_PER_MIN,
		.again_max_usec = USEC_PER_MIN }, NULL, NULL, &w->ctx.flows, NULL),
		0);
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	fake_say(w->mds, TOKEN, 200, VEC_A4_BODY);
	*state = w;
	return 0;
}

static void
run(struct world *w)
{
	static const struct token_key key = { TOKEN_ACCESS, "billing",
					      "a-scope b-scope", "" };

	assert_int_equal(world_fetch(w, &flow_access, &key), 0);
	assert_int_equal(w->called, 0);
	RUN_UNTIL(w->event, w->called);
}

/* --- another account's -------------------------------------------------------- */

static void
it_is_made_by_iam_with_the_scopes_that_are_asked_for(void **state)
{
	struct world *w = *state;

	world_say_generated(w, "made", LIFE);
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
		world_say_generated(w, "made", table[i].behind < 0
				    ? LIFE : table[i].left);
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

	world_google_is_ahead(w, 0);
	for (size_t i = 0; i < ARRAY_SIZE(shifts); i++) {
		w->wall_shift = shifts[i];
		world_say_generated(w, "made", LIFE);
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
	world_say_generated(w, "made", LIFE);
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

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, world_teardown)

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
