/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "google/endpoints.h"
#include "google/iam_generate.h"
#include "google/iam_sign.h"
#include "vectors.h"

#define IAM	"https://iamcredentials.googleapis.com"

static const struct iam_subject itself = { .email = VEC_EMAIL };

static struct http_response
answer(unsigned status, const char *body)
{
	struct http_response re = HTTP_RESPONSE_INIT;

	re.status = status;
	re.body = body;
	re.body_len = strlen(body);
	re.tls = true;
	return re;
}

static struct err
failure(unsigned status, const char *body)
{
	struct http_response re = answer(status, body);
	char *signature = NULL, *key_id = NULL;
	struct err e = { .kind = ERR_KINDS };
	int r;

	re.retry_after_usec = 9;
	r = iam_sign_blob_response(&re, &itself, &signature, &key_id, &e);
	assert_int_equal(r, err_kind_errno(e.kind));
	assert_null(signature);
	assert_null(key_id);
	/* Nobody has to ask why. */
	assert_int_equal(iam_sign_blob_response(&re, &itself, &signature, &key_id,
						NULL), r);
	return e;
}

/* An error of this reason, with metadata "consumer" where given. */
static struct err
failure_with(unsigned status, const char *reason, const char *consumer)
{
	char body[600];

	snprintf(body, sizeof(body),
		 "{\n  \"error\": {\n    \"code\": %u,\n"
		 "    \"message\": \"words for people\",\n    \"details\": [\n"
		 "      {\n        \"@type\": "
		 "\"type.googleapis.com/google.rpc.Help\"\n"
		 "      }, {\n        \"@type\": "
		 "\"type.googleapis.com/google.rpc.ErrorInfo\",\n"
		 "        \"reason\": \"%s\",\n        \"metadata\": {\n"
		 "          \"consumer\": \"%s\"\n        }\n      }\n    ]\n  "
		 "}\n}\n",
		 status, reason, consumer ? consumer : "");
	return failure(status, body);
}

static void
assert_denied(struct err e, enum err_scope scope, const char *words,
	      const char *hint)
{
	assert_int_equal(e.kind, ERR_GOOGLE);
	assert_int_equal(e.scope, scope);
	assert_non_null(strstr(e.msg, VEC_EMAIL));
	if (!strstr(e.msg, words))
		fail_msg("no \"%s\" in \"%s\"", words, e.msg);
	if (!strstr(e.hint, hint))
		fail_msg("no \"%s\" in \"%s\"", hint, e.hint);
}

static void
a_request_is_that_of_the_reference(void **state _unused_)
{
	struct http_request q;

	iam_sign_blob_request(IAM, &itself, VEC_ACCESS_TOKEN,
			      VEC_ASSERTION_INPUT, strlen(VEC_ASSERTION_INPUT), &q);
	assert_int_equal(q.lane, HTTP_LANE_GOOGLE);
	assert_string_equal(q.method, "POST");
	assert_string_equal(
		q.url, "https://iamcredentials.googleapis.com/v1/projects/-/"
		       "serviceAccounts/" VEC_EMAIL ":signBlob");
	assert_int_equal(q.n_fields, 3);
	assert_string_equal(q.fields[0], "Authorization: Bearer " VEC_ACCESS_TOKEN);
	assert_string_equal(q.fields[1], "Content-Type: application/json");
	assert_string_equal(q.fields[2], "Accept: application/json");
	assert_string_equal(q.body, VEC_B1_REQUEST);
	assert_int_equal(q.body_len, strlen(VEC_B1_REQUEST));
	http_request_clear(&q);
}

static void
an_email_stays_one_segment_of_the_path(void **state _unused_)
{
	const struct iam_subject s = { .email = "a/../b%40?c#d@e@f" };
	struct http_request q;

	iam_sign_blob_request("https://h", &s, "t", "x", 1, &q);
	assert_string_equal(q.url, "https://h/v1/projects/-/serviceAccounts/"
			    "a%2F..%2Fb%2540%3Fc%23d@e@f:signBlob");
	http_request_clear(&q);
}

