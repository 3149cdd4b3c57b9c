/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "google/endpoints.h"
#include "google/metadata.h"
#include "vectors.h"

#define DIR_URL	"http://169.254.169.254/computeMetadata/v1/"
#define ID_URL	DIR_URL "instance/service-accounts/default/identity?audience="

static struct http_response
answer(unsigned status, const char *body)
{
	struct http_response re = HTTP_RESPONSE_INIT;

	re.status = status;
	re.body = body;
	re.body_len = strlen(body);
	re.flavor_google = true;
	return re;
}

static void
assert_get(struct http_request *q, const char *url)
{
	assert_int_equal(q->lane, HTTP_LANE_LOCAL);
	assert_string_equal(q->method, "GET");
	assert_string_equal(q->url, url);
	assert_int_equal(q->n_fields, 1);
	assert_string_equal(q->fields[0], "Metadata-Flavor: Google");
	assert_null(q->body);
	http_request_clear(q);
}

static void
requests_are_those_of_the_reference(void **state _unused_)
{
	struct http_request q;

	metadata_account_request(ENDPOINT_METADATA, &q);
	assert_get(&q, DIR_URL "instance/service-accounts/default/?recursive=true");
	metadata_token_request(ENDPOINT_METADATA, &q);
	assert_get(&q, DIR_URL "instance/service-accounts/default/token");
	metadata_value_request(ENDPOINT_METADATA, "project/project-id", &q);
	assert_get(&q, DIR_URL "project/project-id");
	metadata_identity_request(ENDPOINT_METADATA, VEC_AUDIENCE, true, false, &q);
	assert_get(&q, ID_URL
		   VEC_AUDIENCE "&format=full");
	metadata_identity_request(ENDPOINT_METADATA, "a&b=c +\xc3\xbc", true, true,
				  &q);
	assert_get(&q, ID_URL
		   "a%26b%3Dc%20%2B%C3%BC&format=full&licenses=TRUE");
	metadata_identity_request(ENDPOINT_METADATA, "a", false, true, &q);
	assert_get(&q, ID_URL
		   "a&format=standard");
}

/* --- identity token --------------------------------------------------------- */

static struct err
identity_failure(struct http_response re)
{
	struct err e = { .kind = ERR_KINDS };
	char *token = NULL;
	int r = metadata_identity_response(&re, "aud", &token, &e);

	assert_int_equal(r, err_kind_errno(e.kind));
	assert_null(token);
	assert_true(metadata_identity_response(&re, "aud", &token, NULL) < 0);
	return e;
}

static void
an_identity_token_is_the_whole_body(void **state _unused_)
{
	struct http_response re = answer(200, VEC_ID_TOKEN_A5);
	char *token;

	assert_int_equal(metadata_identity_response(&re, VEC_AUDIENCE, &token,
						    NULL), 0);
	assert_string_equal(token, VEC_ID_TOKEN_A5);
	secret_free(token);
}

static void
a_body_that_is_no_token_is_unavailable(void **state _unused_)
{
	static const char *const bodies[] = {
		"", " ", VEC_ID_TOKEN_A5 "\n", "a b", "{\"a\":1}", "<html>",
		"a\r\nb", "\xc3\xbc",
	};
	_cleanup_(freep) char *huge = xcalloc(64 * 1024 + 2, 1);
	struct http_response re;

	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
		assert_int_equal(identity_failure(answer(200, bodies[i])).kind,
				 ERR_UNAVAILABLE);
	memset(huge, 'a', 64 * 1024 + 1);
	assert_int_equal(identity_failure(answer(200, huge)).kind, ERR_UNAVAILABLE);
	re = answer(200, "a");
	re.body = "a\0b";
	re.body_len = 3;
	assert_int_equal(identity_failure(re).kind, ERR_UNAVAILABLE);
}

