/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "token/failures.h"
#include "token/token.h"

#define NOW	(1000 * USEC_PER_SEC)
#define DENIED	(60 * USEC_PER_SEC)
#define FIRST	USEC_PER_SEC
#define MOST	(30 * USEC_PER_SEC)

static const struct failures_options options = {
	.denied_usec = DENIED,
	.unavailable_first_usec = FIRST,
	.unavailable_max_usec = MOST,
	.max = 8,
};

static int
setup(void **state)
{
	*state = failures_new(&options);
	return 0;
}

static int
teardown(void **state)
{
	failures_free(*state);
	return 0;
}

static void
put(struct failures *f, const char *key, enum err_kind kind, uint64_t now)
{
	struct err e;

	err_set(&e, kind, "%s is broken", key);
	failures_put(f, key, strlen(key), &e, now);
}

static int
get(const struct failures *f, const char *key, uint64_t now, struct err *e)
{
	return failures_get(f, key, strlen(key), now, e);
}

/* How long from "now" this key is closed. */
static uint64_t
closed_for(const struct failures *f, const char *key, uint64_t now)
{
	struct err e;

	return get(f, key, now, &e) < 0 ? e.retry_usec : 0;
}

static void
nothing_is_held_against_a_key_that_never_failed(void **state)
{
	struct err e;

	put(*state, "other", ERR_GOOGLE, NOW);
	assert_int_equal(get(*state, "key", NOW, &e), 0);
	assert_int_equal(get(*state, "othe", NOW, &e), 0);
	assert_int_equal(get(*state, "other\n", NOW, &e), 0);
	assert_int_equal(get(*state, "", NOW, &e), 0);
}

static void
a_failure_is_told_in_its_own_words(void **state)
{
	struct err e, got;

	err_set(&e, ERR_GOOGLE, "no role");
	err_hint(&e, "grant it");
	e.scope = ERR_SCOPE_ACCOUNT;
	failures_put(*state, "key", 3, &e, NOW);

	assert_int_equal(get(*state, "key", NOW, &got), -EREMOTEIO);
	assert_int_equal(got.kind, ERR_GOOGLE);
	assert_int_equal(got.scope, ERR_SCOPE_ACCOUNT);
	assert_string_equal(got.msg, "no role");
	assert_string_equal(got.hint, "grant it");
}

static void
a_denial_is_remembered_for_its_span_and_not_longer(void **state)
{
	struct err e;

	put(*state, "key", ERR_GOOGLE, NOW);
	assert_int_equal(get(*state, "key", NOW + DENIED - 1, &e), -EREMOTEIO);
	assert_int_equal(get(*state, "key", NOW + DENIED, &e), 0);
	assert_int_equal(get(*state, "key", UINT64_MAX, &e), 0);
}

static void
a_denial_does_not_double(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		put(*state, "key", ERR_GOOGLE, NOW + i * DENIED);
		assert_true(closed_for(*state, "key", NOW + i * DENIED) == DENIED);
	}
}

/* It may be throttling in disguise. */
static void
a_denial_in_doubt_is_remembered_as_trouble_is(void **state)
{
	static const unsigned seconds[] = { 1, 2, 4, 60, 1, 2 };
	static const bool doubtful[] = { true, true, true, false, true, true };
	uint64_t now = NOW, span;
	struct err e, got;

	for (size_t i = 0; i < ARRAY_SIZE(seconds); i++) {
		err_set(&e, ERR_GOOGLE, "no role");
		e.doubtful = doubtful[i];
		failures_put(*state, "key", 3, &e, now);
		span = seconds[i] * USEC_PER_SEC;
		assert_int_equal(get(*state, "key", now, &got), -EREMOTEIO);
		assert_true(got.retry_usec == span);
		now += span;
		assert_int_equal(get(*state, "key", now, &got), 0);
	}
}

static void
the_time_left_is_told(void **state)
{
	struct err e;

	put(*state, "key", ERR_GOOGLE, NOW);
	assert_int_equal(get(*state, "key", NOW, &e), -EREMOTEIO);
	assert_true(e.retry_usec == DENIED);
	assert_int_equal(get(*state, "key", NOW + DENIED - 7, &e), -EREMOTEIO);
	assert_true(e.retry_usec == 7);
}

static void
trouble_doubles_while_it_lasts_up_to_its_maximum(void **state)
{
	static const unsigned seconds[] = { 1, 2, 4, 8, 16, 30, 30, 30 };
	static const enum err_kind kinds[] = {
		ERR_UNAVAILABLE, ERR_TIMEOUT, ERR_NOT_FOUND,
	};
	uint64_t now = NOW, span;

	for (size_t i = 0; i < ARRAY_SIZE(seconds); i++) {
		put(*state, "key", kinds[i % ARRAY_SIZE(kinds)], now);
		span = seconds[i] * USEC_PER_SEC;
		assert_true(closed_for(*state, "key", now) == span);
		assert_true(closed_for(*state, "key", now + span) == 0);
		now += span;
	}
}

