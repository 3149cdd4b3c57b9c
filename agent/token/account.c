/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/queue.h>

#include "google/metadata.h"
#include "token/account.h"
#include "token/clock.h"

#define ACCESS_LIFE_MAX	UINT64_C(86400)	/* seconds; no more is believed */

TAILQ_HEAD(wait_list, account_wait);

struct account_wait {
	TAILQ_ENTRY(account_wait) entry;
	struct account *account;
	struct wait_list *list;		/* the one it stands in */
	struct account_wait **slot;	/* the owner's, cleared at the end */
	const uint64_t *deadline;
	sd_event_source *timer;
	unsigned round;			/* see wait_list_tell() */
	account_done_fn *found;		/* one of these two */
	account_token_fn *token;
	void *userdata;
};

struct account {
	sd_event *event;
	struct http_client *http;
	const struct endpoints *at;
	struct account_options opt;
	struct account_ops ops;
	void *userdata;

	enum account_state state;
	bool flavored;
	struct metadata_account info;	/* while found */
	struct err last_error;
	bool failed;			/* last_error is set */

	struct http_call *call;		/* the question under way */
	uint64_t call_deadline;
	sd_event_source *timer;		/* the next question */
	uint64_t delay;
	uint64_t asked;			/* when the last one began */

	struct token *access;
	struct http_call *access_call;
	uint64_t access_deadline;

	struct wait_list waits, token_waits;
	unsigned round;
};

static http_done_fn on_discovered, on_access;

static uint64_t
now_boot(const struct account *a)
{
	uint64_t usec = 0;

	sd_event_now(a->event, CLOCK_BOOTTIME, &usec);
	return usec;
}

/* Waiting. */

struct account_wait *
account_wait_free(struct account_wait *w)
{
	if (!w)
		return NULL;

	TAILQ_REMOVE(w->list, w, entry);
	sd_event_source_unref(w->timer);
	free(w);
	return NULL;
}

/* The wait is gone before its callback runs, which may free what it likes. */
static void
wait_end(struct account_wait *w, struct token *t, const struct err *e)
{
	struct account_wait v = *w;

	*w->slot = NULL;
	account_wait_free(w);
	if (v.found)
		v.found(v.userdata, e ? NULL : v.account, e);
	else
		v.token(v.userdata, t, e);
}

/* Callbacks may add and free waits, so the head is taken afresh each turn; those
   added meanwhile carry the new round and end the loop. */
static void
wait_list_tell(struct account *a, struct wait_list *list, struct token *t,
	       const struct err *e)
{
	_cleanup_(token_unrefp) struct token *keep = t ? token_ref(t) : NULL;
	struct account_wait *w;
	struct err copy;
	unsigned round;

	if (e)
		copy = *e;
	round = ++a->round;
	while ((w = TAILQ_FIRST(list)) && w->round != round)
		wait_end(w, keep, e ? &copy : NULL);
}

static int
on_wait_deadline(sd_event_source *s, _unused_ uint64_t usec, void *userdata)
{
	struct account_wait *w = userdata;
	const struct account *a = w->account;
	struct err e;

	if (*w->deadline > now_boot(a)) {	/* it has moved */
		sd_event_source_set_time(s, *w->deadline);
		return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	}

	account_sought_error(a, &e);
	wait_end(w, NULL, &e);
	return 0;
}

static int
wait_new(struct account *a, struct wait_list *list, const uint64_t *deadline,
	 void *userdata, struct account_wait **ret, struct err *e)
{
	struct account_wait *w = xcalloc(1, sizeof(*w));
	int r;

	r = sd_event_add_time(a->event, &w->timer, CLOCK_BOOTTIME, *deadline, 1,
			      on_wait_deadline, w);
	if (r < 0) {
		free(w);
		return err_sys(e, -r, "cannot arm a timer");
	}
	w->account = a;
	w->list = list;
	w->deadline = deadline;
	w->userdata = userdata;
	w->round = a->round;
	w->slot = ret;
	TAILQ_INSERT_TAIL(list, w, entry);
	*ret = w;
	return 0;
}

/* Discovery. */

static int
ask_account(struct account *a, struct err *e)
{
	struct http_request q = { 0 };

	metadata_account_request(a->at->metadata, &q);
	q.once = true;		/* retried on our own schedule */
	a->asked = now_boot(a);
	a->call_deadline = UINT64_MAX;	/* the lane's time for one try holds */
	return http_client_start(a->http, &q, &a->call_deadline, on_discovered,
				 a, &a->call, e);
}

