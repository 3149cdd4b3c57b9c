/* SPDX-License-Identifier: Apache-2.0 */

/* Those who wait for an account, or for its access token. */

#include "token/account_source.h"

struct account_wait {
	TAILQ_ENTRY(account_wait) entry;
	struct account *account;
	struct wait_list *list;		/* the one it stands in */
	struct account_wait **slot;	/* the owner's, cleared at the end */
	const uint64_t *deadline;
	sd_event_source *timer;
	unsigned round;			/* see account_wait_tell() */
	account_done_fn *found;		/* one of these two */
	account_token_fn *token;
	void *userdata;
};

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

/* The head is taken afresh each turn; those added meanwhile carry the new round and
   end the loop. */
void
account_wait_tell(struct account *a, struct wait_list *list, struct token *t,
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

	if (*w->deadline > account_now(a)) {	/* it has moved */
		sd_event_source_set_time(s, *w->deadline);
		return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	}

	if (a->state == ACCOUNT_FOUND)
		err_set(&e, ERR_TIMEOUT, "%s has not given an access token of "
			"%s in time", a->source->whom, a->info.email);
	else
		account_sought_error(a, &e);
	wait_end(w, NULL, &e);
	return 0;
}

int
account_wait_new(struct account *a, struct wait_list *list,
		 const uint64_t *deadline, account_done_fn *found,
		 account_token_fn *token, void *userdata,
		 struct account_wait **ret, struct err *e)
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
	w->found = found;
	w->token = token;
	w->userdata = userdata;
	w->round = a->round;
	w->slot = ret;
	TAILQ_INSERT_TAIL(list, w, entry);
	*ret = w;
	return 0;
}
