/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "google/credfile.h"
#include "google/endpoints.h"

#define EMAIL		"app-sa@example-proj-123.iam.gserviceaccount.com"
#define TARGET		"target-sa@example-proj-123.iam.gserviceaccount.com"
#define HOP		"hop-sa@example-proj-123.iam.gserviceaccount.com"
#define KEY_ID		"4f0e9a7b1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f"
#define PEM_SECRET	"MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"
#define PEM		"-----BEGIN PRIVATE KEY-----\\n" PEM_SECRET "\\n" \
			"-----END PRIVATE KEY-----\\n"
#define CLIENT_ID	"123456789012-desktopclient.apps.googleusercontent.com"
#define CLIENT_SECRET	"GOCSPX-EXAMPLE-CLIENT-SECRET"
#define REFRESH		"1//0EXAMPLE-REFRESH-TOKEN"
#define URL_OF(host)	"https://" host "/v1/projects/-/serviceAccounts/" TARGET \
			":generateAccessToken"
#define URL		URL_OF("iamcredentials.googleapis.com")

/* A whole file, made of members that a test may replace; value NULL leaves one
   out.  Values are JSON. */
struct member {
	const char *name, *value;
};

static const struct member account[] = {
	{ "type", "\"service_account\"" },
	{ "project_id", "\"example-proj-123\"" },
	{ "private_key_id", "\"" KEY_ID "\"" },
	{ "private_key", "\"" PEM "\"" },
	{ "client_email", "\"" EMAIL "\"" },
	{ "client_id", "\"113456789012345678901\"" },
	{ "auth_uri", "\"https://accounts.google.com/o/oauth2/auth\"" },
	{ "token_uri", "\"https://oauth2.googleapis.com/token\"" },
	{ "universe_domain", "\"googleapis.com\"" },
	{ NULL, NULL },
};

static const struct member user[] = {
	{ "type", "\"authorized_user\"" },
	{ "account", "\"\"" },
	{ "client_id", "\"" CLIENT_ID "\"" },
	{ "client_secret", "\"" CLIENT_SECRET "\"" },
	{ "refresh_token", "\"" REFRESH "\"" },
	{ "quota_project_id", "\"example-proj-123\"" },
	{ "universe_domain", "\"googleapis.com\"" },
	{ NULL, NULL },
};

#define SOURCE	"{\"type\":\"authorized_user\",\"client_id\":\"" CLIENT_ID "\"," \
		"\"client_secret\":\"" CLIENT_SECRET "\"," \
		"\"refresh_token\":\"" REFRESH "\"}"

static const struct member impersonated[] = {
	{ "type", "\"impersonated_service_account\"" },
	{ "service_account_impersonation_url", "\"" URL "\"" },
	{ "source_credentials", SOURCE },
	{ "delegates", "[]" },
	{ NULL, NULL },
};

/* base with one member replaced, left out or put behind. */
static int
parse_with(const struct member *base, const char *name, const char *value,
	   struct credfile **ret, struct err *e)
{
	_cleanup_(buf_free) struct buf b = BUF_INIT(256 * 1024);
	bool replaced = false;
	const char *v;

	for (; base->name; base++) {
		v = base->value;
		if (name && strcmp(base->name, name) == 0) {
			v = value;
			replaced = true;
		}
		if (v)
			buf_addf(&b, "%s\"%s\": %s", b.len ? ",\n  " : "{\n  ",
				 base->name, v);
	}
	if (name && value && !replaced)
		buf_addf(&b, ",\n  \"%s\": %s", name, value);
	buf_adds(&b, "\n}\n");
	return credfile_parse(b.data, b.len, ENDPOINT_UNIVERSE, ret, e);
}

static struct credfile *
whole(const struct member *base)
{
	struct credfile *c = NULL;
	struct err e = { .msg = "" };

	if (parse_with(base, NULL, NULL, &c, &e) < 0)
		fail_msg("%s", e.msg);
	return c;
}

static void
a_service_accounts_file_has_email_key_and_its_id(void **state _unused_)
{
	_cleanup_(credfile_freep) struct credfile *c = whole(account);

	assert_int_equal(c->type, CREDFILE_SERVICE_ACCOUNT);
	assert_string_equal(c->email, EMAIL);
	assert_string_equal(c->key_id, KEY_ID);
	assert_string_equal(c->private_key, "-----BEGIN PRIVATE KEY-----\n"
			    PEM_SECRET "\n-----END PRIVATE KEY-----\n");
	assert_null(c->refresh_token);
	assert_null(c->quota_project);
	assert_null(c->source);
}

