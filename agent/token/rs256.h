/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* RSASSA-PKCS1-v1_5 with SHA-256, the one signature algorithm of Google's ID
   tokens and service accounts.  The only file that knows OpenSSL. */

#include "base/base.h"
#include "base/err.h"

struct rs256_key;

/* Public, from a JWK's n and e (base64url).  2048 to 8192 bits. */
int rs256_key_from_jwk(const char *n, const char *e_b64, struct rs256_key **ret,
		       struct err *e);
/* Private, from PEM (PKCS#8 or PKCS#1, unencrypted).  The bytes are the caller's
   to wipe. */
int rs256_key_from_pem(const void *pem, size_t len, struct rs256_key **ret,
		       struct err *e);
struct rs256_key *rs256_key_free(struct rs256_key *k);
DEFINE_CLEANUP(struct rs256_key *, rs256_key_free)
/* Do both have the same public half?  NULL is the same as NULL only. */
bool rs256_key_same(const struct rs256_key *a, const struct rs256_key *b);

/* Newly allocated signature of *ret_len bytes. */
int rs256_sign(struct rs256_key *k, const void *data, size_t len,
	       unsigned char **ret, size_t *ret_len, struct err *e);
bool rs256_verify(struct rs256_key *k, const void *data, size_t len,
		  const unsigned char *signature, size_t signature_len);
