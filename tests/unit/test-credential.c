/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/b64.h"
#include "base/json.h"
#include "token/credential.h"
#include "token/jwt.h"

#define EMAIL	"app-sa@example-proj-123.iam.gserviceaccount.com"
#define LIFE	3600
#define BACK	10

static char *
new_pem(void)
{
	EVP_PKEY *pkey = EVP_RSA_gen(2048);
	BIO *bio = BIO_new(BIO_s_mem());
	char pem[4096];
	int n;

	assert_true(PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL));
	n = BIO_read(bio, pem, sizeof(pem));
	BIO_free(bio);
	EVP_PKEY_free(pkey);
	return xstrndup(pem, (size_t)n);
}

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

static void
an_assertion_is_signed_by_the_key_and_names_it(void **state _unused_)
{
	_cleanup_(credential_freep) struct credential *c =
		made(account_file("kid-1", new_pem()));
	_cleanup_(json_freep) struct json *header = NULL, *claims = NULL;
	_cleanup_(secret_freep) char *text = NULL;
	_cleanup_(jwt_freep) struct jwt *j = NULL;
	sd_event *event;
	struct clock *clock;
	int64_t date, iat = 0, exp = 0;
	const char *dot;

	/* The text of the key is in no memory of ours. */
	assert_null(c->file->private_key);
	assert_true(sd_event_new(&event) >= 0);
	assert_int_equal(clock_new(event, &(struct clock_options){ 0 }, NULL, NULL,
				   &clock, NULL), 0);
	assert_int_equal(credential_assertion(c, clock, "https://a.example", NULL,
					      &text, &date, NULL), 0);
	assert_int_equal(jwt_parse(text, strlen(text), &j, NULL), 0);
	assert_true(rs256_verify(c->key, text, j->signed_len, j->signature,
				 j->signature_len));

	dot = strchr(text, '.');
	header = part(text, (size_t)(dot - text));
	claims = part(dot + 1, j->signed_len - (size_t)(dot + 1 - text));
	assert_string_equal(json_get_string(header, "kid"), "kid-1");
	assert_string_equal(json_get_string(claims, "iss"), EMAIL);
	assert_string_equal(json_get_string(claims, "target_audience"),
			    "https://a.example");
	assert_null(json_get(claims, "scope"));
	assert_true(json_get_int(claims, "iat", &iat) && iat == date - BACK);
	assert_true(json_get_int(claims, "exp", &exp) && exp == iat + LIFE);
	clock_free(clock);
	sd_event_unref(event);
}

static void
what_stands_for_an_access_token_has_a_scope_and_no_audience(void **state _unused_)
{
	_cleanup_(credential_freep) struct credential *c =
		made(account_file("kid-1", new_pem()));
	_cleanup_(json_freep) struct json *header = NULL, *claims = NULL;
	_cleanup_(secret_freep) char *text = NULL;
	_cleanup_(jwt_freep) struct jwt *j = NULL;
	int64_t iat = 0, exp = 0;
	struct clock *clock;
	uint64_t life = 0;
	sd_event *event;
	const char *dot;

	assert_true(sd_event_new(&event) >= 0);
	assert_int_equal(clock_new(event, &(struct clock_options){ 0 }, NULL, NULL,
				   &clock, NULL), 0);
	assert_int_equal(credential_self_signed(c, clock, "scope", &text, &life,
						NULL), 0);
	assert_int_equal(jwt_parse(text, strlen(text), &j, NULL), 0);
	assert_true(rs256_verify(c->key, text, j->signed_len, j->signature,
				 j->signature_len));
	dot = strchr(text, '.');
	header = part(text, (size_t)(dot - text));
	claims = part(dot + 1, j->signed_len - (size_t)(dot + 1 - text));
	assert_string_equal(json_get_string(header, "kid"), "kid-1");
	assert_string_equal(json_get_string(claims, "iss"), EMAIL);
	assert_string_equal(json_get_string(claims, "sub"), EMAIL);
	assert_string_equal(json_get_string(claims, "scope"), "scope");
	assert_null(json_get(claims, "aud"));
	assert_null(json_get(claims, "target_audience"));
	assert_true(json_get_int(claims, "iat", &iat));
	assert_true(json_get_int(claims, "exp", &exp) && exp == iat + LIFE);
	assert_int_equal(life, LIFE - BACK);
	clock_free(clock);
	sd_event_unref(event);
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
	char *pem = new_pem();
	_cleanup_(credential_freep) struct credential *one =
		made(account_file("1", xstrdup(pem)));
	_cleanup_(credential_freep) struct credential *again =
		made(account_file("1", xstrdup(pem)));
	_cleanup_(credential_freep) struct credential *two =
		made(account_file("2", pem));
	_cleanup_(credential_freep) struct credential *corrected =
		made(account_file("1", new_pem()));

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

	return cmocka_run_group_tests(tests, NULL, NULL);
}
