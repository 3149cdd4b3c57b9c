/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "token/refresh.h"

#define NOW	INT64_C(1767225600)
#define VMS	1000

static const struct refresh_options usual = {
	.ahead_usec = 600 * USEC_PER_SEC,
	.jitter_usec = 300 * USEC_PER_SEC,
	.idle_limit = 2,
};

static void
an_hours_token_is_refreshed_ten_to_fifteen_minutes_ahead(void **state)
{
	(void)state;
	assert_true(refresh_time(&usual, NOW, NOW + 3600, 0) == NOW + 3000);
	assert_true(refresh_time(&usual, NOW, NOW + 3600, 300) == NOW + 2700);
	assert_true(refresh_time(&usual, NOW, NOW + 3600, 301) == NOW + 3000);
}

static void
a_short_token_lives_a_quarter_of_its_life_at_least(void **state)
{
	(void)state;
	for (int64_t life = 0; life < 2400; life++)
		for (uint64_t random = 0; random < 700; random += 23) {
			int64_t at = refresh_time(&usual, NOW, NOW + life, random);

			assert_true(at >= NOW + life / 4);
			assert_true(at <= NOW + life);
		}
}

static void
an_expired_token_is_refreshed_at_its_expiry(void **state)
{
	(void)state;
	assert_true(refresh_time(&usual, NOW, NOW - 5, 77) == NOW - 5);
}

/* All VMs got theirs in the same second. */
static void
a_fleet_shows_no_spike_over_twice_the_mean_in_ten_seconds(void **state)
{
	unsigned buckets[30] = { 0 };
	uint64_t n = 0;

	(void)state;
	for (uint64_t vm = 0; vm < VMS; vm++) {
		struct hash_key seed = { 0x5eed, vm };
		int64_t at = refresh_time(&usual, NOW, NOW + 3600,
					  hash_bytes(&seed, &n, sizeof(n)));
		size_t i = (size_t)(at - (NOW + 2700)) / 10;

		buckets[i < 30 ? i : 29]++;
	}
	for (size_t i = 0; i < 30; i++)
		assert_true(buckets[i] < 2 * VMS / 30);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			an_hours_token_is_refreshed_ten_to_fifteen_minutes_ahead),
		cmocka_unit_test(
			a_short_token_lives_a_quarter_of_its_life_at_least),
		cmocka_unit_test(an_expired_token_is_refreshed_at_its_expiry),
		cmocka_unit_test(
			a_fleet_shows_no_spike_over_twice_the_mean_in_ten_seconds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