static void
every_key_has_a_span_of_its_own(void **state)
{
	put(*state, "a", ERR_UNAVAILABLE, NOW);
	put(*state, "a", ERR_UNAVAILABLE, NOW);
	put(*state, "b", ERR_UNAVAILABLE, NOW);
	assert_true(closed_for(*state, "a", NOW) == 2 * FIRST);
	assert_true(closed_for(*state, "b", NOW) == FIRST);
}

static void
after_a_success_it_begins_anew(void **state)
{
	put(*state, "key", ERR_UNAVAILABLE, NOW);
	put(*state, "key", ERR_UNAVAILABLE, NOW);
	failures_drop(*state, "key", 3);
	assert_true(closed_for(*state, "key", NOW) == 0);
	put(*state, "key", ERR_UNAVAILABLE, NOW);
	assert_true(closed_for(*state, "key", NOW) == FIRST);
}

static void
trouble_after_a_denial_begins_at_the_first_span(void **state)
{
	put(*state, "key", ERR_GOOGLE, NOW);
	put(*state, "key", ERR_UNAVAILABLE, NOW);
	assert_true(closed_for(*state, "key", NOW) == FIRST);
	put(*state, "key", ERR_GOOGLE, NOW);
	assert_true(closed_for(*state, "key", NOW) == DENIED);
}

static void
what_costs_nothing_to_find_out_is_not_remembered(void **state)
{
	static const enum err_kind kinds[] = {
		ERR_INTERNAL, ERR_REQUEST, ERR_POLICY, ERR_BUSY,
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		put(*state, "key", kinds[i], NOW);
		assert_int_equal(failures_len(*state), 0);
	}
}

static void
what_is_not_remembered_takes_the_place_of_what_was(void **state)
{
	put(*state, "key", ERR_GOOGLE, NOW);
	put(*state, "key", ERR_BUSY, NOW);
	assert_int_equal(failures_len(*state), 0);
	assert_true(closed_for(*state, "key", NOW) == 0);
}

static void
a_span_of_nothing_remembers_nothing(void **state _unused_)
{
	struct failures_options o = { .max = 8 };
	_cleanup_(failures_freep) struct failures *f = failures_new(&o);

	put(f, "a", ERR_GOOGLE, NOW);
	put(f, "b", ERR_UNAVAILABLE, NOW);
	put(f, "b", ERR_UNAVAILABLE, NOW);
	assert_int_equal(failures_len(f), 0);
}

static void
upstream_may_ask_for_more_time_than_ours(void **state)
{
	struct err e;

	err_set(&e, ERR_UNAVAILABLE, "quota");
	e.retry_usec = 20 * USEC_PER_SEC;
	failures_put(*state, "key", 3, &e, NOW);
	assert_true(closed_for(*state, "key", NOW) == 20 * USEC_PER_SEC);

	e.retry_usec = 1;
	failures_put(*state, "key", 3, &e, NOW);
	assert_true(closed_for(*state, "key", NOW) == 2 * FIRST);
}

static void
upstream_cannot_close_a_key_for_good(void **state)
{
	static const uint64_t waits[] = {
		DENIED + 1, UINT64_MAX / 2, UINT64_MAX - NOW, UINT64_MAX
	};
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(waits); i++) {
		err_set(&e, ERR_UNAVAILABLE, "quota");
		e.retry_usec = waits[i];
		failures_put(*state, "key", 3, &e, NOW);
		assert_true(closed_for(*state, "key", NOW) == DENIED);
	}
}

static void
a_failure_may_be_put_back_as_it_was_got(void **state)
{
	struct err e;

	put(*state, "key", ERR_GOOGLE, NOW);
	assert_int_equal(get(*state, "key", NOW, &e), -EREMOTEIO);
	failures_put(*state, "key", 3, &e, NOW + 5);
	assert_true(closed_for(*state, "key", NOW + 5) == DENIED);
	assert_int_equal(failures_len(*state), 1);
}

static void
at_the_limit_the_oldest_is_forgotten(void **state)
{
	char key[16];

	for (unsigned i = 0; i < 9; i++) {
		snprintf(key, sizeof(key), "key %u", i);
		put(*state, key, ERR_GOOGLE, NOW + i);
	}
	assert_int_equal(failures_len(*state), 8);
	assert_true(closed_for(*state, "key 0", NOW + 9) == 0);
	for (unsigned i = 1; i < 9; i++) {
		snprintf(key, sizeof(key), "key %u", i);
		assert_true(closed_for(*state, key, NOW + 9) > 0);
	}
}

