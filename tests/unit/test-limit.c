/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/limit.h"

#define START	(1000 * USEC_PER_SEC)

static struct limit *
limit_of(double per_second, unsigned burst, size_t peers)
{
	return limit_new(&(struct limit_options){
		.per_second = per_second, .burst = burst, .peers = peers });
}

static void
a_burst_and_then_the_rate(void **state _unused_)
{
	struct limit *l = limit_of(2, 64, 8);
	uint64_t wait = 0, now = START;

	for (int i = 0; i < 64; i++)
		assert_int_equal(limit_take(l, 7, now, &wait), 0);
	assert_int_equal(limit_take(l, 7, now, &wait), -EAGAIN);
	assert_int_equal(wait, USEC_PER_SEC / 2);

	/* Refused takes cost nothing; who waits as told gets one, and no more. */
	assert_int_equal(limit_take(l, 7, now + wait - 1, &wait), -EAGAIN);
	assert_int_equal(wait, 1);
	now += USEC_PER_SEC / 2;
	assert_int_equal(limit_take(l, 7, now, &wait), 0);
	assert_int_equal(limit_take(l, 7, now, &wait), -EAGAIN);

	/* A long rest fills it to the brim and not beyond. */
	now += USEC_PER_MIN * 60;
	for (int i = 0; i < 64; i++)
		assert_int_equal(limit_take(l, 7, now, &wait), 0);
	assert_int_equal(limit_take(l, 7, now, &wait), -EAGAIN);
	limit_free(l);
}

static void
peers_have_buckets_of_their_own(void **state _unused_)
{
	struct limit *l = limit_of(1, 1, 8);
	uint64_t wait;

	for (uint64_t peer = 0; peer < 8; peer++)
		assert_int_equal(limit_take(l, peer, START, &wait), 0);
	for (uint64_t peer = 0; peer < 8; peer++)
		assert_int_equal(limit_take(l, peer, START, &wait), -EAGAIN);
	limit_free(l);
}

static void
full_buckets_are_forgotten_first_then_the_fullest(void **state _unused_)
{
	struct limit *l = limit_of(1, 4, 2);
	uint64_t wait;

	/* 1 is empty, 2 lacks one. */
	for (int i = 0; i < 4; i++)
		assert_int_equal(limit_take(l, 1, START, &wait), 0);
	assert_int_equal(limit_take(l, 2, START, &wait), 0);

	/* 3 takes the place of 2. */
	assert_int_equal(limit_take(l, 3, START, &wait), 0);
	assert_int_equal(limit_take(l, 1, START, &wait), -EAGAIN);

	/* After a second 3 is full again: 4 takes its place, 1 stays what it is. */
	assert_int_equal(limit_take(l, 4, START + USEC_PER_SEC, &wait), 0);
	assert_int_equal(limit_take(l, 1, START + USEC_PER_SEC, &wait), 0);
	assert_int_equal(limit_take(l, 1, START + USEC_PER_SEC, &wait), -EAGAIN);
	limit_free(l);
}

static void
odd_rates_and_clocks(void **state _unused_)
{
	struct limit *l = limit_of(0.001, 1, 1);
	uint64_t wait;

	assert_int_equal(limit_take(l, 0, 0, &wait), 0);
	assert_int_equal(limit_take(l, 0, 0, &wait), -EAGAIN);
	assert_int_equal(wait, 1000 * USEC_PER_SEC);
	limit_free(l);

	l = limit_of(1e9, 1, 1);
	assert_int_equal(limit_take(l, 0, START, &wait), 0);
	assert_int_equal(limit_take(l, 0, START, &wait), -EAGAIN);
	assert_int_equal(wait, 1);
	limit_free(limit_free(l));
}

static void
another_rate_holds_at_once_and_forgets_nothing(void **state _unused_)
{
	struct limit *l = limit_of(1, 2, 8);
	uint64_t wait = 0, now = START;

	for (int i = 0; i < 2; i++)
		assert_int_equal(limit_take(l, 7, now, &wait), 0);
	limit_configure(l, &(struct limit_options){
		.per_second = 10, .burst = 2, .peers = 8 });
	assert_int_equal(limit_take(l, 7, now, &wait), -EAGAIN);
	now += 2 * USEC_PER_SEC;
	for (int i = 0; i < 2; i++)
		assert_int_equal(limit_take(l, 7, now, &wait), 0);
	assert_int_equal(limit_take(l, 7, now, &wait), -EAGAIN);
	assert_int_equal(wait, USEC_PER_SEC / 10);
	limit_free(l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_burst_and_then_the_rate),
		cmocka_unit_test(peers_have_buckets_of_their_own),
		cmocka_unit_test(full_buckets_are_forgotten_first_then_the_fullest),
		cmocka_unit_test(odd_rates_and_clocks),
		cmocka_unit_test(another_rate_holds_at_once_and_forgets_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