static void
a_users_file_has_client_and_refresh_token(void **state _unused_)
{
	_cleanup_(credfile_freep) struct credfile *c = whole(user);

	assert_int_equal(c->type, CREDFILE_AUTHORIZED_USER);
	assert_string_equal(c->client_id, CLIENT_ID);
	assert_string_equal(c->client_secret, CLIENT_SECRET);
	assert_string_equal(c->refresh_token, REFRESH);
	assert_string_equal(c->quota_project, "example-proj-123");
	assert_null(c->email);
	assert_null(c->private_key);
}

static void
an_impersonated_accounts_file_has_target_and_source(void **state _unused_)
{
	_cleanup_(credfile_freep) struct credfile *c = whole(impersonated);

	assert_int_equal(c->type, CREDFILE_IMPERSONATED);
	assert_string_equal(c->email, TARGET);
	assert_null(c->delegates[0]);
	assert_int_equal(c->source->type, CREDFILE_AUTHORIZED_USER);
	assert_string_equal(c->source->refresh_token, REFRESH);
}

static void
delegates_are_emails_or_whole_names(void **state _unused_)
{
	_cleanup_(credfile_freep) struct credfile *c = NULL;
	struct err e;

	assert_int_equal(parse_with(impersonated, "delegates", "[\"" HOP "\", "
				    "\"projects/-/serviceAccounts/" EMAIL "\"]",
				    &c, &e), 0);
	assert_string_equal(c->delegates[0], HOP);
	assert_string_equal(c->delegates[1], EMAIL);
	assert_null(c->delegates[2]);
}

