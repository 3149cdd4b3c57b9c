/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "base/text.h"

#define MASK		"[masked]"
#define JWT_MARK	"eyJ"		/* '{"' in base64url: every JWT */
#define JWT_MIN		16		/* characters behind it */
#define ACCESS_MARK	"ya29."		/* Google's access tokens */
#define PIECE		16		/* characters that may be one of a secret */
#define PIECE_CHANGES	7		/* of kind, of the 9 that chance makes */
#define HEX_MIN		32		/* digits: 16 bytes */
#define KEY_ID		40		/* as many name a key, which is no secret */

static bool
is_alnum(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c >= '0' && c <= '9');
}

/* How many bytes at the start of s are alphanumeric or one of extra. */
static size_t
span(const unsigned char *s, size_t len, const char *extra)
{
	size_t n = 0;

	while (n < len && (is_alnum(s[n]) || (s[n] && strchr(extra, s[n]))))
		n++;
	return n;
}

static bool
starts_with(const unsigned char *s, size_t len, const char *mark)
{
	size_t n = strlen(mark);

	return len >= n && memcmp(s, mark, n) == 0;
}

/* Do small letters, capitals and digits take turns as in base64, and as they do
   not in words, names and paths? */
static bool
looks_random(const unsigned char s[static PIECE])
{
	unsigned seen = 0, changes = 0, last = 0, kind;

	for (size_t i = 0; i < PIECE; i++) {
		if (!is_alnum(s[i]))
			continue;
		kind = s[i] >= 'a' ? 1 : s[i] >= 'A' ? 2 : 4;
		changes += last != 0 && kind != last;
		seen |= kind;
		last = kind;
	}
	return seen == 7 && changes >= PIECE_CHANGES;
}

/* Either alphabet, and what forms make of its signs. */
static bool
is_base64(unsigned char c)
{
	return is_alnum(c) || (c && strchr("+/-_=%", c));
}

static size_t
hex_span(const unsigned char *s, size_t len)
{
	size_t n = 0;

	while (n < len && text_hex_digit((char)s[n]) >= 0)
		n++;
	return n;
}

/* Of "%65%79%4A...", which nobody writes who means ASCII. */
static size_t
percent_span(const unsigned char *s, size_t len)
{
	size_t n = 0;

	while (n + 3 <= len && s[n] == '%' && s[n + 1] >= '2' && s[n + 1] <= '7' &&
	       text_hex_digit((char)s[n + 2]) >= 0)
		n += 3;
	return n;
}

/* The length of the secret that begins at s, or 0. */
static size_t
secret_span(const unsigned char *s, size_t len)
{
	size_t n;

	if (starts_with(s, len, ACCESS_MARK))
		return span(s, len, "-._~+/=");
	if (starts_with(s, len, JWT_MARK)) {
		n = span(s, len, "-_.");
		if (n >= strlen(JWT_MARK) + JWT_MIN)
			return n;
	}
	return 0;
}

/* The length of what may be a piece of a secret, encoded or without the beginning
   that secret_span() knows it by, or 0.  before: the byte in front, or 0. */
static size_t
piece_span(const unsigned char *s, size_t len, unsigned char before)
{
	bool random = false;
	size_t n = 0;

	if (!is_base64(before)) {
		/* All of it or nothing, up to what is known for certain. */
		while (n < len && is_base64(s[n]) &&
		       secret_span(s + n, len - n) == 0)
			n++;
		for (size_t i = 0; !random && i + PIECE <= n; i++)
			random = looks_random(s + i);
		if (random)
			return n;
	}
	n = percent_span(s, len);
	if (n >= 3 * PIECE)
		return n;
	n = text_hex_digit((char)before) < 0 ? hex_span(s, len) : 0;
	return n >= HEX_MIN && n != KEY_ID ? n : 0;
}

/* One byte as shown; returns how long that is. */
static size_t
show_byte(char out[4], unsigned char c)
{
	static const char hex[] = "0123456789abcdef";

	if (c >= 0x20 && c < 0x7f && c != '\\') {
		out[0] = (char)c;
		return 1;
	}
	out[0] = '\\';
	out[1] = 'x';
	out[2] = hex[c >> 4];
	out[3] = hex[c & 15];
	return 4;
}

char *
text_show(char ret[static TEXT_SHOW_SIZE], const void *s, size_t len)
{
	const unsigned char *in = s;
	size_t used = 0, n, secret;
	const char *piece;
	char byte[4];

	for (size_t i = 0; i < len; i += secret ? secret : 1) {
		secret = secret_span(in + i, len - i);
		if (secret == 0)
			secret = piece_span(in + i, len - i, i ? in[i - 1] : 0);
		piece = secret ? MASK : byte;
		n = secret ? strlen(MASK) : show_byte(byte, in[i]);
		if (n > TEXT_SHOW_MAX - used) {
			memcpy(ret + used, "...", 4);
			return ret;
		}
		memcpy(ret + used, piece, n);
		used += n;
	}
	ret[used] = '\0';
	return ret;
}

