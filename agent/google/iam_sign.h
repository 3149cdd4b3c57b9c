/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* IAM signBlob and signJwt: sign bytes, or claims, as a service account.  Failures:
   iam_failure(). */

#include "google/iam.h"

void iam_sign_blob_request(const char *base_url, const struct iam_subject *s,
			   const char *access_token,
			   const void *input, size_t input_len,
			   struct http_request *ret);

/* The signature, base64url without padding, ready for a JWT, and the id of the
   key that made it. */
int iam_sign_blob_response(const struct http_response *re,
			   const struct iam_subject *s,
			   char **ret_signature, char **ret_key_id,
			   struct err *e);

/* claims: JSON text of one object.  exp, where it is there, is at most 12 hours
   ahead. */
void iam_sign_jwt_request(const char *base_url, const struct iam_subject *s,
			  const char *access_token, const char *claims,
			  struct http_request *ret);

/* The JWT, whose header names the key; freed with secret_free(). */
int iam_sign_jwt_response(const struct http_response *re,
			  const struct iam_subject *s,
			  char **ret_jwt, char **ret_key_id, struct err *e);
