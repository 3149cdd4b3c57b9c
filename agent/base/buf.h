/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A growing byte string with a limit set at birth.

   Everything whose size a peer or Google influences is one of these.  At the
   limit nothing is appended, and the buffer remembers that it overflowed, so
   that a series of appends can be checked once at its end.  Memory is wiped
   when it moves and when it is freed. */

#include "base/base.h"

struct buf {
	char *data;		/* NUL-terminated once anything was appended */
	size_t len, size, max;
	bool overflow;
};

#define BUF_INIT(limit)	((struct buf){ .max = (limit) })

/* 0, or -EMSGSIZE with the buffer unchanged. */
int buf_add(struct buf *b, const void *p, size_t len);
int buf_adds(struct buf *b, const char *s);
int buf_addc(struct buf *b, char c);
int buf_addf(struct buf *b, const char *fmt, ...) _printf_(2, 3);

/* Room for len more bytes at the end, to be filled by the caller and counted
   in by adding to b->len; NULL at the limit. */
char *buf_reserve(struct buf *b, size_t len);

void buf_consume(struct buf *b, size_t len);	/* drop from the front */
void buf_reset(struct buf *b);			/* empty, wiped, memory kept */
void buf_free(struct buf *b);			/* wiped; BUF_INIT(max) after */

/* Hand the string over: NUL-terminated, never NULL; b is empty after. */
char *buf_steal(struct buf *b);

static inline const char *
buf_str(const struct buf *b)
{
	return b->data ? b->data : "";
}
