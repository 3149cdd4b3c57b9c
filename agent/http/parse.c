/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <string.h>

#include "http/parse.h"

#define refuse(e, status, ...) \
	err_set_status(e, ERR_REQUEST, status, __VA_ARGS__)

/* Fields that are only there to be refused, behind those handed out. */
enum {
	FIELD_TRANSFER_ENCODING = HTTP_FIELDS,
	FIELD_EXPECT,
	FIELDS_KNOWN
};

static const struct {
	uint8_t len, field;
	const char *name;	/* in small letters */
} names[] = {
	{ 4,	HTTP_FIELD_HOST,		"host" },
	{ 6,	HTTP_FIELD_ACCEPT,		"accept" },
	{ 15,	HTTP_FIELD_METADATA_FLAVOR,	"metadata-flavor" },
	{ 10,	HTTP_FIELD_CONNECTION,		"connection" },
	{ 14,	HTTP_FIELD_CONTENT_LENGTH,	"content-length" },
	{ 12,	HTTP_FIELD_CONTENT_TYPE,	"content-type" },
	{ 13,	HTTP_FIELD_CACHE_CONTROL,	"cache-control" },
	{ 6,	HTTP_FIELD_PREFER,		"prefer" },
	{ 15,	HTTP_FIELD_FORWARDED,		"x-forwarded-for" },
	{ 6,	HTTP_FIELD_BROWSER,		"origin" },
	{ 7,	HTTP_FIELD_BROWSER,		"referer" },
	{ 9,	HTTP_FIELD_BROWSER,		"forwarded" },
	{ 3,	HTTP_FIELD_BROWSER,		"via" },
	{ 17,	FIELD_TRANSFER_ENCODING,	"transfer-encoding" },
	{ 6,	FIELD_EXPECT,			"expect" },
};

enum { IS_TOKEN = 1, IS_TARGET = 2 };

static const uint8_t class[256] = {
	['!'] = 3, ['"'] = 2, ['#'] = 1, ['$' ... '\''] = 3, ['('] = 2,
	[')'] = 2, ['*'] = 3, ['+'] = 3, [','] = 2, ['-'] = 3, ['.'] = 3,
	['/'] = 2, ['0' ... '9'] = 3, [':' ... '@'] = 2, ['A' ... 'Z'] = 3,
	['['] = 2, ['\\'] = 2, [']'] = 2, ['^' ... 'z'] = 3, ['{'] = 2,
	['|'] = 3, ['}'] = 2, ['~'] = 3,
};

static size_t
class_run(const char *p, size_t len, uint8_t want)
{
	size_t i = 0;

	while (i < len && (class[(unsigned char)p[i]] & want))
		i++;
	return i;
}

#define ONES	(UINT64_MAX / 255)	/* 0x0101... */

/* Non-zero if any of the eight bytes of w is c, or below c. */
static inline uint64_t
any_is(uint64_t w, uint8_t c)
{
	w ^= ONES * c;
	return (w - ONES) & ~w & (ONES * 0x80);
}

static inline uint64_t
any_below(uint64_t w, uint8_t c)
{
	return (w - ONES * c) & ~w & (ONES * 0x80);
}

/* These two loops see most of every request, so they take eight bytes at a
   time.  Control characters: none but the tab. */
