/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "google/endpoints.h"
#include "google/token_endpoint.h"
#include "vectors.h"

static struct http_response
answer(unsigned status, const char *body)
{
	struct http_response re = HTTP_RESPONSE_INIT;

	re.status = status;
	re.body = body;
	re.body_len = strlen(body);
	re.date = VEC_NOW;
	re.tls = true;
	return re;
}

static const struct token_endpoint_ask by_account = {
	.email = VEC_EMAIL, .audience = VEC_AUDIENCE, .now = VEC_NOW };
static const struct token_endpoint_ask by_user = {
	.audience = VEC_AUDIENCE, .now = VEC_NOW };
static const struct token_endpoint_user person = {
	.client_id = "123456789012-desktopclient.apps.googleusercontent.com",
	.client_secret = "EXAMPLE-CLIENT-SECRET",
	.refresh_token = "EXAMPLE/REFRESH-TOKEN" };

/* Local time is that of the vectors; the server's is date. */
static struct err
failure_of(const struct token_endpoint_ask *ask, int64_t date, unsigned status,
	   const char *body, enum token_endpoint_verdict expected)
{
	struct http_response re = answer(status, body);
	enum token_endpoint_verdict verdict = 77;
	struct err e = { .kind = ERR_KINDS };
	char *token = NULL;
	int r;

	re.date = date;
	re.retry_after_usec = 9;
	r = token_endpoint_id_token_response(&re, ask, &token, &verdict, &e);
	assert_int_equal(r, err_kind_errno(e.kind));
	assert_null(token);
	assert_int_equal(verdict, expected);
	/* Nobody has to ask why. */
	assert_int_equal(token_endpoint_id_token_response(&re, ask, &token, NULL,
							  NULL), r);
	return e;
}

static struct err
failure_at(int64_t date, unsigned status, const char *body,
	   enum token_endpoint_verdict expected)
{
	return failure_of(&by_account, date, status, body, expected);
}

static struct err
failure(unsigned status, const char *body, enum token_endpoint_verdict expected)
{
	return failure_at(VEC_NOW, status, body, expected);
}

static void
assert_words(struct err e, enum err_kind kind, const char *words)
{
	assert_int_equal(e.kind, kind);
	if (!strstr(e.msg, words))
		fail_msg("no \"%s\" in \"%s\"", words, e.msg);
}

static void
a_request_is_that_of_the_reference(void **state _unused_)
{
	struct http_request q;

	token_endpoint_assertion_request(ENDPOINT_TOKEN, VEC_ASSERTION, &q);
	assert_int_equal(q.lane, HTTP_LANE_GOOGLE);
	assert_string_equal(q.method, "POST");
	assert_string_equal(q.url, "https://oauth2.googleapis.com/token");
	assert_int_equal(q.n_fields, 2);
	assert_string_equal(q.fields[0],
			    "Content-Type: application/x-www-form-urlencoded");
	assert_string_equal(q.fields[1], "Accept: application/json");
	assert_string_equal(q.body, VEC_C1_REQUEST);
	assert_int_equal(q.body_len, strlen(VEC_C1_REQUEST));
	http_request_clear(&q);
}

static void
an_answer_holds_the_id_token(void **state _unused_)
{
	struct http_response re = answer(200, VEC_C1_RESPONSE);
	_cleanup_(secret_freep) char *token = NULL;

	assert_int_equal(token_endpoint_id_token_response(&re, &by_account, &token,
							  NULL, NULL), 0);
	assert_string_equal(token, VEC_ID_TOKEN_C1);
}

static void
an_answer_may_be_printed_prettily(void **state _unused_)
{
	struct http_response re = answer(200, "{\n  \"id_token\": \"a.b.c\"\n}\n");
	_cleanup_(secret_freep) char *token = NULL;

	assert_int_equal(token_endpoint_id_token_response(&re, &by_account, &token,
							  NULL, NULL), 0);
	assert_string_equal(token, "a.b.c");
}

