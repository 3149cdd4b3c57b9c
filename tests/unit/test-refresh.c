/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "token/refresh.h"

#define S	USEC_PER_SEC
#define LIFE	(3600 * S)
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
	assert_true(refresh_after(&usual, LIFE, 0) == 3000 * S);
	assert_true(refresh_after(&usual, LIFE, 300 * S) == 2700 * S);
	assert_true(refresh_after(&usual, LIFE, 300 * S + 1) == 3000 * S);
}

static void
a_short_token_lives_a_quarter_of_its_life_at_least(void **state)
{
	(void)state;
	for (uint64_t life = 0; life < 2400 * S; life += 999999)
		for (uint64_t random = 0; random < 700 * S; random += 23 * S) {
			uint64_t after = refresh_after(&usual, life, random);

			assert_true(after >= life / 4);
			assert_true(after <= life);
		}
}

static void
an_expired_token_is_refreshed_at_once(void **state)
{
	(void)state;
	assert_true(refresh_after(&usual, 0, 77) == 0);
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
		uint64_t at = refresh_after(&usual, LIFE,
					    hash_bytes(&seed, &n, sizeof(n)));
		size_t i = (size_t)((at - 2700 * S) / (10 * S));

		buckets[i < 30 ? i : 29]++;
	}
	for (size_t i = 0; i < 30; i++)
		assert_true(buckets[i] < 2 * VMS / 30);
}

/* The same where the metadata server hands out tokens that are half over. */
static void
a_fleet_with_short_tokens_shows_no_spike_either(void **state)
{
	enum { SHORT = 1200, BUCKETS = SHORT / 4 / 10 };
	unsigned buckets[BUCKETS + 1] = { 0 };
	uint64_t n = 0;

	(void)state;
	for (uint64_t vm = 0; vm < VMS; vm++) {
		struct hash_key seed = { 0x5eed, vm };
		uint64_t at = refresh_after(&usual, SHORT * S,
					    hash_bytes(&seed, &n, sizeof(n)));

		buckets[(at - SHORT / 4 * S) / (10 * S)]++;
	}
	for (size_t i = 0; i <= BUCKETS; i++)
		assert_true(buckets[i] < 2 * VMS / BUCKETS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			an_hours_token_is_refreshed_ten_to_fifteen_minutes_ahead),
		cmocka_unit_test(
			a_short_token_lives_a_quarter_of_its_life_at_least),
		cmocka_unit_test(an_expired_token_is_refreshed_at_once),
		cmocka_unit_test(
			a_fleet_shows_no_spike_over_twice_the_mean_in_ten_seconds),
		cmocka_unit_test(a_fleet_with_short_tokens_shows_no_spike_either),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
