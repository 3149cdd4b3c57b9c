/* SPDX-License-Identifier: MIT */
#pragma once

/* What the account signs, by way of the agent: for the commands jwt, sign and
   request. */

#include "cli.h"

enum { SIGNED_MAX = 64 * 1024 };	/* bytes that the agent takes */

/* Each of these is CLI_OK, or an exit code that has been explained.  What is
   returned is the caller's to free. */

/* A file's bytes, or standard input's for "-"; a NUL stands behind them. */
int signed_read(const char *name, char **ret, size_t *ret_len);

/* A JWT with these claims (JSON). */
int signed_jwt(const struct cli *cli, const struct cli_token_options *o,
	       const char *claims, size_t len, char **ret);

/* The claims of Identity-Aware Proxy's self-signed way for a URL that has passed
   curlopt_url(): all paths of its host.  NULL: memory is gone. */
char *signed_iap_claims(const char *url);

/* A signature over bytes, in base64. */
int signed_blob(const struct cli *cli, const struct cli_token_options *o,
		const void *bytes, size_t len, char **ret);

/* The account's email. */
int signed_email(const struct cli *cli, const struct cli_token_options *o,
		 char *buf, size_t size);

/* The domain below which the services are that know the account. */
int signed_universe(const struct cli *cli, const struct cli_token_options *o,
		    char *buf, size_t size);
