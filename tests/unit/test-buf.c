/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static void
appends_add_up_to_one_string(void **state _unused_)
{
	_cleanup_(buf_free) struct buf b = BUF_INIT(100);

	assert_string_equal(buf_str(&b), "");
	assert_int_equal(buf_add(&b, "ab\0", 2), 0);
	assert_int_equal(buf_adds(&b, "cd"), 0);
	assert_int_equal(buf_addc(&b, 'e'), 0);
	assert_int_equal(buf_addf(&b, "%d%s", 12, "x"), 0);
	assert_string_equal(buf_str(&b), "abcde12x");
	assert_int_equal(b.len, 8);
	assert_false(b.overflow);
}

static void
nothing_appended_is_still_a_string(void **state _unused_)
{
	_cleanup_(buf_free) struct buf b = BUF_INIT(0);

	assert_int_equal(buf_add(&b, NULL, 0), 0);
	assert_int_equal(buf_adds(&b, ""), 0);
	assert_string_equal(b.data, "");
	assert_int_equal(buf_addc(&b, 'x'), -EMSGSIZE);
	assert_string_equal(b.data, "");
}

static void
the_limit_is_reached_and_not_passed(void **state _unused_)
{
	for (size_t max = 1; max < 2000; max += 37) {
		_cleanup_(buf_free) struct buf b = BUF_INIT(max);

		for (size_t i = 0; i < max; i++)
			assert_int_equal(buf_addc(&b, 'x'), 0);
		assert_false(b.overflow);
		assert_int_equal(buf_addc(&b, 'y'), -EMSGSIZE);
		assert_true(b.overflow);
		assert_int_equal(b.len, max);
		assert_int_equal(strlen(b.data), max);
		assert_true(b.size <= max + 1);
	}
}

static void
after_an_overflow_nothing_more_fits_until_reset(void **state _unused_)
{
	_cleanup_(buf_free) struct buf b = BUF_INIT(4);

	assert_int_equal(buf_adds(&b, "abc"), 0);
	assert_int_equal(buf_adds(&b, "de"), -EMSGSIZE);
	assert_int_equal(buf_addc(&b, 'd'), -EMSGSIZE);
	assert_int_equal(buf_addf(&b, "%c", 'd'), -EMSGSIZE);
	assert_null(buf_reserve(&b, 1));
	assert_string_equal(buf_str(&b), "abc");
	buf_reset(&b);
	assert_int_equal(buf_adds(&b, "wxyz"), 0);
	assert_string_equal(buf_str(&b), "wxyz");
}

static void
absurd_lengths_do_not_wrap_around(void **state _unused_)
{
	_cleanup_(buf_free) struct buf b = BUF_INIT(100);

	buf_adds(&b, "abc");
	assert_null(buf_reserve(&b, SIZE_MAX));
	assert_null(buf_reserve(&b, SIZE_MAX - 2));
	assert_string_equal(buf_str(&b), "abc");
}

static void
reserved_room_counts_when_the_caller_counts_it(void **state _unused_)
{
	_cleanup_(buf_free) struct buf b = BUF_INIT(1000);
	char *room;

	buf_adds(&b, "a");
	room = buf_reserve(&b, 999);
	assert_non_null(room);
	memcpy(room, "bc", 2);
	b.len += 2;
	assert_string_equal(buf_str(&b), "abc");
	buf_addc(&b, 'd');
	assert_string_equal(buf_str(&b), "abcd");
}

static void
consuming_drops_from_the_front_and_wipes_behind(void **state _unused_)
{
	_cleanup_(buf_free) struct buf b = BUF_INIT(100);

	buf_adds(&b, "secret-rest");
	buf_consume(&b, 7);
	assert_string_equal(buf_str(&b), "rest");
	for (size_t i = 4; i < b.size; i++)
		assert_int_equal(b.data[i], 0);
	buf_consume(&b, 4);
	assert_string_equal(buf_str(&b), "");
	buf_consume(&b, 0);
}

static void
reset_wipes_and_keeps_the_memory(void **state _unused_)
{
	_cleanup_(buf_free) struct buf b = BUF_INIT(100);
	const char *before;

	buf_adds(&b, "secret");
	before = b.data;
	buf_reset(&b);
	assert_ptr_equal(b.data, before);
	assert_int_equal(b.len, 0);
	for (size_t i = 0; i < b.size; i++)
		assert_int_equal(b.data[i], 0);
}

static void
contents_survive_every_move(void **state _unused_)
{
	_cleanup_(buf_free) struct buf b = BUF_INIT(1 << 20);

	for (unsigned i = 0; i < 40000; i++)
		assert_int_equal(buf_addf(&b, "%05u", i), 0);
	assert_int_equal(b.len, 200000);
	for (unsigned i = 0; i < 40000; i += 997) {
		char five[6] = { 0 };

		memcpy(five, b.data + 5 * i, 5);
		assert_int_equal(strtoul(five, NULL, 10), i);
	}
}

static void
a_stolen_string_leaves_an_empty_buffer(void **state _unused_)
{
	struct buf b = BUF_INIT(100);
	_cleanup_(freep) char *none = buf_steal(&b), *s = NULL;

	assert_string_equal(none, "");
	buf_adds(&b, "abc");
	s = buf_steal(&b);
	assert_string_equal(s, "abc");
	assert_null(b.data);
	assert_int_equal(b.len, 0);
	assert_int_equal(b.max, 100);
	buf_adds(&b, "again");
	assert_string_equal(buf_str(&b), "again");
	buf_free(&b);
	buf_free(&b);
	assert_int_equal(b.max, 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(appends_add_up_to_one_string),
		cmocka_unit_test(nothing_appended_is_still_a_string),
		cmocka_unit_test(the_limit_is_reached_and_not_passed),
		cmocka_unit_test(after_an_overflow_nothing_more_fits_until_reset),
		cmocka_unit_test(absurd_lengths_do_not_wrap_around),
		cmocka_unit_test(reserved_room_counts_when_the_caller_counts_it),
		cmocka_unit_test(consuming_drops_from_the_front_and_wipes_behind),
		cmocka_unit_test(reset_wipes_and_keeps_the_memory),
		cmocka_unit_test(contents_survive_every_move),
		cmocka_unit_test(a_stolen_string_leaves_an_empty_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
