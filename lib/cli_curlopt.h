/* SPDX-License-Identifier: MIT */
#pragma once

/* What may be asked of the system's curl while it holds a token.  Pure.

   A list of what is allowed, not of what is not: without it, URL globs, a second
   URL, ~/.curlrc, proxies, --connect-to and user names in URLs each carried the
   token to another server when tried. */

#include <stdbool.h>
#include <stddef.h>

enum { CURLOPT_ARGS_MAX = 128 };

/* https://HOST[:PORT][/...], or http:// to loopback.  NULL, or what is wrong. */
const char *curlopt_url(const char *url);

/* scheme://host[:port] of an URL that is good: its first so many bytes. */
size_t curlopt_origin(const char *url);

/* A proxy: http:// or https://, HOST[:PORT].  NULL, or what is wrong. */
const char *curlopt_proxy(const char *url);

struct curlopt {
	/* Each option rewritten in its long form, its value a word of its own, so
	   that curl cannot read it otherwise than it was read here.  Borrowed. */
	const char *args[CURLOPT_ARGS_MAX];
	size_t n;

	/* What is ours to do, because the output comes through us. */
	const char *output;	/* -o, or NULL */
	bool include;		/* -i */
	bool head;		/* -I, which is passed on, too */
	bool fail;		/* -f: nothing of an answer that is none */
};

/* Options of curl's as a user wrote them.  0, or -EINVAL with words in why. */
int curlopt_parse(struct curlopt *o, size_t n, char *const *words, char *why,
		  size_t why_size);
