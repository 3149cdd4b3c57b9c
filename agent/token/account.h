/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A service account that the agent speaks for.

   "default" is looked for at the metadata server from the start, as long as the VM
   takes to boot; where the VM has none, or is in another universe than the one that
   is configured, again every while; and anew when Google says that it does not know
   it.  Whoever needs it before it is found waits by a
   ticket.  Others are configured, and are known from the start.  An account's
   access token is fetched once for all who ask at the same time, and kept until
   shortly before it expires.

   Asynchronous contract: http/client.h. */

#include <systemd/sd-event.h>

#include "base/base.h"
#include "base/err.h"
#include "google/endpoints.h"
#include "google/iam.h"
#include "http/client.h"
#include "token/token.h"

struct account;
struct account_wait;
struct clock;
struct credential;

struct account_options {
	uint64_t discover_first_usec;	/* delay after a failure, doubling */
	uint64_t discover_max_usec;	/* up to this */
	uint64_t boot_usec;		/* "not found" is not believed earlier than
					   this after the machine's boot */
	uint64_t none_usec;		/* no account: look again after */
	uint64_t access_margin_usec;	/* an access token is stale this long before
					   its expiry */
	uint64_t token_usec;		/* for one access token, retries included */
};

/* Told of every change of state, from the event loop. */
struct account_ops {
	void (*changed)(void *userdata, const struct account *a);
};

/* What every account is made with.  opt and ops are copied. */
struct account_setup {
	sd_event *event;
	struct http_client *http;
	const struct endpoints *at;
	struct clock *clock;
	const struct account_options *opt;
	const struct account_ops *ops;
	void *userdata;			/* for ops */
};

/* "default", as the metadata server tells it. */
int account_metadata_new(const struct account_setup *s, struct account **ret,
			 struct err *e);
/* name, as this email, by the access token of caller, which outlives it, and of
   delegates (may be NULL) between them.  It is known from the start; its own access
   token is one for all that Google has. */
struct account *account_impersonated_new(const struct account_setup *s,
					 const char *name, const char *email,
					 struct account *caller,
					 char *const *delegates);

/* All waits must be gone. */
struct account *account_free(struct account *a);
DEFINE_CLEANUP(struct account *, account_free)

enum account_state {
	ACCOUNT_SOUGHT,		/* nobody has answered yet */
	ACCOUNT_FOUND,
	ACCOUNT_NONE,		/* the VM has no service account */
	ACCOUNT_ELSEWHERE	/* the VM is in another universe than we are */
};

/* The account of a key file, known from the start; c outlives it.  And whoever
   signed in, who is sought as the VM's own account is. */
struct account *account_keyfile_new(const struct account_setup *s, const char *name,
				    const struct credential *c);
int account_user_new(const struct account_setup *s, const char *name,
		     const struct credential *c, struct account **ret,
		     struct err *e);

/* As the configuration and callers have it: "default". */
const char *account_name(const struct account *a);
enum iam_origin account_origin(const struct account *a);
/* By whose access token IAM is called for it: its own, or that of the account which
   may act as this one, by delegates (emails, NULL at the end). */
struct account *account_caller(struct account *a);
/* Are there access tokens for it with less than all scopes? */
bool account_narrows(const struct account *a);
char *const *account_delegates(const struct account *a);
enum account_state account_state(const struct account *a);
/* Has a metadata server, any, ever answered as one? */
bool account_flavored(const struct account *a);
/* Of the last failed round, or NULL while there is none. */
const struct err *account_last_error(const struct account *a);
/* Why it is not known yet, for those who do not wait any longer. */
int account_sought_error(const struct account *a, struct err *e);

/* While ACCOUNT_FOUND; else NULL.  Valid until the next turn of the event loop. */
const char *account_email(const struct account *a);
char *const *account_scopes(const struct account *a);
char *const *account_aliases(const struct account *a);

/* Does this path segment mean the account: its name, or its email? */
bool account_is(const struct account *a, const char *name);

/* Google does not know the account that we were told of: look again. */
void account_rediscover(struct account *a);

/* Exactly one of found and e.  e is ERR_NOT_FOUND where the VM has no account,
   ERR_UNAVAILABLE where nobody answered by the deadline. */
typedef void account_done_fn(void *userdata, struct account *a,
			     const struct err *e);

/* Wait until the account is known.  1: it is, nothing will be called.  0: done
   will run, *ret is the wait.  Negative: there is none, e says so.  *deadline is
   CLOCK_BOOTTIME in microseconds; it is read anew when it has come, so it may
   move while the wait lasts. */
int account_when_found(struct account *a, const uint64_t *deadline,
		       account_done_fn *done, void *userdata,
		       struct account_wait **ret, struct err *e);

typedef void account_token_fn(void *userdata, struct token *t,
			      const struct err *e);

/* Its access token, also of an account that is still sought.  1: *ret_token is set,
   borrowed until the next turn of the event loop.  0: done will run.  fetches are
   shared.  *deadline as in http_client_start(). */
int account_access_token(struct account *a, const uint64_t *deadline,
			 account_token_fn *done, void *userdata,
			 struct token **ret_token, struct account_wait **ret,
			 struct err *e);

/* Google no longer takes this access token: forget it, if it is still ours. */
void account_drop_token(struct account *a, const struct token *t);

struct account_wait *account_wait_free(struct account_wait *w);
