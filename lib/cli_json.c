/* SPDX-License-Identifier: MIT */

#include <string.h>

#include "cli_json.h"

static const char *skip_value(const char *s, const char *end, int depth);

static const char *
skip_space(const char *s, const char *end)
{
	while (s < end && (*s == ' ' || *s == '\t' || *s == '\n' || *s == '\r'))
		s++;
	return s;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int
hex_digit(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The four digits of \uXXXX, or -1. */
static int
hex4(const char *s, const char *end)
{
	int n = 0;

	if (end - s < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		if (hex_digit(s[i]) < 0)
			return -1;
		n = n * 16 + hex_digit(s[i]);
	}
	return n;
}

/* One character of UTF-8; NULL where it is none. */
static const char *
utf8_char(const char *s, const char *end, uint32_t *ret)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char c = (unsigned char)*s;
	int len = c < 0x80 ? 1 : c < 0xc0 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3
		: c < 0xf8 ? 4 : 0;
	uint32_t u = len == 1 ? c : len ? c & (0x7fu >> len) : 0;

	if (len == 0 || end - s < len)
		return NULL;
	for (int i = 1; i < len; i++) {
		if (((unsigned char)s[i] & 0xc0) != 0x80)
			return NULL;
		u = u << 6 | ((unsigned char)s[i] & 0x3f);
	}
	if (u < least[len] || u > 0x10ffff || (u >= 0xd800 && u < 0xe000))
		return NULL;
	*ret = u;
	return s + len;
}

/* One character between a string's quotes, unescaped.  A surrogate that stands
   alone is given as it is; whoever shows it must not take it for a character. */
static const char *
string_char(const char *s, const char *end, uint32_t *ret)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *p;
	int hi, lo;

	if ((unsigned char)*s < ' ')
		return NULL;
	if (*s != '\\')
		return utf8_char(s, end, ret);
	if (++s == end)
		return NULL;
	if (*s != 'u') {
		p = *s ? strchr(from, *s) : NULL;
		if (!p)
			return NULL;
		*ret = (unsigned char)to[p - from];
		return s + 1;
	}
	hi = hex4(s + 1, end);
	if (hi < 0)
		return NULL;
	s += 5;
	*ret = (uint32_t)hi;
	if (hi >= 0xd800 && hi < 0xdc00 && end - s >= 6 && s[0] == '\\' &&
	    s[1] == 'u') {
		lo = hex4(s + 2, end);
		if (lo >= 0xdc00 && lo < 0xe000) {
			*ret = 0x10000u + ((uint32_t)(hi - 0xd800) << 10) +
				(uint32_t)(lo - 0xdc00);
			s += 6;
		}
	}
	return s;
}

static const char *
skip_string(const char *s, const char *end)
{
	uint32_t u;

	for (s++; s && s < end && *s != '"'; )
		s = string_char(s, end, &u);
	return s && s < end ? s + 1 : NULL;
}

static const char *
skip_digits(const char *s, const char *end)
{
	if (s == end || !is_digit(*s))
		return NULL;
	while (s < end && is_digit(*s))
		s++;
	return s;
}

static const char *
skip_number(const char *s, const char *end)
{
	if (*s == '-')
		s++;
	if (s < end && *s == '0')
		s++;
	else
		s = skip_digits(s, end);
	if (s && s < end && *s == '.')
		s = skip_digits(s + 1, end);
	if (s && s < end && (*s == 'e' || *s == 'E')) {
		s++;
		if (s < end && (*s == '+' || *s == '-'))
			s++;
		s = skip_digits(s, end);
	}
	return s;
}

static const char *
skip_word(const char *s, const char *end, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(end - s) < len || memcmp(s, word, len) != 0)
		return NULL;
	return s + len;
}

/* Objects and arrays: they differ by their names only. */
static const char *
skip_members(const char *s, const char *end, int depth)
{
	char open = *s, close = open == '{' ? '}' : ']';

	s = skip_space(s + 1, end);
	if (s < end && *s == close)
		return s + 1;
	for (;;) {
		if (open == '{') {
			if (s == end || *s != '"')
				return NULL;
			s = skip_string(s, end);
			if (!s)
				return NULL;
			s = skip_space(s, end);
			if (s == end || *s != ':')
				return NULL;
			s = skip_space(s + 1, end);
		}
		s = skip_value(s, end, depth + 1);
		if (!s)
			return NULL;
		s = skip_space(s, end);
		if (s == end)
			return NULL;
		if (*s == close)
			return s + 1;
		if (*s != ',')
			return NULL;
		s = skip_space(s + 1, end);
	}
}

/* Behind the value that begins at s, or NULL. */
static const char *
skip_value(const char *s, const char *end, int depth)
{
	if (s == end || depth > JSON_DEPTH_MAX)
		return NULL;
	switch (*s) {
	case '{':
	case '[':
		return skip_members(s, end, depth);
	case '"':
		return skip_string(s, end);
	case 't':
		return skip_word(s, end, "true");
	case 'f':
		return skip_word(s, end, "false");
	case 'n':
		return skip_word(s, end, "null");
	default:
		return *s == '-' || is_digit(*s) ? skip_number(s, end) : NULL;
	}
}

