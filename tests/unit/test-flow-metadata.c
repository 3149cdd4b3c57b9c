/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/b64.h"
#include "token/rs256.h"
#include "vectors.h"
#include "world.h"

#define IDENTITY "service-accounts/default/identity?"
#define CERTS	"/certs"
#define AUD	"https://app.example.com"

static char *
number(EVP_PKEY *pkey, const char *name)
{
	_cleanup_(freep) char *bytes = NULL;
	BIGNUM *bn = NULL;
	size_t len;

	assert_int_equal(EVP_PKEY_get_bn_param(pkey, name, &bn), 1);
	len = (size_t)BN_num_bytes(bn);
	bytes = xcalloc(len, 1);
	BN_bn2bin(bn, (unsigned char *)bytes);
	BN_free(bn);
	return b64url_encode(bytes, len);
}

/* One for all tests: they take seconds where the processor is emulated. */
static struct rs256_key *google_key;
static char *google_jwks;

static int
make_key(void **state _unused_)
{
	EVP_PKEY *pkey = EVP_RSA_gen(2048);
	_cleanup_(freep) char *n = number(pkey, OSSL_PKEY_PARAM_RSA_N);
	_cleanup_(freep) char *e = number(pkey, OSSL_PKEY_PARAM_RSA_E);
	BIO *bio = BIO_new(BIO_s_mem());
	char *pem;
	long len;

	assert_int_equal(PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL,
						  NULL), 1);
	len = BIO_get_mem_data(bio, &pem);
	assert_int_equal(rs256_key_from_pem(pem, (size_t)len, &google_key, NULL),
			 0);
	google_jwks = xasprintf("{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"k1\","
				"\"n\":\"%s\",\"e\":\"%s\"}]}", n, e);
	BIO_free(bio);
	EVP_PKEY_free(pkey);
	return 0;
}

static int
free_key(void **state _unused_)
{
	google_key = rs256_key_free(google_key);
	free(google_jwks);
	return 0;
}

static int
setup(void **state)
{
	struct world *w = world_new();

	world_add_own(w);
	w->ctx.keyring = keyring_new(w->event, w->http, &w->at,
				     &(struct keyring_options){
		.min_usec = 60 * USEC_PER_SEC,
		.max_usec = 60 * USEC_PER_SEC,
		.refetch_usec = 60 * USEC_PER_SEC,
		.retry_usec = USEC_PER_SEC,
		.fetch_usec = 10 * USEC_PER_SEC,
	});
	w->ctx.opt = (struct flow_options){
		.iat_skew_usec = 300 * USEC_PER_SEC,
		.token_life_max_usec = 86400 * USEC_PER_SEC,
	};
	*state = w;
	return 0;
}

/* A token with these claims beside aud, iss, iat and exp. */
static char *
make_token(const char *kid, const char *more, bool spoil)
{
	long long now = (long long)time(NULL);
	_cleanup_(freep) char *head =
		xasprintf("{\"alg\":\"RS256\",\"kid\":\"%s\"}", kid);
	_cleanup_(freep) char *claims = xasprintf(
		"{\"aud\":\"" AUD "\",\"iss\":\"https://accounts.google.com\","
		"\"iat\":%lld,\"exp\":%lld%s}", now, now + 3600, more);
	_cleanup_(freep) char *one = b64url_encode(head, strlen(head));
	_cleanup_(freep) char *two = b64url_encode(claims, strlen(claims));
	_cleanup_(freep) char *input = xasprintf("%s.%s", one, two), *last = NULL;
	unsigned char *signature;
	size_t len;

	assert_int_equal(rs256_sign(google_key, input, strlen(input), &signature,
				    &len, NULL), 0);
	signature[7] ^= spoil;
	last = b64url_encode(signature, len);
	free(signature);
	return xasprintf("%s.%s", input, last);
}

#define EMAIL	",\"email\":\"" VEC_EMAIL "\",\"email_verified\":true"
#define GOOGLE	",\"google\":{\"compute_engine\":{}}"

static void
says(struct world *w, const char *more)
{
	_cleanup_(freep) char *token = make_token("k1", more, false);

	fake_say(w->mds, IDENTITY, 200, token);
}