static void
an_answer_without_a_token_may_pass(void **state _unused_)
{
	static const char *const bodies[] = {
		"", "{}", "[]", "a.b.c", "\"a.b.c\"", "<html>", "{\"id_token\":7}",
		"{\"id_token\":\"\"}", "{\"id_token\":\"a.b c\"}",
		"{\"id_token\":\"a.b\\u0000c\"}", "{\"id_token\":\"a\\r\\nb\"}",
		"{\"access_token\":\"ya29.x\",\"expires_in\":3600}",
	};
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		e = failure(200, bodies[i], TOKEN_ENDPOINT_OTHER);
		assert_words(e, ERR_UNAVAILABLE, "no ID token");
		assert_null(strstr(e.msg, "ya29"));
	}
}

static void
a_clock_ahead_is_named_with_its_skew(void **state _unused_)
{
	struct err e = failure_at(VEC_NOW - 700, 400, VEC_C2_BODY,
				  TOKEN_ENDPOINT_CLOCK);

	assert_words(e, ERR_UNAVAILABLE, "clock is 700 s ahead of Google's");
	assert_non_null(strstr(e.hint, "timedatectl"));
	assert_non_null(strstr(e.hint, "chronyc"));
}

static void
a_clock_behind_is_named_with_its_skew(void **state _unused_)
{
	assert_words(failure_at(VEC_NOW + 7200, 400, VEC_C2_BODY,
				TOKEN_ENDPOINT_CLOCK),
		     ERR_UNAVAILABLE, "clock is 7200 s behind Google's");
}

static void
a_clock_that_agrees_is_not_blamed(void **state _unused_)
{
	assert_words(
		failure_at(VEC_NOW + 2, 400, VEC_C2_BODY, TOKEN_ENDPOINT_CLOCK),
		ERR_UNAVAILABLE, "clock agrees with Google's");
}

static void
without_a_date_no_skew_is_guessed(void **state _unused_)
{
	struct err e = failure_at(0, 400, VEC_C2_BODY, TOKEN_ENDPOINT_CLOCK);

	assert_words(e, ERR_UNAVAILABLE, "not believed");
	assert_null(strstr(e.msg, "clock"));
	assert_true(e.hint[0]);
}

static void
a_bad_signature_asks_for_another_one(void **state _unused_)
{
	assert_words(failure(400, VEC_C3_BODY, TOKEN_ENDPOINT_SIGNATURE),
		     ERR_UNAVAILABLE, "signature");
}

static void
an_audience_not_accepted_is_about_this_request_only(void **state _unused_)
{
	struct err e = failure(400, VEC_C4_BODY, TOKEN_ENDPOINT_OTHER);

	assert_words(e, ERR_GOOGLE, VEC_AUDIENCE);
	assert_int_equal(e.scope, ERR_SCOPE_REQUEST);
}

static void
an_unknown_account_is_about_the_account_in_any_spelling(void **state _unused_)
{
	static const char *const bodies[] = {
		VEC_C5_BODY,
		"{\"error\":\"invalid_grant\",\"error_description\":\"Account "
		"not found\"}",
		"{\"error\":\"invalid_grant\",\"error_description\":"
		"\"Invalid grant: ACCOUNT NOT FOUND\"}",
		"{\n  \"error\": \"invalid_grant\",\n  \"error_description\": "
		"\"Invalid grant: account not found\"\n}\n",
		"{\"error\":\"invalid_grant\",\"error_description\":\"Account "
		"disabled\"}",
		"\"Invalid grant: account not found\"",
		"Invalid grant: account not found",
	};
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		e = failure(400, bodies[i], TOKEN_ENDPOINT_ACCOUNT);
		assert_words(e, ERR_GOOGLE, VEC_EMAIL);
		assert_int_equal(e.scope, ERR_SCOPE_ACCOUNT);
		assert_non_null(strstr(e.hint, "gcloud iam service-accounts enable "
				       VEC_EMAIL));
	}
}

static void
a_wrong_endpoint_is_told_from_a_wrong_audience(void **state _unused_)
{
	struct err e = failure(400, VEC_C8_BODY, TOKEN_ENDPOINT_OTHER);

	assert_words(e, ERR_GOOGLE, "Failed audience check");
	assert_int_equal(e.scope, ERR_SCOPE_REQUEST);
	assert_non_null(strstr(e.hint, "token-endpoint"));
}

