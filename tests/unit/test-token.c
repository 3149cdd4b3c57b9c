/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "token/token.h"
#include "vectors.h"

#define S	((int64_t)USEC_PER_SEC)

/* All clocks agree. */
static const struct token_now arrival = {
	.boot = 1000 * USEC_PER_SEC, .wall = VEC_NOW * S, .google = VEC_NOW * S,
};

static void
a_token_says_what_it_was_made_with(void **state _unused_)
{
	char text[] = VEC_ID_TOKEN_C1;
	struct token *t = token_new(TOKEN_ID, text, VEC_NOW, VEC_NOW + 3600,
				    &arrival, VEC_EMAIL, "signblob");
	size_t len;

	memset(text, 'x', sizeof(text));
	assert_string_equal(token_reveal(t, &len), VEC_ID_TOKEN_C1);
	assert_int_equal(len, strlen(VEC_ID_TOKEN_C1));
	assert_string_equal(token_reveal(t, NULL), VEC_ID_TOKEN_C1);
	assert_true(token_iat(t) == VEC_NOW);
	assert_true(token_exp(t) == VEC_NOW + 3600);
	assert_string_equal(token_flow(t), "signblob");
	assert_string_equal(token_email(t), VEC_EMAIL);
	token_unref(t);
}

static void
what_is_not_known_is_empty(void **state _unused_)
{
	struct token *t = token_new(TOKEN_ACCESS, "x", 0, 1, &arrival, NULL, NULL);

	assert_string_equal(token_flow(t), "");
	assert_string_equal(token_email(t), "");
	token_unref(t);
}

static void
the_last_reference_frees(void **state _unused_)
{
	struct token *t = token_new(TOKEN_ID, "x", 0, 1, &arrival, NULL, NULL);

	assert_ptr_equal(token_ref(t), t);
	assert_null(token_unref(t));
	assert_string_equal(token_reveal(t, NULL), "x");
	assert_null(token_unref(t));
	assert_null(token_unref(NULL));
}

/* A token of an hour that comes a minute old, and then is looked at. */
#define ISSUED	(VEC_NOW - 60)

struct look {
	const char *name;
	int64_t boot, wall, google;	/* microseconds since it came */
	int64_t left;
};

static void
a_token_is_good_for_what_the_least_clock_gives_it(void **state _unused_)
{
	static const struct look table[] = {
		{ "when it came", 0, 0, 0, 3540 * S },
		{ "all go on", 100 * S, 100 * S, 100 * S, 3440 * S },
		{ "to the microsecond", 1, 1, 1, 3540 * S - 1 },
		{ "the last one", 3540 * S - 1, 3540 * S - 1, 3540 * S - 1, 1 },
		{ "all at its end", 3540 * S, 3540 * S, 3540 * S, 0 },
		{ "all after it", 9999 * S, 9999 * S, 9999 * S, 0 },
		{ "the wall clock alone at its end", 0, 3540 * S, 0, 0 },
		{ "Google's alone", 0, 0, 3540 * S, 0 },
		{ "time since boot alone", 3540 * S, 0, 0, 0 },
		{ "the wall clock set back", 100 * S, -86400 * S, 100 * S,
		  3440 * S },
		{ "it was set back, and the end has come", 3540 * S, -60 * S,
		  -60 * S, 0 },
		{ "the wall clock set forward", 100 * S, 3000 * S, 100 * S,
		  540 * S },
		{ "the machine slept and knows", 3600 * S, 3600 * S, 3600 * S, 0 },
		{ "the machine slept, and its wall clock stood still", 3600 * S, 0,
		  0, 0 },
		{ "Google's clock is behind", 100 * S, 100 * S, -200 * S,
		  3440 * S },
		{ "Google's clock is ahead", 100 * S, 100 * S, 400 * S, 3140 * S },
		{ "as late as can be", INT64_MAX / 2, INT64_MAX / 2, INT64_MAX / 2,
		  0 },
	};
	struct token *t = token_new(TOKEN_ID, "x", ISSUED, ISSUED + 3600, &arrival,
				    NULL, NULL);

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct look *l = &table[i];
		struct token_now now = {
			arrival.boot + (uint64_t)l->boot, arrival.wall + l->wall,
			arrival.google + l->google,
		};

		if (token_left(t, &now) != (uint64_t)l->left)
			fail_msg("%s: %llu", l->name,
				 (unsigned long long)token_left(t, &now));
	}
	token_unref(t);
}

