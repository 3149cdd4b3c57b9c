/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Keys of accounts that nobody has.  To be included behind cmocka's headers. */

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/base.h"

/* The PEM of a new one, which takes seconds where the processor is emulated. */
static inline char *
fake_key_pem(void)
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