static void
a_signature_comes_ready_for_a_jwt(void **state _unused_)
{
	struct http_response re = answer(200, VEC_B1_BODY);
	_cleanup_(freep) char *signature = NULL, *key_id = NULL;

	assert_int_equal(iam_sign_blob_response(&re, &itself, &signature, &key_id,
						NULL), 0);
	assert_string_equal(signature, VEC_ASSERTION_SIGNATURE);
	assert_string_equal(key_id, VEC_SA_KEY_KID);
}

static void
an_answer_may_be_printed_prettily(void **state _unused_)
{
	struct http_response re = answer(200, "{\n  \"keyId\": \"k1\",\n"
					 "  \"signedBlob\": \"+/8=\"\n}\n");
	_cleanup_(freep) char *signature = NULL, *key_id = NULL;

	assert_int_equal(iam_sign_blob_response(&re, &itself, &signature, &key_id,
						NULL), 0);
	assert_string_equal(signature, "-_8");
	assert_string_equal(key_id, "k1");
}

static void
an_answer_without_a_signature_may_pass(void **state _unused_)
{
	static const char *const bodies[] = {
		"",
		"{}",
		"[]",
		"<html>",
		"{\"keyId\":\"k\"}",
		"{\"signedBlob\":\"eA==\"}",
		"{\"keyId\":\"k\",\"signedBlob\":\"\"}",
		"{\"keyId\":\"k\",\"signedBlob\":\"eA\"}",
		"{\"keyId\":\"k\",\"signedBlob\":\"e A==\"}",
		"{\"keyId\":\"k\",\"signedBlob\":7}",
		"{\"keyId\":\"\",\"signedBlob\":\"eA==\"}",
		"{\"keyId\":\"k\\u001b\",\"signedBlob\":\"eA==\"}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
		assert_int_equal(failure(200, bodies[i]).kind, ERR_UNAVAILABLE);
	assert_int_equal(failure(301, "").kind, ERR_UNAVAILABLE);
}

static void
a_missing_role_comes_with_the_command_that_grants_it(void **state _unused_)
{
	assert_denied(
		failure(403, VEC_B2_BODY), ERR_SCOPE_ACCOUNT,
		"iam.serviceAccounts.signBlob",
		"gcloud iam service-accounts add-iam-policy-binding " VEC_EMAIL
		" --member=serviceAccount:" VEC_EMAIL
		" --role=roles/iam.serviceAccountTokenCreator");
}

static void
missing_scopes_come_with_the_command_that_sets_them(void **state _unused_)
{
	struct err e;

	assert_denied(failure(403, VEC_B3_BODY), ERR_SCOPE_ACCOUNT, "access scopes",
		      "stop the VM; gcloud compute instances set-service-account "
		      "INSTANCE --scopes=cloud-platform; start it again");
	assert_int_equal(iam_scopes_error(IAM_SIGN_BLOB, &itself, &e),
			 err_kind_errno(ERR_GOOGLE));
	assert_denied(e, ERR_SCOPE_ACCOUNT, "access scopes",
		      "--scopes=cloud-platform");
}

static void
a_disabled_api_comes_with_the_command_that_enables_it(void **state _unused_)
{
	assert_denied(failure(403, VEC_B4_BODY), ERR_SCOPE_ACCOUNT, "not enabled",
		      "gcloud services enable iamcredentials.googleapis.com "
		      "--project=123456789012");
}

static void
a_project_that_is_no_name_is_not_pasted_into_a_command(void **state _unused_)
{
	static const char *const consumers[] = {
		NULL, "", "projects/", "projects/a;reboot", "projects/$(id)", "p/1",
	};

	for (size_t i = 0; i < ARRAY_SIZE(consumers); i++)
		assert_denied(failure_with(403, "SERVICE_DISABLED", consumers[i]),
			      ERR_SCOPE_ACCOUNT, "", "--project=PROJECT ");
}

static void
a_disabled_account_comes_with_the_command_that_enables_it(void **state _unused_)
{
	assert_denied(failure_with(401, "ACCOUNT_STATE_INVALID", NULL),
		      ERR_SCOPE_ACCOUNT, "disabled or deleted",
		      "gcloud iam service-accounts enable " VEC_EMAIL);
}

static void
other_lasting_reasons_are_denials_of_the_account(void **state _unused_)
{
	static const struct {
		unsigned status;
		const char *reason, *words;
	} rows[] = {
		{ 401, "CREDENTIALS_MISSING", "no access token" },
		{ 401, "ACCESS_TOKEN_TYPE_UNSUPPORTED", "of this type" },
		{ 403, "BILLING_DISABLED", "billing" },
		{ 403, "CONSUMER_SUSPENDED", "suspended" },
		{ 403, "CONSUMER_INVALID", "not valid" },
		{ 403, "USER_PROJECT_DENIED", "quota" },
		{ 403, "SECURITY_POLICY_VIOLATED", "VPC Service Controls" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_denied(failure_with(rows[i].status, rows[i].reason, NULL),
			      ERR_SCOPE_ACCOUNT, rows[i].words, "");
}

static void
a_reason_counts_and_not_the_message(void **state _unused_)
{
	/* B3's words with B2's reason. */
	struct err e = failure(
		403, "{\"error\":{\"message\":\"Request had insufficient "
		     "authentication scopes.\",\"details\":[{\"reason\":"
		     "\"IAM_PERMISSION_DENIED\"}]}}");

	assert_denied(e, ERR_SCOPE_ACCOUNT, "permission",
		      "serviceAccountTokenCreator");
}

static void
only_a_missing_role_may_be_throttling_in_disguise(void **state _unused_)
{
	assert_true(failure(403, VEC_B2_BODY).doubtful);
	assert_false(failure(403, VEC_B3_BODY).doubtful);
	assert_false(failure(403, VEC_B4_BODY).doubtful);
	assert_false(failure_with(401, "ACCOUNT_STATE_INVALID", NULL).doubtful);
	assert_false(failure(403, "{\"error\":{\"message\":\"x\"}}").doubtful);
}

static void
an_access_token_taken_no_more_is_told_by_status_401(void **state _unused_)
{
	static const char *const bodies[] = { VEC_B5_BODY, "", "<html>", "{}",
					      "{\"error\":{}}" };
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		e = failure(401, bodies[i]);
		assert_int_equal(e.kind, ERR_UNAVAILABLE);
		assert_int_equal(e.status, 401);
	}
}

static void
an_account_that_does_not_exist_is_a_denial(void **state _unused_)
{
	assert_denied(failure(404, "{\"error\":{\"code\":404,\"message\":\"Not "
				   "found; Gaia "
				   "id not found for email "
				   "x\",\"status\":\"NOT_FOUND\"}}"),
		      ERR_SCOPE_ACCOUNT, "no such account",
		      "gcloud iam service-accounts describe " VEC_EMAIL);
}

static void
an_unknown_denial_closes_nothing_but_this_request(void **state _unused_)
{
	assert_denied(failure_with(403, "SOMETHING_NEW", NULL), ERR_SCOPE_REQUEST,
		      "words for people", "");
}

static void
a_request_not_understood_quotes_nothing(void **state _unused_)
{
	struct err e = failure(400, VEC_B12_BODY);

	assert_denied(e, ERR_SCOPE_REQUEST, "400", "");
	assert_null(strstr(e.msg, "%%%"));
}

static void
a_quota_may_pass_and_says_when(void **state _unused_)
{
	struct err e = failure(429, VEC_B10_BODY);

	assert_int_equal(e.kind, ERR_UNAVAILABLE);
	assert_int_equal(e.retry_usec, 9);
	assert_non_null(strstr(e.msg, "iamcredentials.googleapis.com/SIGN_METRIC"));
	assert_int_equal(failure_with(403, "RATE_LIMIT_EXCEEDED", NULL).kind,
			 ERR_UNAVAILABLE);
}

static void
trouble_may_pass_whatever_it_says(void **state _unused_)
{
	static const unsigned statuses[] = { 408, 409, 429, 500,
					     501, 502, 503, 504 };
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		assert_int_equal(failure(statuses[i], VEC_B11_BODY).kind,
				 ERR_UNAVAILABLE);
		assert_int_equal(failure(statuses[i], "").kind, ERR_UNAVAILABLE);
	}
	assert_int_equal(failure(503, VEC_B2_BODY).kind, ERR_UNAVAILABLE);
	e = failure(503, VEC_B11_BODY);
	assert_non_null(strstr(
		e.msg, "HTTP 503: The service is currently unavailable."));
	assert_int_equal(e.retry_usec, 9);
}

static void
a_page_of_a_front_end_denies_nothing(void **state _unused_)
{
	static const unsigned statuses[] = { 400, 403, 404, 413 };
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		e = failure(statuses[i], "<!DOCTYPE html><title>Error</title>");
		assert_int_equal(e.kind, ERR_UNAVAILABLE);
		assert_null(strstr(e.msg, "DOCTYPE"));
	}
}

