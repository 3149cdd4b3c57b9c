/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/budget.h"

#define START	(1000 * USEC_PER_SEC)
#define NOBODY	0

static struct budget *
budget_of(unsigned per_minute, unsigned share, size_t payers)
{
	return budget_new(&(struct budget_options){
		.per_minute = per_minute, .share = share, .payers = payers });
}

/* How many the payer gets now. */
static unsigned
drain(struct budget *b, uint64_t payer, uint64_t now)
{
	uint64_t wait;
	unsigned n = 0;

	while (n < 100000 && budget_take(b, payer, now, &wait) == 0)
		n++;
	return n;
}

static void
a_minutes_worth_at_once_and_then_the_rate(void **state _unused_)
{
	struct budget *b = budget_of(300, 25, 8);
	uint64_t wait = 0;

	assert_int_equal(budget_left(b, START), 300);
	assert_int_equal(drain(b, NOBODY, START), 300);
	assert_int_equal(budget_left(b, START), 0);
	assert_int_equal(budget_take(b, NOBODY, START, &wait), -EAGAIN);
	assert_int_equal(wait, USEC_PER_SEC / 5);
	assert_int_equal(budget_take(b, NOBODY, START + wait - 1, &wait), -EAGAIN);
	assert_int_equal(wait, 1);
	assert_int_equal(drain(b, NOBODY, START + USEC_PER_SEC / 5), 1);
	assert_int_equal(drain(b, NOBODY, START + USEC_PER_SEC), 4);

	/* A long rest fills it to the brim and not beyond. */
	assert_int_equal(drain(b, NOBODY, START + 60 * USEC_PER_MIN), 300);
	budget_free(b);
}

/* Where this share of this budget ends, at once and in a minute. */
static const struct {
	unsigned per_minute, share, at_once, all_payers;
} shares[] = {
	{ 300, 25, 75, 270 },
	{ 300, 100, 270, 270 },
	{ 300, 1, 3, 270 },
	{ 300, 33, 99, 270 },
	{ 100, 1, 1, 90 },
	{ 60, 1, 1, 54 },		/* 0.6 is one, too */
	{ 10, 25, 2, 9 },
	{ 10, 1, 1, 9 },
	{ 2, 100, 1, 1 },
	{ 1, 100, 1, 1 },
};

static void
a_payer_gets_its_share_and_not_one_more(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_SIZE(shares); i++) {
		unsigned most = shares[i].at_once, all = shares[i].all_payers;
		struct budget *b = budget_of(shares[i].per_minute, shares[i].share,
					     1024);
		uint64_t wait = 0;
		unsigned n;

		assert_int_equal(drain(b, 7, START), most);
		if (most < all) {
			assert_int_equal(budget_take(b, 7, START, &wait), -EDQUOT);
			assert_in_range(wait, 1, USEC_PER_MIN);
		}
		/* Another one has its own; and then many have all. */
		assert_int_equal(drain(b, 8, START), MIN(most, all - most));
		n = most + MIN(most, all - most);
		for (uint64_t payer = 9; payer < 1000; payer++)
			n += drain(b, payer, START);
		assert_int_equal(n, all);
		budget_free(b);
	}
}

static void
the_last_tenth_is_nobodys(void **state _unused_)
{
	struct budget *b = budget_of(300, 100, 8);
	uint64_t wait = 0;

	assert_int_equal(drain(b, 7, START), 270);
	assert_int_equal(budget_left(b, START), 30);
	assert_int_equal(budget_take(b, 8, START, &wait), -EAGAIN);
	assert_int_equal(drain(b, NOBODY, START), 30);

	/* What nobody took comes back before any payer gets more. */
	assert_int_equal(budget_take(b, 8, START, &wait), -EAGAIN);
	assert_int_equal(wait, 31 * USEC_PER_SEC / 5);
	assert_int_equal(drain(b, 8, START + wait - 1), 0);
	assert_int_equal(drain(b, 8, START + wait), 1);
	budget_free(b);
}

static void
nobody_has_no_share(void **state _unused_)
{
	struct budget *b = budget_of(300, 1, 1);

	assert_int_equal(drain(b, NOBODY, START), 300);
	budget_free(b);
}

static void
to_ask_takes_nothing(void **state _unused_)
{
	struct budget *b = budget_of(40, 25, 8);
	uint64_t wait = 17;

	for (int i = 0; i < 100; i++)
		assert_int_equal(budget_ask(b, 7, START, &wait), 0);
	assert_int_equal(wait, 17);
	assert_int_equal(drain(b, 7, START), 10);
	assert_int_equal(budget_ask(b, 7, START, &wait), -EDQUOT);
	assert_int_equal(wait, 6 * USEC_PER_SEC);
	assert_int_equal(budget_ask(b, 7, START + wait, &wait), 0);
	budget_free(b);
}

static void
of_too_many_the_one_that_spent_least_is_forgotten(void **state _unused_)
{
	struct budget *b = budget_of(400, 1, 2);
	uint64_t wait;

	assert_int_equal(drain(b, 1, START), 4);
	assert_int_equal(budget_take(b, 2, START, &wait), 0);
	assert_int_equal(budget_take(b, 3, START, &wait), 0);	/* for 2 */
	assert_int_equal(drain(b, 1, START), 0);
	assert_int_equal(budget_left(b, START), 394);
	budget_free(b);
}

