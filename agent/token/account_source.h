/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The insides of an account, for account*.c only: what all accounts have in common,
   and what each source of one does its own way.

   To add a source: account_<source>.c with one struct account_source and a
   constructor, which is declared in account.h. */

#include <sys/queue.h>

#include "google/metadata.h"
#include "token/account.h"

TAILQ_HEAD(wait_list, account_wait);

/* Embedded first in each source's own struct. */
struct account {
	const struct account_source *source;
	char *name;
	struct account *caller;		/* itself, or borrowed: outlives it */
	char **delegates;		/* NULL ends */
	sd_event *event;
	struct http_client *http;
	const struct endpoints *at;
	struct clock *clock;
	struct account_options opt;
	struct account_ops ops;
	void *userdata;

	enum account_state state;
	bool flavored;
	struct metadata_account info;	/* while found */
	struct err last_error;
	bool failed;			/* last_error is set, */
	bool denied;			/* and was a denial: see denial_counts */

	bool asking;			/* who it is */
	sd_event_source *timer;		/* the next question */
	uint64_t delay;
	uint64_t asked;			/* when the last one began */

	struct token *access;
	bool asking_access;
	uint64_t access_deadline;	/* for whoever asks */

	struct wait_list waits, token_waits;
	unsigned round;
};

struct account_source {
	const char *name;
	const char *whom;	/* is asked, for words */
	enum iam_origin origin;	/* but see account_origin() */
	/* Google's "no" to who it is is an answer for all who wait. */
	bool denial_counts;
	size_t account_size;	/* of its own, which begins with a struct account */
	/* Who is it?  Ends later in one of account_found(), account_none(),
	   account_elsewhere() and account_not_told(); or at once, with a negative
	   return.  NULL: it is known from the start, by account_known(). */
	int (*ask)(struct account *a, struct err *e);
	/* Its access token, by access_deadline: ends later in account_access_came()
	   or account_access_failed(); or at once, with a negative return.  Only
	   while the account is found. */
	int (*ask_access)(struct account *a, struct err *e);
	void (*cancel_access)(struct account *a);
	void (*clear)(struct account *a);	/* cancel and release all */
};

/* An account of this source; freed with account_free() whatever becomes of it. */
struct account *account_alloc(const struct account_source *source,
			      const char *name, const struct account_setup *s);
/* Of an account that no metadata server describes: it may do all that its roles
   allow, and alias is its other name. */
struct metadata_account account_info(const char *email, const char *alias);
/* It is this one, and stays it.  info is taken over. */
void account_known(struct account *a, struct metadata_account *info);
/* Or: ask from the loop, from now on. */
int account_begin(struct account *a, struct err *e);
uint64_t account_now(const struct account *a);	/* CLOCK_BOOTTIME */

/* What the question has come to.  info is taken over. */
void account_found(struct account *a, struct metadata_account *info);
void account_none(struct account *a);
void account_elsewhere(struct account *a, const struct err *e);
void account_not_told(struct account *a, const struct err *e);

/* It is good for so many seconds. */
void account_access_came(struct account *a, const char *text, uint64_t life);
void account_access_failed(struct account *a, const struct err *e);

/* account_wait.c */

/* One of found and token is NULL: it is the other that runs. */
int account_wait_new(struct account *a, struct wait_list *list,
		     const uint64_t *deadline, account_done_fn *found,
		     account_token_fn *token, void *userdata,
		     struct account_wait **ret, struct err *e);
/* Tell all who stand in the list now.  Callbacks may add and free waits. */
void account_wait_tell(struct account *a, struct wait_list *list, struct token *t,
		       const struct err *e);
