/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/b64.h"
#include "base/json.h"
#include "fake-metadata.h"
#include "token/credential.h"
#include "token/jwt.h"
#include "token/signing.h"
#include "vectors.h"

#define MS		USEC_PER_MSEC
#define WHO		"service-accounts/default/?recursive=true"
#define TOKEN		"service-accounts/default/token"
#define BLOB		VEC_EMAIL ":signBlob"
#define JWT		VEC_EMAIL ":signJwt"
#define BILLING		"billing@example-proj-123.iam.gserviceaccount.com"
#define KEY_ID		"kid-1"
#define BYTES		"GOOG4-RSA-SHA256\n1\n2"
#define DOUBT		(20 * MS)

struct world {
	sd_event *event;
	struct http_client *http;
	struct fake *mds, *iam;
	struct endpoints at;
	struct account_options opt;
	struct account_setup setup;
	struct credential *credential;
	struct account *own, *billing;
	struct flow_context ctx;	/* of own */
	struct claims *claims;

	/* One who wants a signature. */
	struct signing *signing;
	uint64_t deadline, doubt;
	unsigned called;
	char *key_id, *text;
	struct err e;
};

/* Time begins. */
static void
now(struct world *w)
{
	assert_true(sd_event_run(w->event, 0) >= 0);
	w->deadline = fake_now() + 20 * USEC_PER_SEC;
}

static int
setup(void **state)
{
	static const struct account_ops ops = { .changed = NULL };
	static const char text[] = "{\"aud\":\"https://app.example.com/\"}";
	struct world *w = xcalloc(1, sizeof(*w));

	assert_true(sd_event_new(&w->event) >= 0);
	w->http = fake_client_new(w->event);
	w->mds = fake_new(w->event);
	w->iam = fake_new(w->event);
	endpoints_init(&w->at);
	free(w->at.metadata);
	free(w->at.iam);
	free(w->at.token);
	w->at.metadata = xstrdup(fake_url(w->mds));
	w->at.iam = xstrdup(fake_url(w->iam));
	w->at.token = xasprintf("%s/token", fake_url(w->iam));
	assert_int_equal(claims_read(text, strlen(text), &w->at, 64, &w->claims,
				     NULL), 0);
	w->opt = (struct account_options){
		.discover_first_usec = MS,
		.discover_max_usec = 4 * MS,
		.none_usec = 20 * MS,
		.access_margin_usec = 60 * USEC_PER_SEC,
		.token_usec = 10 * USEC_PER_SEC,
	};
	w->ctx = (struct flow_context){
		.event = w->event, .http = w->http, .at = &w->at,
		.clock = fake_clock_new(w->event, NULL, NULL),
		.opt = { .assertion_life_usec = 3600 * USEC_PER_SEC,
			 .assertion_backdate_usec = 10 * USEC_PER_SEC },
	};
	w->setup = (struct account_setup){
		.event = w->event, .http = w->http, .at = &w->at,
		.clock = w->ctx.clock, .opt = &w->opt, .ops = &ops,
	};
	w->doubt = DOUBT;
	now(w);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	signing_free(w->signing);
	free(w->key_id);
	free(w->text);
	claims_free(w->claims);
	account_free(w->billing);
	account_free(w->own);
	credential_free(w->credential);
	clock_free(w->ctx.clock);
	http_client_free(w->http);
	fake_free(w->mds);
	fake_free(w->iam);
	endpoints_clear(&w->at);
	sd_event_unref(w->event);
	free(w);
	return 0;
}

/* The machine's own account. */
static void
by_the_machine(struct world *w)
{
	assert_int_equal(account_metadata_new(&w->setup, &w->own, NULL), 0);
	w->ctx.account = w->own;
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	fake_say(w->mds, TOKEN, 200, VEC_A4_BODY);
	RUN_UNTIL(w->event, account_state(w->own) == ACCOUNT_FOUND);
}

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

/* That of a file, with its key. */
static void
by_a_key(struct world *w)
{
	struct credfile *f = xcalloc(1, sizeof(*f));

	f->type = CREDFILE_SERVICE_ACCOUNT;
	f->email = xstrdup(VEC_EMAIL);
	f->key_id = xstrdup(KEY_ID);
	f->private_key = new_pem();
	now(w);			/* that may have taken longer than anything may */
	assert_int_equal(credential_new(f, &w->credential, NULL), 0);
	w->own = account_keyfile_new(&w->setup, "default", w->credential);
	w->ctx.account = w->own;
	w->ctx.credential = w->credential;
}

static void
on_signed(void *userdata, const char *key_id, const char *text,
	  const struct err *e)
{
	struct world *w = userdata;

	assert_null(w->signing);	/* gone before it is told */
	assert_true(!text == !!e);
	assert_true(!key_id == !!e);
	w->called++;
	if (e) {
		w->e = *e;
		return;
	}
	w->key_id = xstrdup(key_id);
	w->text = xstrdup(text);
}