/* Clocks that are behind when it comes do not make it live longer than it does. */
static void
a_token_lives_no_longer_than_it_says(void **state _unused_)
{
	static const struct {
		int64_t wall, google, left;	/* wall, google: less VEC_NOW */
	} table[] = {
		{ 0, 0, 3600 }, { -300 * S, -300 * S, 3600 }, { -300 * S, 0, 3600 },
		{ -86400 * S, -86400 * S, 3600 }, { 300 * S, 0, 3300 },
		{ 0, 300 * S, 3300 }, { 300 * S, 300 * S, 3300 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct token_now now = { 5, VEC_NOW * S + table[i].wall,
					 VEC_NOW * S + table[i].google };
		struct token *t = token_new(TOKEN_ID, "x", VEC_NOW, VEC_NOW + 3600,
					    &now, NULL, NULL);

		assert_true(token_left(t, &now) == (uint64_t)(table[i].left * S));
		now.boot += (uint64_t)(table[i].left * S);
		now.wall += table[i].left * S;
		now.google += table[i].left * S;
		assert_true(token_left(t, &now) == 0);
		token_unref(t);
	}
}

static void
times_beyond_all_measure_do_no_harm(void **state _unused_)
{
	static const struct {
		int64_t iat, exp;
		bool good;
	} table[] = {
		{ 0, INT64_MAX, true }, { INT64_MIN, INT64_MAX, true },
		{ INT64_MAX, INT64_MAX, false }, { INT64_MIN, INT64_MIN, false },
		{ INT64_MAX, INT64_MIN, false }, { 0, INT64_MIN, false },
		{ VEC_NOW, VEC_NOW - 1, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct token *t = token_new(TOKEN_ID, "x", table[i].iat,
					    table[i].exp, &arrival, NULL, NULL);

		assert_int_equal(token_left(t, &arrival) > 0, table[i].good);
		token_unref(t);
	}
}

static void
the_age_of_a_token_runs_on_the_clock_that_nobody_sets(void **state _unused_)
{
	static const int64_t iats[] = { VEC_NOW, ISSUED, VEC_NOW + 60, 0 };
	static const uint64_t ages[] = { 0, 60, 0, VEC_NOW };

	for (size_t i = 0; i < ARRAY_SIZE(iats); i++) {
		struct token_now now = arrival;
		struct token *t = token_new(TOKEN_ID, "x", iats[i], VEC_NOW + 3600,
					    &now, NULL, NULL);

		assert_true(token_age(t, &now) == ages[i] * USEC_PER_SEC);
		now.wall -= 86400 * S;
		now.google += 86400 * S;
		now.boot += 7;
		assert_true(token_age(t, &now) == ages[i] * USEC_PER_SEC + 7);
		token_unref(t);
	}
}

/* One that comes with seconds to live, a minute's worth. */
static void
a_token_without_a_date_is_judged_by_this_machine(void **state _unused_)
{
	static const struct look table[] = {
		{ "when it came", 0, 0, 0, 60 * S },
		{ "all go on", 10 * S, 10 * S, 10 * S, 50 * S },
		{ "Google's clock is ahead", 10 * S, 10 * S, 310 * S, 50 * S },
		{ "Google's clock is behind", 10 * S, 10 * S, -290 * S, 50 * S },
		{ "to the microsecond", 1, 1, 300 * S, 60 * S - 1 },
		{ "time since boot at its end", 60 * S, 0, 0, 0 },
		{ "the wall clock alone at its end", 0, 60 * S, 0, 0 },
		{ "the wall clock set back", 10 * S, -86400 * S, 10 * S, 50 * S },
		{ "the wall clock set forward", 10 * S, 30 * S, 10 * S, 30 * S },
	};
	static const int64_t ahead[] = { 0, 300 * S, -300 * S };

	for (size_t i = 0; i < ARRAY_SIZE(ahead) * ARRAY_SIZE(table); i++) {
		const struct look *l = &table[i % ARRAY_SIZE(table)];
		struct token_now came = arrival, now;
		struct token *t;

		/* Known or not when it came, Google's time has no say. */
		came.google += ahead[i / ARRAY_SIZE(table)];
		now = (struct token_now){ came.boot + (uint64_t)l->boot,
					  came.wall + l->wall,
					  came.google + l->google };
		t = token_new_lasting(TOKEN_ACCESS, "x", 60, &came, NULL, NULL);
		if (token_left(t, &now) != (uint64_t)l->left)
			fail_msg("%s: %llu", l->name,
				 (unsigned long long)token_left(t, &now));
		assert_true(token_exp(t) - token_iat(t) == 60);
		assert_true(token_iat(t) == VEC_NOW);
		assert_true(token_age(t, &came) == 0);
		token_unref(t);
	}
}

/* Every two of these differ, however their members are shifted about. */
static void
different_keys_have_different_bytes(void **state _unused_)
{
	static const char *const texts[] = {
		"", "a", "b", "aa", "ab", "a\1", "\1",
	};
	struct token_key keys[2 * 7 * 7 * 7];
	char *bytes[ARRAY_SIZE(keys)];
	size_t len[ARRAY_SIZE(keys)];

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		keys[i] = (struct token_key){
			i % 2 ? TOKEN_ACCESS : TOKEN_ID, texts[i / 2 % 7],
			texts[i / 14 % 7], texts[i / 98],
		};
		bytes[i] = token_key_bytes(&keys[i], &len[i]);
		for (size_t j = 0; j < i; j++)
			assert_false(len[i] == len[j] &&
				     memcmp(bytes[i], bytes[j], len[i]) == 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		free(bytes[i]);
}

static void
equal_keys_have_equal_bytes(void **state _unused_)
{
	char account[] = "default", variant[] = "v", audience[] = "https://x";
	const struct token_key a = { TOKEN_ID, "default", "v", "https://x" };
	const struct token_key b = { TOKEN_ID, account, variant, audience };
	size_t a_len, b_len;
	_cleanup_(freep) char *one = token_key_bytes(&a, &a_len);
	_cleanup_(freep) char *two = token_key_bytes(&b, &b_len);

	assert_int_equal(a_len, b_len);
	assert_memory_equal(one, two, a_len);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_token_says_what_it_was_made_with),
		cmocka_unit_test(what_is_not_known_is_empty),
		cmocka_unit_test(the_last_reference_frees),
		cmocka_unit_test(a_token_is_good_for_what_the_least_clock_gives_it),
		cmocka_unit_test(a_token_lives_no_longer_than_it_says),
		cmocka_unit_test(a_token_without_a_date_is_judged_by_this_machine),
		cmocka_unit_test(times_beyond_all_measure_do_no_harm),
		cmocka_unit_test(
			the_age_of_a_token_runs_on_the_clock_that_nobody_sets),
		cmocka_unit_test(different_keys_have_different_bytes),
		cmocka_unit_test(equal_keys_have_equal_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
