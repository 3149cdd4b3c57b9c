/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* IAM generateIdToken and generateAccessToken: tokens of a service account.
   Failures: iam_failure(). */

#include "google/iam.h"

/* An ID token with the email in it. */
void iam_generate_id_token_request(const char *base_url,
				   const struct iam_subject *s,
				   const char *access_token, const char *audience,
				   struct http_request *ret);
/* The text is freed with secret_free(). */
int iam_generate_id_token_response(const struct http_response *re,
				   const struct iam_subject *s,
				   char **ret_token, struct err *e);

/* An access token with these scopes, NULL at the end, good for so many seconds:
   more needs an organisation's policy. */
#define IAM_ACCESS_LIFE	3600
void iam_generate_access_token_request(const char *base_url,
				       const struct iam_subject *s,
				       const char *access_token,
				       char *const *scopes,
				       struct http_request *ret);
/* The text is freed with secret_free(); *ret_exp is in Unix seconds, and later than
   now. */
int iam_generate_access_token_response(const struct http_response *re,
				       const struct iam_subject *s, int64_t now,
				       char **ret_token, int64_t *ret_exp,
				       struct err *e);