static void
start(struct world *w, enum token_format format, bool licenses)
{
	struct token_key key = { TOKEN_ID, "default", "", AUD };

	world_begin(w);
	key.variant = flow_variant(format, licenses);
	assert_int_equal(world_fetch(w, &flow_metadata, &key), 0);
}

static void
fetch(struct world *w, enum token_format format)
{
	world_find(w, w->a);
	start(w, format, false);
	RUN_UNTIL(w->event, w->called);
}

static void
fails(struct world *w, enum token_format format, enum err_kind kind,
      const char *words)
{
	fetch(w, format);
	assert_null(w->token);
	assert_int_equal(w->e.kind, kind);
	if (!strstr(w->e.msg, words))
		fail_msg("no \"%s\" in \"%s\"", words, w->e.msg);
}

/* --- tests -------------------------------------------------------------------- */

static void
a_full_token_is_verified_and_marked(void **state)
{
	struct world *w = *state;

	says(w, EMAIL GOOGLE);
	fake_say(w->mds, CERTS, 200, google_jwks);
	fetch(w, TOKEN_FULL);
	assert_non_null(w->token);
	assert_true(token_is_full(w->token));
	assert_string_equal(token_flow(w->token), "metadata");
	assert_string_equal(token_email(w->token), VEC_EMAIL);
	assert_int_equal(fake_count_of(w->mds, IDENTITY), 1);
	assert_int_equal(fake_count_of(w->mds, "&format=full HTTP"), 1);
	assert_int_equal(fake_count_of(w->mds, CERTS), 1);
}

static void
formats_and_licences_are_asked_for(void **state)
{
	struct world *w = *state;

	w->ctx.opt.verify = FLOW_VERIFY_CLAIMS;
	says(w, EMAIL);
	fetch(w, TOKEN_STANDARD);
	assert_non_null(w->token);
	assert_false(token_is_full(w->token));
	assert_int_equal(fake_count_of(w->mds, "&format=standard HTTP"), 1);
	start(w, TOKEN_FULL, true);
	RUN_UNTIL(w->event, w->called);
	assert_non_null(w->token);
	/* Without the claim it is none, whatever was asked for. */
	assert_false(token_is_full(w->token));
	assert_int_equal(fake_count_of(w->mds, "full&licenses=TRUE "), 1);
}

static void
a_standard_token_never_describes_the_vm(void **state)
{
	struct world *w = *state;

	w->ctx.opt.verify = FLOW_VERIFY_CLAIMS;
	says(w, EMAIL GOOGLE);
	fails(w, TOKEN_STANDARD, ERR_UNAVAILABLE, "it has the claim google");
}

static void
standard_tokens_without_email_are_a_denial_of_these(void **state)
{
	struct world *w = *state;

	says(w, "");
	fails(w, TOKEN_STANDARD, ERR_GOOGLE, "standard tokens have no email");
	assert_int_equal(w->e.scope, ERR_SCOPE_ACCOUNT);
	assert_false(w->e.doubtful);
	says(w, GOOGLE);
	fails(w, TOKEN_FULL, ERR_UNAVAILABLE, "no email");
}

static void
what_came_by_plain_http_needs_a_signature_of_googles(void **state)
{
	_cleanup_(freep) char *spoilt = NULL, *stranger = NULL;
	struct world *w = *state;

	spoilt = make_token("k1", EMAIL GOOGLE, true);
	stranger = make_token("k2", EMAIL GOOGLE, false);
	fake_say(w->mds, CERTS, 200, google_jwks);
	fake_say(w->mds, IDENTITY, 200, spoilt);
	fails(w, TOKEN_FULL, ERR_UNAVAILABLE, "the signature is not that of");
	fake_say(w->mds, IDENTITY, 200, stranger);
	fails(w, TOKEN_FULL, ERR_UNAVAILABLE, "signed with key k2");
	w->ctx.opt.verify = FLOW_VERIFY_REQUIRED;
	fails(w, TOKEN_FULL, ERR_UNAVAILABLE, "signed with key k2");
	w->ctx.opt.verify = FLOW_VERIFY_CLAIMS;
	fetch(w, TOKEN_FULL);
	assert_non_null(w->token);
}

