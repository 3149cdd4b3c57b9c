/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "token/claims.h"
#include "vectors.h"

#define AUD		"\"aud\":\"https://app.example.com/*\""
#define NOW		INT64_C(1767225600)
#define AUDIENCE_MAX	64

static struct endpoints at;

static int
set_up(void **state _unused_)
{
	endpoints_init(&at);
	return 0;
}

static int
tear_down(void **state _unused_)
{
	endpoints_clear(&at);
	return 0;
}

static int
write_len(const char *text, size_t len, char **ret, struct err *e)
{
	const struct claims_times t = { .now = NOW, .backdate = 10, .life = 3600 };
	_cleanup_(claims_freep) struct claims *c = NULL;
	int r = claims_read(text, len, &at, AUDIENCE_MAX, &c, e);

	return r < 0 ? r : claims_write(c, VEC_EMAIL, &t, ret, e);
}

static void
assert_written(const char *text, const char *expected)
{
	_cleanup_(freep) char *is = NULL;
	struct err e;

	if (write_len(text, strlen(text), &is, &e) < 0)
		fail_msg("%s: %s", text, e.msg);
	assert_string_equal(is, expected);
}

static void
assert_refused_len(const char *text, size_t len, const char *words)
{
	char *is = NULL;
	struct err e;

	if (write_len(text, len, &is, &e) >= 0)
		fail_msg("%s is written as %s", text, is);
	assert_int_equal(e.kind, ERR_REQUEST);
	assert_null(is);
	if (!strstr(e.msg, words))
		fail_msg("%s: no \"%s\" in \"%s\"", text, words, e.msg);
}

static void
assert_refused(const char *text, const char *words)
{
	assert_refused_len(text, strlen(text), words);
}

#define OWN	"{\"iss\":\"" VEC_EMAIL "\",\"sub\":\"" VEC_EMAIL "\"," AUD

static void
what_is_absent_is_set(void **state _unused_)
{
	assert_written("{" AUD "}", OWN ",\"iat\":1767225590,\"exp\":1767229190}");
	assert_written("{" AUD ",\"iat\":1767225600}",
		       OWN ",\"iat\":1767225600,\"exp\":1767229200}");
	assert_written("{" AUD ",\"exp\":1767225601}",
		       OWN ",\"iat\":1767225590,\"exp\":1767225601}");
}

static void
what_is_the_accounts_own_stays(void **state _unused_)
{
	/* upstream's own example */
	assert_written("{\"exp\":1767229200,\"iat\":1767225600," AUD ",\"sub\":\""
		       VEC_EMAIL "\",\"iss\":\"" VEC_EMAIL "\"}",
		       OWN ",\"iat\":1767225600,\"exp\":1767229200}");
}

static void
claims_are_written_anew(void **state _unused_)
{
	assert_written(
		" {\t\"\\u0061ud\" : \"https:\\/\\/app.example.com\\/\\u002a\",\r\n"
		"\"iat\":1767225600, \"nonce\":[ 1,{\"a\":\"\\u00fc\"},true ],"
		"\"x\":null} ",
		OWN ",\"iat\":1767225600,\"exp\":1767229200,"
		"\"nonce\":[1,{\"a\":\"\xc3\xbc\"},true],\"x\":null}");
}

static void
others_names_are_refused(void **state _unused_)
{
	assert_refused("{" AUD ",\"iss\":\"a@b.example\"}", "iss is a@b.example");
	assert_refused("{" AUD ",\"sub\":\"admin@corp.example\"}", "sub is admin");
	assert_refused("{" AUD ",\"sub\":\"\"}", "sub is ");
	assert_refused("{" AUD ",\"iss\":7}", "iss has to be one string");
	assert_refused("{" AUD ",\"sub\":null}", "sub has to be one string");
	assert_refused("{" AUD ",\"sub\":[\"" VEC_EMAIL "\"]}", "one string");
	assert_refused("{" AUD ",\"iss\":\"" VEC_EMAIL " \"}", "iss is ");
	assert_refused("{" AUD ",\"iss\":\"APP-SA@example-proj-123.iam."
		       "gserviceaccount.com\"}", "iss is ");
}