static int
begin(struct world *w, const struct claims *claims)
{
	w->called = 0;
	return signing_start(&w->ctx, &(struct signing_ask){
		.claims = claims, .bytes = BYTES, .len = strlen(BYTES),
		.deadline = &w->deadline, .payer = HTTP_PAYER_PEERS,
		.doubt_usec = w->doubt }, on_signed, w, &w->signing, &w->e);
}

static void
run(struct world *w, const struct claims *claims)
{
	assert_int_equal(begin(w, claims), 0);
	assert_int_equal(w->called, 0);
	RUN_UNTIL(w->event, w->called);
	assert_int_equal(w->called, 1);
}

/* What the last request wants signed. */
static char *
payload(const struct world *w)
{
	const char *body = fake_last(w->iam)->body;
	_cleanup_(json_freep) struct json *j = json_parse(body, strlen(body),
							  JSON_DEPTH);

	assert_non_null(json_get_string(j, "payload"));
	return xstrdup(json_get_string(j, "payload"));
}

/* --- by IAM ------------------------------------------------------------------- */

static void
bytes_are_signed_by_iam_as_they_are(void **state)
{
	_cleanup_(freep) char *sent = NULL, *expected = NULL;
	struct world *w = *state;

	by_the_machine(w);
	assert_false(signing_is_here(&w->ctx));
	fake_say(w->iam, BLOB, 200, VEC_B1_BODY);
	run(w, NULL);
	expected = b64_encode(BYTES, strlen(BYTES));
	sent = payload(w);
	assert_string_equal(sent, expected);
	assert_string_equal(w->key_id, VEC_SA_KEY_KID);
	assert_string_equal(w->text, VEC_SIGNED_BLOB);
	assert_int_equal(fake_count(w->iam), 1);
}

static void
claims_become_a_jwt_of_the_account_that_has_it(void **state)
{
	_cleanup_(freep) char *sent = NULL;
	_cleanup_(json_freep) struct json *j = NULL;
	struct world *w = *state;

	by_the_machine(w);
	fake_say(w->iam, JWT, 200, VEC_B6_BODY);
	run(w, w->claims);
	sent = payload(w);
	j = json_parse(sent, strlen(sent), JSON_DEPTH);
	assert_string_equal(json_get_string(j, "iss"), VEC_EMAIL);
	assert_string_equal(json_get_string(j, "sub"), VEC_EMAIL);
	assert_string_equal(json_get_string(j, "aud"), "https://app.example.com/");
	assert_string_equal(w->text, VEC_B6_JWT);
	assert_string_equal(w->key_id, VEC_SA_KEY_KID);
}

static void
a_jwt_waits_for_the_account_to_be_known(void **state)
{
	struct world *w = *state;

	assert_int_equal(account_metadata_new(&w->setup, &w->own, NULL), 0);
	w->ctx.account = w->own;
	assert_int_equal(begin(w, w->claims), 0);
	RUN_UNTIL(w->event, fake_count_of(w->mds, WHO) == 1);
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	fake_say(w->mds, TOKEN, 200, VEC_A4_BODY);
	fake_say(w->iam, JWT, 200, VEC_B6_BODY);
	RUN_UNTIL(w->event, w->called);
	assert_string_equal(w->text, VEC_B6_JWT);
}

static void
a_missing_role_is_asked_about_once_more_after_a_while(void **state)
{
	struct world *w = *state;

	by_the_machine(w);
	fake_say_once(w->iam, BLOB, 403, VEC_B2_BODY);
	fake_say(w->iam, BLOB, 200, VEC_B1_BODY);
	run(w, NULL);
	assert_string_equal(w->text, VEC_SIGNED_BLOB);
	assert_int_equal(fake_count(w->iam), 2);
	assert_true(fake_request(w->iam, 1)->came >=
		    fake_request(w->iam, 0)->came + DOUBT);
}

static void
what_is_said_twice_or_without_doubt_is_the_answer(void **state)
{
	static const struct {
		const char *body;
		unsigned status, times;
		enum err_kind kind;
	} table[] = {
		{ VEC_B2_BODY, 403, 2, ERR_GOOGLE },	/* the role */
		{ VEC_B3_BODY, 403, 1, ERR_GOOGLE },	/* scopes */
		{ VEC_B4_BODY, 403, 1, ERR_GOOGLE },	/* the API */
		{ VEC_B11_BODY, 503, 1, ERR_UNAVAILABLE },
		{ "{}", 200, 1, ERR_UNAVAILABLE },
		{ VEC_B5_BODY, 401, 2, ERR_UNAVAILABLE },	/* the bearer */
	};
	struct world *w = *state;

	by_the_machine(w);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		size_t before = fake_count(w->iam);

		fake_say(w->iam, BLOB, table[i].status, table[i].body);
		run(w, NULL);
		assert_int_equal(w->e.kind, table[i].kind);
		assert_int_equal(w->e.status, 0);
		assert_int_equal(fake_count(w->iam) - before, table[i].times);
	}
}

static void
nobody_is_kept_past_his_time_by_a_doubt(void **state)
{
	struct world *w = *state;

	by_the_machine(w);
	fake_say(w->iam, BLOB, 403, VEC_B2_BODY);
	w->doubt = 30 * USEC_PER_SEC;
	run(w, NULL);
	assert_int_equal(w->e.kind, ERR_GOOGLE);
	assert_int_equal(fake_count(w->iam), 1);
}

