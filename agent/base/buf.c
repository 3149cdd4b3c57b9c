/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

#define BUF_FIRST	256	/* bytes; most things fit */

static void
buf_release(struct buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->size);
	free(b->data);
	b->data = NULL;
	b->len = b->size = 0;
}

/* Not realloc(): it would leave the old bytes behind where it moves. */
static void
buf_grow(struct buf *b, size_t size)
{
	char *data = xcalloc(size, 1);
	size_t len = b->len;

	if (len > 0)
		memcpy(data, b->data, len);
	buf_release(b);
	b->data = data;
	b->len = len;
	b->size = size;
}

char *
buf_reserve(struct buf *b, size_t len)
{
	size_t need, size;

	assert(b->len <= b->max && b->max < SIZE_MAX / 2);

	if (b->overflow || len > b->max - b->len) {
		b->overflow = true;
		return NULL;
	}

	need = b->len + len + 1;
	if (need > b->size) {
		size = MAX(b->size * 2, (size_t)BUF_FIRST);
		size = MIN(size, b->max + 1);
		buf_grow(b, MAX(size, need));
	}
	/* The caller may fill in less: a NUL stands behind whatever it counts. */
	memset(b->data + b->len, 0, len + 1);
	return b->data + b->len;
}

int
buf_add(struct buf *b, const void *p, size_t len)
{
	char *to = buf_reserve(b, len);

	if (!to)
		return -EMSGSIZE;
	if (len > 0)
		memcpy(to, p, len);
	b->len += len;
	return 0;
}

int
buf_adds(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

int
buf_addc(struct buf *b, char c)
{
	return buf_add(b, &c, 1);
}

int
buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	char *to;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	assert(len >= 0);

	to = buf_reserve(b, (size_t)len);
	if (!to)
		return -EMSGSIZE;

	va_start(ap, fmt);
	vsnprintf(to, (size_t)len + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)len;
	return 0;
}

void
buf_consume(struct buf *b, size_t len)
{
	assert(len <= b->len);

	if (len == 0)
		return;
	memmove(b->data, b->data + len, b->len - len);
	explicit_bzero(b->data + b->len - len, len);
	b->len -= len;
}

void
buf_reset(struct buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->size);
	b->len = 0;
	b->overflow = false;
}

void
buf_free(struct buf *b)
{
	buf_release(b);
	b->overflow = false;
}

char *
buf_steal(struct buf *b)
{
	char *s = b->data ? b->data : xstrdup("");

	*b = BUF_INIT(b->max);
	return s;
}
