/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/b64.h"
#include "token/jwt.h"
#include "vectors.h"

#define GOOD_HEADER	"{\"alg\":\"RS256\",\"kid\":\"k\",\"typ\":\"JWT\"}"
#define GOOD_CLAIMS \
	"{\"iss\":\"https://accounts.google.com\",\"aud\":\"https://a\"," \
	"\"email\":\"" VEC_EMAIL "\",\"email_verified\":true," \
	"\"iat\":1767225600,\"exp\":1767229200}"

static const struct jwt_expectation expectation = {
	.audience = "https://a", .email = VEC_EMAIL, .now = VEC_NOW,
	.iat_skew = 300, .max_life = 3600,
};

/* A JWT of these texts, with a signature of no worth. */
static char *
make(const char *header, const char *claims)
{
	_cleanup_(freep) char *h = b64url_encode(header, strlen(header));
	_cleanup_(freep) char *c = b64url_encode(claims, strlen(claims));

	return xasprintf("%s.%s.c2ln", h, c);
}

static int
parse(const char *header, const char *claims, struct jwt **ret, struct err *e)
{
	_cleanup_(freep) char *text = make(header, claims);

	return jwt_parse(text, strlen(text), ret, e);
}

/* What jwt_expect() says of these claims: "" where they are good. */
static const char *
verdict(const char *header, const char *claims, const struct jwt_expectation *x,
	struct err *e)
{
	_cleanup_(jwt_freep) struct jwt *j = NULL;

	*e = (struct err){ 0 };
	assert_int_equal(parse(header, claims, &j, e), 0);
	if (jwt_expect(j, x, e) == 0)
		return "";
	assert_int_equal(e->kind, ERR_UNAVAILABLE);
	return e->msg;
}

static void
an_id_token_of_the_token_endpoint_is_read(void **state _unused_)
{
	_cleanup_(jwt_freep) struct jwt *j = NULL;
	struct jwt_expectation x = expectation;
	const char *text = VEC_ID_TOKEN_C1;
	struct err e;

	assert_int_equal(jwt_parse(text, strlen(text), &j, &e), 0);
	assert_string_equal(j->alg, "RS256");
	assert_string_equal(j->kid, VEC_GOOGLE_KEY_KID);
	assert_string_equal(j->iss, "https://accounts.google.com");
	assert_string_equal(j->aud, VEC_AUDIENCE);
	assert_string_equal(j->sub, "113456789012345678901");
	assert_string_equal(j->email, VEC_EMAIL);
	assert_true(j->email_verified);
	assert_true(j->iat == VEC_NOW);
	assert_true(j->exp == VEC_NOW + 3600);
	assert_false(j->has_google);
	assert_int_equal(j->signature_len, 256);
	assert_ptr_equal(text + j->signed_len, strrchr(text, '.'));

	x.audience = VEC_AUDIENCE;
	assert_int_equal(jwt_expect(j, &x, &e), 0);
}

static void
an_id_token_of_the_metadata_server_has_google(void **state _unused_)
{
	_cleanup_(jwt_freep) struct jwt *j = NULL;
	struct jwt_expectation x = expectation;
	const char *text = VEC_ID_TOKEN_A5;
	struct err e;

	assert_int_equal(jwt_parse(text, strlen(text), &j, &e), 0);
	assert_true(j->has_google);
	x.audience = VEC_AUDIENCE;
	assert_int_equal(jwt_expect(j, &x, &e), 0);
}

static void
an_assertion_is_built_byte_for_byte(void **state _unused_)
{
	_cleanup_(freep) char *input = jwt_assertion_input(&(struct jwt_assertion){
		.iss = VEC_EMAIL, .aud = "https://oauth2.googleapis.com/token",
		.iat = VEC_ASSERTION_IAT, .exp = VEC_ASSERTION_EXP,
		.target_audience = VEC_AUDIENCE });
	_cleanup_(secret_freep) char *whole = NULL;

	assert_string_equal(input, VEC_ASSERTION_INPUT);
	whole = jwt_join(input, VEC_ASSERTION_SIGNATURE);
	assert_string_equal(whole, VEC_ASSERTION);
}

static void
an_assertion_names_its_key_and_a_scope_where_it_has_them(void **state _unused_)
{
	_cleanup_(freep) char *input = jwt_assertion_input(&(struct jwt_assertion){
		.kid = "k\"1", .iss = "a@b", .aud = "t", .iat = 1, .exp = 2,
		.scope = "s1 s2" });
	_cleanup_(freep) char *header = b64url_encode(
		"{\"alg\":\"RS256\",\"kid\":\"k\\\"1\",\"typ\":\"JWT\"}",
		strlen("{\"alg\":\"RS256\",\"kid\":\"k\\\"1\",\"typ\":\"JWT\"}"));
	_cleanup_(freep) char *claims = b64url_encode(
		"{\"iss\":\"a@b\",\"aud\":\"t\",\"iat\":1,\"exp\":2,"
		"\"scope\":\"s1 s2\"}",
		strlen("{\"iss\":\"a@b\",\"aud\":\"t\",\"iat\":1,\"exp\":2,"
		       "\"scope\":\"s1 s2\"}"));
	_cleanup_(freep) char *whole = xasprintf("%s.%s", header, claims);

	assert_string_equal(input, whole);
}