bool
json_parse(const char *text, size_t len, struct json *ret)
{
	const char *end = text + len, *s = skip_space(text, end), *after;

	after = skip_value(s, end, 0);
	if (!after || skip_space(after, end) != end)
		return false;
	*ret = (struct json){ s, after };
	return true;
}

char
json_type(const struct json *v)
{
	return *v->s == '-' || is_digit(*v->s) ? '0' : *v->s;
}

struct json
json_begin(const struct json *v)
{
	char type = json_type(v);

	if (type != '{' && type != '[')
		return (struct json){ v->end, v->end };
	return (struct json){ v->s + 1, v->end - 1 };
}

bool
json_next(struct json *iter, struct json *name, struct json *value)
{
	const char *s = skip_space(iter->s, iter->end), *after;
	struct json n = { s, s };

	if (s < iter->end && *s == ',')
		s = skip_space(s + 1, iter->end);
	after = skip_value(s, iter->end, 0);
	if (!after)
		return false;

	/* A string with a colon behind it is a name. */
	iter->s = skip_space(after, iter->end);
	if (iter->s < iter->end && *iter->s == ':') {
		n = (struct json){ s, after };
		s = skip_space(iter->s + 1, iter->end);
		after = skip_value(s, iter->end, 0);
		if (!after)
			return false;
		iter->s = after;
	}
	if (name)
		*name = n;
	*value = (struct json){ s, after };
	return true;
}

bool
json_member(const struct json *object, const char *name, struct json *ret)
{
	struct json iter = json_begin(object), n, v;
	char buf[128];

	if (json_type(object) != '{')
		return false;
	while (json_next(&iter, &n, &v)) {
		if (json_string(&n, buf, sizeof(buf)) && strcmp(buf, name) == 0) {
			*ret = v;
			return true;
		}
	}
	return false;
}

static size_t
utf8_put(uint32_t u, char *out)
{
	if (u < 0x80) {
		out[0] = (char)u;
		return 1;
	}
	if (u < 0x800) {
		out[0] = (char)(0xc0 | u >> 6);
		out[1] = (char)(0x80 | (u & 0x3f));
		return 2;
	}
	if (u < 0x10000) {
		out[0] = (char)(0xe0 | u >> 12);
		out[1] = (char)(0x80 | (u >> 6 & 0x3f));
		out[2] = (char)(0x80 | (u & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | u >> 18);
	out[1] = (char)(0x80 | (u >> 12 & 0x3f));
	out[2] = (char)(0x80 | (u >> 6 & 0x3f));
	out[3] = (char)(0x80 | (u & 0x3f));
	return 4;
}

bool
json_string(const struct json *v, char *buf, size_t size)
{
	const char *s = v->s + 1;
	size_t n = 0;
	uint32_t u;

	if (v->s == v->end || *v->s != '"')
		return false;
	while (s && s < v->end - 1) {
		s = string_char(s, v->end - 1, &u);
		if (!s || u == 0 || (u >= 0xd800 && u < 0xe000) || n + 5 > size)
			return false;
		n += utf8_put(u, buf + n);
	}
	if (size == 0)
		return false;
	buf[n] = '\0';
	return true;
}

bool
json_integer(const struct json *v, int64_t *ret)
{
	const char *s = v->s;
	bool minus = s < v->end && *s == '-';
	int64_t n = 0;

	if (minus)
		s++;
	if (s == v->end || v->end - s > 18)
		return false;
	for (; s < v->end; s++) {
		if (!is_digit(*s))
			return false;
		n = n * 10 + (*s - '0');
	}
	*ret = minus ? -n : n;
	return true;
}

static void
print_string(FILE *f, const struct json *v)
{
	const char *s = v->s + 1;
	uint32_t u;

	fputc('"', f);
	while (s && s < v->end - 1) {
		s = string_char(s, v->end - 1, &u);
		if (!s)
			break;
		if (u == '"' || u == '\\')
			fprintf(f, "\\%c", (int)u);
		else if (u >= ' ' && u < 127)
			fputc((int)u, f);
		else if (u < 0x10000)
			fprintf(f, "\\u%04x", u);
		else
			fprintf(f, "\\u%04x\\u%04x", 0xd800 + ((u - 0x10000) >> 10),
				0xdc00 + ((u - 0x10000) & 0x3ff));
	}
	fputc('"', f);
}

void
json_print(FILE *f, const struct json *v, int indent)
{
	struct json iter = json_begin(v), name, value;
	char type = json_type(v);
	bool any = false;

	if (type == '"') {
		print_string(f, v);
		return;
	}
	if (type != '{' && type != '[') {
		fwrite(v->s, 1, (size_t)(v->end - v->s), f);
		return;
	}
	fputc(type, f);
	while (json_next(&iter, &name, &value)) {
		fprintf(f, "%s\n%*s", any ? "," : "", indent + 2, "");
		if (type == '{') {
			print_string(f, &name);
			fputs(": ", f);
		}
		json_print(f, &value, indent + 2);
		any = true;
	}
	if (any)
		fprintf(f, "\n%*s", indent, "");
	fputc(type == '{' ? '}' : ']', f);
}
