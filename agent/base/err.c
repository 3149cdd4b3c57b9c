/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

/* Where kinds meet numbers; doc/protocol.md, "Errors". */
static const struct {
	const char *name;
	int errnum;
	unsigned http_status;
	int exit_code;
} kinds[ERR_KINDS] = {
	[ERR_INTERNAL]		= { "internal",		EIO,		500, 1 },
	[ERR_REQUEST]		= { "bad-request",	EINVAL,		400, 2 },
	[ERR_POLICY]		= { "denied-by-policy",	EACCES,		403, 3 },
	[ERR_NOT_FOUND]		= { "not-found",	ENOENT,		404, 4 },
	[ERR_BUSY]		= { "busy",		EAGAIN,		429, 5 },
	[ERR_GOOGLE]		= { "denied-by-google",	EREMOTEIO,	403, 6 },
	[ERR_UNAVAILABLE]	= { "unavailable",	EHOSTUNREACH,	503, 7 },
	[ERR_TIMEOUT]		= { "timeout",		ETIMEDOUT,	504, 8 },
};

/* Words that do not fit end in "...", so that nobody takes them for all. */
static void _printf_(3, 0)
words_vset(char *ret, size_t size, const char *fmt, va_list ap)
{
	int n = vsnprintf(ret, size, fmt, ap);

	if (n >= 0 && (size_t)n >= size)
		memcpy(ret + size - 4, "...", 4);
}

static void _printf_(3, 4)
words_set(char *ret, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	words_vset(ret, size, fmt, ap);
	va_end(ap);
}

/* The arguments may point into *e itself: format first, reset afterwards. */
static int _printf_(4, 0)
err_vset(struct err *e, enum err_kind kind, unsigned status, const char *fmt,
	 va_list ap)
{
	struct err fresh = { .kind = kind, .status = status };

	if (e) {
		words_vset(fresh.msg, sizeof(fresh.msg), fmt, ap);
		*e = fresh;
	}
	return err_kind_errno(kind);
}

int
err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = err_vset(e, kind, 0, fmt, ap);
	va_end(ap);
	return r;
}

int
err_set_status(struct err *e, enum err_kind kind, unsigned status,
	       const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = err_vset(e, kind, status, fmt, ap);
	va_end(ap);
	return r;
}

int
err_sys(struct err *e, int errnum, const char *fmt, ...)
{
	struct err what;
	char text[128];
	va_list ap;

	assert(errnum > 0);
	if (!e)
		return -errnum;

	va_start(ap, fmt);
	err_vset(&what, ERR_INTERNAL, 0, fmt, ap);
	va_end(ap);
	err_set(e, ERR_INTERNAL, "%s: %s", what.msg,
		strerror_r(errnum, text, sizeof(text)));
	return -errnum;
}

int
err_prefix(struct err *e, int r, const char *fmt, ...)
{
	char context[sizeof(e->msg)], msg[sizeof(e->msg)];
	va_list ap;

	if (!e)
		return r;

	va_start(ap, fmt);
	words_vset(context, sizeof(context), fmt, ap);
	va_end(ap);
	words_set(msg, sizeof(msg), "%s: %s", context, e->msg);
	memcpy(e->msg, msg, sizeof(e->msg));
	return r;
}

void
err_hint(struct err *e, const char *fmt, ...)
{
	char hint[sizeof(e->hint)];
	va_list ap;

	if (!e)
		return;

	va_start(ap, fmt);
	words_vset(hint, sizeof(hint), fmt, ap);
	va_end(ap);
	memcpy(e->hint, hint, sizeof(e->hint));
}

const char *
err_kind_name(enum err_kind kind)
{
	assert(kind < ERR_KINDS);
	return kinds[kind].name;
}

int
err_kind_errno(enum err_kind kind)
{
	assert(kind < ERR_KINDS);
	return -kinds[kind].errnum;
}

unsigned
err_kind_http_status(enum err_kind kind)
{
	assert(kind < ERR_KINDS);
	return kinds[kind].http_status;
}

int
err_kind_exit_code(enum err_kind kind)
{
	assert(kind < ERR_KINDS);
	return kinds[kind].exit_code;
}

unsigned
err_http_status(const struct err *e)
{
	return e->status ? e->status : err_kind_http_status(e->kind);
}
