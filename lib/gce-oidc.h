/* SPDX-License-Identifier: MIT */
#ifndef GCE_OIDC_H
#define GCE_OIDC_H

/*
 * libgce-oidc: ask the local gce-oidc-agent for an OIDC ID token signed by
 * Google.  Needs nothing but libc.
 *
 *	struct gce_oidc_token *t;
 *	int r = gce_oidc_get_token("https://service.example", &t);
 *	if (r < 0)
 *		return r;
 *	send(..., gce_oidc_token_string(t), ...);
 *	gce_oidc_token_free(t);
 *
 * Every function returning int returns 0 or more on success and a negative
 * errno on failure:
 *
 *	-ENOTCONN		no agent listens on the socket
 *	-EINVAL			not an audience the agent can serve
 *	-EACCES			policy: this process may not have that audience
 *	-EAGAIN			the agent is at a limit; retry later
 *	-EREMOTEIO		Google says no, for good; see gce_oidc_error()
 *	-EHOSTUNREACH		Google cannot be asked just now; retry later
 *	-ENOENT			no such account
 *	-ETIMEDOUT		no answer in time
 *	-EPROTO			the agent speaks a protocol this version does not
 *	-EIO			the agent failed; its log says why
 *	-ENOMEM
 *
 * What a function returns through a "ret" parameter is yours to free; it is
 * written on success only.  Strings from a getter belong to the object and live
 * as long as it does.  Every *_free() accepts NULL and returns NULL.
 *
 * The library keeps no global state, starts no threads and touches no signals.
 * Use one handle from one thread at a time; distinct handles are independent.
 * Every request has a connection of its own, so that a fork() or a change of
 * user between two requests is harmless.  Tokens are wiped when freed.
 */

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gce_oidc;		/* a way to one agent */
struct gce_oidc_token;		/* one ID token */

/* One call, default socket, default timeout.  Blocks. */
int gce_oidc_get_token(const char *audience, struct gce_oidc_token **ret);

const char *gce_oidc_token_string(const struct gce_oidc_token *t);
int64_t gce_oidc_token_expires(const struct gce_oidc_token *t);	/* Unix time */
struct gce_oidc_token *gce_oidc_token_free(struct gce_oidc_token *t);

/*
 * A handle, for another socket, account or timeout, or for the agent's error
 * message.  The socket is $GCE_OIDC_SOCKET (which programs with more rights
 * than their user do not look at), else the agent's own; NULL goes back to that.
 * The timeout is 30 s.  min_fresh is a demand: a token good for so many seconds
 * more (at most 3000), or an error; 0 is none.
 */
int gce_oidc_new(struct gce_oidc **ret);
struct gce_oidc *gce_oidc_free(struct gce_oidc *c);
int gce_oidc_set_socket(struct gce_oidc *c, const char *path);
int gce_oidc_set_timeout(struct gce_oidc *c, int msec);	/* negative: forever */
int gce_oidc_set_account(struct gce_oidc *c, const char *account);
int gce_oidc_set_min_fresh(struct gce_oidc *c, int seconds);
int gce_oidc_set_fresh(struct gce_oidc *c, int on);	/* a new token, please */
int gce_oidc_token(struct gce_oidc *c, const char *audience,
		   struct gce_oidc_token **ret);
const char *gce_oidc_error(struct gce_oidc *c);	/* of the last failure, or "" */
int gce_oidc_retry_after(struct gce_oidc *c);	/* seconds it asked for, or 0 */

/*
 * The same without blocking, for programs with an event loop.  After start,
 * wait for gce_oidc_events() (POLLIN, POLLOUT) on gce_oidc_fd(), at most for
 * gce_oidc_timeout() milliseconds (negative: for ever), call step, and repeat
 * while step returns 0.  It returns 1 with the token in *ret.  Both the fd and
 * the events may change with every step; the fd is -1 once there is an end to
 * it.  The fd is the library's: it is closed in step, start, token and free.
 */
int gce_oidc_start(struct gce_oidc *c, const char *audience);
int gce_oidc_fd(struct gce_oidc *c);
int gce_oidc_events(struct gce_oidc *c);
int gce_oidc_timeout(struct gce_oidc *c);
int gce_oidc_step(struct gce_oidc *c, struct gce_oidc_token **ret);

#ifdef __cplusplus
}
#endif
#endif