static void
foreign_words_are_made_safe(void **state _unused_)
{
	struct err e = failure(
		403, "{\"error\":{\"message\":\"a\\u001b[31m\\nb "
		     "ya29.secret eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.x\"}}");

	assert_denied(e, ERR_SCOPE_REQUEST, "a\\x1b[31m\\x0ab", "");
	assert_null(strstr(e.msg, "secret"));
	assert_null(strstr(e.msg, "eyJ"));
}

static void
either_scope_suffices_and_no_other(void **state _unused_)
{
	char cloud[] = "https://www.googleapis.com/auth/cloud-platform";
	char iam[] = "https://www.googleapis.com/auth/iam";
	char read[] = "https://www.googleapis.com/auth/cloud-platform.read-only";
	char *none[] = { NULL }, *first[] = { read, cloud, NULL };
	char *second[] = { iam, NULL }, *neither[] = { read, NULL };

	assert_false(iam_scopes_suffice(none));
	assert_true(iam_scopes_suffice(first));
	assert_true(iam_scopes_suffice(second));
	assert_false(iam_scopes_suffice(neither));
}

/* --- of and through others ---------------------------------------------------- */

#define CALLER	"vm-sa@example-proj-123.iam.gserviceaccount.com"
#define ROLE	"--role=roles/iam.serviceAccountTokenCreator"