static void
what_need_not_be_there_may_be_missing(void **state _unused_)
{
	static const struct {
		const struct member *base;
		const char *name;
	} rows[] = {
		{ account, "project_id" }, { account, "client_id" },
		{ account, "auth_uri" }, { account, "token_uri" },
		{ account, "universe_domain" }, { user, "account" },
		{ user, "quota_project_id" }, { user, "universe_domain" },
		{ impersonated, "delegates" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(credfile_freep) struct credfile *c = NULL;
		struct err e;

		if (parse_with(rows[i].base, rows[i].name, NULL, &c, &e) < 0)
			fail_msg("without %s: %s", rows[i].name, e.msg);
	}
}

static void
the_token_endpoint_has_its_old_names(void **state _unused_)
{
	static const char *const uris[] = {
		"\"https://oauth2.googleapis.com/token\"",
		"\"https://www.googleapis.com/oauth2/v4/token\"",
		"\"https://accounts.google.com/o/oauth2/token\"",
		"\"https://oauth2.mtls.googleapis.com/token\"",
	};

	for (size_t i = 0; i < ARRAY_SIZE(uris); i++) {
		_cleanup_(credfile_freep) struct credfile *c = NULL;

		assert_int_equal(parse_with(account, "token_uri", uris[i], &c,
					    NULL), 0);
	}
}

#define NINE	"[\"" HOP "\",\"" HOP "\",\"" HOP "\",\"" HOP "\",\"" HOP "\"," \
		"\"" HOP "\",\"" HOP "\",\"" HOP "\",\"" HOP "\"]"

static const struct {
	const struct member *base;
	const char *name, *value, *words;
} mistakes[] = {
	{ account, "type", NULL, "type is missing" },
	{ account, "type", "7", "type is not a string" },
	{ account, "type", "\"\"", "type is empty" },
	{ account, "type", "null", "type is missing" },
	{ account, "type", "\"external_account\"",
	  "type external_account is not supported: service_account, "
	  "authorized_user and impersonated_service_account are" },
	{ account, "type", "\"external_account_authorized_user\"",
	  "type external_account_authorized_user is not supported" },
	{ account, "type", "\"gdch_service_account\"",
	  "type gdch_service_account is not supported" },
	{ account, "type", "\"Service_Account\"",
	  "type (not shown) is not supported" },

	{ account, "client_email", NULL, "client_email is missing" },
	{ account, "client_email", "[]", "client_email is not a string" },
	{ account, "client_email", "\"\"", "client_email is empty" },
	{ account, "client_email", "\"a\\u0000b\"",
	  "client_email is not a string" },
	{ account, "client_email", "\"user@example.com\"",
	  "client_email is not a service account's address" },
	{ account, "client_email", "\"x/../y@p.iam.gserviceaccount.com\"",
	  "is not a service account's address" },
	{ account, "private_key_id", NULL, "private_key_id is missing" },
	{ account, "private_key_id", "1", "private_key_id is not a string" },
	{ account, "private_key_id", "\"\"", "private_key_id is empty" },
	{ account, "private_key_id", "\"a b\"", "private_key_id has spaces" },
	{ account, "private_key", NULL, "private_key is missing" },
	{ account, "private_key", "{}", "private_key is not a string" },
	{ account, "private_key", "\"\"", "private_key is empty" },
	{ account, "private_key", "\"" PEM_SECRET "\"",
	  "private_key is no PEM key" },
	{ account, "private_key", "\"-----BEGIN PRIVATE KEY-----\\\\n" PEM_SECRET
	  "\\\\n-----END PRIVATE KEY-----\\\\n\"", "the file was escaped twice" },
	{ account, "private_key", "\"-----BEGIN PRIVATE KEY----- " PEM_SECRET
	  " -----END PRIVATE KEY-----\"", "on a line of its own" },
	{ account, "private_key", "\"-----BEGIN ENCRYPTED PRIVATE KEY-----\\n\"",
	  "private_key is encrypted" },
	{ account, "private_key", "\"-----BEGIN CERTIFICATE-----\\n\"",
	  "private_key is no PEM key" },
	{ account, "token_uri", "7", "token_uri is not a string" },
	{ account, "token_uri", "\"\"", "token_uri is empty" },
	{ account, "token_uri", "\"https://oauth2.evil.example/token\"",
	  "token_uri https://oauth2.evil.example/token is not Google's" },
	{ account, "token_uri",
	  "\"https://oauth2.googleapis.com.evil.example/token\"",
	  "is not Google's token endpoint" },
	{ account, "token_uri", "\"https://oauth2.googleapis.com/token?x\"",
	  "is not Google's token endpoint" },
	{ account, "token_uri", "\"http://oauth2.googleapis.com/token\"",
	  "is not Google's token endpoint" },
	{ account, "token_uri", "\"https://oauth2.googleapis.com@evil/token\"",
	  "is not Google's token endpoint" },
	{ account, "universe_domain", "true", "universe_domain is not a string" },
	{ account, "universe_domain", "\"\"", "universe_domain is empty" },
	{ account, "universe_domain", "\"example.org\"",
	  "universe_domain is example.org, and the agent's is googleapis.com "
	  "(universe in [upstream])" },
	/* A token may look like a domain. */
	{ account, "universe_domain", "\"ya29.c.b0aaekm1k\"",
	  "universe_domain is [masked], and" },
	{ account, "quota_project_id", "1", "quota_project_id is not a string" },
	{ account, "quota_project_id", "\"a b\"",
	  "quota_project_id is not a project's id" },

	{ user, "client_id", NULL, "client_id is missing" },
	{ user, "client_id", "7", "client_id is not a string" },
	{ user, "client_id", "\"\"", "client_id is empty" },
	{ user, "client_id", "\"a b\"", "client_id has spaces" },
	{ user, "client_secret", NULL, "client_secret is missing" },
	{ user, "client_secret", "7", "client_secret is not a string" },
	{ user, "client_secret", "\"\"", "client_secret is empty" },
	{ user, "client_secret", "\"" CLIENT_SECRET "\\n\"",
	  "client_secret has spaces" },
	{ user, "refresh_token", NULL, "refresh_token is missing" },
	{ user, "refresh_token", "7", "refresh_token is not a string" },
	{ user, "refresh_token", "\"\"", "refresh_token is empty" },
	{ user, "refresh_token", "\"" REFRESH " \"", "refresh_token has spaces" },
	{ user, "refresh_token", "\"" REFRESH "\\u00fc\"",
	  "refresh_token has spaces or characters" },
	{ user, "token_uri", "\"https://evil.example/token\"",
	  "is not Google's token endpoint" },
	{ user, "universe_domain", "\"example.org\"", "universe_domain is" },

	{ impersonated, "service_account_impersonation_url", NULL,
	  "service_account_impersonation_url is missing" },
	{ impersonated, "service_account_impersonation_url", "7",
	  "service_account_impersonation_url is not a string" },
	{ impersonated, "service_account_impersonation_url", "\"\"",
	  "service_account_impersonation_url is empty" },
	{ impersonated, "service_account_impersonation_url",
	  "\"" URL_OF("iamcredentials.evil.example") "\"",
	  "is not https://iamcredentials.googleapis.com/v1/projects/-/" },
	{ impersonated, "service_account_impersonation_url",
	  "\"" URL_OF("iamcredentials.googleapis.com.evil.example") "\"",
	  "is not https://iamcredentials.googleapis.com/" },
	{ impersonated, "service_account_impersonation_url",
	  "\"" URL_OF("iamcredentials.googleapis.com@evil.example") "\"",
	  "is not https://iamcredentials.googleapis.com/" },
	{ impersonated, "service_account_impersonation_url",
	  "\"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
	  "user@example.com:generateAccessToken\"", "EMAIL:generateAccessToken" },
	{ impersonated, "service_account_impersonation_url",
	  "\"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
	  TARGET ":signBlob\"", "EMAIL:generateAccessToken" },
	{ impersonated, "source_credentials", NULL,
	  "source_credentials is missing" },
	{ impersonated, "source_credentials", "\"x\"",
	  "source_credentials is not an object" },
	{ impersonated, "source_credentials", "{}",
	  "source_credentials: type is missing" },
	{ impersonated, "source_credentials",
	  "{\"type\":\"impersonated_service_account\"}",
	  "source_credentials: type impersonated_service_account is not "
	  "supported here: service_account and authorized_user are" },
	{ impersonated, "source_credentials",
	  "{\"type\":\"authorized_user\",\"client_id\":\"x\"}",
	  "source_credentials: client_secret is missing" },
	{ impersonated, "delegates", "\"" HOP "\"", "delegates is not a list" },
	{ impersonated, "delegates", "[\"" HOP "\",7]",
	  "delegates: number 2 is not a service account's address" },
	{ impersonated, "delegates", "[\"user@example.com\"]",
	  "delegates: number 1 is not" },
	{ impersonated, "delegates", NINE, "delegates has more than 8 accounts" },
};

static void
each_broken_member_is_named_with_what_is_wrong(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
		struct credfile *c = NULL;
		struct err e = { .msg = "none" };
		int r = parse_with(mistakes[i].base, mistakes[i].name,
				   mistakes[i].value, &c, &e);

		assert_null(c);
		if (r != -EINVAL || e.kind != ERR_REQUEST ||
		    !strstr(e.msg, mistakes[i].words))
			fail_msg("%zu: no \"%s\" in \"%s\" (%d)", i,
				 mistakes[i].words, e.msg, r);
		assert_int_equal(parse_with(mistakes[i].base, mistakes[i].name,
					    mistakes[i].value, &c, NULL), r);
	}
}

