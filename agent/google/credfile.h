/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Credential files as gcloud and the console write them: JSON from bytes.  Pure;
   who may have such a file is for whoever reads it to judge.

   https://google.aip.dev/auth/4110 */

#include "base/base.h"
#include "base/err.h"

#define CREDFILE_MAX		(64 * 1024)	/* bytes */
#define CREDFILE_DELEGATES_MAX	8

enum credfile_type {
	CREDFILE_SERVICE_ACCOUNT,	/* a key of an account's */
	CREDFILE_AUTHORIZED_USER,	/* who signed in with an OAuth client */
	CREDFILE_IMPERSONATED		/* an account, by one of the two above */
};

/* What of the members below is not its type's is NULL. */
struct credfile {
	enum credfile_type type;
	char *quota_project;		/* NULL where the file names none */

	/* service_account; email also of what is impersonated */
	char *email;
	char *key_id;
	char *private_key;		/* PEM, not looked into */

	/* authorized_user */
	char *client_id, *client_secret, *refresh_token;

	/* impersonated_service_account: emails, NULL-terminated */
	char *delegates[CREDFILE_DELEGATES_MAX + 1];
	struct credfile *source;
};

/* ERR_REQUEST names the member and what is wrong with it, and never shows a secret.
   universe: the one that the file has to be of.  URLs in it must be Google's, and
   are not used for more than that. */
int credfile_parse(const void *text, size_t len, const char *universe,
		   struct credfile **ret, struct err *e);
/* Wipes its secrets. */
struct credfile *credfile_free(struct credfile *c);
DEFINE_CLEANUP(struct credfile *, credfile_free)

/* "service_account" and so on. */
const char *credfile_type_name(enum credfile_type type);
