/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* IAM Service Account Credentials API, method signBlob: signs bytes as a service
   account with a key that never leaves Google.

   https://cloud.google.com/iam/docs/reference/credentials/rest */

#include "base/base.h"
#include "base/err.h"
#include "http/message.h"

/* Ask for a signature over input.  access_token must carry the cloud-platform
   or iam scope; email is the account that signs. */
void iam_sign_blob_request(const char *base_url, const char *email,
			   const char *access_token,
			   const void *input, size_t input_len,
			   struct http_request *ret);

/* The signature, base64url without padding, ready for a JWT, and the id of the
   key that made it.

   A denial for good is ERR_GOOGLE with scope set, names role, scope, API or
   account, and hints at the command that mends it; a missing role is doubtful,
   because the API says the same where it is only busy; all else is
   ERR_UNAVAILABLE.
   An access token that the API no longer takes is ERR_UNAVAILABLE with
   e->status 401: a fresh one may do. */
int iam_sign_blob_response(const struct http_response *re, const char *email,
			   char **ret_signature, char **ret_key_id,
			   struct err *e);

/* Does this list of scopes (NULL-terminated) allow to call the API at all? */
bool iam_scopes_suffice(char *const *scopes);
/* The failure to report where it does not. */
int iam_scopes_error(const char *email, struct err *e);
