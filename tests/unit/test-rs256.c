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
#include "token/jwt.h"
#include "token/rs256.h"
#include "vectors.h"

static bool
verifies(const char *text, const char *n, const char *e_b64)
{
	_cleanup_(rs256_key_freep) struct rs256_key *k = NULL;
	_cleanup_(jwt_freep) struct jwt *j = NULL;
	struct err e;

	assert_int_equal(rs256_key_from_jwk(n, e_b64, &k, &e), 0);
	assert_int_equal(jwt_parse(text, strlen(text), &j, &e), 0);
	return rs256_verify(k, text, j->signed_len, j->signature, j->signature_len);
}

static void
tokens_verify_with_the_key_that_signed_them(void **state _unused_)
{
	assert_true(verifies(VEC_ID_TOKEN_C1, VEC_GOOGLE_KEY_N, VEC_GOOGLE_KEY_E));
	assert_true(verifies(VEC_ID_TOKEN_A5, VEC_GOOGLE_KEY_N, VEC_GOOGLE_KEY_E));
	assert_true(verifies(VEC_ASSERTION, VEC_SA_KEY_N, VEC_SA_KEY_E));
	/* and with no other */
	assert_false(verifies(VEC_ID_TOKEN_C1, VEC_SA_KEY_N, VEC_SA_KEY_E));
	assert_false(verifies(VEC_ASSERTION, VEC_GOOGLE_KEY_N, VEC_GOOGLE_KEY_E));
}

static void
one_bit_spoils_a_signature(void **state _unused_)
{
	_cleanup_(rs256_key_freep) struct rs256_key *k = NULL;
	char input[] = VEC_ASSERTION_INPUT;
	size_t len = strlen(input), signature_len;
	unsigned char *signature;
	void *raw;

	assert_int_equal(rs256_key_from_jwk(VEC_SA_KEY_N, VEC_SA_KEY_E, &k, NULL),
			 0);
	assert_int_equal(b64_decode(VEC_SIGNED_BLOB, strlen(VEC_SIGNED_BLOB), &raw,
				    &signature_len), 0);
	signature = raw;
	assert_true(rs256_verify(k, input, len, signature, signature_len));

	for (size_t bit = 0; bit < 8 * signature_len; bit += 61) {
		signature[bit / 8] ^= (unsigned char)(1 << bit % 8);
		assert_false(rs256_verify(k, input, len, signature, signature_len));
		signature[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	input[100] ^= 1;
	assert_false(rs256_verify(k, input, len, signature, signature_len));
	input[100] ^= 1;
	assert_false(rs256_verify(k, input, len - 1, signature, signature_len));
	assert_false(rs256_verify(k, input, len, signature, signature_len - 1));
	assert_false(rs256_verify(k, input, len, signature, 0));
	assert_true(rs256_verify(k, input, len, signature, signature_len));
	free(raw);
}

static void
odd_public_keys_are_refused(void **state _unused_)
{
	/* 1024 bits; 2048 but even; 8200 */
	char small[172], even[343], large[1368];
	const struct {
		const char *n, *e, *words;
	} table[] = {
		{ "", VEC_SA_KEY_E, "n is no RSA modulus" },
		{ "AQAB", VEC_SA_KEY_E, "bits of RSA, expected 2048 to 8192" },
		{ VEC_SA_KEY_N "=", VEC_SA_KEY_E, "n is no RSA modulus" },
		{ "!" VEC_SA_KEY_N, VEC_SA_KEY_E, "n is no RSA modulus" },
		{ small, VEC_SA_KEY_E, "1024 bits of RSA" },
		{ even, VEC_SA_KEY_E, "n is no RSA modulus" },
		{ large, VEC_SA_KEY_E, "8200 bits of RSA" },
		{ VEC_SA_KEY_N VEC_SA_KEY_N VEC_SA_KEY_N VEC_SA_KEY_N VEC_SA_KEY_N,
		  VEC_SA_KEY_E, "n is no RSA modulus" },
		{ VEC_SA_KEY_N, "", "e is no RSA exponent" },
		{ VEC_SA_KEY_N, "AQ", "e is no RSA exponent" },
		{ VEC_SA_KEY_N, "AAAA", "e is no RSA exponent" },
		{ VEC_SA_KEY_N, "AQAC", "e is no RSA exponent" },
		{ VEC_SA_KEY_N, VEC_SA_KEY_N, "e is no RSA exponent" },
		{ VEC_SA_KEY_N, "%", "e is no RSA exponent" },
	};
	struct rs256_key *k = NULL;
	struct err e;

	memset(small, '_', sizeof(small) - 1);
	memcpy(small + sizeof(small) - 2, "8", 2);
	memset(even, '_', sizeof(even) - 1);
	memcpy(even + sizeof(even) - 2, "A", 2);
	memset(large, '_', sizeof(large) - 1);
	memcpy(large + sizeof(large) - 2, "8", 2);

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		assert_int_equal(rs256_key_from_jwk(table[i].n, table[i].e, &k, &e),
				 -EHOSTUNREACH);
		assert_null(k);
		if (!strstr(e.msg, table[i].words))
			fail_msg("%zu: %s", i, e.msg);
	}
}

/* pkey as PEM; how says which. */
enum { PKCS8, PKCS1, ENCRYPTED, PUBLIC };

static size_t
pem_of(EVP_PKEY *pkey, int how, char *ret, size_t size)
{
	BIO *bio = BIO_new(BIO_s_mem());
	unsigned char pass[] = "pass";
	int ok = 0, n;

	switch (how) {
	case PKCS8:
		ok = PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL);
		break;
	case PKCS1:
		ok = PEM_write_bio_PrivateKey_traditional(bio, pkey, NULL, NULL, 0,
							  NULL, NULL);
		break;
	case ENCRYPTED:
		ok = PEM_write_bio_PrivateKey(bio, pkey, EVP_aes_128_cbc(), pass, 4,
					      NULL, NULL);
		break;
	case PUBLIC:
		ok = PEM_write_bio_PUBKEY(bio, pkey);
		break;
	}
	assert_int_equal(ok, 1);
	n = BIO_read(bio, ret, (int)size);
	assert_true(n > 0 && n < (int)size);
	BIO_free(bio);
	return (size_t)n;
}

