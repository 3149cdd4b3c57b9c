/* SPDX-License-Identifier: Apache-2.0 */

#include <limits.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#include "base/b64.h"
#include "token/rs256.h"

#define BITS_MIN	2048
#define BITS_MAX	8192
#define EXPONENT_BITS	32	/* F4 everywhere; larger ones cost the verifier */

struct rs256_key {
	EVP_PKEY *pkey;
};

DEFINE_CLEANUP(BIGNUM *, BN_free)
DEFINE_CLEANUP(BIO *, BIO_free)
DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free)
DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(EVP_PKEY_CTX *, EVP_PKEY_CTX_free)
DEFINE_CLEANUP(OSSL_PARAM *, OSSL_PARAM_free)
DEFINE_CLEANUP(OSSL_PARAM_BLD *, OSSL_PARAM_BLD_free)

/* What OpenSSL says about the failure that it remembers, which is cleared. */
static int
openssl_failed(struct err *e, enum err_kind kind, const char *what)
{
	unsigned long code = ERR_get_error();
	const char *why = code ? ERR_reason_error_string(code) : NULL;
	int r = err_set(e, kind, "%s: %s", what,
			why ? why : "OpenSSL does not say why");

	ERR_clear_error();
	return r;
}

static int
key_new(EVP_PKEY *pkey, struct rs256_key **ret, struct err *e)
{
	struct rs256_key *k;
	int bits = EVP_PKEY_get_bits(pkey);

	if (!EVP_PKEY_is_a(pkey, "RSA"))
		return err_set(e, ERR_UNAVAILABLE, "key: not RSA");
	if (bits < BITS_MIN || bits > BITS_MAX)
		return err_set(e, ERR_UNAVAILABLE,
			       "key: %d bits of RSA, expected %d to %d", bits,
			       BITS_MIN, BITS_MAX);
	if (!EVP_PKEY_up_ref(pkey))
		abort();
	k = xcalloc(1, sizeof(*k));
	k->pkey = pkey;
	*ret = k;
	return 0;
}

static BIGNUM *
number_parse(const char *b64)
{
	_cleanup_(freep) char *bytes = NULL;
	void *data;
	size_t len;

	/* Bounded before anything is allocated for it. */
	if (strlen(b64) > BITS_MAX / 6 + 4)
		return NULL;
	if (b64url_decode(b64, strlen(b64), &data, &len) < 0)
		return NULL;
	bytes = data;
	return len > 0 ? BN_bin2bn(data, (int)len, NULL) : NULL;
}

/* OpenSSL takes any two numbers for a key and fails, or worse, when it is used. */
static int
numbers_check(const BIGNUM *n, const BIGNUM *e, struct err *err)
{
	if (!n || !BN_is_odd(n))
		return err_set(err, ERR_UNAVAILABLE, "key: n is no RSA modulus");
	if (!e || !BN_is_odd(e) || BN_is_one(e) || BN_num_bits(e) > EXPONENT_BITS)
		return err_set(err, ERR_UNAVAILABLE, "key: e is no RSA exponent");
	return 0;
}

int
rs256_key_from_jwk(const char *n, const char *e_b64, struct rs256_key **ret,
		   struct err *e)
{
	_cleanup_(BN_freep) BIGNUM *modulus = number_parse(n);
	_cleanup_(BN_freep) BIGNUM *exponent = number_parse(e_b64);
	_cleanup_(OSSL_PARAM_BLD_freep) OSSL_PARAM_BLD *build = NULL;
	_cleanup_(OSSL_PARAM_freep) OSSL_PARAM *params = NULL;
	_cleanup_(EVP_PKEY_CTX_freep) EVP_PKEY_CTX *ctx = NULL;
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *pkey = NULL;
	int r = numbers_check(modulus, exponent, e);

	if (r < 0)
		return r;

	build = OSSL_PARAM_BLD_new();
	if (!build ||
	    !OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, modulus) ||
	    !OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, exponent))
		return openssl_failed(e, ERR_INTERNAL, "key");
	params = OSSL_PARAM_BLD_to_param(build);
	ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) != 1)
		return openssl_failed(e, ERR_INTERNAL, "key");
	if (EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
		return openssl_failed(e, ERR_UNAVAILABLE, "key");
	return key_new(pkey, ret, e);
}

/* Without this OpenSSL would ask the terminal. */
static int
no_passphrase(char *buf _unused_, int size _unused_, int writing _unused_,
	      void *userdata _unused_)
{
	return -1;
}

int
rs256_key_from_pem(const void *pem, size_t len, struct rs256_key **ret,
		   struct err *e)
{
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *pkey = NULL;
	_cleanup_(BIO_freep) BIO *bio = NULL;

	if (len > INT_MAX)
		return err_set(e, ERR_UNAVAILABLE, "private key: too long");
	bio = BIO_new_mem_buf(pem, (int)len);
	if (!bio)
		return openssl_failed(e, ERR_INTERNAL, "private key");
	pkey = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	if (!pkey)
		return openssl_failed(e, ERR_UNAVAILABLE, "private key");
	/* Decoders that were tried in vain may have left their complaints. */
	ERR_clear_error();
	return key_new(pkey, ret, e);
}

struct rs256_key *
rs256_key_free(struct rs256_key *k)
{
	if (!k)
		return NULL;

	EVP_PKEY_free(k->pkey);
	free(k);
	return NULL;
}

bool
rs256_key_same(const struct rs256_key *a, const struct rs256_key *b)
{
	if (!a || !b)
		return a == b;
	return EVP_PKEY_eq(a->pkey, b->pkey) == 1;
}

int
rs256_sign(struct rs256_key *k, const void *data, size_t len,
	   unsigned char **ret, size_t *ret_len, struct err *e)
{
	_cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	_cleanup_(freep) char *signature = NULL;
	size_t signature_len = (size_t)EVP_PKEY_get_size(k->pkey);

	signature = xcalloc(signature_len, 1);
	if (!ctx ||
	    EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, k->pkey,
				  NULL) != 1 ||
	    EVP_DigestSign(ctx, (unsigned char *)signature, &signature_len, data,
			   len) != 1)
		return openssl_failed(e, ERR_INTERNAL, "signing");
	*ret = (unsigned char *)TAKE_PTR(signature);
	*ret_len = signature_len;
	return 0;
}

bool
rs256_verify(struct rs256_key *k, const void *data, size_t len,
	     const unsigned char *signature, size_t signature_len)
{
	_cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok;

	ok = ctx &&
	     EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", NULL, NULL, k->pkey,
				     NULL) == 1 &&
	     EVP_DigestVerify(ctx, signature, signature_len, data, len) == 1;
	/* Nobody asks why, and the next failure must not be told with it. */
	ERR_clear_error();
	return ok;
}