static void
ask_later(struct account *a, uint64_t delay)
{
	sd_event_source_set_time(a->timer, now_boot(a) + delay);
	sd_event_source_set_enabled(a->timer, SD_EVENT_ONESHOT);
}

/* What was found before stays good until something better is known. */
static void
ask_failed(struct account *a, const struct err *e)
{
	uint64_t wish = MIN(e->retry_usec, a->opt.none_usec);

	a->last_error = *e;
	a->last_error.kind = ERR_UNAVAILABLE;	/* nobody knows yet, that is all */
	a->failed = true;
	if (a->state != ACCOUNT_FOUND)
		ask_later(a, a->state == ACCOUNT_NONE ? a->opt.none_usec
			     : MAX(a->delay, wish));
	a->delay = MIN(2 * a->delay, a->opt.discover_max_usec);
}

static int
on_timer(_unused_ sd_event_source *s, _unused_ uint64_t usec, void *userdata)
{
	struct account *a = userdata;
	struct err e;

	if (!a->call && ask_account(a, &e) < 0)
		ask_failed(a, &e);
	return 0;
}

static void
account_set_state(struct account *a, enum account_state state)
{
	a->state = state;
	a->delay = a->opt.discover_first_usec;
	if (a->ops.changed)
		a->ops.changed(a->userdata, a);
}

/* What is there and what is under way is another account's. */
static void
account_forget_access(struct account *a, const struct err *e)
{
	a->access = token_unref(a->access);
	a->access_call = http_call_free(a->access_call);
	wait_list_tell(a, &a->token_waits, NULL, e);
}

static void
account_found(struct account *a, struct metadata_account *info)
{
	bool changed = !account_email(a) || strcmp(account_email(a), info->email);
	struct err e;

	metadata_account_clear(&a->info);
	a->info = *info;
	a->failed = false;
	sd_event_source_set_enabled(a->timer, SD_EVENT_OFF);
	if (changed) {
		err_set(&e, ERR_UNAVAILABLE, "the service account has changed");
		account_forget_access(a, &e);
		account_set_state(a, ACCOUNT_FOUND);
	}
	wait_list_tell(a, &a->waits, NULL, NULL);
}

static void
account_none(struct account *a)
{
	struct err e;

	metadata_no_account(&e);
	metadata_account_clear(&a->info);
	account_forget_access(a, &e);
	a->failed = false;
	ask_later(a, a->opt.none_usec);
	if (a->state != ACCOUNT_NONE)
		account_set_state(a, ACCOUNT_NONE);
	wait_list_tell(a, &a->waits, NULL, &e);
}

static void
on_discovered(void *userdata, const struct http_response *re,
	      const struct err *failed)
{
	struct account *a = userdata;
	struct metadata_account info = { 0 };
	struct err e;
	int r = -EHOSTUNREACH;

	if (re && re->flavor_google)
		a->flavored = true;

	if (failed)
		e = *failed;
	else
		r = metadata_account_response(re, &info, &e);
	if (r >= 0)
		return account_found(a, &info);

	/* A metadata server may say 404 while the VM boots. */
	if (r == err_kind_errno(ERR_NOT_FOUND) && now_boot(a) >= a->opt.boot_usec)
		return account_none(a);

	err_prefix(&e, r, "looking for the VM's service account");
	ask_failed(a, &e);
}

void
account_rediscover(struct account *a)
{
	struct err e;

	/* Denials come one an audience; one look is enough for all of them. */
	if (a->state != ACCOUNT_FOUND || a->call ||
	    now_boot(a) < a->asked + a->opt.none_usec)
		return;
	if (ask_account(a, &e) < 0)
		ask_failed(a, &e);
}

int
account_when_found(struct account *a, const uint64_t *deadline,
		   account_done_fn *done, void *userdata,
		   struct account_wait **ret, struct err *e)
{
	int r;

	if (a->state == ACCOUNT_FOUND)
		return 1;
	if (a->state == ACCOUNT_NONE)
		return metadata_no_account(e);

	r = wait_new(a, &a->waits, deadline, userdata, ret, e);
	if (r >= 0)
		(*ret)->found = done;
	return r;
}

/* Its access token. */

static int
ask_access(struct account *a, struct err *e)
{
	struct http_request q = { 0 };

	metadata_token_request(a->at->metadata, &q);
	q.payer = HTTP_PAYER_ACCESS;
	a->access_deadline = now_boot(a) + a->opt.token_usec;
	return http_client_start(a->http, &q, &a->access_deadline, on_access, a,
				 &a->access_call, e);
}

