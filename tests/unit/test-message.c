/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "http/message.h"
#include "vectors.h"

static void
line(struct http_response *re, const char *s)
{
	http_response_line(re, s, strlen(s));
}

static void
a_field_is_a_name_and_a_value(void **state _unused_)
{
	struct http_request q = { .method = "GET" };

	http_request_field(&q, "Metadata-Flavor", "Google");
	http_request_field(&q, "Accept", "application/json");
	assert_int_equal(q.n_fields, 2);
	assert_string_equal(q.fields[0], "Metadata-Flavor: Google");
	assert_string_equal(q.fields[1], "Accept: application/json");
	http_request_clear(&q);
}

static void
a_cleared_request_is_empty_and_may_be_cleared_again(void **state _unused_)
{
	struct http_request q = { .method = "POST", .url = xstrdup("http://h/"),
				  .body = xstrdup("secret"), .body_len = 6 };

	http_request_field(&q, "Authorization", "Bearer x");
	http_request_clear(&q);
	assert_null(q.url);
	assert_null(q.body);
	assert_int_equal(q.n_fields, 0);
	http_request_clear(&q);
}

static void
names_of_headers_come_in_any_case(void **state _unused_)
{
	struct http_response re = HTTP_RESPONSE_INIT;

	line(&re, "mEtaDATA-fLAVOR:Google\r\n");
	line(&re, "DATE:  Thu, 01 Jan 2026 00:00:00 GMT \r\n");
	line(&re, "content-type: application/json; charset=UTF-8\r\n");
	assert_true(re.flavor_google);
	assert_int_equal(re.date, VEC_NOW);
	assert_string_equal(re.content_type, "application/json; charset=UTF-8");
}

static void
only_the_exact_flavor_counts(void **state _unused_)
{
	static const char *const others[] = {
		"Metadata-Flavor: google",   "Metadata-Flavor: Google, Google",
		"Metadata-Flavor:",	     "Metadata-Flavor: Googl",
		"X-Metadata-Flavor: Google", "Metadata-Flavor : Google",
		" Metadata-Flavor: Google",  "Metadata-Flavor",
		"Metadata-Flavour: Google",
	};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		struct http_response re = HTTP_RESPONSE_INIT;

		line(&re, others[i]);
		assert_false(re.flavor_google);
	}
}

static void
a_later_foreign_flavor_takes_it_away(void **state _unused_)
{
	struct http_response re = HTTP_RESPONSE_INIT;

	line(&re, "Metadata-Flavor: Google\r\n");
	line(&re, "Metadata-Flavor: Other\r\n");
	assert_false(re.flavor_google);
}

static void
a_long_content_type_is_cut_and_control_bytes_end_it(void **state _unused_)
{
	struct http_response re = HTTP_RESPONSE_INIT;
	char s[300] = "Content-Type: ";

	memset(s + strlen(s), 'x', 200);
	line(&re, s);
	assert_int_equal(strlen(re.content_type), sizeof(re.content_type) - 1);
	line(&re, "Content-Type: a/b\033[31m");
	assert_string_equal(re.content_type, "a/b");
}

static void
max_age_is_what_age_leaves_of_it_in_either_order(void **state _unused_)
{
	struct http_response re = HTTP_RESPONSE_INIT;

	line(&re, "Cache-Control: public, max-age=21600, must-revalidate\r\n");
	line(&re, "Age: 120\r\n");
	assert_int_equal(re.max_age, 21480);

	re = HTTP_RESPONSE_INIT;
	line(&re, "Age: 120\r\n");
	line(&re, "Cache-Control: public, Max-Age=21600\r\n");
	assert_int_equal(re.max_age, 21480);

	re = HTTP_RESPONSE_INIT;
	line(&re, "Age: 100\r\n");
	line(&re, "Cache-Control: max-age=60\r\n");
	assert_int_equal(re.max_age, 0);
}

static void
a_max_age_that_is_none_stays_unknown(void **state _unused_)
{
	static const char *const others[] = {
		"Cache-Control: private", "Cache-Control: s-maxage=60",
		"Cache-Control: max-age=", "Cache-Control: max-age=-1",
		"Cache-Control: max-age=6O", "Cache-Control: x-max-age=60",
		"Cache-Control: max-age=99999999999999999999", "Cache-Control:",
		"Cache-Control: ,,,", "Age: 5",
	};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		struct http_response re = HTTP_RESPONSE_INIT;

		line(&re, others[i]);
		assert_true(re.max_age == HTTP_MAX_AGE_UNKNOWN);
	}
}