/* --- here --------------------------------------------------------------------- */

static void
a_key_of_a_file_signs_bytes_here(void **state)
{
	struct world *w = *state;
	void *signature;
	size_t len;

	by_a_key(w);
	assert_true(signing_is_here(&w->ctx));
	run(w, NULL);
	assert_string_equal(w->key_id, KEY_ID);
	assert_int_equal(b64_decode(w->text, strlen(w->text), &signature, &len), 0);
	assert_true(rs256_verify(w->credential->key, BYTES, strlen(BYTES),
				 signature, len));
	free(signature);
	assert_int_equal(http_client_sent(w->http), 0);
}

static void
a_key_of_a_file_signs_a_jwt_here(void **state)
{
	_cleanup_(jwt_freep) struct jwt *j = NULL;
	struct world *w = *state;

	by_a_key(w);
	run(w, w->claims);
	assert_string_equal(w->key_id, KEY_ID);
	assert_int_equal(jwt_parse(w->text, strlen(w->text), &j, NULL), 0);
	assert_true(rs256_verify(w->credential->key, w->text, j->signed_len,
				 j->signature, j->signature_len));
	assert_int_equal(http_client_sent(w->http), 0);
}

/* The key is not that of an account which its own may act as. */
static void
it_signs_for_no_other_account(void **state)
{
	struct world *w = *state;

	by_a_key(w);
	w->billing = account_impersonated_new(&w->setup, "billing", BILLING, w->own,
					      NULL);
	w->ctx.account = w->billing;
	assert_false(signing_is_here(&w->ctx));
	fake_say(w->iam, "POST /token", 200, VEC_A4_BODY);
	fake_say(w->iam, BILLING ":signBlob", 200, VEC_B1_BODY);
	run(w, NULL);
	assert_string_equal(w->text, VEC_SIGNED_BLOB);
	assert_int_equal(fake_count_of(w->iam, BILLING ":signBlob"), 1);
}

static void
nobody_signs_as_a_person(void **state)
{
	struct credfile *f = xcalloc(1, sizeof(*f));
	struct world *w = *state;

	f->type = CREDFILE_AUTHORIZED_USER;
	f->client_id = xstrdup("id");
	f->client_secret = xstrdup("secret");
	f->refresh_token = xstrdup("refresh");
	assert_int_equal(credential_new(f, &w->credential, NULL), 0);
	assert_int_equal(account_user_new(&w->setup, "default", w->credential,
					  &w->own, NULL), 0);
	w->ctx.account = w->own;
	w->ctx.credential = w->credential;
	assert_false(signing_is_here(&w->ctx));
	assert_true(begin(w, NULL) < 0);
	assert_int_equal(w->e.kind, ERR_REQUEST);
	assert_null(w->signing);
	assert_non_null(strstr(w->e.msg, "a person's"));
}

/* --- its end ------------------------------------------------------------------ */

static void
who_wants_it_no_longer_is_not_told(void **state)
{
	struct world *w = *state;

	by_the_machine(w);
	assert_int_equal(begin(w, NULL), 0);
	RUN_UNTIL(w->event, fake_count(w->iam) == 1);
	w->signing = signing_free(w->signing);
	/* Nor while a doubt is to pass. */
	fake_say(w->iam, BLOB, 403, VEC_B2_BODY);
	w->doubt = 10 * USEC_PER_SEC;
	assert_int_equal(begin(w, NULL), 0);
	RUN_UNTIL(w->event, fake_count(w->iam) == 2);
	fake_run_to(w->event, fake_now() + 20 * MS);
	w->signing = signing_free(w->signing);
	fake_run_to(w->event, fake_now() + 20 * MS);
	assert_int_equal(w->called, 0);
	assert_int_equal(fake_count(w->iam), 2);
	assert_null(signing_free(NULL));
}

static void
nor_is_who_waits_for_a_key_that_is_here(void **state)
{
	struct world *w = *state;

	by_a_key(w);
	assert_int_equal(begin(w, NULL), 0);
	w->signing = signing_free(w->signing);
	assert_true(sd_event_run(w->event, 0) >= 0);
	assert_int_equal(w->called, 0);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(bytes_are_signed_by_iam_as_they_are),
		TEST(claims_become_a_jwt_of_the_account_that_has_it),
		TEST(a_jwt_waits_for_the_account_to_be_known),
		TEST(a_missing_role_is_asked_about_once_more_after_a_while),
		TEST(what_is_said_twice_or_without_doubt_is_the_answer),
		TEST(nobody_is_kept_past_his_time_by_a_doubt),
		TEST(a_key_of_a_file_signs_bytes_here),
		TEST(a_key_of_a_file_signs_a_jwt_here),
		TEST(it_signs_for_no_other_account),
		TEST(nobody_signs_as_a_person),
		TEST(who_wants_it_no_longer_is_not_told),
		TEST(nor_is_who_waits_for_a_key_that_is_here),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