/* It comes with seconds to live, not with a date: Google's clock has no say. */
static void
access_keep(struct account *a, const char *text, uint64_t life)
{
	struct token_now now = clock_machine_now(a->event);
	int64_t iat = now.wall / (int64_t)USEC_PER_SEC;

	token_unref(a->access);
	a->access = token_new(TOKEN_ACCESS, text, iat,
			      iat + (int64_t)MIN(life, ACCESS_LIFE_MAX), &now,
			      a->info.email, NULL);
}

static void
on_access(void *userdata, const struct http_response *re,
	  const struct err *failed)
{
	struct account *a = userdata;
	_cleanup_(secret_freep) char *text = NULL;
	int r = -EHOSTUNREACH;
	uint64_t life;
	struct err e;

	if (failed)
		e = *failed;
	else
		r = metadata_token_response(re, &text, &life, &e);
	if (r >= 0)
		access_keep(a, text, life);
	wait_list_tell(a, &a->token_waits, r >= 0 ? a->access : NULL,
		       r >= 0 ? NULL : &e);
}

int
account_access_token(struct account *a, const uint64_t *deadline,
		     account_token_fn *done, void *userdata,
		     struct token **ret_token, struct account_wait **ret,
		     struct err *e)
{
	struct token_now now = clock_machine_now(a->event);
	int r;

	if (a->state != ACCOUNT_FOUND)
		return metadata_no_account(e);
	if (a->access && token_left(a->access, &now) > a->opt.access_margin_usec) {
		*ret_token = a->access;
		return 1;
	}

	if (!a->access_call) {
		r = ask_access(a, e);
		if (r < 0)
			return r;
	}
	r = wait_new(a, &a->token_waits, deadline, userdata, ret, e);
	if (r >= 0)
		(*ret)->token = done;
	return r;
}

void
account_drop_token(struct account *a, const struct token *t)
{
	if (a->access == t)
		a->access = token_unref(a->access);
}

/* Birth, death, and looking. */

int
account_new(sd_event *event, struct http_client *http,
	    const struct endpoints *at, const struct account_options *o,
	    const struct account_ops *ops, void *userdata,
	    struct account **ret, struct err *e)
{
	_cleanup_(account_freep) struct account *a = xcalloc(1, sizeof(*a));
	int r;

	a->event = sd_event_ref(event);
	a->http = http;
	a->at = at;
	a->opt = *o;
	a->ops = *ops;
	a->userdata = userdata;
	a->delay = o->discover_first_usec;
	TAILQ_INIT(&a->waits);
	TAILQ_INIT(&a->token_waits);

	/* The first question leaves from the loop, not from here: whoever makes
	   us is still starting up. */
	r = sd_event_add_time_relative(event, &a->timer, CLOCK_BOOTTIME, 0, 1,
				       on_timer, a);
	if (r < 0)
		return err_sys(e, -r, "cannot arm a timer");

	*ret = TAKE_PTR(a);
	return 0;
}

struct account *
account_free(struct account *a)
{
	if (!a)
		return NULL;

	assert(TAILQ_EMPTY(&a->waits) && TAILQ_EMPTY(&a->token_waits));
	http_call_free(a->call);
	http_call_free(a->access_call);
	sd_event_source_unref(a->timer);
	metadata_account_clear(&a->info);
	token_unref(a->access);
	sd_event_unref(a->event);
	free(a);
	return NULL;
}

enum account_state
account_state(const struct account *a)
{
	return a->state;
}

bool
account_flavored(const struct account *a)
{
	return a->flavored;
}

const struct err *
account_last_error(const struct account *a)
{
	return a->failed ? &a->last_error : NULL;
}

int
account_sought_error(const struct account *a, struct err *e)
{
	if (!a->failed)
		return err_set(e, ERR_UNAVAILABLE, "no answer from the metadata "
			       "server yet");
	*e = a->last_error;
	return err_kind_errno(e->kind);
}

const char *
account_email(const struct account *a)
{
	return a->state == ACCOUNT_FOUND ? a->info.email : NULL;
}

char *const *
account_scopes(const struct account *a)
{
	return a->state == ACCOUNT_FOUND ? a->info.scopes : NULL;
}

char *const *
account_aliases(const struct account *a)
{
	return a->state == ACCOUNT_FOUND ? a->info.aliases : NULL;
}

bool
account_is(const struct account *a, const char *name)
{
	const char *email = account_email(a);

	return strcmp(name, "default") == 0 ||
		(email && strcmp(name, email) == 0);
}