static char *const hops[] = { (char *)VEC_HOP, NULL };
static const struct iam_subject other = {
	.email = VEC_EMAIL, .caller = CALLER, .origin = IAM_OF_SECTION,
};
static const struct iam_subject far = {
	.email = VEC_EMAIL, .caller = CALLER, .delegates = hops,
};

static void
assert_request(struct http_request *q, const char *method, const char *body)
{
	_cleanup_(freep) char *url = xasprintf(IAM "/v1/projects/-/"
		"serviceAccounts/" VEC_EMAIL ":%s", method);

	assert_string_equal(q->url, url);
	assert_string_equal(q->fields[0],
			    "Authorization: Bearer " VEC_ACCESS_TOKEN);
	assert_string_equal(q->body, body);
	assert_int_equal(q->body_len, strlen(body));
	http_request_clear(q);
}

static void
tokens_are_asked_for_as_in_the_reference(void **state _unused_)
{
	char *const scopes[] = { (char *)SCOPE_CLOUD_PLATFORM, NULL };
	struct http_request q;

	iam_generate_id_token_request(IAM, &other, VEC_ACCESS_TOKEN,
				      VEC_AUDIENCE, &q);
	assert_request(&q, "generateIdToken", VEC_B7_REQUEST);
	iam_generate_access_token_request(IAM, &other, VEC_ACCESS_TOKEN,
					  scopes, &q);
	assert_request(&q, "generateAccessToken", VEC_B8_REQUEST);
}