static void
times_are_whole_and_within_twelve_hours(void **state _unused_)
{
	assert_written("{" AUD ",\"iat\":1,\"exp\":1767268800}",
		       OWN ",\"iat\":1,\"exp\":1767268800}");
	assert_refused("{" AUD ",\"exp\":1767268801}", "by more than 12 hours");
	assert_refused("{" AUD ",\"exp\":1767225600}", "is past");
	assert_refused("{" AUD ",\"iat\":1}", "is past");
	assert_refused("{" AUD ",\"iat\":1767229000,\"exp\":1767229000}",
		       "not behind iat");
	assert_refused("{" AUD ",\"iat\":9007199254740991}", "12 hours");
	assert_refused("{" AUD ",\"exp\":\"1767229200\"}", "whole seconds");
	assert_refused("{" AUD ",\"exp\":1767229200.5}", "whole seconds");
	assert_refused("{" AUD ",\"exp\":1.7672292e9}", "whole seconds");
	assert_refused("{" AUD ",\"exp\":null}", "whole seconds");
	assert_refused("{" AUD ",\"exp\":-1}", "whole seconds");
	assert_refused("{" AUD ",\"exp\":0}", "whole seconds");
	assert_refused("{" AUD ",\"iat\":[1767225600]}", "whole seconds");
	assert_refused("{" AUD ",\"exp\":36893488147419103232}",
		       "whole seconds");
}

static void
what_asks_for_another_token_is_refused(void **state _unused_)
{
	static const char *const names[] = {
		"scope", "Scope", "SCOPE", "scopes", "target_audience",
		"targetAudience", "TARGET-AUDIENCE", "prn",
		"\\u0073cope", "target\\u005faudience",
	};
	char text[200];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(text, sizeof(text), "{" AUD ",\"%s\":\"x\"}", names[i]);
		assert_refused(text, "another token");
		snprintf(text, sizeof(text), "{" AUD ",\"%s\":null}", names[i]);
		assert_refused(text, "another token");
	}
	assert_written("{" AUD ",\"x\":{\"scope\":1}}",
		       OWN ",\"iat\":1767225590,\"exp\":1767229190,"
		       "\"x\":{\"scope\":1}}");
}

static void
another_spelling_of_what_is_judged_is_refused(void **state _unused_)
{
	static const char *const names[] = {
		"Aud", "AUD", "a_ud", "Iss", "SUB", "Exp", "IAT", "i-at",
	};
	char text[200];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(text, sizeof(text), "{" AUD ",\"%s\":1}", names[i]);
		assert_refused(text, "may be read as");
	}
	/* U+017F is an s in small letters to some, and U+0130 an i. */
	assert_refused("{" AUD ",\"i\\u017fs\":1}", "printable ASCII");
	assert_refused("{" AUD ",\"\\u0130at\":1}", "printable ASCII");
	assert_refused("{" AUD ",\"au\\u200bd\":1}", "printable ASCII");
	assert_refused("{" AUD ",\"aud\\t\":1}", "printable ASCII");
	assert_refused("{" AUD ",\" aud\":1}", "without space");
	assert_refused("{" AUD ",\"aud \":1}", "without space");
}

static void
one_object_without_two_meanings_is_taken(void **state _unused_)
{
	static const char nul[] = "{" AUD ",\"x\":\"\0\"}";
	static const char behind[] = "{" AUD "}\0";

	assert_refused("", "not one JSON value");
	assert_refused("null", "not one JSON value");
	assert_refused("[]", "not a JSON object");
	assert_refused("\"x\"", "not a JSON object");
	assert_refused("{" AUD "}{}", "not one JSON value");
	assert_refused("{" AUD ",}", "not one JSON value");
	assert_refused("{" AUD ",\"x\":NaN}", "not one JSON value");
	assert_refused("{" AUD ",\"x\":\"\xff\"}", "not one JSON value");
	assert_refused("{" AUD ",\"x\":\"\xc0\xaf\"}", "not one JSON value");
	assert_refused("{" AUD ",\"x\":\"\\ud800\"}", "not one JSON value");
	assert_refused("\xef\xbb\xbf{" AUD "}", "not one JSON value");
	assert_refused("{" AUD ",\"\\u0061ud\":\"https://b.example\"}", "twice");
	assert_refused("{" AUD "," AUD "}", "twice");
	assert_refused("{" AUD ",\"x\":{\"a\":1,\"a\":2}}", "twice");
	assert_refused("{" AUD ",\"x\":\"\\u0000\"}", "U+0000");
	assert_refused("{" AUD ",\"a\\u0000\":1}", "not one JSON value");
	assert_refused_len(nul, sizeof(nul) - 1, "not one JSON value");
	assert_refused_len(behind, sizeof(behind) - 1, "not one JSON value");
	assert_refused("{" AUD ",\"x\":1.5}", "whole");
	assert_refused("{" AUD ",\"x\":{\"y\":[1e400]}}", "whole");
	assert_refused("{" AUD ",\"x\":9007199254740992}", "2^53");
}