char *
text_show_str(char ret[static TEXT_SHOW_SIZE], const char *s)
{
	return text_show(ret, s, strlen(s));
}

/* The character at s, of well-formed UTF-8, and its length in *ret_len; or -1. */
static int32_t
utf8_next(const unsigned char *s, size_t len, size_t *ret_len)
{
	static const int32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	int32_t c;
	size_t n;

	if (s[0] < 0x80) {
		*ret_len = 1;
		return s[0];
	}

	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		n = 2;
	else if (s[0] >= 0xe0 && s[0] <= 0xef)
		n = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		n = 4;
	else
		return -1;
	if (n > len)
		return -1;

	c = s[0] & (0x7f >> n);
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return -1;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return -1;
	*ret_len = n;
	return c;
}

/* Are these eight bytes printable ASCII, all of them? */
static bool
is_ascii_word(const unsigned char *s)
{
	const uint64_t ones = UINT64_MAX / 255, tops = ones * 0x80;
	uint64_t w, del;

	memcpy(&w, s, sizeof(w));
	del = w ^ ones * 0x7f;
	return !(((w - ones * 0x20) | (del - ones) | w) & tops);
}

/* How much at the start is printable ASCII: most text is, from end to end, so
   this takes eight bytes at a time, and may stop up to seven early. */
static size_t
ascii_run(const unsigned char *s, size_t len)
{
	size_t i = 0;

	while (len - i >= 8 && is_ascii_word(s + i))
		i += 8;
	/* The last eight once more, for those that are no whole word. */
	return i >= 8 && len - i < 8 && is_ascii_word(s + len - 8) ? len : i;
}

bool
text_is_utf8(const void *s, size_t len)
{
	const unsigned char *in = s;
	size_t n = ascii_run(in, len);

	for (in += n, len -= n; len > 0; in += n, len -= n)
		if (utf8_next(in, len, &n) < 0)
			return false;
	return true;
}

static bool
is_plain(int32_t c)
{
	static const struct {
		int32_t from, to;
	} harmful[] = {	/* in their order */
		{ 0x00, 0x1f },		/* C0 */
		{ 0x7f, 0x9f },		/* DEL, C1 */
		{ 0x61c, 0x61c },	/* bidi: Arabic letter mark */
		{ 0x200e, 0x200f },	/* bidi: marks */
		{ 0x2028, 0x2029 },	/* line and paragraph separator */
		{ 0x202a, 0x202e },	/* bidi: embeddings, overrides */
		{ 0x2066, 0x2069 },	/* bidi: isolates */
		{ 0xfeff, 0xfeff },	/* byte order mark */
	};

	for (size_t i = 0; i < ARRAY_SIZE(harmful) && c >= harmful[i].from; i++)
		if (c <= harmful[i].to)
			return false;
	return true;
}

bool
text_is_plain(const void *s, size_t len)
{
	const unsigned char *in = s;
	size_t n = ascii_run(in, len);
	int32_t c;

	for (in += n, len -= n; len > 0; in += n, len -= n) {
		c = utf8_next(in, len, &n);
		if (c < 0 || !is_plain(c))
			return false;
	}
	return true;
}

bool
text_is_graph(const char *s, size_t max)
{
	size_t len = 0;

	for (; s[len]; len++)
		if (s[len] <= ' ' || s[len] > '~')
			return false;
	return len > 0 && len <= max;
}

bool
text_to_u64(const char *s, size_t len, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0, digit;

	if (len == 0)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		digit = (uint64_t)(s[i] - '0');
		if (v > max / 10 || digit > max - v * 10)
			return false;
		v = v * 10 + digit;
	}
	*ret = v;
	return true;
}

int
text_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t
text_from_u64(char ret[static TEXT_U64_SIZE], uint64_t v)
{
	size_t len = 1;

	for (uint64_t rest = v; rest >= 10; rest /= 10)
		len++;
	ret[len] = '\0';
	for (size_t i = len; i > 0; v /= 10)
		ret[--i] = (char)('0' + v % 10);
	return len;
}

char *
text_percent_encode(const char *s)
{
	static const char hex[] = "0123456789ABCDEF";
	char *ret, *out;
	unsigned char c;

	ret = out = xcalloc(strlen(s) + 1, 3);
	for (; (c = (unsigned char)*s); s++) {
		if (is_alnum(c) || strchr("-._~", c)) {
			*out++ = (char)c;
			continue;
		}
		*out++ = '%';
		*out++ = hex[c >> 4];
		*out++ = hex[c & 15];
	}
	*out = '\0';
	return ret;
}
