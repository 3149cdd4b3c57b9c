/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/retry.h"

#define NOW	(1000 * USEC_PER_SEC)
#define NEVER	UINT64_MAX

static const struct retry_options opt = {
	.tries = 4,
	.first_usec = USEC_PER_SEC,
	.max_usec = 3 * USEC_PER_SEC,
	.retry_after_max_usec = 20 * USEC_PER_SEC,
};

/* Any 64 bits, the same in every run. */
static uint64_t
next_random(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) +
		UINT64_C(1442695040888963407);
	return *seed ^ *seed >> 29;
}

static void
what_may_pass_is_tried_again_and_nothing_else(void **state _unused_)
{
	static const unsigned transient[] = { 0,   408, 429, 500,
					      502, 503, 504, 529 };
	static const unsigned lasting[] = { 100, 200, 204, 301, 302,
					    307, 308, 400, 401, 403,
					    404, 405, 410, 501, 505 };

	for (size_t i = 0; i < ARRAY_SIZE(transient); i++)
		assert_true(retry_status_is_transient(transient[i]));
	for (size_t i = 0; i < ARRAY_SIZE(lasting); i++)
		assert_false(retry_status_is_transient(lasting[i]));
}

static void
a_lasting_status_is_not_tried_again(void **state _unused_)
{
	uint64_t delay = 7;

	assert_false(retry_next(&opt, 1, 404, 0, NOW, NEVER, 0, &delay));
	assert_int_equal(delay, 7);
}

static void
there_are_no_more_tries_than_configured(void **state _unused_)
{
	uint64_t delay;

	assert_true(retry_next(&opt, 3, 503, 0, NOW, NEVER, 0, &delay));
	assert_false(retry_next(&opt, 4, 503, 0, NOW, NEVER, 0, &delay));
	assert_false(retry_next(&opt, 5, 503, 0, NOW, NEVER, 0, &delay));
}

static void
the_bound_doubles_up_to_the_maximum(void **state _unused_)
{
	static const uint64_t bounds[] = { USEC_PER_SEC, 2 * USEC_PER_SEC,
					   3 * USEC_PER_SEC };
	uint64_t delay;

	/* random == bound is the largest that stays as it is. */
	for (unsigned done = 1; done <= 3; done++) {
		assert_true(retry_next(&opt, done, 0, 0, NOW, NEVER,
				       bounds[done - 1], &delay));
		assert_int_equal(delay, bounds[done - 1]);
		assert_true(retry_next(&opt, done, 0, 0, NOW, NEVER,
				       bounds[done - 1] + 1, &delay));
		assert_int_equal(delay, 0);
	}
}

static void
jitter_fills_the_whole_range(void **state _unused_)
{
	uint64_t seed = 1, delay, low = UINT64_MAX, high = 0;

	for (int i = 0; i < 1000; i++) {
		assert_true(retry_next(&opt, 1, 0, 0, NOW, NEVER,
				       next_random(&seed), &delay));
		low = MIN(low, delay);
		high = MAX(high, delay);
	}
	assert_true(low < USEC_PER_SEC / 20);
	assert_true(high > USEC_PER_SEC * 19 / 20);
}