static bool
value_ok(const char *p, size_t len)
{
	size_t i = 0;
	uint64_t w;

	for (; len - i >= sizeof(w); i += sizeof(w)) {
		memcpy(&w, p + i, sizeof(w));
		if (any_below(w, 0x20) | any_is(w, 0x7f))
			break;
	}
	for (; i < len; i++) {
		unsigned char c = (unsigned char)p[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

static bool
target_ok(const char *p, size_t len)
{
	size_t i = 0;
	uint64_t w;

	for (; len - i >= sizeof(w); i += sizeof(w)) {
		memcpy(&w, p + i, sizeof(w));
		if (any_below(w, 0x21) | any_is(w, 0x7f) | any_is(w, '#') |
		    (w & (ONES * 0x80)))
			return false;
	}
	return class_run(p + i, len - i, IS_TARGET) == len - i;
}

/* literal is in small letters; s consists of token characters, of which only
   letters can become letters. */
static bool
token_is(const char *s, const char *literal, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((s[i] | 0x20) != literal[i])
			return false;
	return true;
}

static enum http_method
method_of(struct http_span s)
{
	if (http_span_is(s, "GET"))
		return HTTP_GET;
	if (http_span_is(s, "HEAD"))
		return HTTP_HEAD;
	if (http_span_is(s, "POST"))
		return HTTP_POST;
	return HTTP_OTHER;
}

static int
parse_version(const char *p, size_t len, struct http_head *ret, struct err *e)
{
	if (len != 8 || memcmp(p, "HTTP/", 5) != 0 || p[6] != '.' ||
	    p[5] < '0' || p[5] > '9' || p[7] < '0' || p[7] > '9')
		return refuse(e, 400, "the request line is not"
			      " \"METHOD TARGET HTTP/1.1\" with single spaces");
	if (p[5] != '1' || p[7] > '1')
		return refuse(e, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
	ret->minor = p[7] == '1';
	return 0;
}

static int
parse_request_line(const char *p, size_t len, struct http_head *ret, struct err *e)
{
	const char *end = p + len, *target, *mark;
	size_t n = class_run(p, len, IS_TOKEN);
	int r;

	if (n == 0 || n == len || p[n] != ' ')
		return refuse(e, 400, "the request line does not begin with a"
			      " method and one space");
	ret->method_name = http_span(p, n);
	ret->method = method_of(ret->method_name);

	target = p + n + 1;
	mark = memchr(target, ' ', (size_t)(end - target));
	n = mark ? (size_t)(mark - target) : 0;
	if (n == 0 || !target_ok(target, n))
		return refuse(e, 400, "the request target is empty, or holds a"
			      " byte that has to be percent-encoded");
	r = parse_version(target + n + 1, (size_t)(end - target) - n - 1, ret, e);
	if (r < 0)
		return r;
	if (*target != '/')
		return refuse(e, 400, "the request target does not begin"
			      " with \"/\"");

	mark = memchr(target, '?', n);
	ret->path = http_span(target, mark ? (size_t)(mark - target) : n);
	if (mark)
		ret->query = http_span(mark + 1, n - ret->path.len - 1);
	return 0;
}

static int
field_of(const char *p, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].len == len && token_is(p, names[i].name, len))
			return names[i].field;
	if (len > 10 && token_is(p, "sec-fetch-", 10))
		return HTTP_FIELD_BROWSER;
	return FIELDS_KNOWN;
}

/* May it be there twice?  Cache-Control and Prefer are lists, too, but what stands
   in the second one is a demand: rather refused than overlooked. */
static bool
field_may_repeat(int field)
{
	switch (field) {
	case HTTP_FIELD_ACCEPT:
	case HTTP_FIELD_CONNECTION:
	case HTTP_FIELD_FORWARDED:
	case HTTP_FIELD_BROWSER:
		return true;
	default:
		return false;
	}
}

static int
parse_field(const char *p, size_t len, struct http_head *ret, struct err *e)
{
	size_t n = class_run(p, len, IS_TOKEN);
	struct http_span value;
	int field;

	if (n == 0 || n == len || p[n] != ':')
		return refuse(e, 400, "a header line is not \"Name: value\"%s",
			      *p == ' ' || *p == '\t' ?
			      ": continued lines are not accepted" : "");
	value = http_span(p + n + 1, len - n - 1);
	if (!value_ok(value.p, value.len))
		return refuse(e, 400, "a header line holds a control character");

	field = field_of(p, n);
	if (field == FIELDS_KNOWN)
		return 0;
	if (field == FIELD_TRANSFER_ENCODING)
		return refuse(e, 501, "Transfer-Encoding is not supported:"
			      " send Content-Length");
	if (field == FIELD_EXPECT)
		return refuse(e, 400, "Expect is not supported: send the body"
			      " at once");
	value = http_span_trim(value);
	if (field == HTTP_FIELD_CONNECTION &&
	    http_directive_present(value, "close"))
		ret->keep_alive = false;
	if (!ret->field[field].p)
		ret->field[field] = value;
	else if (!field_may_repeat(field))
		return refuse(e, 400, "header %.*s is there twice", (int)n, p);
	return 0;
}

static int
parse_body_len(struct http_head *ret, struct err *e)
{
	struct http_span s = ret->field[HTTP_FIELD_CONTENT_LENGTH];
	size_t len = 0;

	if (!s.p)
		return ret->method != HTTP_POST ? 0 :
		       refuse(e, 411, "a POST needs Content-Length");
	if (s.len == 0)
		return refuse(e, 400, "Content-Length is not a number");
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return refuse(e, 400, "Content-Length is not a number");
		if (len <= HTTP_MAX_BODY)
			len = len * 10 + (size_t)(s.p[i] - '0');
	}
	if (len > 0 && ret->method != HTTP_POST)
		return refuse(e, 400, "only a POST may have a body");
	if (len > HTTP_MAX_BODY)
		return refuse(e, 413, "the body is longer than %d bytes",
			      HTTP_MAX_BODY);
	ret->body_len = len;
	return 0;
}

static int
parse_end(struct http_head *ret, struct err *e)
{
	if (ret->minor == 1 && !ret->field[HTTP_FIELD_HOST].p)
		return refuse(e, 400, "header Host is missing");
	if (ret->minor == 0)
		ret->keep_alive = false;
	return parse_body_len(ret, e);
}

/* What can be said of a head whose last line is not whole yet. */
static int
parse_tail(size_t len, bool first_line, struct err *e)
{
	/* The CR may be here already. */
	if (first_line && len > HTTP_MAX_LINE + 1)
		return refuse(e, 414, "the request line is longer than %d bytes",
			      HTTP_MAX_LINE);
	if (len >= HTTP_MAX_HEAD)
		return refuse(e, 431, "the head is longer than %d bytes",
			      HTTP_MAX_HEAD);
	return 0;
}

/* One whole line, its LF at p[len].  1: it was the last. */
static int
parse_line(const char *p, size_t len, unsigned n, struct http_head *ret,
	   struct err *e)
{
	if (len == 0 || p[len - 1] != '\r')
		return refuse(e, 400, "a line does not end in CR LF");
	len--;
	if (n == 0 && len > HTTP_MAX_LINE)
		return refuse(e, 414, "the request line is longer than %d bytes",
			      HTTP_MAX_LINE);
	if (n == 0)
		return parse_request_line(p, len, ret, e);
	if (len == 0) {
		int r = parse_end(ret, e);

		return r < 0 ? r : 1;
	}
	if (n > HTTP_MAX_FIELDS)
		return refuse(e, 431, "there are more than %d header lines",
			      HTTP_MAX_FIELDS);
	return parse_field(p, len, ret, e);
}

/* Whole lines are judged in the order they came in, however they were cut into
   pieces, so the verdict does not depend on the pieces.  A head that comes in
   pieces is read anew only when a line has become whole: at most 66 times. */
ssize_t
http_parse(const char *p, size_t len, size_t *scanned, struct http_head *ret,
	   struct err *e)
{
	struct http_head h = { .keep_alive = true };
	size_t limit = MIN(len, (size_t)HTTP_MAX_HEAD), pos = 0;
	const char *lf;
	int r;

	if (len > 0 && !(class[(unsigned char)*p] & IS_TOKEN))
		return refuse(e, 400, "this is not the beginning of an HTTP"
			      " request");
	if (*scanned > 0 && *scanned <= limit &&
	    !memchr(p + *scanned, '\n', limit - *scanned)) {
		/* With more than this seen, the first line was whole or the
		   request refused. */
		bool first = *scanned <= HTTP_MAX_LINE + 1 &&
			     len > HTTP_MAX_LINE + 1 &&
			     !memchr(p, '\n', limit);

		*scanned = len;
		return parse_tail(len, first, e);
	}

	for (unsigned n = 0;; n++) {
		lf = memchr(p + pos, '\n', limit - pos);
		if (!lf) {
			*scanned = len;
			return parse_tail(len, n == 0, e);
		}
		r = parse_line(p + pos, (size_t)(lf - p) - pos, n, &h, e);
		if (r < 0)
			return r;
		pos = (size_t)(lf - p) + 1;
		if (r > 0)
			break;
	}
	*ret = h;
	return (ssize_t)pos;
}
