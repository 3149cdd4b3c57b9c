/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "token/token.h"
#include "vectors.h"

static void
a_token_says_what_it_was_made_with(void **state _unused_)
{
	char text[] = VEC_ID_TOKEN_C1;
	struct token *t = token_new(TOKEN_ID, text, VEC_NOW, VEC_NOW + 3600,
				    VEC_EMAIL, "signblob");
	size_t len;

	memset(text, 'x', sizeof(text));
	assert_string_equal(token_reveal(t, &len), VEC_ID_TOKEN_C1);
	assert_int_equal(len, strlen(VEC_ID_TOKEN_C1));
	assert_string_equal(token_reveal(t, NULL), VEC_ID_TOKEN_C1);
	assert_true(token_iat(t) == VEC_NOW);
	assert_true(token_exp(t) == VEC_NOW + 3600);
	assert_string_equal(token_flow(t), "signblob");
	assert_string_equal(token_email(t), VEC_EMAIL);
	token_unref(t);
}

static void
what_is_not_known_is_empty(void **state _unused_)
{
	struct token *t = token_new(TOKEN_ACCESS, "x", 0, 1, NULL, NULL);

	assert_string_equal(token_flow(t), "");
	assert_string_equal(token_email(t), "");
	token_unref(t);
}

static void
the_last_reference_frees(void **state _unused_)
{
	struct token *t = token_new(TOKEN_ID, "x", 0, 1, NULL, NULL);

	assert_ptr_equal(token_ref(t), t);
	assert_null(token_unref(t));
	assert_string_equal(token_reveal(t, NULL), "x");
	assert_null(token_unref(t));
	assert_null(token_unref(NULL));
}

static void
seconds_left_end_with_the_expiry(void **state _unused_)
{
	static const struct {
		int64_t exp, now;
		uint64_t left;
	} table[] = {
		{ VEC_NOW + 3600, VEC_NOW, 3600 },
		{ VEC_NOW + 1, VEC_NOW, 1 },
		{ VEC_NOW, VEC_NOW, 0 },
		{ VEC_NOW, VEC_NOW + 1, 0 },
		{ INT64_MAX, INT64_MIN, UINT64_MAX },
		{ INT64_MIN, INT64_MAX, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct token *t = token_new(TOKEN_ID, "x", 0, table[i].exp, NULL,
					    NULL);

		assert_true(token_left(t, table[i].now) == table[i].left);
		assert_true(token_left_surely(t, table[i].now) ==
			    (table[i].left > 0 ? table[i].left - 1 : 0));
		token_unref(t);
	}
}

/* Every two of these differ, however their members are shifted about. */
static void
different_keys_have_different_bytes(void **state _unused_)
{
	static const char *const texts[] = {
		"", "a", "b", "aa", "ab", "a\1", "\1",
	};
	struct token_key keys[2 * 7 * 7 * 7];
	char *bytes[ARRAY_SIZE(keys)];
	size_t len[ARRAY_SIZE(keys)];

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		keys[i] = (struct token_key){
			i % 2 ? TOKEN_ACCESS : TOKEN_ID, texts[i / 2 % 7],
			texts[i / 14 % 7], texts[i / 98],
		};
		bytes[i] = token_key_bytes(&keys[i], &len[i]);
		for (size_t j = 0; j < i; j++)
			assert_false(len[i] == len[j] &&
				     memcmp(bytes[i], bytes[j], len[i]) == 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		free(bytes[i]);
}

static void
equal_keys_have_equal_bytes(void **state _unused_)
{
	char account[] = "default", variant[] = "v", audience[] = "https://x";
	const struct token_key a = { TOKEN_ID, "default", "v", "https://x" };
	const struct token_key b = { TOKEN_ID, account, variant, audience };
	size_t a_len, b_len;
	_cleanup_(freep) char *one = token_key_bytes(&a, &a_len);
	_cleanup_(freep) char *two = token_key_bytes(&b, &b_len);

	assert_int_equal(a_len, b_len);
	assert_memory_equal(one, two, a_len);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_token_says_what_it_was_made_with),
		cmocka_unit_test(what_is_not_known_is_empty),
		cmocka_unit_test(the_last_reference_frees),
		cmocka_unit_test(seconds_left_end_with_the_expiry),
		cmocka_unit_test(different_keys_have_different_bytes),
		cmocka_unit_test(equal_keys_have_equal_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
