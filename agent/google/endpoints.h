/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where Google is: base URLs, without a slash at the end.  The only place with
   Google's host names. */

#include "base/base.h"
#include "base/err.h"
#include "http/message.h"

#define ENDPOINT_METADATA	"http://169.254.169.254"
#define ENDPOINT_METADATA6	"http://[fd20:ce::254]"	/* the same server */
#define ENDPOINT_TOKEN		"https://oauth2.googleapis.com/token"

/* Below this domain Google's services are, but for machines of another universe. */
#define ENDPOINT_UNIVERSE	"googleapis.com"

/* Scopes that let their token call IAM; the first lets it call anything. */
#define SCOPE_CLOUD_PLATFORM	"https://www.googleapis.com/auth/cloud-platform"
#define SCOPE_IAM		"https://www.googleapis.com/auth/iam"

/* What an assertion names as its aud.  The endpoint accepts it under all of its
   aliases, so it stays as it is where another one is configured. */
#define TOKEN_AUDIENCE		"https://oauth2.googleapis.com/token"

/* For http_request.upstream, and their names: the keys of [upstream]. */
enum upstream {
	UPSTREAM_METADATA,
	UPSTREAM_IAM,
	UPSTREAM_TOKEN,
	UPSTREAM_CERTS,
	UPSTREAMS
};
const char *upstream_name(enum upstream which);

struct endpoints {
	char *universe;		/* the domain of all but the metadata server */
	char *metadata;
	char *iam;
	char *token;		/* the whole URL */
	char *certs;		/* likewise */
	char *quota_project;	/* IAM counts requests for it; or NULL */
	bool test;		/* test-endpoints = yes */
};

/* Google's own. */
void endpoints_init(struct endpoints *at);
/* Those of the universe, where none is there yet; googleapis.com without one. */
void endpoints_complete(struct endpoints *at);
/* Is it googleapis.com?  There alone a token endpoint trades assertions. */
bool endpoints_are_default(const struct endpoints *at);
void endpoints_clear(struct endpoints *at);

/* Is this URL one the agent may be told to use: scheme http or https, a host, an
   optional port, no userinfo, query or fragment; path only where allowed.  Plain
   http, and any host but Google's by https, are the callers' rules:

   ENDPOINT_KIND_METADATA  http, the host an address literal (never by DNS)
   ENDPOINT_KIND_GOOGLE    https; with test also http, where the host must be
   localhost or a loopback address */
enum endpoint_kind { ENDPOINT_KIND_METADATA, ENDPOINT_KIND_GOOGLE };

int endpoint_check(const char *url, enum endpoint_kind kind, bool test,
		   struct err *e);

/* A name of at least two parts, in small letters, and no address? */
bool endpoint_is_universe(const char *domain);

/* Is the host of this URL, as endpoint_check() passes them, at or below domain? */
bool endpoint_is_in(const char *url, const char *domain);

/* Is this a service account's address, something@something.gserviceaccount.com? */
bool endpoint_is_account(const char *email);

/* Is this the token endpoint, by any name that Google ever wrote into files, or as
   the universe would have it? */
bool endpoint_is_token(const char *url, const char *universe);
/* The EMAIL of https://iamcredentials.UNIVERSE/v1/projects/-/serviceAccounts/EMAIL:
   generateAccessToken; newly allocated, NULL if it is no such URL. */
char *endpoint_impersonated(const char *url, const char *universe);

/* GCE_METADATA_HOST ("host", "host:port", "[v6]:port", no scheme; "http://" is
   forgiven) as a base URL, newly allocated; names other than
   metadata.google.internal (which means 169.254.169.254) and localhost are
   refused, because names are resolved by DNS. */
int endpoint_metadata_from_host(const char *host, char **ret, struct err *e);

/* Might anybody who reads this string find a host at or below Google's domains for
   its services in it, or the universe's, or the token endpoint?  Not a parser of
   URLs, which differ: names are judged wherever they stand, in any case, with dots
   and ports at their end, and with escapes undone that nobody need undo.  So is
   "https://x/?to=google.com" one, and so are escapes of what is not ASCII, of which
   some mean a letter or a dot to those who look up names.  s is ASCII. */
bool endpoint_is_googles(const struct endpoints *at, const char *s);