static void
other_complaints_are_denials_of_this_request(void **state _unused_)
{
	static const char *const errors[] = {
		"invalid_request", "unsupported_grant_type", "unauthorized_client",
		"invalid_client", "something_new",
	};
	char body[200];
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		snprintf(body, sizeof(body),
			 "{\"error\":\"%s\",\"error_description\":"
			 "\"Bad Request\"}",
			 errors[i]);
		e = failure(i % 2 ? 401 : 400, body, TOKEN_ENDPOINT_OTHER);
		assert_words(e, ERR_GOOGLE, errors[i]);
		assert_words(e, ERR_GOOGLE, "Bad Request");
		assert_int_equal(e.scope, ERR_SCOPE_REQUEST);
	}
	assert_words(failure(400, "{\"error\":\"x\"}", TOKEN_ENDPOINT_OTHER),
		     ERR_GOOGLE, "x");
}

static void
trouble_may_pass_whatever_its_status(void **state _unused_)
{
	static const struct {
		unsigned status;
		const char *body;
	} rows[] = {
		{ 500, VEC_C7_BODY },
		{ 400, VEC_C7_BODY },
		{ 503, VEC_C5_BODY },
		{ 429, VEC_C3_BODY },
		{ 408, "" },
		{ 502, "<html>" },
		{ 504, "" },
		{ 400, "{\"error\":\"server_error\"}" },
		{ 403, "{\"error\":\"temporarily_unavailable\"}" },
		{ 400, "{\"error\":\"x\",\"error_description\":\"internal_"
		       "failure\"}" },
		{ 302, "" },
		{ 400, "<html>disabled</html>" },
		{ 400, "" },
		{ 404, "<!DOCTYPE html>account not found" },
		{ 400, "no idea" },
		{ 400, "[]" },
	};
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		e = failure(rows[i].status, rows[i].body, TOKEN_ENDPOINT_OTHER);
		assert_int_equal(e.kind, ERR_UNAVAILABLE);
		assert_int_equal(e.retry_usec, 9);
		assert_null(strstr(e.msg, "html"));
	}
}

static void
foreign_words_are_made_safe(void **state _unused_)
{
	struct err e = failure(400,
			       "{\"error\":\"e\\u001b\",\"error_description\":"
			       "\"\\u009bx " VEC_ASSERTION "\"}",
			       TOKEN_ENDPOINT_OTHER);

	assert_words(e, ERR_GOOGLE, "e\\x1b: \\xc2\\x9bx");
	assert_null(strstr(e.msg, "eyJ"));
}

static void
a_key_of_a_file_whose_signature_is_bad_is_gone_for_good(void **state _unused_)
{
	const struct token_endpoint_ask ask = { .email = VEC_EMAIL,
						.key_id = VEC_SA_KEY_KID,
						.audience = VEC_AUDIENCE,
						.now = VEC_NOW };
	struct err e = failure_of(&ask, VEC_NOW, 400, VEC_C3_BODY,
				  TOKEN_ENDPOINT_SIGNATURE);

	assert_words(e, ERR_GOOGLE, VEC_SA_KEY_KID);
	assert_int_equal(e.scope, ERR_SCOPE_ACCOUNT);
	assert_non_null(strstr(e.hint, "gcloud iam service-accounts keys create"));
}

static void
a_refresh_is_that_of_the_reference(void **state _unused_)
{
	struct http_request q;

	token_endpoint_refresh_request(ENDPOINT_TOKEN, &person, VEC_AUDIENCE, &q);
	assert_int_equal(q.lane, HTTP_LANE_GOOGLE);
	assert_string_equal(q.url, "https://oauth2.googleapis.com/token");
	assert_string_equal(q.fields[0],
			    "Content-Type: application/x-www-form-urlencoded");
	assert_string_equal(q.body, VEC_C6_REQUEST);
	assert_int_equal(q.body_len, strlen(VEC_C6_REQUEST));
	http_request_clear(&q);

	/* Without an audience it is for an access token. */
	token_endpoint_refresh_request(ENDPOINT_TOKEN, &person, NULL, &q);
	assert_non_null(strstr(q.body, "&grant_type=refresh_token"));
	assert_null(strstr(q.body, "audience"));
	http_request_clear(&q);
}