static void
an_audience_cannot_add_claims(void **state _unused_)
{
	_cleanup_(freep) char *input = jwt_assertion_input(&(struct jwt_assertion){
		.iss = "a@b", .aud = "t", .iat = 1, .exp = 2,
		.target_audience = "x\",\"scope\":\"all\\" });
	_cleanup_(freep) char *claims = b64url_encode(
		"{\"iss\":\"a@b\",\"aud\":\"t\",\"iat\":1,\"exp\":2,"
		"\"target_audience\":\"x\\\",\\\"scope\\\":\\\"all\\\\\"}",
		strlen("{\"iss\":\"a@b\",\"aud\":\"t\",\"iat\":1,\"exp\":2,"
		       "\"target_audience\":\"x\\\",\\\"scope\\\":\\\"all\\\\\"}"));

	assert_string_equal(strchr(input, '.') + 1, claims);
}

static void
absent_claims_are_null(void **state _unused_)
{
	_cleanup_(jwt_freep) struct jwt *j = NULL;

	assert_int_equal(parse("{}", "{}", &j, NULL), 0);
	assert_null(j->alg);
	assert_null(j->kid);
	assert_null(j->iss);
	assert_null(j->aud);
	assert_null(j->sub);
	assert_null(j->email);
	assert_false(j->email_verified);
	assert_true(j->iat == 0 && j->exp == 0);
}

static void
claims_of_another_type_are_refused(void **state _unused_)
{
	static const struct {
		const char *header, *claims, *words;
	} table[] = {
		{ "[]", "{}", "header is no JSON object" },
		{ "{\"alg\":1}", "{}", "alg is not a string" },
		{ "{\"kid\":[]}", "{}", "kid is not a string" },
		{ "{\"crit\":[\"b64\"]}", "{}", "crit" },
		{ "{}", "[]", "claims are no JSON object" },
		{ "{}", "{", "claims are no JSON object" },
		{ "{}", "{} {}", "claims are no JSON object" },
		{ "{}", "{\"aud\":[\"https://a\"]}", "aud is not a string" },
		{ "{}", "{\"aud\":\"a\\u0000b\"}", "aud is not a string" },
		{ "{}", "{\"iss\":{}}", "iss is not a string" },
		{ "{}", "{\"sub\":113456789012345678901}", "sub is not a string" },
		{ "{}", "{\"email\":true}", "email is not a string" },
		{ "{}", "{\"email_verified\":\"true\"}", "email_verified is" },
		{ "{}", "{\"email_verified\":1}", "email_verified is" },
		{ "{}", "{\"iat\":\"1\"}", "iat is not a time" },
		{ "{}", "{\"iat\":1.0}", "iat is not a time" },
		{ "{}", "{\"exp\":1e9}", "exp is not a time" },
		{ "{}", "{\"exp\":0}", "exp is not a time" },
		{ "{}", "{\"exp\":-1}", "exp is not a time" },
		{ "{}", "{\"exp\":9223372036854775807}", "exp is not a time" },
		{ "{}", "{\"exp\":9223372036854775808}", "exp is not a time" },
	};
	struct jwt *j = NULL;
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		assert_int_equal(parse(table[i].header, table[i].claims, &j, &e),
				 -EHOSTUNREACH);
		if (!strstr(e.msg, table[i].words))
			fail_msg("%zu: %s", i, e.msg);
		assert_null(j);
	}
}

static void
only_three_parts_of_base64url_are_a_jwt(void **state _unused_)
{
	static const char *const bad[] = {
		"", ".", "..", "...", "e30", "e30.e30", "e30.e30.", "e30..c2ln",
		".e30.c2ln", "e30.e30.c2ln.", "e30.e30.c2ln.c2ln", "e30.e30.c2l",
		"e30=.e30.c2ln", "e30.e30.c2ln==", "e30.e30.c2+n", "e30.e30.c2/n",
		" e30.e30.c2ln", "e30.e30.c2ln\n", "e31.e30.c2ln", "e30 .e30.c2ln",
		"\"e30.e30.c2ln\"", "bnVsbA.e30.c2ln", "e30.e30.\xc3\xbc",
	};
	struct jwt *j = NULL;
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (jwt_parse(bad[i], strlen(bad[i]), &j, &e) != -EHOSTUNREACH)
			fail_msg("taken: %s", bad[i]);
	assert_int_equal(jwt_parse("e30.e30.c2ln\0", 13, &j, &e), -EHOSTUNREACH);
	assert_null(j);
	assert_int_equal(jwt_parse("e30.e30.c2ln", 12, &j, &e), 0);
	assert_null(jwt_free(j));
	assert_null(jwt_free(NULL));
}

