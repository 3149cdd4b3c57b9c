/* SPDX-License-Identifier: MIT */

#include <stdlib.h>
#include <string.h>

#include "cli_jwt_read.h"

static int
sextet(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* base64url without padding, as RFC 7515 wants it; -1 where it is not. */
static ptrdiff_t
decode(const char *s, size_t len, char *out)
{
	unsigned bits = 0, n_bits = 0;
	ptrdiff_t n = 0;

	if (len % 4 == 1)
		return -1;
	for (size_t i = 0; i < len; i++) {
		int v = sextet(s[i]);

		if (v < 0)
			return -1;
		bits = (bits << 6 | (unsigned)v) & 0xffff;
		n_bits += 6;
		if (n_bits >= 8) {
			n_bits -= 8;
			out[n++] = (char)(bits >> n_bits & 0xff);
		}
	}
	return bits & ((1u << n_bits) - 1) ? -1 : n;
}

const char *
jwt_read(const char *token, size_t len, struct jwt_text *ret)
{
	const char *dot = memchr(token, '.', len), *dot2, *why = NULL;
	struct jwt_text t = { .buf = NULL };
	ptrdiff_t n, n2;

	if (len > JWT_MAX)
		return "it is too long";
	dot2 = dot ? memchr(dot + 1, '.', len - (size_t)(dot + 1 - token)) : NULL;
	if (!dot2 || memchr(dot2 + 1, '.', len - (size_t)(dot2 + 1 - token)))
		return "it does not have three parts";

	t.buf = malloc(len);
	if (!t.buf)
		return "memory is gone";
	n = decode(token, (size_t)(dot - token), t.buf);
	n2 = n < 0 ? -1 : decode(dot + 1, (size_t)(dot2 - dot - 1), t.buf + n);
	if (n < 0 || n2 < 0)
		why = "it is not base64url";
	else if (!json_parse(t.buf, (size_t)n, &t.header) ||
		 json_type(&t.header) != '{')
		why = "its header is not a JSON object";
	else if (!json_parse(t.buf + n, (size_t)n2, &t.claims) ||
		 json_type(&t.claims) != '{')
		why = "its claims are not a JSON object";
	if (why)
		free(t.buf);
	else
		*ret = t;
	return why;
}

void
jwt_clear(struct jwt_text *t)
{
	free(t->buf);
	*t = (struct jwt_text){ .buf = NULL };
}