static void
without_a_limit_there_is_none(void **state _unused_)
{
	struct budget *b = budget_of(0, 0, 0);

	assert_int_equal(drain(b, 7, START), 100000);
	assert_int_equal(budget_left(b, START), UINT_MAX);
	assert_null(budget_free(budget_free(b)));
}

/* --- properties --------------------------------------------------------------- */

#define STEPS	20000
#define PAYERS	6

static uint64_t
next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

struct taken {
	uint64_t at;
	uint64_t payer;
};

/* In any stretch of time no more than what a full bucket and that time give. */
static void
check_windows(const struct taken *t, size_t n, uint64_t per_minute)
{
	for (size_t first = 0, last = 0; last < n; last++) {
		while (t[last].at - t[first].at > USEC_PER_MIN)
			first++;
		assert_in_range(last - first + 1, 1, 2 * per_minute);
	}
}

static void
no_minute_has_more_than_budget_and_full_bucket(void **state _unused_)
{
	static struct taken all[STEPS], own[STEPS];

	for (uint64_t run = 1; run <= 20; run++) {
		uint64_t seed = run * 0x9e3779b97f4a7c15, now = START, wait;
		unsigned per_minute = 10 + (unsigned)(next_random(&seed) % 600);
		unsigned share = 1 + (unsigned)(next_random(&seed) % 100);
		struct budget *b = budget_of(per_minute, share, PAYERS);
		uint64_t one = MAX(per_minute * share / 100, 1U);
		size_t n = 0, n_own;

		for (size_t i = 0; i < STEPS; i++) {
			uint64_t payer = next_random(&seed) % (PAYERS + 1);

			/* Crowds, trickles, and now and then a rest. */
			if (next_random(&seed) % 4 == 0)
				now += next_random(&seed) % (run % 2 ? 20000
							     : USEC_PER_SEC);
			if (next_random(&seed) % 5000 == 0)
				now += USEC_PER_MIN;
			if (budget_take(b, payer, now, &wait) == 0)
				all[n++] = (struct taken){ now, payer };
			else
				assert_in_range(wait, 1, 2 * USEC_PER_MIN);
		}
		assert_true(n > per_minute);
		check_windows(all, n, per_minute);
		for (uint64_t payer = 1; payer <= PAYERS; payer++) {
			n_own = 0;
			for (size_t i = 0; i < n; i++)
				if (all[i].payer == payer)
					own[n_own++] = all[i];
			check_windows(own, n_own, one);
		}
		budget_free(b);
	}
}

/* One takes whatever it can get at any moment; those who ask within their share,
   and nobody in particular, never see it. */
static void
a_greedy_payer_takes_nothing_from_others(void **state _unused_)
{
	struct budget *b = budget_of(300, 25, 64);
	uint64_t seed = 4711, now = START, wait, next[4] = { 0 };

	for (size_t i = 0; i < STEPS; i++, now += next_random(&seed) % 50000) {
		drain(b, 99, now);
		for (uint64_t p = 0; p < 3; p++) {	/* 0: nobody */
			if (now < next[p])
				continue;
			assert_int_equal(budget_take(b, p, now, &wait), 0);
			next[p] = now + USEC_PER_MIN / 70;
		}
	}
	budget_free(b);
}

/* However many payers take all they can get, nobody gets as much as the rate
   gives, and they share what is left. */
static void
greedy_payers_do_not_starve_nobody(void **state _unused_)
{
	struct budget *b = budget_of(300, 25, 64);
	uint64_t now = START, end = START + 10 * USEC_PER_MIN, wait, next = START;

	for (; now < end; now += 10 * USEC_PER_MSEC) {
		for (uint64_t payer = 1; payer < 40; payer++)
			drain(b, payer, now);
		if (now < next)
			continue;
		assert_int_equal(budget_take(b, NOBODY, now, &wait), 0);
		next = now + USEC_PER_SEC / 5;
	}
	budget_free(b);
}

/* Who waits as long as it is told gets one, if nobody else is there. */
static void
the_wait_is_exact(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_SIZE(shares); i++) {
		struct budget *b = budget_of(shares[i].per_minute, shares[i].share,
					     4);
		uint64_t now = START, wait = 0;

		for (int k = 0; k < 1000; k++) {
			if (budget_take(b, 1, now, &wait) == 0)
				continue;
			assert_true(budget_ask(b, 1, now + wait - 1,
					       &(uint64_t){ 0 }) < 0);
			now += wait;
			assert_int_equal(budget_ask(b, 1, now, &wait), 0);
		}
		budget_free(b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_minutes_worth_at_once_and_then_the_rate),
		cmocka_unit_test(a_payer_gets_its_share_and_not_one_more),
		cmocka_unit_test(the_last_tenth_is_nobodys),
		cmocka_unit_test(nobody_has_no_share),
		cmocka_unit_test(to_ask_takes_nothing),
		cmocka_unit_test(of_too_many_the_one_that_spent_least_is_forgotten),
		cmocka_unit_test(without_a_limit_there_is_none),
		cmocka_unit_test(no_minute_has_more_than_budget_and_full_bucket),
		cmocka_unit_test(a_greedy_payer_takes_nothing_from_others),
		cmocka_unit_test(greedy_payers_do_not_starve_nobody),
		cmocka_unit_test(the_wait_is_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