static void
nothing_in_a_users_file_adds_parameters(void **state _unused_)
{
	static const struct token_endpoint_user odd = {
		.client_id = "a&b=c", .client_secret = "d%e+f",
		.refresh_token = "=" };
	struct http_request q;

	token_endpoint_refresh_request("https://t", &odd, "x&y z", &q);
	assert_string_equal(q.body, "client_id=a%26b%3Dc&client_secret=d%25e%2Bf"
			    "&refresh_token=%3D&grant_type=refresh_token"
			    "&audience=x%26y%20z");
	http_request_clear(&q);
}

static void
a_users_refusal_says_what_mends_it(void **state _unused_)
{
	static const struct {
		unsigned status;
		const char *body, *words, *hint;
		enum err_scope scope;
	} rows[] = {
		{ 400, "{\"error\":\"invalid_grant\",\"error_description\":"
		  "\"Token has been expired or revoked.\"}",
		  "has expired or was revoked: Token has been",
		  "sign in again: gcloud auth application-default login",
		  ERR_SCOPE_ACCOUNT },
		{ 400, "{\"error\":\"invalid_grant\",\"error_description\":"
		  "\"Account has been deleted\"}", "Account has been deleted",
		  "sign in again", ERR_SCOPE_ACCOUNT },
		{ 400, "{\"error\":\"invalid_grant\",\"error_description\":\"x\","
		  "\"error_subtype\":\"rapt_required\"}",
		  "wants the user to sign in again", "sign in again: gcloud",
		  ERR_SCOPE_ACCOUNT },
		{ 400, "{\"error\":\"invalid_grant\",\"error_subtype\":"
		  "\"invalid_rapt\"}", "wants the user to sign in again",
		  "sign in again", ERR_SCOPE_ACCOUNT },
		{ 401, "{\"error\":\"invalid_client\",\"error_description\":"
		  "\"The OAuth client was not found.\"}",
		  "OAuth client of the credentials is not accepted: The OAuth",
		  "make an OAuth client", ERR_SCOPE_ACCOUNT },
		{ 401, "{\"error\":\"unauthorized_client\",\"error_description\":"
		  "\"Unauthorized\"}", "OAuth client", "sign in again",
		  ERR_SCOPE_ACCOUNT },
		{ 401, "{\"error\":\"deleted_client\"}", "OAuth client",
		  "make an OAuth client", ERR_SCOPE_ACCOUNT },
		{ 400, "{\"error\":\"invalid_audience\",\"error_description\":"
		  "\"The audience client and the client need to be in the same "
		  "project."
		  "\"}", "of another project than the OAuth client",
		  "the application's own project", ERR_SCOPE_REQUEST },
		{ 400, VEC_C4_BODY, VEC_AUDIENCE, "client id", ERR_SCOPE_REQUEST },
		{ 400, "{\"error\":\"invalid_request\"}", "invalid_request", "",
		  ERR_SCOPE_REQUEST },
	};
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		e = failure_of(&by_user, VEC_NOW, rows[i].status, rows[i].body,
			       TOKEN_ENDPOINT_OTHER);
		assert_words(e, ERR_GOOGLE, rows[i].words);
		assert_int_equal(e.scope, rows[i].scope);
		if (!strstr(e.hint, rows[i].hint))
			fail_msg("%zu: %s", i, e.hint);
	}
}

static void
a_users_trouble_may_pass(void **state _unused_)
{
	static const struct {
		unsigned status;
		const char *body;
	} rows[] = {
		{ 500, "{\"error\":\"invalid_grant\"}" },
		{ 429, "{\"error\":\"invalid_client\"}" },
		{ 400, VEC_C7_BODY },
		{ 400, "<html>invalid_grant</html>" },
		{ 400, "Account not found" },
	};
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		e = failure_of(&by_user, VEC_NOW, rows[i].status, rows[i].body,
			       TOKEN_ENDPOINT_OTHER);
		assert_int_equal(e.kind, ERR_UNAVAILABLE);
		assert_int_equal(e.retry_usec, 9);
	}
}