static void
refusals_of_an_identity_token_are_told_apart(void **state _unused_)
{
	struct http_response stranger = answer(200, VEC_ID_TOKEN_A5);
	struct err e;

	e = identity_failure(answer(400, VEC_A11_BODY));
	assert_int_equal(e.kind, ERR_GOOGLE);
	assert_int_equal(e.scope, ERR_SCOPE_REQUEST);
	e = identity_failure(answer(403, VEC_A9_BODY));
	assert_int_equal(e.kind, ERR_GOOGLE);
	assert_int_equal(e.scope, ERR_SCOPE_ACCOUNT);
	assert_non_null(strstr(e.hint, "curl -i -H Metadata-Flavor:Google "));
	e = identity_failure(answer(404, VEC_A12_BODY));
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	assert_non_null(strstr(e.msg, "no service account"));
	/* A path that is not there may be there a second later. */
	e = identity_failure(answer(404, VEC_A15_BODY));
	assert_int_equal(e.kind, ERR_UNAVAILABLE);
	assert_int_equal(identity_failure(answer(429, "")).kind, ERR_UNAVAILABLE);
	assert_int_equal(identity_failure(answer(503, "")).kind, ERR_UNAVAILABLE);
	assert_int_equal(identity_failure(answer(302, "")).kind, ERR_UNAVAILABLE);

	stranger.flavor_google = false;
	assert_int_equal(identity_failure(stranger).kind, ERR_UNAVAILABLE);
	stranger.status = 400;
	assert_int_equal(identity_failure(stranger).kind, ERR_UNAVAILABLE);
	stranger.status = 404;
	stranger.body = VEC_A12_BODY;
	stranger.body_len = strlen(VEC_A12_BODY);
	assert_int_equal(identity_failure(stranger).kind, ERR_UNAVAILABLE);
}

/* --- account ---------------------------------------------------------------- */

static enum err_kind
account_failure(struct http_response re, struct err *e)
{
	struct metadata_account a = { .email = NULL };
	struct err mine;

	if (!e)
		e = &mine;
	assert_true(metadata_account_response(&re, &a, e) < 0);
	assert_null(a.email);
	assert_null(a.scopes);
	return e->kind;
}

static void
an_account_has_email_scopes_and_aliases(void **state _unused_)
{
	struct http_response re = answer(200, VEC_A2_BODY);
	struct metadata_account a;

	assert_int_equal(metadata_account_response(&re, &a, NULL), 0);
	assert_string_equal(a.email, VEC_EMAIL);
	assert_string_equal(a.scopes[0],
			    "https://www.googleapis.com/auth/cloud-platform");
	assert_null(a.scopes[1]);
	assert_string_equal(a.aliases[0], "default");
	assert_null(a.aliases[1]);
	metadata_account_clear(&a);
	assert_null(a.email);
	metadata_account_clear(&a);
}

static void
an_account_may_have_no_scopes_at_all(void **state _unused_)
{
	struct http_response re =
		answer(200, "{\"aliases\":[],\"email\":\"" VEC_EMAIL
			    "\",\"scopes\":[]}\n");
	struct metadata_account a;

	assert_int_equal(metadata_account_response(&re, &a, NULL), 0);
	assert_null(a.scopes[0]);
	metadata_account_clear(&a);
}

static void
a_partial_account_may_pass(void **state _unused_)
{
	static const char *const bodies[] = {
		"", "{", "[]", "null", "\"x\"", "{}",
		"{\"aliases\":[\"default\"],\"scopes\":[]}",
		"{\"email\":\"" VEC_EMAIL "\",\"scopes\":[]}",
		"{\"email\":\"" VEC_EMAIL "\",\"aliases\":[]}",
		"{\"email\":\"" VEC_EMAIL "\",\"aliases\":{},\"scopes\":[]}",
		"{\"email\":\"" VEC_EMAIL "\",\"aliases\":[1],\"scopes\":[]}",
		"{\"email\":\"" VEC_EMAIL "\",\"aliases\":[],\"scopes\":[\"a b\"]}",
		"{\"email\":\"" VEC_EMAIL "\",\"aliases\":[],\"scopes\":[\"\"]}",
		"{\"email\":7,\"aliases\":[],\"scopes\":[]}",
		"<html>",
	};
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
		assert_int_equal(account_failure(answer(200, bodies[i]), &e),
				 ERR_UNAVAILABLE);
	account_failure(answer(200, bodies[6]), &e);
	assert_non_null(strstr(e.msg, "no email"));
}

static bool
is_email(const char *email)
{
	struct metadata_account a = { .email = NULL };
	struct http_response re;
	char body[600];
	int r;

	snprintf(body, sizeof(body),
		 "{\"aliases\":[],\"email\":\"%s\",\"scopes\":[]}", email);
	re = answer(200, body);
	r = metadata_account_response(&re, &a, NULL);
	metadata_account_clear(&a);
	return r == 0;
}

