/* SPDX-License-Identifier: MIT */
#pragma once

/* One request to the agent and its answer, over a connection of its own.

   One state machine for both kinds of use: conn_run() waits by itself;
   callers with an event loop wait for conn_events() on conn_fd(), call
   conn_step(), and repeat while it returns 0.  A connection is never kept: not
   for a second request, not across fork() and not across a change of user.

   Functions return 0 or more, or a negative errno with words for it in "words":
   -ENOTCONN nobody there, -EPROTO not this protocol, -ETIMEDOUT, -ENOMEM, -EIO.
   A refusal by the agent is an answer, not a failure: see answer_verdict(). */

#include <sys/types.h>
#include <sys/un.h>

#include "answer.h"

#ifndef GCE_OIDC_DEFAULT_SOCKET
#define GCE_OIDC_DEFAULT_SOCKET "/run/gce-oidc-agent/agent.sock"
#endif

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif

enum conn_state {
	CONN_IDLE,
	CONN_BACKOFF,		/* the agent's queue is full; fd is a timer */
	CONN_SEND,
	CONN_RECV,
};

struct conn {
	enum conn_state state;
	int fd;
	struct sockaddr_un addr;
	char *request;
	size_t request_len, sent;
	int timeout_ms;			/* as asked for, for the words */
	int64_t deadline_ms;		/* -1: none */
	unsigned backoff_ms;
	pid_t pid;			/* whoever started it */
	uid_t uid;
	struct answer answer;
	char words[640];
};

void conn_init(struct conn *c);

/* Give up what is under way; wipe the answer. */
void conn_clear(struct conn *c);

/* The socket's path where the caller names none: $GCE_OIDC_SOCKET, else the
   default.  Borrowed. */
const char *conn_default_path(void);

/* Begin "GET target".  fields are further header lines, each with its CRLF, or
   "".  timeout_ms negative: wait for ever. */
int conn_start(struct conn *c, const char *path, const char *target,
	       const char *fields, int timeout_ms);

/* Begin "POST target" with these bytes; Content-Type is among the fields. */
int conn_start_post(struct conn *c, const char *path, const char *target,
		    const char *fields, const void *body, size_t len,
		    int timeout_ms);

/* 1: the answer is whole.  0: not yet. */
int conn_step(struct conn *c);

int conn_fd(const struct conn *c);		/* -1 where nothing is under way */
int conn_events(const struct conn *c);		/* POLLIN, POLLOUT or 0 */
int conn_left_ms(const struct conn *c);		/* as poll() takes it */

/* conn_step() until there is an end to it.  Returns 1 or a negative errno. */
int conn_run(struct conn *c);

/* A query value, percent-encoded: yours to free, NULL without memory. */
char *conn_encode(const char *s);
