/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/heap.h"

#define MANY	1000

static uint64_t seed;

static uint64_t
next(void)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return seed >> 33;
}

static void
fill(struct heap *h, struct rank r[static MANY])
{
	seed = 1;
	for (size_t i = 0; i < MANY; i++) {
		r[i] = (struct rank){ .first = (int64_t)(next() % 100),
				      .second = next() % 10 };
		heap_add(h, &r[i]);
	}
}

/* Takes all of them out; they come in order. */
static void
drain(struct heap *h, size_t expected)
{
	struct rank last = { .first = INT64_MIN };
	size_t n = 0;

	for (; h->len > 0; n++) {
		struct rank *r = h->ranks[0];

		assert_int_equal(r->index, 0);
		assert_true(r->first > last.first || (r->first == last.first &&
						      r->second >= last.second));
		last = *r;
		heap_remove(h, r);
	}
	assert_int_equal(n, expected);
}

static void
what_was_added_comes_in_order(void **state)
{
	static struct rank r[MANY];
	struct heap h = { .len = 0 };

	(void)state;
	fill(&h, r);
	drain(&h, MANY);
	heap_clear(&h);
}

static void
what_is_taken_from_the_middle_leaves_the_rest_in_order(void **state)
{
	static struct rank r[MANY];
	struct heap h = { .len = 0 };

	(void)state;
	fill(&h, r);
	for (size_t i = 0; i < MANY; i += 3)
		heap_remove(&h, &r[i]);
	drain(&h, MANY - (MANY + 2) / 3);
	heap_clear(&h);
}

static void
a_rank_that_changes_moves_to_its_place(void **state)
{
	static struct rank r[MANY];
	struct heap h = { .len = 0 };

	(void)state;
	fill(&h, r);
	for (size_t i = 0; i < MANY; i += 2) {
		r[i].first = (int64_t)(next() % 200) - 50;
		heap_fix(&h, &r[i]);
	}
	drain(&h, MANY);
	heap_clear(&h);
	assert_null(h.ranks);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_added_comes_in_order),
		cmocka_unit_test(
			what_is_taken_from_the_middle_leaves_the_rest_in_order),
		cmocka_unit_test(a_rank_that_changes_moves_to_its_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