static void
only_a_service_account_s_address_is_taken(void **state _unused_)
{
	static const char *const bad[] = {
		"", "default", "a@b.example", "@x.gserviceaccount.com",
		"a@.gserviceaccount.com", "a@gserviceaccount.com",
		"a@b@c.gserviceaccount.com", "a@b.gserviceaccount.com.evil",
		"a@b.gserviceaccount.comx", "a@xgserviceaccount.com",
		"a b@c.gserviceaccount.com", "a/b@c.gserviceaccount.com",
		"a;b@c.gserviceaccount.com", "a$(b)@c.gserviceaccount.com",
		"a\\u0000@c.gserviceaccount.com", "\\u00e4@c.gserviceaccount.com",
		"a\\n@c.gserviceaccount.com", "p.svc.id.goog",
	};
	char s[300];

	assert_true(is_email(VEC_EMAIL));
	assert_true(is_email("123456789012-compute@developer.gserviceaccount.com"));
	assert_true(is_email("a@p.example.com.iam.gserviceaccount.com"));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (is_email(bad[i]))
			fail_msg("taken: %s", bad[i]);
	memset(s, 'a', sizeof(s));
	memcpy(s + 260, "@b.gserviceaccount.com", 23);
	assert_false(is_email(s));
}

static void
a_vm_without_an_account_is_not_found(void **state _unused_)
{
	struct err e;

	assert_int_equal(account_failure(answer(404, VEC_A12_BODY), &e),
			 ERR_NOT_FOUND);
	assert_string_equal(e.msg, "this VM has no service account: "
			    "Service account not enabled on this instance");
	assert_non_null(
		strstr(e.hint, "gcloud compute instances set-service-account"));
	assert_int_equal(account_failure(answer(404, VEC_A15_BODY), &e),
			 ERR_NOT_FOUND);
	assert_string_equal(e.msg, "this VM has no service account");
}

static void
no_answer_without_the_flavor_is_believed(void **state _unused_)
{
	static const unsigned statuses[] = { 200, 403, 404 };
	struct http_response re;
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		re = answer(statuses[i], VEC_A2_BODY);
		re.flavor_google = false;
		assert_int_equal(account_failure(re, &e), ERR_UNAVAILABLE);
		assert_non_null(strstr(e.msg, "Metadata-Flavor"));
		assert_true(e.hint[0]);
	}
}

static void
trouble_may_pass_and_says_when(void **state _unused_)
{
	static const unsigned statuses[] = { 301, 400, 429, 500, 502, 503, 504 };
	struct http_response re;
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		re = answer(statuses[i], "");
		re.flavor_google = false;
		re.retry_after_usec = 7;
		assert_int_equal(account_failure(re, &e), ERR_UNAVAILABLE);
		assert_int_equal(e.retry_usec, 7);
	}
}

/* --- access token ----------------------------------------------------------- */

static enum err_kind
token_failure(struct http_response re, struct err *e)
{
	char *token = NULL;
	uint64_t life = 7;
	struct err mine;

	if (!e)
		e = &mine;
	assert_true(metadata_token_response(&re, &token, &life, e) < 0);
	assert_null(token);
	assert_int_equal(life, 7);
	assert_null(strstr(e->msg, "ya29"));
	return e->kind;
}

static void
a_token_has_a_text_and_a_life(void **state _unused_)
{
	struct http_response re = answer(200, VEC_A4_BODY);
	_cleanup_(secret_freep) char *token = NULL;
	uint64_t life;

	assert_int_equal(metadata_token_response(&re, &token, &life, NULL), 0);
	assert_string_equal(token, VEC_ACCESS_TOKEN);
	assert_int_equal(life, 3421);
}