static void
no_failure_shows_a_secret(void **state _unused_)
{
	static const char *const secrets[] = { PEM_SECRET, CLIENT_SECRET, REFRESH };

	/* Also where somebody has put it into a member that is shown. */
	for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
		struct credfile *c = NULL;
		struct err e;

		parse_with(mistakes[i].base, mistakes[i].name, mistakes[i].value,
			   &c, &e);
		for (size_t k = 0; k < ARRAY_SIZE(secrets); k++)
			if (strstr(e.msg, secrets[k]))
				fail_msg("%s", e.msg);
		parse_with(mistakes[i].base, mistakes[i].name,
			   "\"" PEM_SECRET "\"", &c, &e);
		c = credfile_free(c);
		if (strstr(e.msg, PEM_SECRET))
			fail_msg("%s", e.msg);
	}
}

static void
what_is_no_object_is_no_file(void **state _unused_)
{
	static const char *const texts[] = {
		"", "[]", "null", "\"x\"", "{", "{\"type\":\"service_account\",}",
		"-----BEGIN PRIVATE KEY-----\n",
	};
	struct credfile *c = NULL;
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(credfile_parse(texts[i], strlen(texts[i]),
						ENDPOINT_UNIVERSE, &c, &e),
				 -EINVAL);
		assert_string_equal(e.msg, "it is no JSON object");
	}
}

static void
an_oauth_client_alone_is_told_from_credentials(void **state _unused_)
{
	static const char *const texts[] = {
		"{\"installed\":{\"client_id\":\"x\",\"client_secret\":\"y\"}}",
		"{\"web\":{\"client_id\":\"x\",\"client_secret\":\"y\"}}",
	};
	struct credfile *c = NULL;
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(credfile_parse(texts[i], strlen(texts[i]),
						ENDPOINT_UNIVERSE, &c, &e),
				 -EINVAL);
		assert_non_null(strstr(e.msg, "nobody has signed in yet: gcloud "
				       "auth application-default login"));
	}
}

