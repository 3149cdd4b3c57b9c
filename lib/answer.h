/* SPDX-License-Identifier: MIT */
#pragma once

/* The agent's answer: an incremental, bounded and strict HTTP/1.1 reader, and
   what its header fields mean.

   Pure: bytes in, an answer out; no I/O, no clock.  Feed it as the bytes come,
   in pieces of any size; every byte but the last one of a body that ends with
   the connection has been judged when answer_feed() returns.  Anything that
   RFC 9112 does not want a server to send is -EPROTO, and "why" says what it
   was.  What has been read is wiped when it is cleared: a body may be a token. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	ANSWER_HEAD_MAX = 16 * 1024,	/* bytes, with the empty line */
	ANSWER_BODY_MAX = 64 * 1024,
	ANSWER_FIELDS_MAX = 64,
};

enum answer_state {
	ANSWER_HEAD,		/* all zeroes is a fresh answer */
	ANSWER_BODY,
	ANSWER_DONE,
	ANSWER_FAILED,
};

struct answer {
	enum answer_state state;
	int status;			/* valid when the head is whole */
	char *head;			/* NUL-terminated once it is whole */
	size_t head_len;
	char *body;			/* NUL-terminated, never NULL when done */
	size_t body_len, body_size;
	int64_t content_length;		/* -1: the connection ends it */
	const char *why;		/* the reason for -EPROTO */
};

/* 1: the answer is whole.  0: more, please.  -EPROTO, -ENOMEM: for good. */
int answer_feed(struct answer *a, const char *data, size_t len);

/* The other end has closed.  1: the answer is whole, else -EPROTO. */
int answer_end(struct answer *a);

/* Back to all zeroes, wiping what was read. */
void answer_clear(struct answer *a);

/* The first field of that name, in any case, without white space around it.
   Borrowed from the answer; not NUL-terminated. */
bool answer_field(const struct answer *a, const char *name, const char **ret,
		  size_t *ret_len);

/* 0 for a 2xx status, else the negative errno of the code that the agent gave;
   -EPROTO where it gave none that this version knows. */
int answer_verdict(const struct answer *a);

/* Cache-Control's max-age in seconds, or -1. */
int64_t answer_max_age(const struct answer *a);

/* Retry-After in seconds, or 0. */
int answer_retry_after(const struct answer *a);

/* The body as one line for people: printable, cut to size. */
void answer_text(const struct answer *a, char *buf, size_t size);
