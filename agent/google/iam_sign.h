/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* IAM signBlob: signs bytes as a service account.  Failures: iam_failure(). */

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