static void
the_server_s_wish_is_honoured_and_spread(void **state _unused_)
{
	static const struct {
		uint64_t wish, left, latest;
	} cases[] = {
		{ 5 * USEC_PER_SEC, NEVER, 7500000 },	/* half of it more */
		{ 20 * USEC_PER_SEC, NEVER, 30 * USEC_PER_SEC },
		{ 1, NEVER, USEC_PER_SEC + 1 },		/* as without it */
		{ USEC_PER_SEC, NEVER, 2 * USEC_PER_SEC },
		/* Half of what is left stays for the try itself. */
		{ 5 * USEC_PER_SEC, 6 * USEC_PER_SEC, 5500000 },
		{ 5 * USEC_PER_SEC, 5 * USEC_PER_SEC + 2, 5000001 },
		{ 5 * USEC_PER_SEC, 5 * USEC_PER_SEC + 1, 5000000 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t wish = cases[i].wish, most = cases[i].latest - wish, delay;
		uint64_t deadline = MIN(cases[i].left, NEVER - NOW) + NOW;

		assert_true(retry_next(&opt, 1, 503, wish, NOW, deadline, 0,
				       &delay));
		assert_int_equal(delay, wish);
		assert_true(retry_next(&opt, 1, 503, wish, NOW, deadline, most,
				       &delay));
		assert_int_equal(delay, cases[i].latest);
		assert_true(retry_next(&opt, 1, 503, wish, NOW, deadline, most + 1,
				       &delay));
		assert_int_equal(delay, wish);
	}
}

static void
a_wish_that_ends_at_the_deadline_ends_the_tries(void **state _unused_)
{
	uint64_t delay = 7;

	for (uint64_t left = 0; left <= 5; left++)
		assert_false(retry_next(&opt, 1, 503, 5, NOW, NOW + left, 99,
					&delay));
	assert_int_equal(delay, 7);
}

/* A fleet that was told the same in one second. */
static void
no_tenth_of_the_window_gets_twice_its_part(void **state _unused_)
{
	unsigned n[10] = { 0 };
	uint64_t seed = 7, delay, wish = 5 * USEC_PER_SEC;

	for (int vm = 0; vm < 1000; vm++) {
		assert_true(retry_next(&opt, 1, 429, wish, NOW, NEVER,
				       next_random(&seed), &delay));
		n[(delay - wish) * 10 / (wish / 2 + 1)]++;
	}
	for (size_t i = 0; i < ARRAY_SIZE(n); i++)
		assert_in_range(n[i], 50, 200);
}

static void
a_wish_too_long_ends_the_tries(void **state _unused_)
{
	uint64_t delay;

	assert_true(retry_next(&opt, 1, 503, opt.retry_after_max_usec, NOW,
			       NEVER, 0, &delay));
	assert_false(retry_next(&opt, 1, 503, opt.retry_after_max_usec + 1, NOW,
				NEVER, 0, &delay));
	assert_false(retry_next(&opt, 1, 503, UINT64_MAX, NOW, NEVER, 0, &delay));
}

static void
no_try_begins_at_or_after_the_deadline(void **state _unused_)
{
	uint64_t delay;

	assert_true(retry_next(&opt, 1, 0, 0, NOW, NOW + 101, 100, &delay));
	assert_false(retry_next(&opt, 1, 0, 0, NOW, NOW + 100, 100, &delay));
	assert_false(retry_next(&opt, 1, 0, 0, NOW, NOW, 0, &delay));
	assert_false(retry_next(&opt, 1, 0, 0, NOW, NOW - 1, 0, &delay));
}

static void
whatever_comes_in_the_delay_keeps_all_bounds(void **state _unused_)
{
	uint64_t seed = 42;

	for (int i = 0; i < 200000; i++) {
		/* Shifts make small numbers as likely as large ones. */
		struct retry_options o = {
			.tries = (unsigned)(next_random(&seed) % 80),
			.first_usec = next_random(&seed) >> next_random(&seed) % 64,
			.max_usec = next_random(&seed) >> next_random(&seed) % 64,
			.retry_after_max_usec =
				next_random(&seed) >> next_random(&seed) % 64,
		};
		unsigned done = (unsigned)(1 + next_random(&seed) % 80);
		unsigned status = (unsigned)(next_random(&seed) % 600);
		uint64_t wish = next_random(&seed) >> next_random(&seed) % 64;
		uint64_t now = next_random(&seed) >> next_random(&seed) % 64;
		uint64_t deadline = next_random(&seed) >> next_random(&seed) % 64;
		uint64_t delay = 1;

		if (!retry_next(&o, done, status, wish, now, deadline,
				next_random(&seed), &delay)) {
			assert_int_equal(delay, 1);
			continue;
		}
		assert_true(done < o.tries);
		assert_true(retry_status_is_transient(status));
		assert_true(wish <= o.retry_after_max_usec && delay >= wish);
		assert_true(delay - wish <= MAX(o.max_usec, wish / 2));
		assert_true(now < deadline && delay < deadline - now);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_may_pass_is_tried_again_and_nothing_else),
		cmocka_unit_test(a_lasting_status_is_not_tried_again),
		cmocka_unit_test(there_are_no_more_tries_than_configured),
		cmocka_unit_test(the_bound_doubles_up_to_the_maximum),
		cmocka_unit_test(jitter_fills_the_whole_range),
		cmocka_unit_test(the_server_s_wish_is_honoured_and_spread),
		cmocka_unit_test(a_wish_that_ends_at_the_deadline_ends_the_tries),
		cmocka_unit_test(no_tenth_of_the_window_gets_twice_its_part),
		cmocka_unit_test(a_wish_too_long_ends_the_tries),
		cmocka_unit_test(no_try_begins_at_or_after_the_deadline),
		cmocka_unit_test(whatever_comes_in_the_delay_keeps_all_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