static void
without_keys_there_is_no_token(void **state)
{
	struct world *w = *state;

	says(w, EMAIL GOOGLE);
	fake_say(w->mds, CERTS, 500, "");
	fails(w, TOKEN_FULL, ERR_UNAVAILABLE, "Google's public keys: HTTP 500");
	assert_non_null(strstr(w->e.hint, "verify = claims"));
}

static void
claims_are_checked_in_every_mode(void **state)
{
	static const enum flow_verify modes[] = {
		FLOW_VERIFY_AUTO, FLOW_VERIFY_CLAIMS, FLOW_VERIFY_REQUIRED,
	};
	struct world *w = *state;

	fake_say(w->mds, CERTS, 200, google_jwks);
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		w->ctx.opt.verify = modes[i];
		says(w, ",\"email\":\"x@y\",\"email_verified\":true" GOOGLE);
		fails(w, TOKEN_FULL, ERR_UNAVAILABLE, "the metadata server's ID "
		      "token: ID token: email is x@y");
		says(w, EMAIL GOOGLE ",\"aud\":\"other\"");
		fails(w, TOKEN_FULL, ERR_UNAVAILABLE, "aud is other");
		says(w, EMAIL GOOGLE ",\"exp\":1767229200");
		fails(w, TOKEN_FULL, ERR_UNAVAILABLE, "exp");
	}
}

static void
the_account_is_waited_for(void **state)
{
	struct world *w = *state;

	w->ctx.opt.verify = FLOW_VERIFY_CLAIMS;
	says(w, EMAIL GOOGLE);
	start(w, TOKEN_FULL, false);
	fake_run_to(w->event, fake_now() + 10 * MS);
	assert_int_equal(fake_count_of(w->mds, IDENTITY), 0);
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	RUN_UNTIL(w->event, w->called);
	assert_non_null(w->token);
}

static void
refusals_are_passed_on(void **state)
{
	struct world *w = *state;

	fake_say(w->mds, IDENTITY, 403, "");
	fails(w, TOKEN_FULL, ERR_GOOGLE, "denied (HTTP 403)");
	assert_int_equal(w->e.scope, ERR_SCOPE_ACCOUNT);
	fake_say(w->mds, IDENTITY, 400, VEC_A11_BODY);
	fails(w, TOKEN_FULL, ERR_GOOGLE, "this audience is not accepted: " AUD);
	assert_int_equal(w->e.scope, ERR_SCOPE_REQUEST);
	fake_say(w->mds, IDENTITY, 503, "");
	fails(w, TOKEN_FULL, ERR_UNAVAILABLE, "HTTP 503");
	fake_always(w->mds, IDENTITY, "");
	fails(w, TOKEN_FULL, ERR_UNAVAILABLE, "");
}

static void
a_fetch_may_be_freed_at_every_step(void **state)
{
	struct world *w = *state;

	start(w, TOKEN_FULL, false);			/* account */
	w->fetch = fetch_free(w->fetch);
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	RUN_UNTIL(w->event, account_state(w->a) == ACCOUNT_FOUND);
	start(w, TOKEN_FULL, false);			/* token */
	RUN_UNTIL(w->event, fake_count_of(w->mds, IDENTITY) == 1);
	w->fetch = fetch_free(w->fetch);
	says(w, EMAIL GOOGLE);
	start(w, TOKEN_FULL, false);			/* keys */
	RUN_UNTIL(w->event, fake_count_of(w->mds, CERTS) == 1);
	w->fetch = fetch_free(w->fetch);
	fake_say(w->mds, CERTS, 200, google_jwks);
	fake_run_to(w->event, fake_now() + 20 * MS);
	assert_int_equal(w->called, 0);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, world_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_full_token_is_verified_and_marked),
		TEST(formats_and_licences_are_asked_for),
		TEST(a_standard_token_never_describes_the_vm),
		TEST(standard_tokens_without_email_are_a_denial_of_these),
		TEST(what_came_by_plain_http_needs_a_signature_of_googles),
		TEST(without_keys_there_is_no_token),
		TEST(claims_are_checked_in_every_mode),
		TEST(the_account_is_waited_for),
		TEST(refusals_are_passed_on),
		TEST(a_fetch_may_be_freed_at_every_step),
	};

	return cmocka_run_group_tests(tests, make_key, free_key);
}
