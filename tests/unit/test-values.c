/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "http/parse.h"

static struct http_span
span(const char *s)
{
	return (struct http_span){ .p = s, .len = s ? strlen(s) : 0 };
}

static void
query_values_are_decoded_once(void **state _unused_)
{
	static const struct {
		int found;
		const char *query, *value;
	} cases[] = {
		{ 0, NULL, NULL },
		{ 0, "", NULL },
		{ 0, "&&", NULL },
		{ 0, "b=c", NULL },
		{ 0, "ab=c", NULL },
		{ 0, "A=c", NULL },
		{ 0, "%61=c", NULL },
		{ 1, "a", "" },
		{ 1, "a=", "" },
		{ 1, "a&b", "" },
		{ 1, "x=1&a=b+c%20%2b%2B", "b c ++" },
		{ 1, "a=%2561", "%61" },
		{ 1, "a=https://x:80/y?z=@w&b=%zz", "https://x:80/y?z=@w" },
		{ 1, "a=%C3%A4%ff", "\xc3\xa4\xff" },
		{ 1, "ab=x&a=y&aa=z", "y" },
		{ -1, "a=1&a=2", NULL },
		{ -1, "a=1&b&a", NULL },
		{ -1, "a=%", NULL },
		{ -1, "a=%4", NULL },
		{ -1, "a=%4&b=1", NULL },
		{ -1, "a=%4g", NULL },
		{ -1, "a=%%41", NULL },
		{ -1, "a=%%%%%", NULL },
		{ -1, "a=ok%00", NULL },
		{ -1, "a=12345678901234567890123456789012x", NULL },
		{ 1, "a=12345678901234567890123456789%20%20%20",
		  "12345678901234567890123456789   " },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(buf_free) struct buf b = BUF_INIT(32);
		struct err e;
		int r;

		r = http_query_get(span(cases[i].query), "a", &b, &e);
		if (cases[i].found < 0) {
			assert_true(r < 0);
			assert_int_equal(e.status, 400);
			assert_int_equal(b.len, 0);
			continue;
		}
		assert_int_equal(r, cases[i].found);
		assert_string_equal(buf_str(&b), r ? cases[i].value : "");
	}
}

static void
query_value_is_appended(void **state _unused_)
{
	_cleanup_(buf_free) struct buf b = BUF_INIT(32);

	buf_adds(&b, "x:");
	assert_int_equal(http_query_get(span("a=y"), "a", &b, NULL), 1);
	assert_string_equal(b.data, "x:y");
	assert_true(http_query_get(span("a=yyy%00"), "a", &b, NULL) < 0);
	assert_string_equal(b.data, "x:y");
}

static void
directives_are_read(void **state _unused_)
{
	static const struct {
		int r;
		const char *value;
		uint64_t n;
	} cases[] = {
		{ 0, NULL, 0 },
		{ 0, "", 0 },
		{ 0, "no-cache, xwait=5, waits=5", 0 },
		{ 0, "x=\"wait=5, wait=6\"", 0 },
		{ 0, "x; wait=5", 0 },
		{ 1, "wait=5", 5 },
		{ 1, "WAIT=5", 5 },
		{ 1, "no-cache,wait=\"10\"", 10 },
		{ 1, " , wait = 7 , x", 7 },
		{ 1, "wait=5; x=y, z", 5 },
		{ 1, "wait=18446744073709551615", UINT64_MAX },
		{ -EINVAL, "wait", 0 },
		{ -EINVAL, "wait=", 0 },
		{ -EINVAL, "wait=\"\"", 0 },
		{ -EINVAL, "wait=\"5", 0 },
		{ -EINVAL, "wait=-5", 0 },
		{ -EINVAL, "wait=5s", 0 },
		{ -EINVAL, "wait=1.5", 0 },
		{ -EINVAL, "wait=18446744073709551616", 0 },
		{ -EINVAL, "wait=5, wait=5", 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t n = 0;

		assert_int_equal(http_directive(span(cases[i].value), "wait", &n),
				 cases[i].r);
		assert_int_equal(n, cases[i].n);
	}
	assert_true(http_directive_present(span("a, No-Cache"), "no-cache"));
	assert_true(http_directive_present(span("wait=5"), "wait"));
	assert_false(http_directive_present(span("no-cache2"), "no-cache"));
	assert_false(http_directive_present(span(NULL), "no-cache"));
}

static void
reasons_are_known(void **state _unused_)
{
	assert_string_equal(http_reason(404), "Not Found");
	assert_string_equal(http_reason(299), "Unknown");
	assert_true(http_span_is_case(span("gOOgle"), "Google"));
	assert_false(http_span_is_case(span("Googl"), "Google"));
	assert_false(http_span_is(span("google"), "Google"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(query_values_are_decoded_once),
		cmocka_unit_test(query_value_is_appended),
		cmocka_unit_test(directives_are_read),
		cmocka_unit_test(reasons_are_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