static void
failing_again_makes_a_key_young(void **state)
{
	char key[16];

	for (unsigned i = 0; i < 8; i++) {
		snprintf(key, sizeof(key), "key %u", i);
		put(*state, key, ERR_GOOGLE, NOW);
	}
	put(*state, "key 0", ERR_GOOGLE, NOW + 1);
	assert_int_equal(failures_len(*state), 8);
	put(*state, "new", ERR_GOOGLE, NOW + 2);
	assert_true(closed_for(*state, "key 0", NOW + 2) > 0);
	assert_true(closed_for(*state, "key 1", NOW + 2) == 0);
}

static void
keys_are_bytes(void **state)
{
	struct err e;

	err_set(&e, ERR_GOOGLE, "x");
	failures_put(*state, "a\0b", 3, &e, NOW);
	assert_int_equal(failures_get(*state, "a\0b", 3, NOW, &e), -EREMOTEIO);
	assert_int_equal(failures_get(*state, "a\0c", 3, NOW, &e), 0);
	assert_int_equal(failures_get(*state, "a", 1, NOW, &e), 0);
	failures_drop(*state, "a\0c", 3);
	assert_int_equal(failures_len(*state), 1);
}

static void
a_flush_forgets_all(void **state)
{
	put(*state, "a", ERR_GOOGLE, NOW);
	put(*state, "b", ERR_UNAVAILABLE, NOW);
	failures_flush(*state);
	assert_int_equal(failures_len(*state), 0);
	assert_true(closed_for(*state, "a", NOW) == 0);
	put(*state, "b", ERR_UNAVAILABLE, NOW);
	assert_true(closed_for(*state, "b", NOW) == FIRST);
}

static void
thousands_of_keys_keep_to_the_limit(void **state _unused_)
{
	struct failures_options o = options;
	_cleanup_(failures_freep) struct failures *f = NULL;
	struct err e;

	o.max = 1000;
	f = failures_new(&o);
	err_set(&e, ERR_GOOGLE, "x");
	for (uint32_t i = 0; i < 10000; i++)
		failures_put(f, &i, sizeof(i), &e, NOW + i);
	assert_int_equal(failures_len(f), 1000);
	for (uint32_t i = 0; i < 10000; i++)
		assert_int_equal(failures_get(f, &i, sizeof(i), NOW + 10000,
					      &e) < 0, i >= 9000);
}

static void
an_audience_is_forgotten_in_all_its_variants(void **state)
{
	static const struct token_key keys[] = {
		{ TOKEN_ID, "default", "", "a" },
		{ TOKEN_ID, "default", "full", "a" },
		{ TOKEN_ID, "default", "", "aa" },
		{ TOKEN_ID, "a", "a", "b" },
	};
	struct err e, found;

	err_set(&e, ERR_GOOGLE, "x");
	for (int drop = 0; drop < 2; drop++) {
		for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
			size_t len;
			_cleanup_(freep) char *bytes =
				token_key_bytes(&keys[i], &len);

			if (drop == 0)
				failures_put(*state, bytes, len, &e, NOW);
			else
				assert_int_equal(failures_get(*state, bytes, len,
							      NOW, &found) < 0,
						 i >= 2);
		}
		failures_drop_audience(*state, "a");
	}
	assert_int_equal(failures_len(*state), 2);
}

static void
freeing_nothing_is_fine(void **state _unused_)
{
	assert_null(failures_free(NULL));
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_held_against_a_key_that_never_failed),
		TEST(a_failure_is_told_in_its_own_words),
		TEST(a_denial_is_remembered_for_its_span_and_not_longer),
		TEST(a_denial_does_not_double),
		TEST(a_denial_in_doubt_is_remembered_as_trouble_is),
		TEST(the_time_left_is_told),
		TEST(trouble_doubles_while_it_lasts_up_to_its_maximum),
		TEST(every_key_has_a_span_of_its_own),
		TEST(after_a_success_it_begins_anew),
		TEST(trouble_after_a_denial_begins_at_the_first_span),
		TEST(what_costs_nothing_to_find_out_is_not_remembered),
		TEST(what_is_not_remembered_takes_the_place_of_what_was),
		cmocka_unit_test(a_span_of_nothing_remembers_nothing),
		TEST(upstream_may_ask_for_more_time_than_ours),
		TEST(upstream_cannot_close_a_key_for_good),
		TEST(a_failure_may_be_put_back_as_it_was_got),
		TEST(at_the_limit_the_oldest_is_forgotten),
		TEST(failing_again_makes_a_key_young),
		TEST(keys_are_bytes),
		TEST(a_flush_forgets_all),
		TEST(an_audience_is_forgotten_in_all_its_variants),
		cmocka_unit_test(thousands_of_keys_keep_to_the_limit),
		cmocka_unit_test(freeing_nothing_is_fine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