static void
delegates_stand_in_the_body_in_order(void **state _unused_)
{
	char *const two[] = { (char *)"a@b", (char *)"c@d", NULL };
	const struct iam_subject s = { .email = VEC_EMAIL, .delegates = two };
	struct http_request q;

	iam_sign_blob_request(IAM, &far, VEC_ACCESS_TOKEN, "hello", 5, &q);
	assert_request(&q, "signBlob", VEC_B9_REQUEST);
	iam_generate_id_token_request(IAM, &s, VEC_ACCESS_TOKEN, "x", &q);
	assert_request(&q, "generateIdToken", "{\"audience\":\"x\","
		       "\"includeEmail\":true,\"delegates\":["
		       "\"projects/-/serviceAccounts/a@b\","
		       "\"projects/-/serviceAccounts/c@d\"]}");
}

static void
a_jwt_is_asked_for_as_in_the_reference(void **state _unused_)
{
	struct http_request q;

	iam_sign_jwt_request(IAM, &itself, VEC_ACCESS_TOKEN, VEC_B6_CLAIMS,
			     &q);
	assert_request(&q, "signJwt", VEC_B6_REQUEST);
	iam_sign_jwt_request(IAM, &far, VEC_ACCESS_TOKEN,
			     "{\"a\":\"\\\"\\u0001\"}", &q);
	assert_request(&q, "signJwt", "{\"payload\":"
		       "\"{\\\"a\\\":\\\"\\\\\\\"\\\\u0001\\\"}\",\"delegates\":["
		       "\"projects/-/serviceAccounts/hop-sa@example-proj-123.iam."
		       "gserviceaccount.com\"]}");
}

static void
a_signed_jwt_comes_as_it_is(void **state _unused_)
{
	struct http_response re = answer(200, VEC_B6_BODY);
	_cleanup_(secret_freep) char *jwt = NULL;
	_cleanup_(freep) char *key_id = NULL;

	assert_int_equal(iam_sign_jwt_response(&re, &itself, &jwt, &key_id, NULL),
			 0);
	assert_string_equal(jwt, VEC_B6_JWT);
	assert_string_equal(key_id, VEC_SA_KEY_KID);
}

static void
what_is_no_signed_jwt_may_pass(void **state _unused_)
{
	static const char *const bodies[] = {
		"", "{}", "{\"keyId\":\"k\"}", "{\"signedJwt\":\"a.b.c\"}",
		"{\"keyId\":\"\",\"signedJwt\":\"a.b.c\"}",
		"{\"keyId\":\"k\",\"signedJwt\":7}",
		"{\"keyId\":\"k\",\"signedJwt\":\"\"}",
		"{\"keyId\":\"k\",\"signedJwt\":\"a.b\"}",
		"{\"keyId\":\"k\",\"signedJwt\":\"a.b.\"}",
		"{\"keyId\":\"k\",\"signedJwt\":\"a..c\"}",
		"{\"keyId\":\"k\",\"signedJwt\":\"a.b.c.d\"}",
		"{\"keyId\":\"k\",\"signedJwt\":\"a.b.c\\r\\nX: y\"}",
		"{\"keyId\":\"k\",\"signedJwt\":\"a.b.c=\"}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct http_response re = answer(200, bodies[i]);
		char *jwt = NULL, *key_id = NULL;
		struct err e;

		assert_true(iam_sign_jwt_response(&re, &itself, &jwt, &key_id,
						  &e) < 0);
		assert_int_equal(e.kind, ERR_UNAVAILABLE);
		assert_non_null(strstr(e.msg, "signJwt"));
		assert_null(jwt);
		assert_null(key_id);
	}
}

static void
an_audience_cannot_leave_its_string(void **state _unused_)
{
	struct http_request q;

	iam_generate_id_token_request(IAM, &other, VEC_ACCESS_TOKEN,
				      "x\",\"delegates\":[\"\\", &q);
	assert_request(&q, "generateIdToken", "{\"audience\":"
		       "\"x\\\",\\\"delegates\\\":[\\\"\\\\\","
		       "\"includeEmail\":true}");
}