static void
retry_after_is_seconds_or_a_date(void **state _unused_)
{
	struct http_response re = HTTP_RESPONSE_INIT;

	line(&re, "Retry-After: 7\r\n");
	assert_int_equal(re.retry_after_usec, 7 * USEC_PER_SEC);

	re = HTTP_RESPONSE_INIT;
	line(&re, "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n");
	line(&re, "Retry-After: Thu, 01 Jan 2026 00:00:30 GMT\r\n");
	assert_int_equal(re.retry_after_usec, 30 * USEC_PER_SEC);

	re = HTTP_RESPONSE_INIT;
	line(&re, "Retry-After: Thu, 01 Jan 2026 00:00:30 GMT\r\n");
	assert_int_equal(re.retry_after_usec, 0);
	line(&re, "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n");
	assert_int_equal(re.retry_after_usec, 30 * USEC_PER_SEC);
}

static void
a_retry_after_that_says_nothing_is_absent(void **state _unused_)
{
	static const char *const others[] = {
		"Retry-After: soon", "Retry-After: -3", "Retry-After: 1.5",
		"Retry-After:", "Retry-After: 99999999999999999999999",
		"Retry-After: Wed, 31 Dec 2025 23:59:59 GMT",
	};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		struct http_response re = HTTP_RESPONSE_INIT;

		line(&re, "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n");
		line(&re, others[i]);
		assert_int_equal(re.retry_after_usec, 0);
	}
}

static void
dates_go_there_and_back(void **state _unused_)
{
	static const struct {
		const char *text;
		int64_t when;
	} dates[] = {
		{ "Sun, 06 Nov 1994 08:49:37 GMT", 784111777 },
		{ "Thu, 01 Jan 2026 00:00:00 GMT", VEC_NOW },
		{ "Thu, 29 Feb 2024 23:59:59 GMT", 1709251199 },
		{ "Fri, 31 Dec 9999 23:59:59 GMT", INT64_C(253402300799) },
	};
	char text[30];

	for (size_t i = 0; i < ARRAY_SIZE(dates); i++) {
		assert_int_equal(http_date_parse(dates[i].text, 29), dates[i].when);
		http_date_format(dates[i].when, text);
		assert_string_equal(text, dates[i].text);
	}
}

static void
a_leap_second_is_the_next_second(void **state _unused_)
{
	assert_int_equal(http_date_parse("Sat, 31 Dec 2016 23:59:60 GMT", 29),
			 1483228800);
}

static void
what_is_no_date_is_zero(void **state _unused_)
{
	static const char *const others[] = {
		"", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
		"Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06 Nov 1994 08:49:37 GMT ",
		"Sun, 06 Nov 1994 08:49:37 GM", "sun, 06 Nov 1994 08:49:37 GMT",
		"Sun, 06 Noe 1994 08:49:37 GMT", "Sun, 31 Feb 2024 08:49:37 GMT",
		"Sun, 30 Feb 2024 00:00:60 GMT", "Sun, 29 Feb 2023 08:49:37 GMT",
		"Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 32 Jan 1994 08:49:37 GMT",
		"Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:60:37 GMT",
		"Sun, 06 Nov 1994 08:49:61 GMT", "Sun, 06 Nov 1969 08:49:37 GMT",
		"Sun, +6 Nov 1994 08:49:37 GMT", "Sun,  6 Nov 1994 08:49:37 GMT",
	};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_int_equal(http_date_parse(others[i], strlen(others[i])), 0);
}

static void
times_that_no_date_can_say_are_clamped(void **state _unused_)
{
	char text[30];

	http_date_format(-5, text);
	assert_string_equal(text, "Thu, 01 Jan 1970 00:00:00 GMT");
	http_date_format(INT64_MAX, text);
	assert_string_equal(text, "Fri, 31 Dec 9999 23:59:59 GMT");
}

static void
any_bytes_are_survived(void **state _unused_)
{
	struct http_response re = HTTP_RESPONSE_INIT;
	static const char bytes[] = "Date\0:\0: \xff\r\n";

	for (size_t i = 0; i <= sizeof(bytes); i++)
		http_response_line(&re, bytes, MIN(i, sizeof(bytes)));
	http_response_line(&re, ":", 1);
	http_response_line(&re, ": ", 2);
	assert_int_equal(re.date, 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_field_is_a_name_and_a_value),
		cmocka_unit_test(
			a_cleared_request_is_empty_and_may_be_cleared_again),
		cmocka_unit_test(names_of_headers_come_in_any_case),
		cmocka_unit_test(only_the_exact_flavor_counts),
		cmocka_unit_test(a_later_foreign_flavor_takes_it_away),
		cmocka_unit_test(
			a_long_content_type_is_cut_and_control_bytes_end_it),
		cmocka_unit_test(
			max_age_is_what_age_leaves_of_it_in_either_order),
		cmocka_unit_test(a_max_age_that_is_none_stays_unknown),
		cmocka_unit_test(retry_after_is_seconds_or_a_date),
		cmocka_unit_test(a_retry_after_that_says_nothing_is_absent),
		cmocka_unit_test(dates_go_there_and_back),
		cmocka_unit_test(a_leap_second_is_the_next_second),
		cmocka_unit_test(what_is_no_date_is_zero),
		cmocka_unit_test(times_that_no_date_can_say_are_clamped),
		cmocka_unit_test(any_bytes_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
