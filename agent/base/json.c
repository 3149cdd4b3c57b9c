/* SPDX-License-Identifier: Apache-2.0 */

#include <limits.h>
#include <string.h>

#include <json-c/json.h>

#include "base/json.h"
#include "base/text.h"

/* A struct json is a struct json_object: same pointer, other name. */

static struct json_object *
inside(const struct json *j)
{
	return (struct json_object *)(uintptr_t)j;
}

static const struct json *
outside(const struct json_object *o)
{
	return (const struct json *)o;
}

/* --- is it JSON? ------------------------------------------------------------

   json-c takes more than that even when strict (NaN, "1.", -01, raw control
   characters), cuts keys at a NUL, and differs by version.  So RFC 8259 is
   judged here, and json-c builds what has passed. */

struct scan {
	const char *p, *end;
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

/* --- in ------------------------------------------------------------------- */

struct json *
json_parse(const char *text, size_t len, int depth)
{
	struct scan s = { text, text + len };
	struct json_tokener *tok;
	struct json_object *o;

	if (len >= INT_MAX || depth < 0 || depth >= INT_MAX)
		return NULL;
	if (!text_is_utf8(text, len) || !scan_value(&s, depth) || s.p != s.end)
		return NULL;

	/* It counts a level for what stands inside the innermost brackets. */
	tok = json_tokener_new_ex(depth + 1);
	if (!tok)
		abort();
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	o = json_tokener_parse_ex(tok, text, (int)len);
	/* A number at the very end waits for more digits, until a NUL. */
	if (json_tokener_get_error(tok) == json_tokener_continue)
		o = json_tokener_parse_ex(tok, "", 1);
	if (json_tokener_get_error(tok) != json_tokener_success && o) {
		json_object_put(o);
		o = NULL;
	}
	json_tokener_free(tok);
	return (struct json *)o;
}

struct json *
json_free(struct json *root)
{
	json_object_put(inside(root));
	return NULL;
}

bool
json_is_object(const struct json *j)
{
	return json_object_is_type(inside(j), json_type_object);
}

bool
json_is_array(const struct json *j)
{
	return json_object_is_type(inside(j), json_type_array);
}

const struct json *
json_get(const struct json *j, const char *key)
{
	struct json_object *o = NULL;

	if (!json_is_object(j) || !json_object_object_get_ex(inside(j), key, &o))
		return NULL;
	return outside(o);
}

const char *
json_string(const struct json *j)
{
	const char *s;

	if (!json_object_is_type(inside(j), json_type_string))
		return NULL;
	s = json_object_get_string(inside(j));
	if (!s || strlen(s) != (size_t)json_object_get_string_len(inside(j)))
		return NULL;
	return s;
}

const char *
json_get_string(const struct json *j, const char *key)
{
	return json_string(json_get(j, key));
}

bool
json_int(const struct json *j, int64_t *ret)
{
	int64_t v;

	if (!json_object_is_type(inside(j), json_type_int))
		return false;
	/* json-c clamps what is too large or too small: INT64_MIN cannot be
	   told from less, and INT64_MAX only by asking for the unsigned. */
	v = json_object_get_int64(inside(j));
	if (v == INT64_MIN)
		return false;
	if (v == INT64_MAX && json_object_get_uint64(inside(j)) != INT64_MAX)
		return false;
	*ret = v;
	return true;
}

bool
json_get_int(const struct json *j, const char *key, int64_t *ret)
{
	return json_int(json_get(j, key), ret);
}

bool
json_get_bool(const struct json *j, const char *key, bool *ret)
{
	struct json_object *o = inside(json_get(j, key));

	if (!json_object_is_type(o, json_type_boolean))
		return false;
	*ret = json_object_get_boolean(o);
	return true;
}

size_t
json_array_len(const struct json *j)
{
	return json_is_array(j) ? json_object_array_length(inside(j)) : 0;
}

const struct json *
json_array_at(const struct json *j, size_t i)
{
	if (i >= json_array_len(j))
		return NULL;
	return outside(json_object_array_get_idx(inside(j), i));
}

/* --- out ------------------------------------------------------------------ */

/* How many bytes at s are one character of UTF-8; 0 if they are none. */
static size_t
utf8_len(const char *s, size_t len)
{
	for (size_t n = 1; n <= 4 && n <= len; n++)
		if (text_is_utf8(s, n))
			return n;
	return 0;
}

static void
write_ascii(struct buf *b, char c)
{
	static const char escaped[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
	const char *at = strchr(escaped, c);

	if (at)
		buf_addf(b, "\\%c", letter[at - escaped]);
	else if ((unsigned char)c < 0x20)
		buf_addf(b, "\\u%04x", (unsigned)c);
	else
		buf_addc(b, c);
}

int
json_write_string(struct buf *b, const char *s)
{
	size_t n;

	buf_addc(b, '"');
	for (size_t left = strlen(s); left > 0; s += n, left -= n) {
		n = utf8_len(s, left);
		if (n == 0) {
			buf_adds(b, "\xef\xbf\xbd");
			n = 1;
		} else if (n == 1) {
			write_ascii(b, *s);
		} else {
			buf_add(b, s, n);
		}
	}
	/* Appends after an overflow fail all: the last one speaks for all. */
	return buf_addc(b, '"');
}