static void
an_id_token_comes_as_it_is(void **state _unused_)
{
	struct http_response re = answer(200, VEC_B7_BODY);
	_cleanup_(freep) char *text = NULL;

	assert_int_equal(iam_generate_id_token_response(&re, &other, &text, NULL),
			 0);
	assert_string_equal(text, VEC_ID_TOKEN_B7);
}

static void
an_access_token_comes_with_its_end(void **state _unused_)
{
	struct http_response re = answer(200, VEC_B8_BODY);
	_cleanup_(freep) char *text = NULL;
	int64_t exp;

	assert_int_equal(iam_generate_access_token_response(&re, &other, VEC_NOW,
							    &text, &exp, NULL), 0);
	assert_string_equal(text, "ya29.c.EXAMPLE-impersonated_0123456789");
	assert_int_equal(exp, VEC_NOW + 3600);
}

static int64_t
exp_of(const char *when)
{
	_cleanup_(freep) char *body = xasprintf("{\"accessToken\":\"t\","
		"\"expireTime\":\"%s\"}", when);
	struct http_response re = answer(200, body);
	_cleanup_(freep) char *text = NULL;
	struct err e;
	int64_t exp;
	int r;

	r = iam_generate_access_token_response(&re, &other, VEC_NOW, &text, &exp,
					       &e);
	if (r >= 0)
		return exp;
	assert_int_equal(e.kind, ERR_UNAVAILABLE);
	assert_null(text);
	return -1;
}

static void
only_a_time_to_come_is_an_end(void **state _unused_)
{
	static const char *const bad[] = {
		"", "soon", "3600", "2026-01-01T01:00:00", "2026-01-01 01:00:00Z",
		"2026-01-01T01:00:00+01:00", "2026-13-01T01:00:00Z",
		"2026-01-00T01:00:00Z", "2026-01-01T25:00:00Z",
		"2026-01-01T01:00:00Zx", "2026-01-01T01:00:00.1",
		"0000-01-01T01:00:00Z",
		"2026-01-01T00:00:00Z", "2025-12-31T23:59:59Z",
	};

	assert_int_equal(exp_of("2026-01-01T00:00:01Z"), VEC_NOW + 1);
	assert_int_equal(exp_of("2026-01-01T01:00:00.123456789Z"), VEC_NOW + 3600);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (exp_of(bad[i]) != -1)
			fail_msg("%s is taken for a time", bad[i]);
}

static void
an_answer_without_a_token_may_pass(void **state _unused_)
{
	static const char *const bodies[] = {
		"", "{}", "[]", "{\"token\":1}", "{\"token\":\"\"}",
		"{\"token\":\"a b\"}", "{\"token\":\"a\\nb\"}",
		"{\"accessToken\":\"\",\"expireTime\":\"2026-01-01T01:00:00Z\"}",
		"{\"accessToken\":\"a b\",\"expireTime\":\"2026-01-01T01:00:00Z\"}",
		"{\"accessToken\":\"t\"}",
		"{\"expireTime\":\"2026-01-01T01:00:00Z\"}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct http_response re = answer(200, bodies[i]);
		struct err e = { .kind = ERR_KINDS };
		char *text = NULL;
		int64_t exp;

		assert_true(iam_generate_id_token_response(&re, &other, &text,
							   &e) < 0);
		assert_int_equal(e.kind, ERR_UNAVAILABLE);
		assert_true(iam_generate_access_token_response(&re, &other, VEC_NOW,
							       &text, &exp,
							       &e) < 0);
		assert_int_equal(e.kind, ERR_UNAVAILABLE);
		assert_null(text);
	}
}

static struct err
failure_of(enum iam_method method, const struct iam_subject *s, unsigned status,
	   const char *body)
{
	struct http_response re = answer(status, body);
	struct err e;
	int r = iam_failure(method, &re, s, &e);

	assert_int_equal(r, err_kind_errno(e.kind));
	return e;
}