/* Nothing behind the text is read, wherever it is cut. */
static void
a_beginning_of_a_jwt_is_none(void **state _unused_)
{
	size_t whole = strlen(VEC_ID_TOKEN_C1);
	struct jwt *j = NULL;

	for (size_t len = 0; len < whole; len += len < 500 ? 1 : 7) {
		char *exact = malloc(len ? len : 1);

		memcpy(exact, VEC_ID_TOKEN_C1, len);
		/* A shorter signature is still base64: the key judges that. */
		if (jwt_parse(exact, len, &j, NULL) == 0) {
			assert_true(len > j->signed_len + 1);
			j = jwt_free(j);
		}
		free(exact);
	}
}

static void
a_jwt_has_a_limit(void **state _unused_)
{
	char *text = malloc(JWT_MAX + 1);
	struct jwt *j = NULL;
	struct err e;

	memset(text, 'A', JWT_MAX + 1);
	memcpy(text, "e30.e30.", 8);
	assert_int_equal(jwt_parse(text, JWT_MAX, &j, &e), 0);
	j = jwt_free(j);
	assert_int_equal(jwt_parse(text, JWT_MAX + 1, &j, &e), -EHOSTUNREACH);
	assert_non_null(strstr(e.msg, "longer than 65536 bytes"));
	free(text);
}

static void
the_expected_token_passes(void **state _unused_)
{
	struct jwt_expectation x = expectation;
	struct err e;

	assert_string_equal(verdict(GOOD_HEADER, GOOD_CLAIMS, &x, &e), "");
	x.email = NULL;
	assert_string_equal(verdict(GOOD_HEADER, GOOD_CLAIMS, &x, &e), "");
	assert_string_equal(verdict(GOOD_HEADER, "{\"iss\":\"accounts.google.com\","
				    "\"aud\":\"https://a\",\"iat\":1767225600,"
				    "\"exp\":1767229200}", &x, &e), "");
}

#define TIMES	"\"iat\":1767225600,\"exp\":1767229200}"
#define ISS	"{\"iss\":\"https://accounts.google.com\","
#define AUD	"\"aud\":\"https://a\","
#define EMAIL	"\"email\":\"" VEC_EMAIL "\",\"email_verified\":true,"

static void
a_wrong_claim_is_named_with_what_was_expected(void **state _unused_)
{
	static const struct {
		const char *header, *claims, *words;
	} table[] = {
		{ "{\"kid\":\"k\"}", GOOD_CLAIMS, "no alg, expected RS256" },
		{ "{\"alg\":\"none\",\"kid\":\"k\"}", GOOD_CLAIMS,
		  "alg is none, expected RS256" },
		{ "{\"alg\":\"HS256\",\"kid\":\"k\"}", GOOD_CLAIMS,
		  "alg is HS256, expected RS256" },
		{ "{\"alg\":\"RS256\"}", GOOD_CLAIMS, "no kid" },
		{ "{\"alg\":\"RS256\",\"kid\":\"\"}", GOOD_CLAIMS, "no kid" },
		{ GOOD_HEADER, "{" AUD EMAIL TIMES,
		  "no iss, expected https://accounts.google.com" },
		{ GOOD_HEADER,
		  "{\"iss\":\"https://accounts.google.com/\"," AUD EMAIL TIMES,
		  "iss is https://accounts.google.com/, expected https://acc" },
		{ GOOD_HEADER, ISS EMAIL TIMES, "no aud, expected https://a" },
		{ GOOD_HEADER, ISS "\"aud\":\"https://A\"," EMAIL TIMES,
		  "aud is https://A, expected https://a" },
		{ GOOD_HEADER, ISS "\"aud\":\"https://a\\n\"," EMAIL TIMES,
		  "aud is https://a\\x0a, expected https://a" },
		{ GOOD_HEADER, ISS AUD TIMES, "no email, expected " VEC_EMAIL },
		{ GOOD_HEADER,
		  ISS AUD "\"email\":\"x@y\",\"email_verified\":true," TIMES,
		  "email is x@y, expected " VEC_EMAIL },
		{ GOOD_HEADER, ISS AUD "\"email\":\"" VEC_EMAIL "\"," TIMES,
		  "email_verified is not true" },
		{ GOOD_HEADER, ISS AUD EMAIL "\"email_verified\":false," TIMES,
		  "email_verified is not true" },
		{ GOOD_HEADER, ISS AUD EMAIL "\"exp\":1767229200}", "no iat" },
		{ GOOD_HEADER, ISS AUD EMAIL "\"iat\":1767225600}", "no exp" },
		{ GOOD_HEADER,
		  ISS AUD EMAIL "\"iat\":1767225600,\"exp\":1767225600}",
		  "exp 1767225600 is not after iat 1767225600" },
		{ GOOD_HEADER,
		  ISS AUD EMAIL "\"iat\":1767225901,\"exp\":1767229200}",
		  "iat 1767225901 lies ahead of now, 1767225600, by more than "
		  "300 s" },
		{ GOOD_HEADER, ISS AUD EMAIL "\"iat\":1,\"exp\":1767225600}",
		  "exp 1767225600 is past, now is 1767225600" },
		{ GOOD_HEADER,
		  ISS AUD EMAIL "\"iat\":1767225600,\"exp\":1767229501}",
		  "exp 1767229501 lies ahead of now, 1767225600, by more than "
		  "3900 s" },
	};
	const char *words;
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		words = verdict(table[i].header, table[i].claims, &expectation, &e);
		if (!strstr(words, table[i].words))
			fail_msg("%zu: %s", i, words);
	}
}

