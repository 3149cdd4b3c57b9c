/* SPDX-License-Identifier: Apache-2.0 */

/* What stands inside targets and field values, and the words for statuses. */

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "http/parse.h"

struct http_span
http_span_trim(struct http_span s)
{
	while (s.len > 0 && (*s.p == ' ' || *s.p == '\t')) {
		s.p++;
		s.len--;
	}
	while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* Cut off what stands before the first such byte outside quotes; false where
   nothing is left.  *rest is behind that byte, absent at the end.  The two are
   not the same span. */
static bool
span_cut(struct http_span *rest, char at, struct http_span *ret)
{
	bool quoted = false;
	size_t i;

	if (!rest->p)
		return false;
	for (i = 0; i < rest->len; i++) {
		if (quoted && rest->p[i] == '\\')
			i++;
		else if (rest->p[i] == '"')
			quoted = !quoted;
		else if (rest->p[i] == at && !quoted)
			break;
	}
	if (i >= rest->len) {
		*ret = http_span_trim(*rest);
		*rest = http_span(NULL, 0);
		return true;
	}
	*ret = http_span_trim(http_span(rest->p, i));
	*rest = http_span(rest->p + i + 1, rest->len - i - 1);
	return true;
}

/* -EINVAL: a broken escape.  NUL is one: whoever reads the value as a string
   would see another value than whoever counts its bytes. */
static int
percent_decode(struct http_span raw, char *out)
{
	const char *p = raw.p, *end = raw.p + raw.len;
	int hi, lo;

	for (; p < end; p++) {
		if (*p != '%') {
			*out++ = *p == '+' ? ' ' : *p;
			continue;
		}
		if (end - p < 3)
			return -EINVAL;
		hi = text_hex_digit(p[1]);
		lo = text_hex_digit(p[2]);
		if (hi < 0 || lo < 0 || (hi | lo) == 0)
			return -EINVAL;
		*out++ = (char)(hi << 4 | lo);
		p += 2;
	}
	return 0;
}

static int
query_decode(struct http_span raw, const char *name, struct buf *ret,
	     struct err *e)
{
	size_t len = raw.len, kept = ret->len;
	const char *p, *end = raw.p + raw.len;
	char *out;

	for (p = raw.p; (p = memchr(p, '%', (size_t)(end - p))); p += 3) {
		if (end - p < 3)
			goto broken;
		len -= 2;
	}
	out = buf_reserve(ret, len);
	if (!out)
		return err_set_status(e, ERR_REQUEST, 400,
				      "parameter %s is too long", name);
	if (percent_decode(raw, out) < 0) {
		ret->data[kept] = '\0';
		goto broken;
	}
	out[len] = '\0';
	ret->len = kept + len;
	return 1;
broken:
	return err_set_status(e, ERR_REQUEST, 400,
			      "parameter %s has a broken %% escape", name);
}

int
http_query_get(struct http_span query, const char *name, struct buf *ret,
	       struct err *e)
{
	struct http_span found = { NULL, 0 };
	size_t name_len = strlen(name);
	const char *p = query.p, *end, *next;

	if (!p)
		return 0;
	for (end = p + query.len; p < end; p = next + 1) {
		next = memchr(p, '&', (size_t)(end - p));
		if (!next)
			next = end;
		if ((size_t)(next - p) < name_len ||
		    memcmp(p, name, name_len) != 0)
			continue;
		p += name_len;
		if (p < next && *p != '=')
			continue;
		if (found.p)
			return err_set_status(e, ERR_REQUEST, 400,
					      "parameter %s is there twice", name);
		if (p < next)
			p++;
		found = http_span(p, (size_t)(next - p));
	}
	return found.p ? query_decode(found, name, ret, e) : 0;
}

bool
http_span_is(struct http_span s, const char *literal)
{
	return s.p && strlen(literal) == s.len &&
	       memcmp(s.p, literal, s.len) == 0;
}

bool
http_span_is_case(struct http_span s, const char *literal)
{
	return s.p && strlen(literal) == s.len &&
	       strncasecmp(s.p, literal, s.len) == 0;
}

const char *
http_reason(unsigned status)
{
	static const struct {
		unsigned status;
		const char *reason;
	} reasons[] = {
		{ 200, "OK" },
		{ 204, "No Content" },
		{ 301, "Moved Permanently" },
		{ 304, "Not Modified" },
		{ 400, "Bad Request" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 408, "Request Timeout" },
		{ 411, "Length Required" },
		{ 413, "Content Too Large" },
		{ 414, "URI Too Long" },
		{ 415, "Unsupported Media Type" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
		{ 505, "HTTP Version Not Supported" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Unknown";
}

/* The next directive of that name.  Parameters of a preference (RFC 7240, behind
   ";") belong to it and are not asked for by anybody. */
static bool
directive_next(struct http_span *rest, const char *name, struct http_span *ret)
{
	struct http_span member, directive, word;

	while (span_cut(rest, ',', &member)) {
		if (span_cut(&member, ';', &directive) &&
		    span_cut(&directive, '=', &word) &&
		    http_span_is_case(word, name)) {
			*ret = directive;
			return true;
		}
	}
	return false;
}

int
http_directive(struct http_span value, const char *name, uint64_t *ret)
{
	struct http_span s, again;
	uint64_t v;

	if (!directive_next(&value, name, &s))
		return 0;
	if (directive_next(&value, name, &again) || !s.p)
		return -EINVAL;
	s = http_span_trim(s);
	if (s.len >= 2 && s.p[0] == '"' && s.p[s.len - 1] == '"')
		s = http_span(s.p + 1, s.len - 2);
	if (!text_to_u64(s.p, s.len, UINT64_MAX, &v))
		return -EINVAL;
	*ret = v;
	return 1;
}

bool
http_directive_present(struct http_span value, const char *name)
{
	struct http_span s;

	return directive_next(&value, name, &s);
}