static void
who_lacks_the_role_on_another_is_named_with_the_command(void **state _unused_)
{
	struct err e = failure_of(IAM_GENERATE_ID_TOKEN, &other, 403, VEC_B2_BODY);

	assert_denied(e, ERR_SCOPE_ACCOUNT, "IAM generateIdToken: " VEC_EMAIL ": "
		      CALLER " may not make ID tokens of it",
		      "add-iam-policy-binding " VEC_EMAIL
		      " --member=serviceAccount:" CALLER " " ROLE);
	assert_non_null(strstr(e.msg, "iam.serviceAccounts.getOpenIdToken"));
	assert_true(e.doubtful);
	e = failure_of(IAM_GENERATE_ACCESS_TOKEN, &other, 403, VEC_B2_BODY);
	assert_denied(e, ERR_SCOPE_ACCOUNT, "iam.serviceAccounts.getAccessToken",
		      "");
	e = failure_of(IAM_SIGN_JWT, &other, 403, VEC_B2_BODY);
	assert_denied(e, ERR_SCOPE_ACCOUNT, "iam.serviceAccounts.signJwt", "");
}

static void
along_a_chain_every_link_is_named(void **state _unused_)
{
	assert_denied(failure_of(IAM_SIGN_BLOB, &far, 403, VEC_B2_BODY),
		      ERR_SCOPE_ACCOUNT, "by its delegates",
		      CALLER ", " VEC_HOP ", " VEC_EMAIL);
}

static void
a_disabled_caller_is_named_and_not_whom_it_asks_for(void **state _unused_)
{
	struct err e = failure_of(IAM_GENERATE_ID_TOKEN, &other, 401,
		"{\"error\":{\"details\":[{\"reason\":"
		"\"ACCOUNT_STATE_INVALID\"}]}}");

	assert_non_null(strstr(e.msg, CALLER ": is disabled"));
	assert_non_null(strstr(e.hint, "enable " CALLER));
}

static void
another_account_that_does_not_exist_is_a_mistake_of_ours(
	void **state _unused_)
{
	assert_denied(failure_of(IAM_GENERATE_ID_TOKEN, &other, 404,
				 "{\"error\":{\"message\":\"Not found\"}}"),
		      ERR_SCOPE_ACCOUNT, "there is no such account",
		      "configuration");
}

static void
an_account_of_a_file_is_attached_to_nothing(void **state _unused_)
{
	const struct iam_subject of_file = { .email = VEC_EMAIL,
					     .origin = IAM_OF_FILE };
	struct err e = failure_of(IAM_SIGN_BLOB, &of_file, 404,
				  "{\"error\":{\"message\":\"Not found\"}}");

	assert_denied(e, ERR_SCOPE_ACCOUNT, "there is no such account",
		      "credentials in [account default]");
	assert_null(strstr(e.hint, "instances"));
}

static void
who_signed_in_is_a_user_to_the_commands_that_mend(void **state _unused_)
{
	const struct iam_subject person = { VEC_EMAIL, "jo@example.com",
					    NULL, IAM_OF_SECTION };
	const struct iam_subject quoted = { VEC_EMAIL, "o'no;x@example.com",
					    NULL, IAM_OF_SECTION };
	const struct iam_subject through = { VEC_EMAIL, "jo@example.com",
					     hops, IAM_OF_SECTION };
	static const char scopes[] = "{\"error\":{\"details\":[{\"reason\":"
				     "\"ACCESS_TOKEN_SCOPE_INSUFFICIENT\"}]}}";
	struct err e = failure_of(IAM_SIGN_BLOB, &person, 403, VEC_B2_BODY);

	assert_denied(e, ERR_SCOPE_ACCOUNT, "jo@example.com may not sign as it",
		      " --member=user:jo@example.com " ROLE);
	e = failure_of(IAM_SIGN_BLOB, &quoted, 403, VEC_B2_BODY);
	assert_denied(e, ERR_SCOPE_ACCOUNT, "", " --member=user:EMAIL " ROLE);
	e = failure_of(IAM_SIGN_BLOB, &through, 403, VEC_B2_BODY);
	assert_denied(e, ERR_SCOPE_ACCOUNT, "",
		      "of the first it is --member=user:");

	e = failure_of(IAM_SIGN_BLOB, &person, 403, scopes);
	assert_denied(e, ERR_SCOPE_ACCOUNT, "signed in for do not allow",
		      "sign in again");
	assert_null(strstr(e.msg, "VM"));
	assert_null(strstr(e.hint, "VM"));
}

