/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The request grammar, and the head of an answer.  Pure and bounded.

   Strict on purpose (doc/protocol.md): CRLF only, one space, no obs-fold,
   exactly one Host in HTTP/1.1, origin-form targets, a body only on POST with
   one Content-Length.  Everything handed out is a span into the caller's
   buffer. */

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"

#define HTTP_MAX_LINE	(8 * 1024)	/* request line */
#define HTTP_MAX_HEAD	(16 * 1024)	/* request line and fields */
#define HTTP_MAX_FIELDS	64
#define HTTP_MAX_BODY	(64 * 1024)

struct http_span {
	const char *p;		/* NULL: absent */
	size_t len;
};

static inline struct http_span
http_span(const char *p, size_t len)
{
	return (struct http_span){ .p = p, .len = len };
}

struct http_span http_span_trim(struct http_span s);	/* blanks at both ends */

enum http_method {
	HTTP_GET,
	HTTP_HEAD,
	HTTP_POST,
	HTTP_OTHER		/* well-formed, and nothing we serve */
};

/* The fields anybody asks for.  A repeated one of these is a bad request, but
   for Accept, Connection and the forbidden ones, of which the first is kept. */
enum http_field {
	HTTP_FIELD_HOST,
	HTTP_FIELD_METADATA_FLAVOR,
	HTTP_FIELD_CONNECTION,
	HTTP_FIELD_CONTENT_LENGTH,
	HTTP_FIELD_CONTENT_TYPE,
	HTTP_FIELD_CACHE_CONTROL,
	HTTP_FIELD_PREFER,
	HTTP_FIELD_ACCEPT,
	HTTP_FIELD_FORWARDED,	/* X-Forwarded-For */
	HTTP_FIELD_BROWSER,	/* Origin, Referer, Sec-Fetch-*, Forwarded, Via */
	HTTP_FIELDS
};

struct http_head {
	enum http_method method;
	struct http_span method_name;
	struct http_span path;		/* raw, begins with "/" */
	struct http_span query;		/* raw, without "?" */
	struct http_span field[HTTP_FIELDS];	/* value, outer blanks removed */
	unsigned minor;			/* HTTP/1.minor: 0 or 1 */
	bool keep_alive;
	size_t body_len;
};

/* Look for a whole head in the first len bytes of p, of which the first
   *scanned were seen by an earlier call (0 at first; kept by the caller, so that
   a head that comes byte by byte costs linear time).

   > 0: the head's length; *ret is set, its body (if any) follows.
   0: not whole yet.
   < 0: refused; e has the words and, as e->status, the HTTP status. */
ssize_t http_parse(const char *p, size_t len, size_t *scanned,
		   struct http_head *ret, struct err *e);

/* Value of a query parameter, decoded once ("+" is a space, "%XX" a byte),
   appended to ret.  1: found.  0: absent.  Negative: a broken escape, an escaped
   NUL, a repeated parameter, or longer than ret allows.  Raw ":/?=@" are
   accepted.  Names are compared as they stand: no client escapes them. */
int http_query_get(struct http_span query, const char *name, struct buf *ret,
		   struct err *e);

bool http_span_is(struct http_span s, const char *literal);
/* As field values compare: ASCII case folded. */
bool http_span_is_case(struct http_span s, const char *literal);

/* "Not Found" and friends; "Unknown" for what we never send. */
const char *http_reason(unsigned status);

/* Whole seconds of a directive in a Cache-Control or Prefer value (min-fresh=5,
   wait="10"): 1 and *ret, 0 where it is absent, -EINVAL where it is malformed,
   without a value or repeated. */
int http_directive(struct http_span value, const char *name, uint64_t *ret);
bool http_directive_present(struct http_span value, const char *name);
