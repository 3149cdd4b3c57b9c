/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <string.h>

#include "base/b64.h"

static const char standard[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_safe[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static char *
encode(const char *alphabet, bool pad, const void *p, size_t len)
{
	const unsigned char *in = p;
	char *ret, *out;

	if (len > SIZE_MAX / 4)
		abort();
	ret = out = xcalloc(len / 3 * 4 + 5, 1);

	for (; len >= 3; in += 3, len -= 3) {
		*out++ = alphabet[in[0] >> 2];
		*out++ = alphabet[(in[0] & 3) << 4 | in[1] >> 4];
		*out++ = alphabet[(in[1] & 15) << 2 | in[2] >> 6];
		*out++ = alphabet[in[2] & 63];
	}
	if (len > 0) {
		unsigned second = len == 2 ? in[1] : 0;

		*out++ = alphabet[in[0] >> 2];
		*out++ = alphabet[(in[0] & 3) << 4 | second >> 4];
		if (len == 2)
			*out++ = alphabet[(second & 15) << 2];
		else if (pad)
			*out++ = '=';
		if (pad)
			*out++ = '=';
	}
	*out = '\0';
	return ret;
}

/* 0..63, or -1. */
static int
value_of(const char *alphabet, char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == alphabet[62])
		return 62;
	if (c == alphabet[63])
		return 63;
	return -1;
}

/* s without padding.  Unused bits are an error: one value, one spelling. */
static int
decode(const char *alphabet, const char *s, size_t len, void **ret,
       size_t *ret_len)
{
	unsigned char *data, *out;
	unsigned bits = 0;
	uint32_t acc = 0;
	int v;

	if (len % 4 == 1)
		return -EBADMSG;

	data = out = xcalloc(len / 4 * 3 + 3, 1);
	for (size_t i = 0; i < len; i++) {
		v = value_of(alphabet, s[i]);
		if (v < 0)
			goto bad;
		acc = (acc << 6 | (uint32_t)v) & 0xffffff;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			*out++ = (unsigned char)(acc >> bits);
		}
	}
	if (acc & ((1u << bits) - 1))
		goto bad;

	*ret_len = (size_t)(out - data);
	*ret = data;
	return 0;
bad:
	explicit_bzero(data, (size_t)(out - data));
	free(data);
	return -EBADMSG;
}

char *
b64_encode(const void *p, size_t len)
{
	return encode(standard, true, p, len);
}

char *
b64url_encode(const void *p, size_t len)
{
	return encode(url_safe, false, p, len);
}

int
b64_decode(const char *s, size_t len, void **ret, size_t *ret_len)
{
	if (len % 4 != 0)
		return -EBADMSG;
	for (int pads = 0; pads < 2 && len > 0 && s[len - 1] == '='; pads++)
		len--;
	return decode(standard, s, len, ret, ret_len);
}

int
b64url_decode(const char *s, size_t len, void **ret, size_t *ret_len)
{
	return decode(url_safe, s, len, ret, ret_len);
}