static void
another_universes_domain_may_be_the_issuer_there_only(void **state _unused_)
{
	struct jwt_expectation x = expectation;
	static const char domain[] = "{\"iss\":\"apis.example\"," AUD EMAIL TIMES;
	static const char url[] =
		"{\"iss\":\"https://apis.example\"," AUD EMAIL TIMES;
	static const char home[] = "{\"iss\":\"googleapis.com\"," AUD EMAIL TIMES;
	struct err e;

	assert_non_null(strstr(verdict(GOOD_HEADER, domain, &x, &e),
			       "iss is apis."));
	assert_non_null(strstr(verdict(GOOD_HEADER, home, &x, &e),
			       "iss is google"));
	x.universe = "apis.example";
	assert_string_equal(verdict(GOOD_HEADER, domain, &x, &e), "");
	assert_string_equal(verdict(GOOD_HEADER, GOOD_CLAIMS, &x, &e), "");
	assert_non_null(strstr(verdict(GOOD_HEADER, url, &x, &e),
			       "iss is https"));
	assert_non_null(strstr(verdict(GOOD_HEADER, home, &x, &e),
			       "iss is google"));
}

static void
the_last_good_second_is_good(void **state _unused_)
{
	struct jwt_expectation x = expectation;
	struct err e;

	x.now = VEC_NOW + 3599;
	assert_string_equal(verdict(GOOD_HEADER, GOOD_CLAIMS, &x, &e), "");
	x.now++;
	assert_string_not_equal(verdict(GOOD_HEADER, GOOD_CLAIMS, &x, &e), "");
	/* a clock that is slow, within the skew */
	x.now = VEC_NOW - 300;
	assert_string_equal(verdict(GOOD_HEADER, GOOD_CLAIMS, &x, &e), "");
	x.now--;
	assert_string_not_equal(verdict(GOOD_HEADER, GOOD_CLAIMS, &x, &e), "");
}

static void
what_a_token_says_is_shown_masked(void **state _unused_)
{
	_cleanup_(freep) char *claims = xasprintf(
		ISS "\"aud\":\"%s\"," TIMES, VEC_ID_TOKEN_C1);
	struct err e;

	assert_string_equal(verdict(GOOD_HEADER, claims, &expectation, &e),
			    "ID token: aud is [masked], expected https://a");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_id_token_of_the_token_endpoint_is_read),
		cmocka_unit_test(an_id_token_of_the_metadata_server_has_google),
		cmocka_unit_test(an_assertion_is_built_byte_for_byte),
		cmocka_unit_test(
			an_assertion_names_its_key_and_a_scope_where_it_has_them),
		cmocka_unit_test(an_audience_cannot_add_claims),
		cmocka_unit_test(absent_claims_are_null),
		cmocka_unit_test(claims_of_another_type_are_refused),
		cmocka_unit_test(only_three_parts_of_base64url_are_a_jwt),
		cmocka_unit_test(a_beginning_of_a_jwt_is_none),
		cmocka_unit_test(a_jwt_has_a_limit),
		cmocka_unit_test(the_expected_token_passes),
		cmocka_unit_test(a_wrong_claim_is_named_with_what_was_expected),
		cmocka_unit_test(
			another_universes_domain_may_be_the_issuer_there_only),
		cmocka_unit_test(the_last_good_second_is_good),
		cmocka_unit_test(what_a_token_says_is_shown_masked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