static void
a_token_that_cannot_be_used_may_pass(void **state _unused_)
{
	static const char *const bodies[] = {
		"",
		"{}",
		"ya29.x",
		"[\"ya29.x\"]",
		"{\"access_token\":\"ya29.x\"}",
		"{\"access_token\":\"ya29.x\",\"expires_in\":0}",
		"{\"access_token\":\"ya29.x\",\"expires_in\":-5}",
		"{\"access_token\":\"ya29.x\",\"expires_in\":3.5}",
		"{\"access_token\":\"ya29.x\",\"expires_in\":\"3600\"}",
		"{\"access_token\":\"\",\"expires_in\":3600}",
		"{\"access_token\":\"ya29.x y\",\"expires_in\":3600}",
		"{\"access_token\":\"ya29.x\\r\\nHost: "
		"evil\",\"expires_in\":3600}",
		"{\"access_token\":\"ya29.\\u00e4\",\"expires_in\":3600}",
		"{\"access_token\":\"ya29.x\",\"expires_in\":3600,\"token_"
		"type\":\"MAC\"}",
		"{\"expires_in\":3600}",
	};
	static char big[20000];

	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
		assert_int_equal(token_failure(answer(200, bodies[i]), NULL),
				 ERR_UNAVAILABLE);
	memset(big, 'x', sizeof(big) - 1);
	memcpy(big, "{\"access_token\":\"", 17);
	snprintf(big + 17 + 16 * 1024 + 1, 40, "\",\"expires_in\":3600}");
	assert_int_equal(token_failure(answer(200, big), NULL), ERR_UNAVAILABLE);
}

static void
a_denied_token_names_the_scopes(void **state _unused_)
{
	struct err e;

	assert_int_equal(token_failure(answer(403, VEC_A9_BODY), &e), ERR_GOOGLE);
	assert_int_equal(e.scope, ERR_SCOPE_ACCOUNT);
	assert_non_null(strstr(e.hint, "--scopes=cloud-platform"));
}

static void
no_token_means_no_account_or_no_scopes(void **state _unused_)
{
	struct err e;

	assert_int_equal(token_failure(answer(404, VEC_A12_BODY), &e),
			 ERR_NOT_FOUND);
	assert_non_null(strstr(e.msg, "no service account or one without scopes"));
	assert_non_null(strstr(e.msg, "not enabled on this instance"));
}

/* --- GKE -------------------------------------------------------------------- */

static void
a_workload_identity_pool_is_no_account(void **state _unused_)
{
	static const char body[] = "{\"aliases\":[\"default\"],\"email\":"
		"\"example.svc.id.goog\",\"scopes\":[]}";
	struct http_response re = answer(200, body);
	struct metadata_account a;
	struct err e;

	assert_true(metadata_account_response(&re, &a, &e) < 0);
	assert_int_equal(e.kind, ERR_UNAVAILABLE);
	assert_non_null(strstr(e.msg, "workload identity pool"));
	assert_non_null(strstr(e.hint, "iam.gke.io/gcp-service-account=EMAIL"));
}

static void
what_iam_says_by_the_metadata_server_is_a_denial(void **state _unused_)
{
	static const char *const words[] = {
		"Unable to generate access token; IAM returned 403 Forbidden\n",
		"Unable to generate access token; IAM returned 404 Not Found",
	};
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		assert_int_equal(token_failure(answer(i ? 404 : 403, words[i]), &e),
				 ERR_GOOGLE);
		assert_int_equal(e.scope, ERR_SCOPE_ACCOUNT);
		assert_non_null(strstr(e.msg, "IAM returned 40"));
		assert_non_null(strstr(e.hint, "roles/iam.workloadIdentityUser"));
		assert_null(strchr(e.msg, '\n'));
	}
	/* Trouble of IAM's is none. */
	assert_int_equal(token_failure(answer(500, "IAM returned 403 Forbidden"),
				       &e), ERR_UNAVAILABLE);
	assert_int_equal(token_failure(answer(503, "IAM returned 503"), &e),
			 ERR_UNAVAILABLE);
}

static void
a_page_is_no_words_of_the_servers_own(void **state _unused_)
{
	struct err e;

	token_failure(answer(403, "<html>IAM returned"), &e);
	assert_null(strstr(e.msg, "IAM"));
	token_failure(answer(403, "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJ4In0.c2ln"), &e);
	assert_null(strstr(e.msg, "eyJhdWQi"));
}

/* --- plain values ----------------------------------------------------------- */

static void
a_value_is_its_bytes(void **state _unused_)
{
	static const char *const values[] = { VEC_A6_BODY, "", "\xc3\xa4" };

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		struct http_response re = answer(200, values[i]);
		_cleanup_(freep) char *value = NULL;

		assert_int_equal(metadata_value_response(&re, "project/project-id",
							 &value, NULL), 0);
		assert_string_equal(value, values[i]);
	}
}