static void
eight_levels_are_taken_and_nine_are_not(void **state _unused_)
{
	assert_written("{" AUD ",\"x\":[[[[[[[]]]]]]]}",
		       OWN ",\"iat\":1767225590,\"exp\":1767229190,"
		       "\"x\":[[[[[[[]]]]]]]}");
	assert_refused("{" AUD ",\"x\":[[[[[[[[]]]]]]]]}", "8 levels");
}

static void
what_is_too_long_is_refused_as_that(void **state _unused_)
{
	_cleanup_(freep) char *filler = xcalloc(100 * 1024, 1), *text = NULL;

	memset(filler, 'x', 100 * 1024 - 1);
	text = xasprintf("{" AUD ",\"x\":\"%s\"}", filler);
	assert_refused(text, "too long");
}

static void
the_audience_is_one_plain_string(void **state _unused_)
{
	static const struct {
		const char *aud, *words;
	} rows[] = {
		{ "[\"https://app.example.com\"]", "one string" },
		{ "[\"https://a.example\",\"https://b.example\"]", "one string" },
		{ "{\"x\":1}", "one string" }, { "7", "one string" },
		{ "null", "one string" }, { "true", "one string" },
		{ "\"\"", "not empty" },
		{ "\" https://app.example.com\"", "printable ASCII" },
		{ "\"https://app.example.com \"", "printable ASCII" },
		{ "\"https://app.example.com\\n\"", "printable ASCII" },
		{ "\"https://app.example.com\\u007f\"", "printable ASCII" },
		{ "\"https://\xc3\xa4.example\"", "printable ASCII" },
		{ "\"https://app.example.com\\\\x\"", "printable ASCII" },
		{ "\"https://a.example\\\"\"", "printable ASCII" },
		{ "\"https://app.example.com/0123456789012345678901234567890123456"
		  "789012\"", "longer than 64" },
		{ "\"https://oauth2.googleapis.com/token\"", "Google's own" },
		{ "\"https://Accounts.Google.com/o/oauth2/token\"",
		  "Google's own" },
		{ "\"*\"", "behind https://HOST/" },
		{ "\"https://*.example.com/\"", "behind https://HOST/" },
		{ "\"https://*\"", "behind https://HOST/" },
		{ "\"http://app.example.com/*\"", "behind https://HOST/" },
	};
	char text[300];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		snprintf(text, sizeof(text), "{\"aud\":%s}", rows[i].aud);
		assert_refused(text, rows[i].words);
	}
	assert_refused("{}", "aud has to be there");
}

static void
the_audience_is_told_byte_for_byte(void **state _unused_)
{
	static const char text[] = "{\"aud\":\"HTTPS:\\/\\/App.Example.com:443"
				   "\\u002fA%2fb?c=d#e\"}";
	_cleanup_(claims_freep) struct claims *c = NULL;

	assert_int_equal(claims_read(text, strlen(text), &at, AUDIENCE_MAX, &c,
				     NULL), 0);
	assert_string_equal(claims_audience(c),
			    "HTTPS://App.Example.com:443/A%2fb?c=d#e");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_absent_is_set),
		cmocka_unit_test(what_is_the_accounts_own_stays),
		cmocka_unit_test(claims_are_written_anew),
		cmocka_unit_test(others_names_are_refused),
		cmocka_unit_test(times_are_whole_and_within_twelve_hours),
		cmocka_unit_test(what_asks_for_another_token_is_refused),
		cmocka_unit_test(another_spelling_of_what_is_judged_is_refused),
		cmocka_unit_test(one_object_without_two_meanings_is_taken),
		cmocka_unit_test(eight_levels_are_taken_and_nine_are_not),
		cmocka_unit_test(what_is_too_long_is_refused_as_that),
		cmocka_unit_test(the_audience_is_one_plain_string),
		cmocka_unit_test(the_audience_is_told_byte_for_byte),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
