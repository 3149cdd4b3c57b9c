/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "vectors.h"

#define BYTES(s)	s, sizeof(s) - 1

static struct json *
parse(const char *text)
{
	return json_parse(text, strlen(text), JSON_DEPTH);
}

static void
members_are_found_by_name_and_type(void **state _unused_)
{
	_cleanup_(json_freep) struct json *j = parse(
		" {\"s\":\"x\\n\\u00fc\\ud83d\\ude00\",\"i\":-12,\"t\":true,"
		"\"f\":false,\"d\":1.0,\"n\":null,\"a\":[\"p\",2,[]],"
		"\"o\":{\"in\":\"side\"}}\r\n\t ");
	const struct json *a = json_get(j, "a");
	bool b = false;
	int64_t i;

	assert_true(json_is_object(j));
	assert_false(json_is_array(j));
	assert_string_equal(json_get_string(j, "s"),
			    "x\n\xc3\xbc\xf0\x9f\x98\x80");
	assert_true(json_get_int(j, "i", &i) && i == -12);
	assert_true(json_get_bool(j, "t", &b) && b);
	assert_true(json_get_bool(j, "f", &b) && !b);
	assert_string_equal(json_get_string(json_get(j, "o"), "in"), "side");

	assert_true(json_is_array(a));
	assert_int_equal(json_array_len(a), 3);
	assert_string_equal(json_string(json_array_at(a, 0)), "p");
	assert_true(json_int(json_array_at(a, 1), &i) && i == 2);
	assert_true(json_is_array(json_array_at(a, 2)));
	assert_null(json_array_at(a, 3));

	/* nothing there, or another type */
	assert_null(json_get(j, "S"));
	assert_null(json_get(a, "s"));
	assert_null(json_get(j, "n"));
	assert_null(json_get_string(j, "i"));
	assert_false(json_get_int(j, "d", &i));
	assert_false(json_get_int(j, "s", &i));
	assert_false(json_get_int(j, "t", &i));
	assert_false(json_get_bool(j, "i", &b));
	assert_int_equal(json_array_len(j), 0);
	assert_null(json_array_at(j, 0));
}

static void
nothing_can_be_asked_and_has_nothing(void **state _unused_)
{
	int64_t i;
	bool b;

	assert_false(json_is_object(NULL));
	assert_false(json_is_array(NULL));
	assert_null(json_get(json_get(NULL, "a"), "b"));
	assert_null(json_get_string(NULL, "a"));
	assert_null(json_string(NULL));
	assert_false(json_int(NULL, &i));
	assert_false(json_get_int(NULL, "a", &i));
	assert_false(json_get_bool(NULL, "a", &b));
	assert_int_equal(json_array_len(NULL), 0);
	assert_null(json_array_at(NULL, 0));
	assert_null(json_free(NULL));
}