static void
size_and_depth_are_bounded(void **state _unused_)
{
	_cleanup_(freep) char *large = xcalloc(CREDFILE_MAX + 2, 1);
	_cleanup_(buf_free) struct buf deep = BUF_INIT(4096);
	struct credfile *c = NULL;
	struct err e;

	memset(large, ' ', CREDFILE_MAX + 1);
	assert_int_equal(credfile_parse(large, CREDFILE_MAX + 1, ENDPOINT_UNIVERSE,
					&c, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "longer than 65536 bytes"));

	for (int i = 0; i < 100; i++)
		buf_adds(&deep, "{\"source_credentials\":");
	assert_int_equal(credfile_parse(deep.data, deep.len, ENDPOINT_UNIVERSE, &c,
					&e), -EINVAL);
	assert_null(c);
}

static void
a_file_of_another_universe_is_for_agents_of_that_one(void **state _unused_)
{
	static const char text[] =
		"{\"type\":\"authorized_user\",\"client_id\":\"x\","
		"\"client_secret\":\"y\",\"refresh_token\":\"z\","
		"\"universe_domain\":\"example.org\"}";
	static const char none[] =
		"{\"type\":\"authorized_user\",\"client_id\":\"x\","
		"\"client_secret\":\"y\",\"refresh_token\":\"z\"}";
	struct credfile *c = NULL;
	struct err e;

	assert_int_equal(credfile_parse(text, strlen(text), "example.org", &c, &e),
			 0);
	c = credfile_free(c);
	assert_int_equal(parse_with(user, "universe_domain", NULL, &c, &e), 0);
	c = credfile_free(c);
	assert_int_equal(credfile_parse(text, strlen(text), "apis.example", &c, &e),
			 -EINVAL);
	assert_string_equal(e.msg, "universe_domain is example.org, and the "
			    "agent's is apis.example (universe in [upstream])");
	assert_int_equal(credfile_parse(none, strlen(none), "example.org", &c, &e),
			 -EINVAL);
	assert_string_equal(e.msg, "universe_domain is missing, which stands for "
			    "googleapis.com, and the agent's is example.org "
			    "(universe in [upstream])");
	assert_null(c);
}

static void
an_impersonated_accounts_universe_is_that_of_its_source(void **state _unused_)
{
	static const char form[] =
		"{\"type\":\"impersonated_service_account\","
		"\"service_account_impersonation_url\":"
		"\"https://iamcredentials.example.org/v1/projects/-/"
		"serviceAccounts/a@p.iam.gserviceaccount.com:generateAccessToken\","
		"\"source_credentials\":{\"type\":\"authorized_user\","
		"\"client_id\":\"x\",\"client_secret\":\"y\","
		"\"refresh_token\":\"z\",\"universe_domain\":\"%s\"}}";
	_cleanup_(freep) char *good = xasprintf(form, "example.org");
	_cleanup_(freep) char *bad = xasprintf(form, "googleapis.com");
	struct credfile *c = NULL;
	struct err e;

	assert_int_equal(credfile_parse(good, strlen(good), "example.org", &c, &e),
			 0);
	assert_string_equal(c->email, "a@p.iam.gserviceaccount.com");
	c = credfile_free(c);
	assert_int_equal(credfile_parse(bad, strlen(bad), "example.org", &c, &e),
			 -EINVAL);
	assert_non_null(strstr(e.msg, "source_credentials: universe_domain is"));
	/* Of googleapis.com's IAM the other universe's agent wants nothing. */
	assert_int_equal(credfile_parse(good, strlen(good), "googleapis.com", &c,
					&e), -EINVAL);
	assert_null(c);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_service_accounts_file_has_email_key_and_its_id),
		cmocka_unit_test(a_users_file_has_client_and_refresh_token),
		cmocka_unit_test(
			an_impersonated_accounts_file_has_target_and_source),
		cmocka_unit_test(delegates_are_emails_or_whole_names),
		cmocka_unit_test(what_need_not_be_there_may_be_missing),
		cmocka_unit_test(the_token_endpoint_has_its_old_names),
		cmocka_unit_test(each_broken_member_is_named_with_what_is_wrong),
		cmocka_unit_test(no_failure_shows_a_secret),
		cmocka_unit_test(what_is_no_object_is_no_file),
		cmocka_unit_test(an_oauth_client_alone_is_told_from_credentials),
		cmocka_unit_test(size_and_depth_are_bounded),
		cmocka_unit_test(
			a_file_of_another_universe_is_for_agents_of_that_one),
		cmocka_unit_test(
			an_impersonated_accounts_universe_is_that_of_its_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
