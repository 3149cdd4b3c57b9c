/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/metrics.h"

static int
setup(void **state)
{
	struct buf *b = xcalloc(1, sizeof(*b));

	*b = BUF_INIT(4096);
	*state = b;
	return 0;
}

static int
teardown(void **state)
{
	buf_free(*state);
	free(*state);
	return 0;
}

static void
a_counter_is_named_total_and_its_family_is_not(void **state)
{
	struct metrics m = { .to = *state };

	metrics_family(&m, METRICS_COUNTER, "jobs", NULL, "Jobs done.");
	metrics_value(&m, METRICS_NO_LABELS, 7);
	assert_string_equal(buf_str(*state),
			    "# TYPE jobs counter\n# HELP jobs Jobs done.\n"
			    "jobs_total 7\n");
}

static void
a_gauge_has_the_unit_that_its_name_ends_in(void **state)
{
	struct metrics m = { .to = *state };

	metrics_family(&m, METRICS_GAUGE, "age_seconds", "seconds", "Age.");
	metrics_value(&m, METRICS_NO_LABELS, 0);
	assert_string_equal(buf_str(*state),
			    "# TYPE age_seconds gauge\n# UNIT age_seconds seconds\n"
			    "# HELP age_seconds Age.\nage_seconds 0\n");
}

static void
info_is_its_labels(void **state)
{
	struct metrics m = { .to = *state };

	metrics_family(&m, METRICS_INFO, "build", NULL, "Build.");
	metrics_value(&m, METRICS_LABELS({ "version", "1" }, { "by", "me" }), 1);
	assert_string_equal(buf_str(*state),
			    "# TYPE build info\n# HELP build Build.\n"
			    "build_info{version=\"1\",by=\"me\"} 1\n");
}

static void
a_family_has_any_number_of_values(void **state)
{
	struct metrics m = { .to = *state };

	metrics_family(&m, METRICS_GAUGE, "g", NULL, "G.");
	metrics_value(&m, METRICS_LABELS({ "of", "a" }), 1);
	metrics_value(&m, METRICS_LABELS({ "of", "b" }), UINT64_MAX);
	assert_string_equal(buf_str(*state),
			    "# TYPE g gauge\n# HELP g G.\ng{of=\"a\"} 1\n"
			    "g{of=\"b\"} 18446744073709551615\n");
}

static void
quotes_backslashes_and_line_ends_are_escaped(void **state)
{
	struct metrics m = { .to = *state };

	metrics_family(&m, METRICS_GAUGE, "g", NULL, "Say \"a\\b\",\nthen c.");
	metrics_value(&m, METRICS_LABELS({ "l", "\"\\\n\xc3\xa9{}=," }), 1);
	assert_string_equal(buf_str(*state),
			    "# TYPE g gauge\n"
			    "# HELP g Say \\\"a\\\\b\\\",\\nthen c.\n"
			    "g{l=\"\\\"\\\\\\n\xc3\xa9{}=,\"} 1\n");
}

static void
the_end_is_marked(void **state)
{
	struct metrics m = { .to = *state };

	metrics_end(&m);
	assert_string_equal(buf_str(*state), "# EOF\n");
}

static void
at_the_limit_the_buffer_says_so(void **state)
{
	struct buf small = BUF_INIT(40);
	struct metrics m = { .to = &small };

	(void)state;
	metrics_family(&m, METRICS_GAUGE, "g", NULL, "G.");
	assert_false(small.overflow);
	metrics_value(&m, METRICS_LABELS({ "of", "the-twelfth-value" }), 1);
	assert_true(small.overflow);
	buf_free(&small);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_counter_is_named_total_and_its_family_is_not, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			a_gauge_has_the_unit_that_its_name_ends_in, setup,
			teardown),
		cmocka_unit_test_setup_teardown(info_is_its_labels, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_family_has_any_number_of_values,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			quotes_backslashes_and_line_ends_are_escaped, setup,
			teardown),
		cmocka_unit_test_setup_teardown(the_end_is_marked, setup, teardown),
		cmocka_unit_test(at_the_limit_the_buffer_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
