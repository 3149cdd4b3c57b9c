/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli_json.h"
#include "cli_jwt_read.h"

static char *
printed(const char *text)
{
	char *out = NULL;
	size_t len = 0;
	struct json v;
	FILE *f = open_memstream(&out, &len);

	assert_non_null(f);
	assert_true(json_parse(text, strlen(text), &v));
	json_print(f, &v, 0);
	fclose(f);
	return out;
}

static void
what_is_json_is_shown_in_printable_ascii(void **state)
{
	static const struct {
		const char *text, *shown;
	} table[] = {
		{ " {} ", "{}" },
		{ "[]", "[]" },
		{ "-0.5e+7", "-0.5e+7" },
		{ "\"a\\/b\\\"\\\\\"", "\"a/b\\\"\\\\\"" },
		{ "\"\303\251\\u00e9\"", "\"\\u00e9\\u00e9\"" },
		{ "\"\360\237\230\200\\ud83d\\ude00\"",
		  "\"\\ud83d\\ude00\\ud83d\\ude00\"" },
		{ "\"\\ud83d\"", "\"\\ud83d\"" },
		{ "\"\\u001b[2J\177\"", "\"\\u001b[2J\\u007f\"" },
		{ "{\"a\":1,\"b\":[true,null]}",
		  "{\n  \"a\": 1,\n  \"b\": [\n    true,\n    null\n  ]\n}" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char *out = printed(table[i].text);

		assert_string_equal(out, table[i].shown);
		free(out);
	}
}

static void
what_is_not_json_is_refused(void **state)
{
	static const char *const table[] = {
		"", " ", "{", "}", "[", "[1,]", "[1 2]", "{\"a\"}", "{\"a\":}",
		"{\"a\":1,}", "{a:1}", "{'a':1}", "{1:1}", "01", "1.", ".5", "1e",
		"-", "+1", "tru", "nul", "True", "\"", "\"\\", "\"\\u12\"",
		"\"\\x\"", "\"\n\"", "\"\377\"", "\"\300\200\"", "\"\355\240\200\"",
		"\"\364\220\200\200\"", "\"\303\"", "1 2", "{}x", "[\"a\":1]",
	};
	struct json v;

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		/* A copy of its own size: reading past it is found. */
		size_t len = strlen(table[i]);
		char *copy = malloc(len ? len : 1);

		assert_non_null(copy);
		memcpy(copy, table[i], len);
		if (json_parse(copy, len, &v))
			fail_msg("%s", table[i]);
		free(copy);
	}
}

static void
depth_has_a_limit(void **state)
{
	char text[2 * (JSON_DEPTH_MAX + 2)];
	struct json v;

	(void)state;
	for (size_t n = JSON_DEPTH_MAX + 1; n <= JSON_DEPTH_MAX + 2; n++) {
		memset(text, '[', n);
		memset(text + n, ']', n);
		assert_int_equal(json_parse(text, 2 * n, &v),
				 n == JSON_DEPTH_MAX + 1);
	}
}

static void
fields_are_found_and_typed(void **state)
{
	static const char text[] = " { \"uid\" : 1000, \"n\":-5, \"big\":1e3,"
		" \"unit\":\"a\\u002eb\", \"uid\":0, \"none\":null,"
		" \"in\":{\"gid\":7}, \"nul\":\"a\\u0000b\", \"gid\" : 8 } ";
	struct json o, v;
	char buf[64];
	int64_t n;

	(void)state;
	assert_true(json_parse(text, sizeof(text) - 1, &o));
	assert_true(json_member(&o, "uid", &v));
	assert_true(json_integer(&v, &n));
	assert_int_equal(n, 1000);
	assert_true(json_member(&o, "n", &v) && json_integer(&v, &n));
	assert_int_equal(n, -5);
	assert_true(json_member(&o, "big", &v));
	assert_false(json_integer(&v, &n));
	assert_true(json_member(&o, "gid", &v) && json_integer(&v, &n));
	assert_int_equal(n, 8);
	assert_true(json_member(&o, "unit", &v));
	assert_true(json_string(&v, buf, sizeof(buf)));
	assert_string_equal(buf, "a.b");
	assert_false(json_string(&v, buf, 3));
	assert_true(json_member(&o, "nul", &v));
	assert_false(json_string(&v, buf, sizeof(buf)));
	assert_true(json_member(&o, "none", &v));
	assert_int_equal(json_type(&v), 'n');
	assert_false(json_string(&v, buf, sizeof(buf)));
	assert_false(json_member(&o, "ui", &v));
}

static void
arrays_are_walked(void **state)
{
	static const char text[] = "[1, \"b\", [2,3], {\"c\":4}]";
	struct json a, iter, name, v;
	char types[8] = "";
	size_t n = 0;

	(void)state;
	assert_true(json_parse(text, sizeof(text) - 1, &a));
	iter = json_begin(&a);
	while (json_next(&iter, &name, &v)) {
		assert_ptr_equal(name.s, name.end);
		types[n++] = json_type(&v);
	}
	assert_string_equal(types, "0\"[{");
}

static void
tokens_are_read_strictly(void **state)
{
	static const struct {
		const char *token;
		bool good;
	} table[] = {
		{ "e30.e30.", true },		/* {} */
		{ "e30.e30.c2ln", true },
		{ "e30.eyJhIjoxfQ.x", true },
		{ "", false },
		{ ".", false },
		{ "..", false },
		{ "e30.e30", false },
		{ "e30.e30.x.y", false },
		{ "e30=.e30.x", false },
		{ "e30.e3.x", false },
		{ "e30.e31.x", false },		/* bits behind the last byte */
		{ "e30.e+0.x", false },
		{ "e30. e30.x", false },
		{ "W10.e30.x", false },		/* [] */
		{ "e30.MQ.x", false },		/* 1 */
		{ "eyJh.e30.x", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct jwt_text t;
		const char *why = jwt_read(table[i].token, strlen(table[i].token),
					   &t);

		if (!why != table[i].good)
			fail_msg("%s: %s", table[i].token, why ? why : "read");
		if (!why)
			jwt_clear(&t);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_json_is_shown_in_printable_ascii),
		cmocka_unit_test(what_is_not_json_is_refused),
		cmocka_unit_test(depth_has_a_limit),
		cmocka_unit_test(fields_are_found_and_typed),
		cmocka_unit_test(arrays_are_walked),
		cmocka_unit_test(tokens_are_read_strictly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
