/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The metadata server of Compute Engine (upstream paths under
   /computeMetadata/v1/).

   Like every file in google/: two pure functions per question, one builds the
   request, one reads the response.  No I/O, no state, no logging.

   Failures: ERR_NOT_FOUND where the server says that there is no such thing,
   ERR_UNAVAILABLE for everything that may pass (an answer without
   Metadata-Flavor: Google among them: it is somebody else's), ERR_GOOGLE for a
   denial. */

#include "base/base.h"
#include "base/err.h"
#include "http/message.h"

#define METADATA_SCOPES_MAX	64

/* A service account as the metadata server describes it. */
struct metadata_account {
	char *email;
	char **scopes;		/* NULL-terminated; never NULL itself */
	char **aliases;		/* likewise */
};

void metadata_account_clear(struct metadata_account *a);

/* .../service-accounts/default/?recursive=true.  email must be a service
   account's (something@something.gserviceaccount.com); all three members must be
   there. */
void metadata_account_request(const char *base_url, struct http_request *ret);
int metadata_account_response(const struct http_response *re,
			      struct metadata_account *ret, struct err *e);
/* ERR_NOT_FOUND, and how to mend it: what the response above says of a 404. */
int metadata_no_account(struct err *e);

/* .../service-accounts/default/token.  The text is freed with secret_free();
   *ret_life is in seconds. */
void metadata_token_request(const char *base_url, struct http_request *ret);
int metadata_token_response(const struct http_response *re, char **ret_token,
			    uint64_t *ret_life, struct err *e);

/* .../service-accounts/default/identity: an ID token for this audience.  full adds
   the claim "google", which describes the VM, and licenses its licences; a token
   that is not full may lack the email.  The text is freed with secret_free(). */
void metadata_identity_request(const char *base_url, const char *audience,
			       bool full, bool licenses,
			       struct http_request *ret);
int metadata_identity_response(const struct http_response *re,
			       const char *audience, char **ret_token,
			       struct err *e);

/* universe/universe-domain: the domain below which this machine's Google is;
   googleapis.com where the server does not know any.  *ret_known: it does. */
void metadata_universe_request(const char *base_url, struct http_request *ret);
int metadata_universe_response(const struct http_response *re, char **ret,
			       bool *ret_known, struct err *e);

/* A plain value such as "project/project-id": UTF-8 without control characters,
   at most 1 KiB. */
void metadata_value_request(const char *base_url, const char *path,
			    struct http_request *ret);
int metadata_value_response(const struct http_response *re, const char *path,
			    char **ret, struct err *e);
