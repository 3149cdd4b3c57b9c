/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* IAM Service Account Credentials API: what all its methods have in common.  Each
   does something as a service account with a key that never leaves Google.

   https://cloud.google.com/iam/docs/reference/credentials/rest */

#include "base/base.h"
#include "base/err.h"
#include "http/message.h"

enum iam_method {
	IAM_SIGN_BLOB,
	IAM_SIGN_JWT,
	IAM_GENERATE_ID_TOKEN,
	IAM_GENERATE_ACCESS_TOKEN
};

/* Where an account is written down, for words about what mends it. */
enum iam_origin {
	IAM_OF_MACHINE,
	IAM_OF_FILE,			/* a credential file */
	IAM_OF_SECTION			/* [account NAME] */
};

/* As whom, and who asks. */
struct iam_subject {
	const char *email;		/* as this account it is done */
	const char *caller;		/* whose access token it is; NULL: own */
	char *const *delegates;		/* emails: the caller may act as the first,
					   each as the next, the last as email; ends
					   with NULL; or NULL */
	enum iam_origin origin;		/* of email */
};

/* A question of any method.  access_token must carry the cloud-platform or iam
   scope; members are those of the body, JSON without the braces, and get the
   delegates behind them. */
void iam_request(enum iam_method method, const char *base_url,
		 const struct iam_subject *s, const char *access_token,
		 const char *members, struct http_request *ret);
/* Has the request count for this project's quota; NULL: for the account's own. */
void iam_request_quota(struct http_request *q, const char *project);

/* An answer that is not 200.  A denial for good is ERR_GOOGLE with scope set, names
   role, scope, API or account, and hints at the command that mends it; a missing
   role is doubtful, because the API says the same where it is only busy; all else
   is ERR_UNAVAILABLE.
   An access token that the API no longer takes is ERR_UNAVAILABLE with e->status
   401: a fresh one may do. */
int iam_failure(enum iam_method method, const struct http_response *re,
		const struct iam_subject *s, struct err *e);
/* One that is, and makes no sense: ERR_UNAVAILABLE. */
int iam_nonsense(enum iam_method method, const struct http_response *re,
		 const char *words, struct err *e);

/* Does this list of scopes (NULL-terminated) allow to call the API at all? */
bool iam_scopes_suffice(char *const *scopes);
/* The failure to report where it does not. */
int iam_scopes_error(enum iam_method method, const struct iam_subject *s,
		     struct err *e);