static void
a_private_key_signs_what_its_public_key_verifies(void **state _unused_)
{
	EVP_PKEY *pkey = EVP_RSA_gen(2048);
	unsigned char *first = NULL, *signature;
	size_t len;
	char pem[4096];
	struct err e;

	assert_non_null(pkey);
	for (int how = PKCS8; how <= PKCS1; how++) {
		_cleanup_(rs256_key_freep) struct rs256_key *k = NULL;
		size_t n = pem_of(pkey, how, pem, sizeof(pem));

		assert_int_equal(rs256_key_from_pem(pem, n, &k, &e), 0);
		assert_int_equal(rs256_sign(k, "hello", 5, &signature, &len, &e),
				 0);
		assert_int_equal(len, 256);
		assert_true(rs256_verify(k, "hello", 5, signature, len));
		assert_false(rs256_verify(k, "hell", 4, signature, len));
		/* no salt: the same key signs the same bytes alike */
		if (first)
			assert_memory_equal(first, signature, len);
		free(first);
		first = signature;
	}
	free(first);
	EVP_PKEY_free(pkey);
}

static void
pem_that_is_no_rsa_private_key_is_refused(void **state _unused_)
{
	EVP_PKEY *rsa = EVP_RSA_gen(2048), *weak = EVP_RSA_gen(1024);
	EVP_PKEY *ec = EVP_EC_gen("P-256");
	const struct {
		EVP_PKEY *pkey;
		int how;
		const char *words;
	} table[] = {
		{ rsa, ENCRYPTED, "private key: " },
		{ rsa, PUBLIC, "private key: " },
		{ weak, PKCS8, "key: 1024 bits of RSA" },
		{ ec, PKCS8, "key: not RSA" },
	};
	struct rs256_key *k = NULL;
	char pem[4096];
	struct err e;
	size_t n;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		n = pem_of(table[i].pkey, table[i].how, pem, sizeof(pem));
		assert_int_equal(rs256_key_from_pem(pem, n, &k, &e), -EHOSTUNREACH);
		if (!strstr(e.msg, table[i].words))
			fail_msg("%zu: %s", i, e.msg);
	}
	n = pem_of(rsa, PKCS8, pem, sizeof(pem));
	assert_int_equal(rs256_key_from_pem(pem, n / 2, &k, &e), -EHOSTUNREACH);
	assert_int_equal(rs256_key_from_pem("", 0, &k, &e), -EHOSTUNREACH);
	assert_int_equal(rs256_key_from_pem("key", 3, &k, NULL), -EHOSTUNREACH);
	assert_null(k);

	EVP_PKEY_free(rsa);
	EVP_PKEY_free(weak);
	EVP_PKEY_free(ec);
}

static void
a_public_key_cannot_sign(void **state _unused_)
{
	_cleanup_(rs256_key_freep) struct rs256_key *k = NULL;
	unsigned char *signature = NULL;
	size_t len;
	struct err e;

	assert_int_equal(rs256_key_from_jwk(VEC_SA_KEY_N, VEC_SA_KEY_E, &k, &e), 0);
	assert_int_equal(rs256_sign(k, "x", 1, &signature, &len, &e), -EIO);
	assert_null(signature);
	assert_null(rs256_key_free(NULL));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tokens_verify_with_the_key_that_signed_them),
		cmocka_unit_test(one_bit_spoils_a_signature),
		cmocka_unit_test(odd_public_keys_are_refused),
		cmocka_unit_test(a_private_key_signs_what_its_public_key_verifies),
		cmocka_unit_test(pem_that_is_no_rsa_private_key_is_refused),
		cmocka_unit_test(a_public_key_cannot_sign),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
