/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Google's public keys as it publishes them: a JWK set (RFC 7517).

   Like every file in google/: pure, one function builds the request, one reads
   the response.  For how long the set holds is in the response's max_age. */

#include "base/base.h"
#include "base/err.h"
#include "http/message.h"

#define CERTS_KEYS_MAX	32
#define CERTS_KID_MAX	128		/* bytes; 40 today */

struct certs_key {
	char *kid;
	char *n, *e;			/* base64url, as they came */
};

struct certs {
	struct certs_key key[CERTS_KEYS_MAX];
	size_t len;
};

void certs_clear(struct certs *c);

/* url is the whole one. */
void certs_request(const char *url, struct http_request *ret);

/* The RSA keys of the set that are for RS256 signatures; all others are skipped,
   and so is what goes beyond CERTS_KEYS_MAX.  Of a kid given twice the first
   counts.  ERR_UNAVAILABLE where none is left. */
int certs_response(const struct http_response *re, struct certs *ret,
		   struct err *e);