static void
a_quota_project_that_is_denied_is_the_callers_affair(void **state _unused_)
{
	struct err e = failure_of(IAM_GENERATE_ID_TOKEN, &other, 403,
		"{\"error\":{\"details\":[{\"reason\":\"USER_PROJECT_DENIED\","
		"\"metadata\":{\"consumer\":\"projects/proj-1\"}}]}}");

	assert_non_null(strstr(e.msg, CALLER ": may not use the project"));
	assert_string_equal(e.hint, "gcloud projects add-iam-policy-binding proj-1 "
			    "--member=serviceAccount:" CALLER " "
			    "--role=roles/serviceusage.serviceUsageConsumer "
			    "(takes some minutes)");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_that_of_the_reference),
		cmocka_unit_test(an_email_stays_one_segment_of_the_path),
		cmocka_unit_test(a_signature_comes_ready_for_a_jwt),
		cmocka_unit_test(an_answer_may_be_printed_prettily),
		cmocka_unit_test(an_answer_without_a_signature_may_pass),
		cmocka_unit_test(
			a_missing_role_comes_with_the_command_that_grants_it),
		cmocka_unit_test(
			missing_scopes_come_with_the_command_that_sets_them),
		cmocka_unit_test(
			a_disabled_api_comes_with_the_command_that_enables_it),
		cmocka_unit_test(
			a_project_that_is_no_name_is_not_pasted_into_a_command),
		cmocka_unit_test(
			a_disabled_account_comes_with_the_command_that_enables_it),
		cmocka_unit_test(
			other_lasting_reasons_are_denials_of_the_account),
		cmocka_unit_test(a_reason_counts_and_not_the_message),
		cmocka_unit_test(only_a_missing_role_may_be_throttling_in_disguise),
		cmocka_unit_test(
			an_access_token_taken_no_more_is_told_by_status_401),
		cmocka_unit_test(an_account_that_does_not_exist_is_a_denial),
		cmocka_unit_test(
			an_unknown_denial_closes_nothing_but_this_request),
		cmocka_unit_test(a_request_not_understood_quotes_nothing),
		cmocka_unit_test(a_quota_may_pass_and_says_when),
		cmocka_unit_test(trouble_may_pass_whatever_it_says),
		cmocka_unit_test(a_page_of_a_front_end_denies_nothing),
		cmocka_unit_test(foreign_words_are_made_safe),
		cmocka_unit_test(either_scope_suffices_and_no_other),
		cmocka_unit_test(tokens_are_asked_for_as_in_the_reference),
		cmocka_unit_test(delegates_stand_in_the_body_in_order),
		cmocka_unit_test(an_audience_cannot_leave_its_string),
		cmocka_unit_test(a_jwt_is_asked_for_as_in_the_reference),
		cmocka_unit_test(a_signed_jwt_comes_as_it_is),
		cmocka_unit_test(what_is_no_signed_jwt_may_pass),
		cmocka_unit_test(an_id_token_comes_as_it_is),
		cmocka_unit_test(an_access_token_comes_with_its_end),
		cmocka_unit_test(only_a_time_to_come_is_an_end),
		cmocka_unit_test(an_answer_without_a_token_may_pass),
		cmocka_unit_test(
			who_lacks_the_role_on_another_is_named_with_the_command),
		cmocka_unit_test(along_a_chain_every_link_is_named),
		cmocka_unit_test(
			a_disabled_caller_is_named_and_not_whom_it_asks_for),
		cmocka_unit_test(
			another_account_that_does_not_exist_is_a_mistake_of_ours),
		cmocka_unit_test(an_account_of_a_file_is_attached_to_nothing),
		cmocka_unit_test(who_signed_in_is_a_user_to_the_commands_that_mend),
		cmocka_unit_test(
			a_quota_project_that_is_denied_is_the_callers_affair),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
