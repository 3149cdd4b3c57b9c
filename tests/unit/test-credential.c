/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/b64.h"
#include "base/json.h"
#include "fake-key.h"
#include "token/credential.h"
#include "token/jwt.h"

#define EMAIL	"app-sa@example-proj-123.iam.gserviceaccount.com"
#define LIFE	3600
#define BACK	10

static struct credfile *
account_file(const char *key_id, char *pem)
{
	struct credfile *f = xcalloc(1, sizeof(*f));

	f->type = CREDFILE_SERVICE_ACCOUNT;
	f->email = xstrdup(EMAIL);
	f->key_id = xstrdup(key_id);
	f->private_key = pem;
	return f;
}

static struct credfile *
user_file(const char *refresh_token)
{
	struct credfile *f = xcalloc(1, sizeof(*f));

	f->type = CREDFILE_AUTHORIZED_USER;
	f->client_id = xstrdup("id");
	f->client_secret = xstrdup("secret");
	f->refresh_token = xstrdup(refresh_token);
	return f;
}

static struct credential *
made(struct credfile *f)
{
	struct credential *c = NULL;
	struct err e = { .msg = "" };

	if (credential_new(f, &c, &e) < 0)
		fail_msg("%s", e.msg);
	credential_set_times(c, LIFE * USEC_PER_SEC, BACK * USEC_PER_SEC);
	return c;
}

static struct json *
part(const char *s, size_t len)
{
	struct json *j;
	void *text;
	size_t n;

	assert_int_equal(b64url_decode(s, len, &text, &n), 0);
	j = json_parse(text, n, JSON_DEPTH);
	free(text);
	assert_non_null(j);
	return j;
}

/* The claims of what c has signed: it names its key and its account, and is good
   from *ret_iat on as long as it should be. */
static struct json *
claims_of(const struct credential *c, const char *text, int64_t *ret_iat)
{
	_cleanup_(json_freep) struct json *header = NULL;
	_cleanup_(jwt_freep) struct jwt *j = NULL;
	const char *dot = strchr(text, '.');
	struct json *claims;
	int64_t exp = 0;

	assert_int_equal(jwt_parse(text, strlen(text), &j, NULL), 0);
	assert_true(rs256_verify(c->key, text, j->signed_len, j->signature,
				 j->signature_len));
	header = part(text, (size_t)(dot - text));
	assert_string_equal(json_get_string(header, "kid"), "kid-1");
	claims = part(dot + 1, j->signed_len - (size_t)(dot + 1 - text));
	assert_string_equal(json_get_string(claims, "iss"), EMAIL);
	assert_true(json_get_int(claims, "iat", ret_iat));
	assert_true(json_get_int(claims, "exp", &exp));
	assert_true(exp == *ret_iat + LIFE);
	return claims;
}

static sd_event *event;
static struct clock *machine;

static int
set_up(void **state _unused_)
{
	assert_true(sd_event_new(&event) >= 0);
	assert_int_equal(clock_new(event, &(struct clock_options){ 0 }, NULL, NULL,
				   &machine, NULL), 0);
	return 0;
}

static int
tear_down(void **state _unused_)
{
	clock_free(machine);
	sd_event_unref(event);
	return 0;
}

static void
an_assertion_is_signed_by_the_key_and_names_it(void **state _unused_)
{
	_cleanup_(credential_freep) struct credential *c =
		made(account_file("kid-1", fake_key_pem()));
	_cleanup_(json_freep) struct json *claims = NULL;
	_cleanup_(secret_freep) char *text = NULL;
	int64_t date, iat = 0;

	/* The text of the key is in no memory of ours. */
	assert_null(c->file->private_key);
	assert_int_equal(credential_assertion(c, machine, "https://a.example", NULL,
					      &text, &date, NULL), 0);
	claims = claims_of(c, text, &iat);
	assert_string_equal(json_get_string(claims, "target_audience"),
			    "https://a.example");
	assert_null(json_get(claims, "scope"));
	assert_true(iat == date - BACK);
}

static void
what_stands_for_an_access_token_has_a_scope_and_no_audience(void **state _unused_)
{
	_cleanup_(credential_freep) struct credential *c =
		made(account_file("kid-1", fake_key_pem()));
	_cleanup_(json_freep) struct json *claims = NULL;
	_cleanup_(secret_freep) char *text = NULL;
	uint64_t life = 0;
	int64_t iat = 0;

	assert_int_equal(credential_self_signed(c, machine, "scope", &text, &life,
						NULL), 0);
	claims = claims_of(c, text, &iat);
	assert_string_equal(json_get_string(claims, "sub"), EMAIL);
	assert_string_equal(json_get_string(claims, "scope"), "scope");
	assert_null(json_get(claims, "aud"));
	assert_null(json_get(claims, "target_audience"));
	assert_int_equal(life, LIFE - BACK);
}

static void
what_is_no_key_is_said_to_be_none(void **state _unused_)
{
	struct credential *c = NULL;
	struct err e;

	assert_int_equal(credential_new(account_file("k", xstrdup(
		"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")),
		&c, &e), -EINVAL);
	assert_null(c);
	assert_non_null(strstr(e.msg, "private_key is no RSA key that could be "
			       "used"));
	assert_null(strstr(e.msg, "AAAA"));
}

static void
an_impersonated_account_has_a_source(void **state _unused_)
{
	struct credfile *f = xcalloc(1, sizeof(*f));
	_cleanup_(credential_freep) struct credential *c = NULL;
	struct token_endpoint_user u;

	f->type = CREDFILE_IMPERSONATED;
	f->email = xstrdup(EMAIL);
	f->source = user_file("token");
	c = made(f);
	assert_null(c->key);
	assert_null(c->file->source);
	u = credential_user(c->source);
	assert_string_equal(u.client_id, "id");
	assert_string_equal(u.client_secret, "secret");
	assert_string_equal(u.refresh_token, "token");
}

static void
another_key_or_token_is_another_credential(void **state _unused_)
{
	_cleanup_(credential_freep) struct credential *a = made(user_file("x"));
	_cleanup_(credential_freep) struct credential *same = made(user_file("x"));
	_cleanup_(credential_freep) struct credential *other = made(user_file("y"));
	char *pem = fake_key_pem();
	_cleanup_(credential_freep) struct credential *one =
		made(account_file("1", xstrdup(pem)));
	_cleanup_(credential_freep) struct credential *again =
		made(account_file("1", xstrdup(pem)));
	_cleanup_(credential_freep) struct credential *two =
		made(account_file("2", pem));
	_cleanup_(credential_freep) struct credential *corrected =
		made(account_file("1", fake_key_pem()));

	assert_true(credential_same(a, same));
	assert_true(credential_same(NULL, NULL));
	assert_false(credential_same(a, other));
	assert_false(credential_same(a, NULL));
	assert_false(credential_same(NULL, a));
	assert_false(credential_same(a, one));
	assert_true(credential_same(one, again));
	assert_false(credential_same(one, two));
	assert_false(credential_same(one, corrected));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_assertion_is_signed_by_the_key_and_names_it),
		cmocka_unit_test(
		    what_stands_for_an_access_token_has_a_scope_and_no_audience),
		cmocka_unit_test(what_is_no_key_is_said_to_be_none),
		cmocka_unit_test(an_impersonated_account_has_a_source),
		cmocka_unit_test(another_key_or_token_is_another_credential),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
