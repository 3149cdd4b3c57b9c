/* SPDX-License-Identifier: Apache-2.0 */

/* Is it JSON?

   json-c takes more than RFC 8259 even when strict (NaN, "1.", -01, raw control
   characters), cuts keys at a NUL, and differs by version.  So that is judged here,
   and json-c builds what has passed. */

#include <limits.h>
#include <string.h>

#include "base/json_scan.h"
#include "base/text.h"

struct scan {
	const char *p, *end;
	struct json_scan found;
};

static bool scan_value(struct scan *s, int depth);

static void
scan_space(struct scan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' ||
				 *s->p == '\n' || *s->p == '\r'))
		s->p++;
}

static bool
scan_char(struct scan *s, char c)
{
	if (s->p == s->end || *s->p != c)
		return false;
	s->p++;
	return true;
}

static bool
scan_word(struct scan *s, const char *word)
{
	while (*word)
		if (!scan_char(s, *word++))
			return false;
	return true;
}

static bool
scan_digits(struct scan *s)
{
	const char *from = s->p;

	while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
		s->p++;
	return s->p > from;
}

static bool
scan_number(struct scan *s)
{
	scan_char(s, '-');
	if (!scan_char(s, '0') && !scan_digits(s))
		return false;
	if (scan_char(s, '.') && !scan_digits(s))
		return false;
	if (scan_char(s, 'e') || scan_char(s, 'E')) {
		if (!scan_char(s, '+'))
			scan_char(s, '-');
		return scan_digits(s);
	}
	return true;
}

/* The four digits behind "\u"; -1 if they are not. */
static int
scan_hex(struct scan *s)
{
	int v = 0;

	for (int i = 0; i < 4; i++, s->p++) {
		if (s->p == s->end)
			return -1;
		if (*s->p >= '0' && *s->p <= '9')
			v = v << 4 | (*s->p - '0');
		else if ((*s->p | 0x20) >= 'a' && (*s->p | 0x20) <= 'f')
			v = v << 4 | ((*s->p | 0x20) - 'a' + 10);
		else
			return -1;
	}
	return v;
}

/* Behind the backslash.  A surrogate alone is no character. */
static bool
scan_escape(struct scan *s, bool key)
{
	int c;

	if (s->p == s->end)
		return false;
	if (*s->p && strchr("\"\\/bfnrt", *s->p)) {
		s->p++;
		return true;
	}
	if (!scan_char(s, 'u'))
		return false;
	c = scan_hex(s);
	if (c >= 0xd800 && c <= 0xdbff) {
		if (!scan_word(s, "\\u"))
			return false;
		c = scan_hex(s);
		return c >= 0xdc00 && c <= 0xdfff;
	}
	if (c >= 0xdc00 && c <= 0xdfff)
		return false;
	s->found.nul = s->found.nul || c == 0;
	return c > 0 || (c == 0 && !key);
}

static bool
scan_string(struct scan *s, bool key)
{
	if (!scan_char(s, '"'))
		return false;
	while (s->p < s->end) {
		if (scan_char(s, '"'))
			return true;
		if (scan_char(s, '\\')) {
			if (!scan_escape(s, key))
				return false;
			continue;
		}
		if ((unsigned char)*s->p < 0x20)
			return false;
		s->p++;
	}
	return false;
}

/* Behind the opening bracket. */
static bool
scan_members(struct scan *s, char close, int depth)
{
	if (depth <= 0)
		return false;

	scan_space(s);
	if (scan_char(s, close))
		return true;
	do {
		scan_space(s);
		if (close == '}') {
			if (!scan_string(s, true))
				return false;
			s->found.names++;
			scan_space(s);
			if (!scan_char(s, ':'))
				return false;
		}
		if (!scan_value(s, depth - 1))
			return false;
	} while (scan_char(s, ','));
	return scan_char(s, close);
}

/* A value and the space around it; recursion ends at depth. */
static bool
scan_value(struct scan *s, int depth)
{
	bool ok;

	scan_space(s);
	if (s->p == s->end)
		return false;
	s->found.values++;
	switch (*s->p) {
	case '{':
		s->p++;
		ok = scan_members(s, '}', depth);
		break;
	case '[':
		s->p++;
		ok = scan_members(s, ']', depth);
		break;
	case '"':
		ok = scan_string(s, false);
		break;
	case 't':
		ok = scan_word(s, "true");
		break;
	case 'f':
		ok = scan_word(s, "false");
		break;
	case 'n':
		ok = scan_word(s, "null");
		break;
	default:
		ok = scan_number(s);
		break;
	}
	scan_space(s);
	return ok;
}

bool
json_scan(const char *text, size_t len, int depth, struct json_scan *ret)
{
	struct scan s = { .p = text, .end = text + len };

	if (len >= INT_MAX || depth < 0 || depth >= INT_MAX)
		return false;
	if (!text_is_utf8(text, len) || !scan_value(&s, depth) || s.p != s.end)
		return false;
	*ret = s.found;
	return true;
}
