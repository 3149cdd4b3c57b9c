/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The few C extensions this code base allows itself. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define _cleanup_(f)	__attribute__((cleanup(f)))
#define _printf_(f, a)	__attribute__((format(printf, f, a)))
#define _unused_	__attribute__((unused))

/* The compiler is told to clear locals.  Not this one: it is large, on the way of
   every request, and written before anybody reads it. */
#if __has_attribute(uninitialized)
#define _unset_		__attribute__((uninitialized))
#else
#define _unset_
#endif

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

/* Hand over ownership: yields the pointer and leaves NULL behind, so a
   _cleanup_ on the variable no longer frees it. */
#define TAKE_PTR(p) \
	({ __typeof__(p) take_ = (p); (p) = NULL; take_; })

/* Each argument evaluated once; names of their own, so that they nest. */
#define CONCAT_(a, b)	a##b
#define CONCAT(a, b)	CONCAT_(a, b)
#define PICK_(a, op, b, n) \
	({ __typeof__(a) CONCAT(a_, n) = (a); __typeof__(b) CONCAT(b_, n) = (b); \
	   CONCAT(a_, n) op CONCAT(b_, n) ? CONCAT(a_, n) : CONCAT(b_, n); })
#define MIN(a, b)	PICK_(a, <, b, __COUNTER__)
#define MAX(a, b)	PICK_(a, >, b, __COUNTER__)

#define USEC_PER_MSEC	UINT64_C(1000)
#define USEC_PER_SEC	UINT64_C(1000000)
#define USEC_PER_MIN	(60 * USEC_PER_SEC)

/* For "struct foo *foo_free(struct foo *)", define foo_freep() so that
   "_cleanup_(foo_freep) struct foo *f = NULL;" works. */
#define DEFINE_CLEANUP(type, func) \
	static inline void func##p(type *p) { if (*p) func(*p); }

DEFINE_CLEANUP(char *, free)

static inline void
closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* What a clock of the kernel's says now, in microseconds; CLOCK_REALTIME since
   1970. */
uint64_t now_usec(clockid_t id);

/* Allocation of sizes chosen by us, never by a peer.  Aborts when memory is
   gone: the agent holds only soft state and systemd restarts it.  Sizes a peer
   can influence go through buf.h, or are bounded by the request's own limits. */
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *p, size_t n, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
void *xmemdup(const void *p, size_t n) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *fmt, ...) _printf_(1, 2)
	__attribute__((malloc, returns_nonnull));

/* Wipe a string, then free it.  For everything that grants access. */
char *secret_free(char *s);
DEFINE_CLEANUP(char *, secret_free)
