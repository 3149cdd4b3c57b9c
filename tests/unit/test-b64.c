/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/b64.h"
#include "vectors.h"

#define BYTES(s)	s, sizeof(s) - 1

static const struct {
	const char *plain;
	size_t len;
	const char *standard, *url;
} vectors[] = {
	/* RFC 4648, section 10 */
	{ BYTES(""), "", "" },
	{ BYTES("f"), "Zg==", "Zg" },
	{ BYTES("fo"), "Zm8=", "Zm8" },
	{ BYTES("foo"), "Zm9v", "Zm9v" },
	{ BYTES("foob"), "Zm9vYg==", "Zm9vYg" },
	{ BYTES("fooba"), "Zm9vYmE=", "Zm9vYmE" },
	{ BYTES("foobar"), "Zm9vYmFy", "Zm9vYmFy" },
	/* where the alphabets differ; NULs */
	{ BYTES("\xfb\xff\xfe"), "+//+", "-__-" },
	{ BYTES("\0\0"), "AAA=", "AAA" },
	{ BYTES(VEC_ASSERTION_INPUT), VEC_SIGN_PAYLOAD, NULL },
};

static void
both_alphabets_go_there_and_back(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		_cleanup_(freep) char *s = NULL, *u = NULL;
		size_t len = vectors[i].len;
		void *back;

		s = b64_encode(vectors[i].plain, len);
		u = b64url_encode(vectors[i].plain, len);
		assert_string_equal(s, vectors[i].standard);
		if (vectors[i].url)
			assert_string_equal(u, vectors[i].url);

		assert_int_equal(b64_decode(s, strlen(s), &back, &len), 0);
		assert_int_equal(len, vectors[i].len);
		assert_memory_equal(back, vectors[i].plain, len + 1);
		free(back);
		assert_int_equal(b64url_decode(u, strlen(u), &back, &len), 0);
		assert_int_equal(len, vectors[i].len);
		assert_memory_equal(back, vectors[i].plain, len + 1);
		free(back);
	}
}

static void
a_signature_from_iam_becomes_that_of_a_jwt(void **state _unused_)
{
	_cleanup_(freep) char *url = NULL;
	void *raw;
	size_t len;

	assert_int_equal(b64_decode(VEC_SIGNED_BLOB, strlen(VEC_SIGNED_BLOB), &raw,
				    &len), 0);
	assert_int_equal(len, 256);
	url = b64url_encode(raw, len);
	assert_string_equal(url, VEC_ASSERTION_SIGNATURE);
	free(raw);
}

static void
one_value_has_one_spelling(void **state _unused_)
{
	static const char *const standard[] = {
		"Z", "Zg", "Zg=", "Zg===", "Zg==Zg==", "Zh==", "Zm9=", "Zm8",
		"Zm9v=", "=", "==", "===", "====", "Zm9v====", "Zg=a",
		"Z===", "Zm-v", "Zm_v", " Zm9v", "Zm9v ", "Zm9v\n", "Zm\n9v",
		"Zm9v\xc3\xbc", "%%%%",
	};
	static const char *const url[] = {
		"Z", "Zg==", "Zg=", "Zh", "Zm9", "Zm9vZ", "Zm+v", "Zm/v", "Zm.v",
		" Zm9v", "Zm9v\n", "=",
	};
	void *ret = NULL;
	size_t len = 4711;

	for (size_t i = 0; i < ARRAY_SIZE(standard); i++)
		assert_int_equal(b64_decode(standard[i], strlen(standard[i]), &ret,
					    &len), -EBADMSG);
	for (size_t i = 0; i < ARRAY_SIZE(url); i++)
		assert_int_equal(b64url_decode(url[i], strlen(url[i]), &ret, &len),
				 -EBADMSG);
	assert_int_equal(b64_decode("Zm\09", 4, &ret, &len), -EBADMSG);
	assert_null(ret);
	assert_int_equal(len, 4711);
}

/* Whatever decodes encodes to the same text: all texts of three characters. */
static void
nothing_decodes_that_encodes_otherwise(void **state _unused_)
{
	static const char some[] = "ABCDQgwz0189-_+/=.";
	char s[4] = { 0 };

	for (size_t i = 0; i < 18 * 18 * 18; i++) {
		_cleanup_(freep) char *again = NULL;
		void *raw;
		size_t len;

		s[0] = some[i % 18];
		s[1] = some[i / 18 % 18];
		s[2] = some[i / 324];
		if (b64url_decode(s, 3, &raw, &len) < 0)
			continue;
		again = b64url_encode(raw, len);
		assert_string_equal(again, s);
		free(raw);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_alphabets_go_there_and_back),
		cmocka_unit_test(a_signature_from_iam_becomes_that_of_a_jwt),
		cmocka_unit_test(one_value_has_one_spelling),
		cmocka_unit_test(nothing_decodes_that_encodes_otherwise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
