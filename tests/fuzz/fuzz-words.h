/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What holds for the words of every failure: they go to logs, terminals and, as
   commands to be pasted, to shells. */

#include "base/err.h"
#include "fuzz.h"

/* Bytes of the base64url alphabet, and dots; but not those of a cut. */
static inline size_t
words_secret_len(const char *s)
{
	size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			  "abcdefghijklmnopqrstuvwxyz0123456789-_.");

	return n >= 3 && strncmp(s + n - 3, "...", 3) == 0 ? n - 3 : n;
}

/* The last digit of an escape, as in "\xde", is no part of a token. */
static inline bool
words_are_escape(const char *s, const char *p)
{
	return p - s >= 3 && p[-3] == '\\' && p[-2] == 'x';
}

/* One printable line, and nothing that looks like a token. */
static inline void
check_words(const char *s)
{
	for (const char *p = s; *p; p++) {
		CHECK(*p >= ' ' && *p <= '~');
		CHECK(strncmp(p, "ya29.", 5) != 0 || strncmp(p, "ya29...", 7) == 0);
		CHECK(strncmp(p, "eyJ", 3) != 0 || words_are_escape(s, p) ||
		      words_secret_len(p) < 19);
	}
}

/* A name that an administrator chose and that is shown as it stands might look
   like one: not a finding. */
static inline bool
words_look_secret(const char *s)
{
	return strstr(s, "ya29.") || strstr(s, "eyJ");
}

/* r is the kind's number, or of a failed system call its own. */
static inline void
check_err(const struct err *e, int r)
{
	CHECK(e->kind < ERR_KINDS && r < 0);
	CHECK(r == err_kind_errno(e->kind) || e->kind == ERR_INTERNAL);
	CHECK(err_http_status(e) >= 400 && err_http_status(e) <= 599);
	CHECK(e->msg[0]);
	check_words(e->msg);
	check_words(e->hint);
	CHECK(!strpbrk(e->hint, "`$|&<>\"\\"));
}