static void
whole_json_and_nothing_else_is_taken(void **state _unused_)
{
	static const char *const good[] = {
		"{}", "[]", "\"\"", "0", "-0", "12", "1.5e+3", "1E5", "true",
		"false", " [ ] ", "{\"a\":{},\"b\":[0]}",
		"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\"",
		"{\"a\":1,\"a\":2}", "\"\x7f\"",
		VEC_A2_BODY, VEC_B1_BODY, VEC_B4_BODY, VEC_B12_BODY,
		VEC_C1_RESPONSE,
	};
	static const char *const bad[] = {
		"", " ", "{", "}", "[", "]", "{]", "[}", "\"", "\"\\\"", "{\"a\"}",
		"{\"a\":}", "{\"a\":1,}", "[1,]", "[,1]", "[1 2]",
		"{\"a\":1 \"b\":2}",
		"{a:1}", "{'a':1}", "{1:1}", "{}{}", "{} x", "1 2", "nul", "nulll",
		"True", "NULL", "NaN", "nan", "Infinity", "-Infinity", "[Infinity]",
		"01", "-01", "-", "+1", ".5", "1.", "1e", "1e+", "0x10", "1_000",
		"/**/1", "1//", "\"\\x41\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\\"",
		"\"a\tb\"", "\"a\nb\"", "\"\\ud800\"", "\"\\udc00\"",
		"\"\\ud800\\u0041\"", "\"\\ud800x\"", "\"\\ud800\\ud800\"",
		"\xef\xbb\xbf{}", "\"\xff\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\"",
		"\xff",
		/* a key would end at the NUL and be another one */
		"{\"aud\\u0000x\":\"y\"}",
		/* null is nothing that could be asked */
		"null",
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		_cleanup_(json_freep) struct json *j = parse(good[i]);

		if (!j)
			fail_msg("refused: %s", good[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (parse(bad[i]))
			fail_msg("taken: %s", bad[i]);
	assert_null(json_parse(BYTES("{}\0"), JSON_DEPTH));
	assert_null(json_parse(BYTES("\"a\0b\""), JSON_DEPTH));
}

/* No byte behind the text is read: it has no NUL. */
static void
text_ends_where_its_length_says(void **state _unused_)
{
	static const char *const texts[] = {
		"{\"a\":12}", "123", "true", "[1]", "\"x\"",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		size_t len = strlen(texts[i]);

		for (size_t cut = 0; cut <= len; cut++) {
			char *exact = malloc(cut ? cut : 1);
			struct json *j;

			memcpy(exact, texts[i], cut);
			j = json_parse(exact, cut, JSON_DEPTH);
			/* every beginning of a number is one */
			assert_int_equal(!!j, cut == len || (i == 1 && cut > 0));
			json_free(j);
			free(exact);
		}
	}
}

static void
levels_are_counted_exactly(void **state _unused_)
{
	static const struct {
		const char *text;
		int levels;
	} table[] = {
		{ "1", 0 }, { "[]", 1 }, { "[1]", 1 }, { "{\"a\":1}", 1 },
		{ "[[]]", 2 }, { "[[1]]", 2 }, { "{\"a\":[{}]}", 3 },
		{ "[[[[1]]]]", 4 }, { "[[],[[]]]", 3 },
	};
	char deep[200001];

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		size_t len = strlen(table[i].text);

		for (int depth = 0; depth < 6; depth++) {
			_cleanup_(json_freep) struct json *j =
				json_parse(table[i].text, len, depth);

			assert_int_equal(!!j, depth >= table[i].levels);
		}
	}

	memset(deep, '[', 100000);
	memset(deep + 100000, ']', 100000);
	assert_null(json_parse(deep, 200000, JSON_DEPTH));
	assert_null(json_parse("1", 1, -1));
}

static void
integers_are_exact_or_none(void **state _unused_)
{
	static const struct {
		const char *text;
		bool ok;
		int64_t v;
	} table[] = {
		{ "0", true, 0 },
		{ "-0", true, 0 },
		{ "1767229200", true, 1767229200 },
		{ "9223372036854775807", true, INT64_MAX },
		{ "9223372036854775808", false, 0 },
		{ "18446744073709551615", false, 0 },
		{ "18446744073709551616", false, 0 },
		{ "99999999999999999999999999", false, 0 },
		{ "-9223372036854775807", true, -INT64_MAX },
		{ "-9223372036854775809", false, 0 },
		{ "-99999999999999999999999999", false, 0 },
		{ "1.0", false, 0 },
		{ "1e3", false, 0 },
		{ "\"1\"", false, 0 },
		{ "true", false, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		_cleanup_(json_freep) struct json *j = parse(table[i].text);
		int64_t v = 4711;

		assert_non_null(j);
		assert_int_equal(json_int(j, &v), table[i].ok);
		assert_true(v == (table[i].ok ? table[i].v : 4711));
	}
}

static void
a_string_with_a_nul_inside_is_none(void **state _unused_)
{
	_cleanup_(json_freep) struct json *j =
		parse("{\"a\":\"x\\u0000y\",\"b\":\"\"}");

	assert_non_null(j);
	assert_non_null(json_get(j, "a"));
	assert_null(json_get_string(j, "a"));
	assert_string_equal(json_get_string(j, "b"), "");
}

static void
strings_are_written_as_they_were_read(void **state _unused_)
{
	static const struct {
		const char *s, *written;
	} table[] = {
		{ "", "\"\"" },
		{ "https://x/*", "\"https://x/*\"" },
		{ "a\"b\\c", "\"a\\\"b\\\\c\"" },
		{ "\b\f\n\r\t\x01\x1f\x7f",
		  "\"\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"" },
		{ "\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80",
		  "\"\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80\"" },
		{ "a\xff" "b\xc3", "\"a\xef\xbf\xbd" "b\xef\xbf\xbd\"" },
		{ "\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		_cleanup_(buf_free) struct buf b = BUF_INIT(1000);
		_cleanup_(json_freep) struct json *j = NULL;

		assert_int_equal(json_write_string(&b, table[i].s), 0);
		assert_string_equal(buf_str(&b), table[i].written);
		j = json_parse(b.data, b.len, 0);
		assert_non_null(json_string(j));
		if (i < 5)
			assert_string_equal(json_string(j), table[i].s);
	}
}

static void
a_string_that_does_not_fit_says_so(void **state _unused_)
{
	for (size_t max = 0; max < 8; max++) {
		_cleanup_(buf_free) struct buf b = BUF_INIT(max);

		assert_int_equal(json_write_string(&b, "abcde\n"), -EMSGSIZE);
		assert_true(b.overflow);
	}
}

/* Both names of a pair mean one member to some reader. */
static void
a_name_given_twice_is_refused_however_it_is_escaped(void **state _unused_)
{
	static const char *const table[] = {
		"{\"aud\":1,\"aud\":1}",
		"{\"aud\":1,\"x\":2,\"\\u0061ud\":1}",
		"{\"\\u0061\\u0075\\u0064\":1,\"aud\":null}",
		"{\"a\\/b\":1,\"a/b\":2}",
		"{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":2}",
		"{\"x\":{\"y\":[{\"a\":1,\"a\":2}]}}",
		"{\"x\":{\"a\":1,\"a\":2},\"x\":{}}",
		"[{\"\":1,\"\":1}]",
	};
	const char *why;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		assert_null(json_parse_strict(table[i], strlen(table[i]), 8, &why));
		assert_string_equal(why, "a name stands twice in one object");
	}
}

static void
a_strict_text_holds_no_nul(void **state _unused_)
{
	static const char *const table[] = {
		"\"\\u0000\"", "{\"a\":\"x\\u0000y\"}", "[[\"\\u0000\"]]",
	};
	const char *why;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		assert_null(json_parse_strict(table[i], strlen(table[i]), 8, &why));
		assert_string_equal(why, "a string holds U+0000");
	}
	assert_null(json_parse_strict("{", 1, 8, &why));
	assert_string_equal(why, "not one JSON value in UTF-8, or nested too deep");
}

/* "[0,0,...]": the array is a value, too. */
static struct json *
parse_values(size_t values, const char **ret_why)
{
	_cleanup_(buf_free) struct buf b = BUF_INIT(8192);

	buf_addc(&b, '[');
	for (size_t i = 1; i < values; i++)
		buf_adds(&b, i > 1 ? ",0" : "0");
	buf_addc(&b, ']');
	return json_parse_strict(buf_str(&b), strlen(buf_str(&b)), 8, ret_why);
}

static void
a_strict_text_has_so_many_values_and_no_more(void **state _unused_)
{
	_cleanup_(json_freep) struct json *j = NULL;
	const char *why;

	j = parse_values(JSON_VALUES_MAX, &why);
	assert_non_null(j);
	assert_null(parse_values(JSON_VALUES_MAX + 1, &why));
	assert_string_equal(why, "more than 1,024 values");
}

static void
what_is_read_strictly_is_written_with_the_same_meaning(void **state _unused_)
{
	static const struct {
		const char *read, *written;
	} table[] = {
		{ " { } ", "{}" },
		{ "{\"b\" : [ 1 , -2, 0 , [] , { } ], \"a\": null}",
		  "{\"b\":[1,-2,0,[],{}],\"a\":null}" },
		{ "[true,false,null]", "[true,false,null]" },
		{ "{\"\\u0061\":\"\\u00fc\\n\\/\\\"\"}",
		  "{\"a\":\"\xc3\xbc\\n/\\\"\"}" },
		{ "9007199254740991", "9007199254740991" },
		{ "-9007199254740991", "-9007199254740991" },
		{ "{\"a\":{\"a\":{\"a\":1}},\"b\":{\"a\":2}}",
		  "{\"a\":{\"a\":{\"a\":1}},\"b\":{\"a\":2}}" },
	};
	const char *why;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		_cleanup_(json_freep) struct json *j = json_parse_strict(
			table[i].read, strlen(table[i].read), 8, &why);
		_cleanup_(buf_free) struct buf b = BUF_INIT(1000);

		assert_non_null(j);
		assert_int_equal(json_write(&b, j), 0);
		assert_string_equal(buf_str(&b), table[i].written);
	}
}

static void
what_would_not_come_out_as_it_went_in_is_not_written(void **state _unused_)
{
	static const char *const table[] = {
		"1.5", "1.0", "1e3", "-0.0", "1e400", "9007199254740992",
		"-9007199254740992", "18446744073709551616", "[1,[2,{\"a\":1.5}]]",
		"\"a\\u0000\"", "{\"x\":\"\\u0000\"}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		_cleanup_(json_freep) struct json *j = json_parse(
			table[i], strlen(table[i]), 8);
		_cleanup_(buf_free) struct buf b = BUF_INIT(1000);

		assert_non_null(j);
		assert_int_equal(json_write(&b, j), -EINVAL);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_are_found_by_name_and_type),
		cmocka_unit_test(nothing_can_be_asked_and_has_nothing),
		cmocka_unit_test(whole_json_and_nothing_else_is_taken),
		cmocka_unit_test(text_ends_where_its_length_says),
		cmocka_unit_test(levels_are_counted_exactly),
		cmocka_unit_test(integers_are_exact_or_none),
		cmocka_unit_test(a_string_with_a_nul_inside_is_none),
		cmocka_unit_test(strings_are_written_as_they_were_read),
		cmocka_unit_test(a_string_that_does_not_fit_says_so),
		cmocka_unit_test(
			a_name_given_twice_is_refused_however_it_is_escaped),
		cmocka_unit_test(a_strict_text_holds_no_nul),
		cmocka_unit_test(a_strict_text_has_so_many_values_and_no_more),
		cmocka_unit_test(
			what_is_read_strictly_is_written_with_the_same_meaning),
		cmocka_unit_test(
			what_would_not_come_out_as_it_went_in_is_not_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
