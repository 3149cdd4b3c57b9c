/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Why something failed, in words a person can act on.

   A struct err lives on the caller's stack and owns nothing, so it cannot
   leak.  Functions that can fail for a reason worth explaining take a trailing
   "struct err *e"; it may be NULL, and it is written on failure only.

   The kinds are the whole vocabulary of failure across the socket.  Each has
   one name, errno value, HTTP status and CLI exit code; the table is in err.c
   and nowhere else. */

#include "base/base.h"

enum err_kind {
	ERR_INTERNAL,		/* our bug, or the kernel refused us */
	ERR_REQUEST,		/* the peer's request makes no sense */
	ERR_POLICY,		/* our policy says no */
	ERR_NOT_FOUND,		/* no such account, path or value */
	ERR_BUSY,		/* a limit of ours was hit; later may work */
	ERR_GOOGLE,		/* Google says no, and will say no again */
	ERR_UNAVAILABLE,	/* upstream is down, flaky or lying */
	ERR_TIMEOUT,		/* nobody answered in time */
	ERR_KINDS
};

/* What a denial by Google is about: only ERR_SCOPE_ACCOUNT closes a whole flow
   (doc/architecture.md, "Flows"). */
enum err_scope {
	ERR_SCOPE_REQUEST,	/* this request or audience only */
	ERR_SCOPE_ACCOUNT	/* role, API, scopes, state of the account */
};

struct err {
	enum err_kind kind;
	enum err_scope scope;
	bool doubtful;		/* this denial may be throttling in disguise */
	unsigned status;	/* HTTP status where it has a better word; or 0 */
	uint64_t retry_usec;	/* upstream said: not before this long; or 0 */
	char msg[400];		/* what, to whom, why: one line */
	char hint[800];		/* the command or step that mends it, or "" */
};

/* Record a failure; resets all other fields.  Returns its negative errno, so
   that a function can end with "return err_set(e, ...);". */
int err_set(struct err *e, enum err_kind kind, const char *fmt, ...) _printf_(3, 4);

/* The same for a request that HTTP has a better status for than the kind's. */
int err_set_status(struct err *e, enum err_kind kind, unsigned status,
		   const char *fmt, ...) _printf_(4, 5);

/* Record a failed system call: appends strerror(errnum), returns -errnum. */
int err_sys(struct err *e, int errnum, const char *fmt, ...) _printf_(3, 4);

/* Put "context: " in front of an existing message; returns r unchanged. */
int err_prefix(struct err *e, int r, const char *fmt, ...) _printf_(3, 4);

/* Add the mending step to a failure already recorded. */
void err_hint(struct err *e, const char *fmt, ...) _printf_(2, 3);

const char *err_kind_name(enum err_kind kind);	/* "denied-by-google" */
int err_kind_errno(enum err_kind kind);		/* negative */
unsigned err_kind_http_status(enum err_kind kind);
int err_kind_exit_code(enum err_kind kind);

/* e->status, or the kind's own. */
unsigned err_http_status(const struct err *e);
