/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "vectors.h"

/* A literal with its length, NULs inside included. */
#define BYTES(s)	s, sizeof(s) - 1

static void
what_is_not_printable_is_shown_as_hex(void **state _unused_)
{
	static const struct {
		const char *s;
		size_t len;
		const char *shown;
	} table[] = {
		{ BYTES(""), "" },
		{ BYTES("https://a.example/ ~"), "https://a.example/ ~" },
		{ BYTES("a\nb\033[1m"), "a\\x0ab\\x1b[1m" },
		{ BYTES("a\0b"), "a\\x00b" },
		{ BYTES("\\x41"), "\\x5cx41" },
		{ BYTES("\x7f\x80\xff"), "\\x7f\\x80\\xff" },
		{ BYTES("gr\xc3\xbc" "n"), "gr\\xc3\\xbcn" },
	};
	char shown[TEXT_SHOW_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		assert_string_equal(text_show(shown, table[i].s, table[i].len),
				    table[i].shown);
}

static void
long_text_is_cut_at_a_whole_character(void **state _unused_)
{
	char in[1000], shown[TEXT_SHOW_SIZE];

	memset(in, 'x', sizeof(in));
	text_show(shown, in, TEXT_SHOW_MAX);
	assert_int_equal(strlen(shown), TEXT_SHOW_MAX);
	assert_null(strchr(shown, '.'));
	text_show(shown, in, TEXT_SHOW_MAX + 1);
	assert_int_equal(strlen(shown), TEXT_SHOW_SIZE - 1);
	assert_string_equal(shown + TEXT_SHOW_MAX - 1, "x...");

	/* 199 of one, then one that takes four. */
	in[TEXT_SHOW_MAX - 1] = '\n';
	text_show(shown, in, TEXT_SHOW_MAX);
	assert_string_equal(shown + TEXT_SHOW_MAX - 2, "x...");
}

static void
tokens_are_masked_wherever_they_stand(void **state _unused_)
{
	static const struct {
		const char *s, *shown;
	} table[] = {
		{ VEC_ID_TOKEN_C1, "[masked]" },
		{ "x" VEC_ID_TOKEN_A5 " y", "x[masked] y" },
		{ VEC_ASSERTION "\n" VEC_ASSERTION, "[masked]\\x0a[masked]" },
		{ "a=" VEC_ACCESS_TOKEN "&b", "a=[masked]&b" },
		{ "ya29.", "[masked]" },
		{ "ya29.a/b+c=", "[masked]" },
		{ "eyJ0123456789abcdef", "[masked]" },
		{ "eyJ0123456789.bcdef!", "[masked]!" },
		/* Words that only begin alike. */
		{ "eyJ0123456789abcde", "eyJ0123456789abcde" },
		{ "keyJames", "keyJames" },
		{ "ya29", "ya29" },
	};
	char shown[TEXT_SHOW_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		assert_string_equal(text_show_str(shown, table[i].s),
				    table[i].shown);
}

/* Bytes as base64, which stand for themselves nowhere. */
#define RANDOM	"q7Zx0Tt2vB9dLkXw3RfHsYpJ5eGmC1uN"

static void
pieces_and_encodings_of_tokens_are_masked(void **state _unused_)
{
	static const struct {
		const char *s, *shown;
	} table[] = {
		/* a JWT without its beginning; in base64; a signature */
		{ "at GciOiJSUzI1NiIsImtpZCI6IjM0.", "at [masked]." },
		{ "ZXlKaGJHY2lPaUpTVXpJMU5pSXNJbXRwWk", "[masked]" },
		{ "sig=" RANDOM "+/" RANDOM "==;", "[masked];" },
		{ "at %2B" RANDOM "%3D\n", "at [masked]\\x0a" },
		/* sixteen are enough, fifteen are not looked at */
		{ "x: q7Zx0Tt2vB9dLkXw", "x: [masked]" },
		{ "x: words-q7Zx0Tt2vB9dLkXw", "x: [masked]" },
		{ "x: q7Zx0Tt2vB9dLkX", "x: q7Zx0Tt2vB9dLkX" },
		/* hexadecimal */
		{ "00112233445566778899aabbccddeeff", "[masked]" },
		{ "=00112233445566778899AABBCCDDEEFF0", "=[masked]" },
		{ "0011223344556677889900112233445",
		  "0011223344556677889900112233445" },
		/* percent form */
		{ "%65%79%4A%68%62%47%63%69%4F%69%4a%53%55%7a%49%31", "[masked]" },
	};
	char shown[TEXT_SHOW_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		assert_string_equal(text_show_str(shown, table[i].s),
				    table[i].shown);
}

static void
words_names_and_paths_stay_readable(void **state _unused_)
{
	static const char *const table[] = {
		"/computeMetadata/v1/instance/service-accounts/default/identity",
		"projects/-/serviceAccounts/web-1@example-proj-123.iam."
		"gserviceaccount.com",
		"Permission 'iam.serviceAccounts.getOpenIdToken' denied on "
		"resource",
		"https://console.developers.google.com/apis/api/iamcredentials."
		"googleapis.com/overview?project=123456789012",
		"123456789012-a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6.apps."
		"googleusercontent.com",
		"https://My-Service-abc123XYZ-uc.a.run.app/",
		"iamcredentials.googleapis.com/SIGN_METRIC_V2Requests",
		"550e8400-e29b-41d4-a716-446655440000",
		"2026-11-23T03:10:05.123456789Z",
		/* a key's name */
		"0123456789abcdef0123456789abcdef01234567",
		/* other scripts */
		"https://a/%D0%BF%D1%80%D0%B8%D0%BC%D0%B5%D1%80%D0%BF%D1%80%D0%B8",
	};
	char shown[TEXT_SHOW_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		assert_string_equal(text_show_str(shown, table[i]), table[i]);
}

static void
a_token_across_the_cut_does_not_show(void **state _unused_)
{
	char in[TEXT_SHOW_MAX + sizeof(VEC_ID_TOKEN_C1)], shown[TEXT_SHOW_SIZE];

	for (size_t at = TEXT_SHOW_MAX - 30; at <= TEXT_SHOW_MAX; at++) {
		memset(in, ' ', sizeof(in));
		memcpy(in + at, BYTES(VEC_ID_TOKEN_C1));
		text_show(shown, in, at + sizeof(VEC_ID_TOKEN_C1) - 1);
		assert_null(strstr(shown, "eyJ"));
	}
}

static void
only_well_formed_utf8_passes(void **state _unused_)
{
	static const struct {
		const char *s;
		size_t len;
		bool ok;
	} table[] = {
		{ BYTES(""), true },
		{ BYTES("a\0b"), true },
		{ BYTES("\xc2\x80"), true },
		{ BYTES("\xdf\xbf"), true },
		{ BYTES("\xe0\xa0\x80"), true },
		{ BYTES("\xed\x9f\xbf"), true },
		{ BYTES("\xee\x80\x80"), true },
		{ BYTES("\xf0\x90\x80\x80"), true },
		{ BYTES("\xf4\x8f\xbf\xbf"), true },
		/* overlong */
		{ BYTES("\xc0\x80"), false },
		{ BYTES("\xc1\xbf"), false },
		{ BYTES("\xe0\x9f\xbf"), false },
		{ BYTES("\xf0\x8f\xbf\xbf"), false },
		/* surrogates, too large */
		{ BYTES("\xed\xa0\x80"), false },
		{ BYTES("\xed\xbf\xbf"), false },
		{ BYTES("\xf4\x90\x80\x80"), false },
		{ BYTES("\xf5\x80\x80\x80"), false },
		{ BYTES("\xff"), false },
		/* cut, alone */
		{ BYTES("\xc3"), false },
		{ BYTES("\xe2\x82"), false },
		{ BYTES("\xf0\x9f\x98"), false },
		{ BYTES("\x80"), false },
		{ BYTES("\xc3("), false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		assert_int_equal(text_is_utf8(table[i].s, table[i].len),
				 table[i].ok);
}

static void
plain_text_holds_nothing_that_acts(void **state _unused_)
{
	static const struct {
		const char *s;
		size_t len;
		bool ok;
	} table[] = {
		{ BYTES("https://app.example.com/*?a=b"), true },
		{ BYTES("gr\xc3\xbcn \xe2\x82\xac \xf0\x9f\x98\x80"), true },
		{ BYTES("\xc2\xa0"), true },		/* U+00A0 */
		{ BYTES("\xd8\x9b"), true },		/* U+061B */
		{ BYTES("\xd8\x9c"), false },		/* U+061C */
		{ BYTES("\0"), false },
		{ BYTES("\t"), false },
		{ BYTES("a\r\nb"), false },
		{ BYTES("\x1f"), false },
		{ BYTES("\x7f"), false },
		{ BYTES("\xc2\x80"), false },
		{ BYTES("\xc2\x9f"), false },
		{ BYTES("\xe2\x80\x8d"), true },	/* U+200D */
		{ BYTES("\xe2\x80\x8e"), false },
		{ BYTES("\xe2\x80\x8f"), false },
		{ BYTES("\xe2\x80\xa7"), true },	/* U+2027 */
		{ BYTES("\xe2\x80\xa8"), false },
		{ BYTES("\xe2\x80\xa9"), false },
		{ BYTES("\xe2\x80\xaa"), false },
		{ BYTES("\xe2\x80\xae"), false },
		{ BYTES("\xe2\x80\xaf"), true },
		{ BYTES("\xe2\x81\xa5"), true },
		{ BYTES("\xe2\x81\xa6"), false },
		{ BYTES("\xe2\x81\xa9"), false },
		{ BYTES("\xe2\x81\xaa"), true },
		{ BYTES("\xef\xbb\xbf"), false },	/* U+FEFF */
		{ BYTES("\xef\xbf\xbd"), true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		assert_int_equal(text_is_plain(table[i].s, table[i].len),
				 table[i].ok);
}

static void
numbers_are_digits_within_their_limit(void **state _unused_)
{
	static const struct {
		const char *s;
		uint64_t max;
		bool ok;
		uint64_t v;
	} table[] = {
		{ "0", 0, true, 0 },
		{ "007", 7, true, 7 },
		{ "8", 7, false, 0 },
		{ "120", 120, true, 120 },
		{ "121", 120, false, 0 },
		{ "18446744073709551615", UINT64_MAX, true, UINT64_MAX },
		{ "18446744073709551616", UINT64_MAX, false, 0 },
		{ "99999999999999999999", UINT64_MAX, false, 0 },
		{ "", 10, false, 0 },
		{ "+1", 10, false, 0 },
		{ "-1", 10, false, 0 },
		{ " 1", 10, false, 0 },
		{ "1 ", 10, false, 0 },
		{ "0x1", 10, false, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		uint64_t v = 4711;

		assert_int_equal(text_to_u64(table[i].s, strlen(table[i].s),
					     table[i].max, &v), table[i].ok);
		assert_true(v == (table[i].ok ? table[i].v : 4711));
	}
}

static void
numbers_are_written_in_full(void **state _unused_)
{
	static const struct {
		uint64_t v;
		const char *s;
	} table[] = {
		{ 0, "0" },
		{ 9, "9" },
		{ 10, "10" },
		{ 1086, "1086" },
		{ UINT64_MAX, "18446744073709551615" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		char s[TEXT_U64_SIZE];

		assert_int_equal(text_from_u64(s, table[i].v), strlen(table[i].s));
		assert_string_equal(s, table[i].s);
	}
}

static void
percent_encoding_spares_the_unreserved(void **state _unused_)
{
	static const struct {
		const char *s, *encoded;
	} table[] = {
		{ "", "" },
		{ "AZaz09-._~", "AZaz09-._~" },
		{ "https://x/?a=b&c", "https%3A%2F%2Fx%2F%3Fa%3Db%26c" },
		{ " +%\x7f\xc3\xbc", "%20%2B%25%7F%C3%BC" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		_cleanup_(freep) char *encoded = text_percent_encode(table[i].s);

		assert_string_equal(encoded, table[i].encoded);
	}
}

static void
graph_is_printable_without_spaces(void **state _unused_)
{
	static const char *const bad[] = {
		"", " ", "a b", "a\t", "a\x7f", "a\x1f", "\xc3\xbc", "!~ab",
	};

	assert_true(text_is_graph("!~a", 3));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(text_is_graph(bad[i], 3));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_printable_is_shown_as_hex),
		cmocka_unit_test(long_text_is_cut_at_a_whole_character),
		cmocka_unit_test(tokens_are_masked_wherever_they_stand),
		cmocka_unit_test(pieces_and_encodings_of_tokens_are_masked),
		cmocka_unit_test(words_names_and_paths_stay_readable),
		cmocka_unit_test(a_token_across_the_cut_does_not_show),
		cmocka_unit_test(only_well_formed_utf8_passes),
		cmocka_unit_test(plain_text_holds_nothing_that_acts),
		cmocka_unit_test(graph_is_printable_without_spaces),
		cmocka_unit_test(numbers_are_digits_within_their_limit),
		cmocka_unit_test(numbers_are_written_in_full),
		cmocka_unit_test(percent_encoding_spares_the_unreserved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