static void
a_value_that_is_no_text_may_pass(void **state _unused_)
{
	static const char *const values[] = { "a\nb", "\x1b[0m", "\xff", "a\x7f" };
	struct http_response re;
	char *value = NULL, big[1026];
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		re = answer(200, values[i]);
		assert_true(metadata_value_response(&re, "x", &value, &e) < 0);
		assert_int_equal(e.kind, ERR_UNAVAILABLE);
	}
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	re = answer(200, big);
	assert_true(metadata_value_response(&re, "x", &value, &e) < 0);
	re = answer(200, "a");
	re.body = "a\0b";
	re.body_len = 3;
	assert_true(metadata_value_response(&re, "x", &value, &e) < 0);
	assert_null(value);
}

static void
a_value_that_is_not_there_is_not_found(void **state _unused_)
{
	struct http_response re = answer(404, VEC_A15_BODY);
	char *value = NULL;
	struct err e;

	assert_true(metadata_value_response(&re, "universe/universe-domain", &value,
					    &e) < 0);
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	assert_non_null(strstr(e.msg, "universe/universe-domain"));
}

static void
the_universe_is_googleapis_com_where_the_server_knows_none(void **state _unused_)
{
	static const struct {
		unsigned status;
		const char *body, *domain;	/* NULL: that is a failure */
		bool known;
	} rows[] = {
		{ 200, "googleapis.com", "googleapis.com", true },
		{ 200, "apis.example", "apis.example", true },
		{ 200, "", "googleapis.com", true },
		{ 404, VEC_A15_BODY, "googleapis.com", false },
		{ 200, "Apis.example", NULL, false },
		{ 200, "apis.example\n", NULL, false },
		{ 200, "https://apis.example", NULL, false },
		{ 200, "<html>", NULL, false },
		{ 403, "", NULL, false },
		{ 429, "", NULL, false },
		{ 500, "", NULL, false },
		{ 301, "", NULL, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct http_response re = answer(rows[i].status, rows[i].body);
		_cleanup_(freep) char *domain = NULL;
		bool known = false;
		struct err e;
		int r = metadata_universe_response(&re, &domain, &known, &e);

		assert_int_equal(r >= 0, rows[i].domain != NULL);
		if (rows[i].domain) {
			assert_string_equal(domain, rows[i].domain);
			assert_int_equal(known, rows[i].known);
		} else {
			assert_null(domain);
		}
	}
}

static void
who_is_no_metadata_server_says_nothing_of_the_universe(void **state _unused_)
{
	struct http_response re = answer(404, VEC_A15_BODY);
	char *domain = NULL;
	bool known;
	struct err e;

	re.flavor_google = false;
	assert_true(metadata_universe_response(&re, &domain, &known, &e) < 0);
	assert_int_equal(e.kind, ERR_UNAVAILABLE);
	assert_null(domain);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_those_of_the_reference),
		cmocka_unit_test(
		    the_universe_is_googleapis_com_where_the_server_knows_none),
		cmocka_unit_test(
		    who_is_no_metadata_server_says_nothing_of_the_universe),
		cmocka_unit_test(an_identity_token_is_the_whole_body),
		cmocka_unit_test(a_body_that_is_no_token_is_unavailable),
		cmocka_unit_test(refusals_of_an_identity_token_are_told_apart),
		cmocka_unit_test(an_account_has_email_scopes_and_aliases),
		cmocka_unit_test(an_account_may_have_no_scopes_at_all),
		cmocka_unit_test(a_partial_account_may_pass),
		cmocka_unit_test(only_a_service_account_s_address_is_taken),
		cmocka_unit_test(a_vm_without_an_account_is_not_found),
		cmocka_unit_test(no_answer_without_the_flavor_is_believed),
		cmocka_unit_test(trouble_may_pass_and_says_when),
		cmocka_unit_test(a_token_has_a_text_and_a_life),
		cmocka_unit_test(a_token_that_cannot_be_used_may_pass),
		cmocka_unit_test(a_denied_token_names_the_scopes),
		cmocka_unit_test(no_token_means_no_account_or_no_scopes),
		cmocka_unit_test(a_workload_identity_pool_is_no_account),
		cmocka_unit_test(what_iam_says_by_the_metadata_server_is_a_denial),
		cmocka_unit_test(a_page_is_no_words_of_the_servers_own),
		cmocka_unit_test(a_value_is_its_bytes),
		cmocka_unit_test(a_value_that_is_no_text_may_pass),
		cmocka_unit_test(a_value_that_is_not_there_is_not_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
