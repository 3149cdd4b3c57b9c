/* SPDX-License-Identifier: Apache-2.0 */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"

void *
xcalloc(size_t n, size_t size)
{
	/* Never 0 bytes, for which calloc() may return NULL. */
	void *p = calloc(MAX(n, (size_t)1), MAX(size, (size_t)1));

	if (!p)
		abort();
	return p;
}

void *
xrealloc(void *p, size_t n, size_t size)
{
	p = reallocarray(p, MAX(n, (size_t)1), MAX(size, (size_t)1));
	if (!p)
		abort();
	return p;
}

void *
xmemdup(const void *p, size_t n)
{
	char *copy;

	if (n == SIZE_MAX)
		abort();
	copy = xcalloc(n + 1, 1);
	if (n > 0)
		memcpy(copy, p, n);
	return copy;
}

char *
xstrdup(const char *s)
{
	return xmemdup(s, strlen(s));
}

char *
xstrndup(const char *s, size_t n)
{
	return xmemdup(s, strnlen(s, n));
}

char *
xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *s;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (len < 0)
		abort();

	s = xcalloc((size_t)len + 1, 1);
	va_start(ap, fmt);
	vsnprintf(s, (size_t)len + 1, fmt, ap);
	va_end(ap);
	return s;
}

char *
secret_free(char *s)
{
	if (!s)
		return NULL;

	explicit_bzero(s, strlen(s));
	free(s);
	return NULL;
}

uint64_t
now_usec(clockid_t id)
{
	struct timespec ts = { 0, 0 };

	(void)clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}
