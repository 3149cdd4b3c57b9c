/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the fuzz targets share.  A target takes any bytes, and aborts where a
   property does not hold; sanitizers see to the rest.  Corpora are meant to be
   read and written by people, so targets take text where they can. */

#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The whole of a target. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Holds, or the input is a finding. */
#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: violated: %s\n", __FILE__, \
				__LINE__, #condition); \
			abort(); \
		} \
	} while (0)

/* What is left of an input. */
struct input {
	const char *p;
	size_t len;
};

static inline struct input
input_of(const uint8_t *data, size_t size)
{
	return (struct input){ (const char *)data, size };
}

/* The bytes up to such a byte, which is dropped, or all that is left. */
static inline struct input
input_until(struct input *in, char end)
{
	const char *at = in->len > 0 ? memchr(in->p, end, in->len) : NULL;
	struct input ret = { in->p, at ? (size_t)(at - in->p) : in->len };

	in->p += ret.len + (at ? 1 : 0);
	in->len -= ret.len + (at ? 1 : 0);
	return ret;
}

/* A copy with nothing behind it, not even a NUL: reading on is seen. */
static inline char *
copy_exact(const char *p, size_t len)
{
	char *copy = malloc(len);

	CHECK(copy || len == 0);
	if (len > 0)
		memcpy(copy, p, len);
	return copy;
}

/* A copy as a string, up to the first NUL. */
static inline char *
copy_string(const char *p, size_t len)
{
	char *copy = calloc(len + 1, 1);

	CHECK(copy);
	if (len > 0)
		memcpy(copy, p, len);
	return copy;
}

/* Numbers that depend on the input only (FNV-1a, then xorshift). */
static inline uint64_t
seed_of(const void *p, size_t len)
{
	const unsigned char *s = p;
	uint64_t h = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < len; i++)
		h = (h ^ s[i]) * UINT64_C(1099511628211);
	return h | 1;
}

static inline size_t
seed_below(uint64_t *seed, size_t n)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return n > 0 ? *seed % n : 0;
}

/* The first descriptors of this process that are open, as bits. */
static inline uint64_t
fds_open(void)
{
	uint64_t set = 0;

	for (int fd = 0; fd < 64; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			set |= UINT64_C(1) << fd;
	return set;
}
