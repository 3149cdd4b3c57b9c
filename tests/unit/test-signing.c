/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/b64.h"
#include "base/json.h"
#include "fake-key.h"
#include "token/credential.h"
#include "token/jwt.h"
#include "token/signing.h"
#include "vectors.h"
#include "world.h"

#define BLOB		VEC_EMAIL ":signBlob"
#define JWT		VEC_EMAIL ":signJwt"
#define KEY_ID		"kid-1"
#define BYTES		"GOOG4-RSA-SHA256\n1\n2"
#define DOUBT		(20 * MS)

/* What is to be signed, and what became of it. */
static struct {
	struct credential *credential;	/* of w->a, where it has one */
	struct claims *claims;
	struct signing *signing;
	uint64_t doubt;
	char *key_id, *text;
} signer;

static int
setup(void **state)
{
	static const char text[] = "{\"aud\":\"https://app.example.com/\"}";
	struct world *w = world_new();

	memset(&signer, 0, sizeof(signer));
	signer.doubt = DOUBT;
	assert_int_equal(claims_read(text, strlen(text), &w->at, 64, &signer.claims,
				     NULL), 0);
	w->ctx.opt = (struct flow_options){
		.assertion_life_usec = 3600 * USEC_PER_SEC,
		.assertion_backdate_usec = 10 * USEC_PER_SEC,
	};
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	signing_free(signer.signing);
	free(signer.key_id);
	free(signer.text);
	claims_free(signer.claims);
	world_teardown(state);
	credential_free(signer.credential);
	return 0;
}

/* The machine's own account. */
static void
by_the_machine(struct world *w)
{
	world_add_own(w);
	fake_say(w->mds, TOKEN, 200, VEC_A4_BODY);
	world_find(w, w->a);
}

/* That of a file, with its key. */
static void
by_a_key(struct world *w)
{
	struct credfile *f = xcalloc(1, sizeof(*f));

	f->type = CREDFILE_SERVICE_ACCOUNT;
	f->email = xstrdup(VEC_EMAIL);
	f->key_id = xstrdup(KEY_ID);
	f->private_key = fake_key_pem();
	world_begin(w);		/* that may have taken longer than anything may */
	assert_int_equal(credential_new(f, &signer.credential, NULL), 0);
	w->a = account_keyfile_new(&w->setup, "default", signer.credential);
	w->ctx.account = w->a;
	w->ctx.credential = signer.credential;
}

static void
on_signed(void *userdata, const char *key_id, const char *text,
	  const struct err *e)
{
	struct world *w = userdata;

	assert_null(signer.signing);	/* gone before it is told */
	assert_true(!text == !!e);
	assert_true(!key_id == !!e);
	w->called++;
	if (e) {
		w->e = *e;
		return;
	}
	signer.key_id = xstrdup(key_id);
	signer.text = xstrdup(text);
}

static int
begin(struct world *w, const struct claims *claims)
{
	w->called = 0;
	return signing_start(&w->ctx, &(struct signing_ask){
		.claims = claims, .bytes = BYTES, .len = strlen(BYTES),
		.deadline = &w->deadline, .payer = HTTP_PAYER_PEERS,
		.doubt_usec = signer.doubt }, on_signed, w, &signer.signing, &w->e);
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
	assert_string_equal(signer.key_id, VEC_SA_KEY_KID);
	assert_string_equal(signer.text, VEC_SIGNED_BLOB);
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
	run(w, signer.claims);
	sent = payload(w);
	j = json_parse(sent, strlen(sent), JSON_DEPTH);
	assert_string_equal(json_get_string(j, "iss"), VEC_EMAIL);
	assert_string_equal(json_get_string(j, "sub"), VEC_EMAIL);
	assert_string_equal(json_get_string(j, "aud"), "https://app.example.com/");
	assert_string_equal(signer.text, VEC_B6_JWT);
	assert_string_equal(signer.key_id, VEC_SA_KEY_KID);
}

static void
a_jwt_waits_for_the_account_to_be_known(void **state)
{
	struct world *w = *state;

	world_add_own(w);
	assert_int_equal(begin(w, signer.claims), 0);
	RUN_UNTIL(w->event, fake_count_of(w->mds, WHO) == 1);
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	fake_say(w->mds, TOKEN, 200, VEC_A4_BODY);
	fake_say(w->iam, JWT, 200, VEC_B6_BODY);
	RUN_UNTIL(w->event, w->called);
	assert_string_equal(signer.text, VEC_B6_JWT);
}

static void
a_missing_role_is_asked_about_once_more_after_a_while(void **state)
{
	struct world *w = *state;

	by_the_machine(w);
	fake_say_once(w->iam, BLOB, 403, VEC_B2_BODY);
	fake_say(w->iam, BLOB, 200, VEC_B1_BODY);
	run(w, NULL);
	assert_string_equal(signer.text, VEC_SIGNED_BLOB);
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
	signer.doubt = 30 * USEC_PER_SEC;
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
	assert_string_equal(signer.key_id, KEY_ID);
	assert_int_equal(b64_decode(signer.text, strlen(signer.text), &signature,
				    &len), 0);
	assert_true(rs256_verify(signer.credential->key, BYTES, strlen(BYTES),
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
	run(w, signer.claims);
	assert_string_equal(signer.key_id, KEY_ID);
	assert_int_equal(jwt_parse(signer.text, strlen(signer.text), &j, NULL), 0);
	assert_true(rs256_verify(signer.credential->key, signer.text, j->signed_len,
				 j->signature, j->signature_len));
	assert_int_equal(http_client_sent(w->http), 0);
}

/* The key is not that of an account which its own may act as. */
static void
it_signs_for_no_other_account(void **state)
{
	struct world *w = *state;

	by_a_key(w);
	w->billing = account_impersonated_new(&w->setup, "billing", BILLING, w->a,
					      NULL);
	w->ctx.account = w->billing;
	assert_false(signing_is_here(&w->ctx));
	fake_say(w->tok, "POST /token", 200, VEC_A4_BODY);
	fake_say(w->iam, BILLING ":signBlob", 200, VEC_B1_BODY);
	run(w, NULL);
	assert_string_equal(signer.text, VEC_SIGNED_BLOB);
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
	assert_int_equal(credential_new(f, &signer.credential, NULL), 0);
	assert_int_equal(account_user_new(&w->setup, "default", signer.credential,
					  &w->a, NULL), 0);
	w->ctx.account = w->a;
	w->ctx.credential = signer.credential;
	assert_false(signing_is_here(&w->ctx));
	assert_true(begin(w, NULL) < 0);
	assert_int_equal(w->e.kind, ERR_REQUEST);
	assert_null(signer.signing);
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
	signer.signing = signing_free(signer.signing);
	/* Nor while a doubt is to pass. */
	fake_say(w->iam, BLOB, 403, VEC_B2_BODY);
	signer.doubt = 10 * USEC_PER_SEC;
	assert_int_equal(begin(w, NULL), 0);
	RUN_UNTIL(w->event, fake_count(w->iam) == 2);
	fake_run_to(w->event, fake_now() + 20 * MS);
	signer.signing = signing_free(signer.signing);
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
	signer.signing = signing_free(signer.signing);
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