static int
access_token(const char *body, char **ret, uint64_t *ret_life, struct err *e)
{
	const struct token_endpoint_ask ask = { .email = VEC_EMAIL,
						.now = VEC_NOW };
	struct http_response re = answer(200, body);

	return token_endpoint_access_token_response(&re, &ask, ret, ret_life, NULL,
						    e);
}

static void
an_access_token_comes_with_its_life(void **state _unused_)
{
	static const char *const good[] = {
		("{\"access_token\":\"ya29.x\",\"expires_in\":3599,"
		 "\"token_type\":\"Bearer\",\"scope\":\"s\"}"),
		"{\"access_token\":\"ya29.x\",\"expires_in\":\"3599\"}",
	};
	static const char *const bad[] = {
		"", "[]", "{}", "<html>", "{\"id_token\":\"a.b.c\"}",
		"{\"access_token\":\"\",\"expires_in\":1}",
		"{\"access_token\":\"a\\r\\nb\",\"expires_in\":1}",
		"{\"access_token\":\"ya29.x\"}",
		"{\"access_token\":\"ya29.x\",\"expires_in\":0}",
		"{\"access_token\":\"ya29.x\",\"expires_in\":\"-1\"}",
		"{\"access_token\":\"ya29.x\",\"expires_in\":1.5}",
		("{\"access_token\":\"ya29.x\",\"expires_in\":1,"
		 "\"token_type\":\"mac\"}"),
	};
	uint64_t life = 0;
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		_cleanup_(secret_freep) char *token = NULL;

		assert_int_equal(access_token(good[i], &token, &life, &e), 0);
		assert_string_equal(token, "ya29.x");
		assert_int_equal(life, 3599);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char *token = NULL;

		assert_int_equal(access_token(bad[i], &token, &life, &e),
				 err_kind_errno(ERR_UNAVAILABLE));
		assert_null(token);
		assert_null(strstr(e.msg, "ya29"));
	}
}

static void
scopes_that_are_not_accepted_are_not_called_an_audience(void **state _unused_)
{
	struct http_response re = answer(400, VEC_C4_BODY);
	const struct token_endpoint_ask ask = { .email = VEC_EMAIL,
						.now = VEC_NOW };
	enum token_endpoint_verdict verdict;
	char *token = NULL;
	uint64_t life;
	struct err e;

	token_endpoint_access_token_response(&re, &ask, &token, &life, &verdict,
					     &e);
	assert_words(e, ERR_GOOGLE, "these scopes are not accepted");
	assert_int_equal(e.scope, ERR_SCOPE_REQUEST);
	assert_int_equal(verdict, TOKEN_ENDPOINT_OTHER);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_that_of_the_reference),
		cmocka_unit_test(an_answer_holds_the_id_token),
		cmocka_unit_test(an_answer_may_be_printed_prettily),
		cmocka_unit_test(an_answer_without_a_token_may_pass),
		cmocka_unit_test(a_clock_ahead_is_named_with_its_skew),
		cmocka_unit_test(a_clock_behind_is_named_with_its_skew),
		cmocka_unit_test(a_clock_that_agrees_is_not_blamed),
		cmocka_unit_test(without_a_date_no_skew_is_guessed),
		cmocka_unit_test(a_bad_signature_asks_for_another_one),
		cmocka_unit_test(
			an_audience_not_accepted_is_about_this_request_only),
		cmocka_unit_test(
			an_unknown_account_is_about_the_account_in_any_spelling),
		cmocka_unit_test(
			a_wrong_endpoint_is_told_from_a_wrong_audience),
		cmocka_unit_test(other_complaints_are_denials_of_this_request),
		cmocka_unit_test(trouble_may_pass_whatever_its_status),
		cmocka_unit_test(foreign_words_are_made_safe),
		cmocka_unit_test(
			a_key_of_a_file_whose_signature_is_bad_is_gone_for_good),
		cmocka_unit_test(a_refresh_is_that_of_the_reference),
		cmocka_unit_test(nothing_in_a_users_file_adds_parameters),
		cmocka_unit_test(a_users_refusal_says_what_mends_it),
		cmocka_unit_test(a_users_trouble_may_pass),
		cmocka_unit_test(an_access_token_comes_with_its_life),
		cmocka_unit_test(
			scopes_that_are_not_accepted_are_not_called_an_audience),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
