/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <string.h>

#include "google/endpoints.h"
#include "token/account_source.h"
#include "token/clock.h"

#define ACCESS_LIFE_MAX	UINT64_C(86400)	/* seconds; no more is believed */

uint64_t
account_now(const struct account *a)
{
	uint64_t usec = 0;

	sd_event_now(a->event, CLOCK_BOOTTIME, &usec);
	return usec;
}

/* Discovery. */

static int
ask(struct account *a, struct err *e)
{
	int r;

	a->asked = account_now(a);
	r = a->source->ask(a, e);
	a->asking = r >= 0;
	return r;
}

static void
ask_later(struct account *a, uint64_t delay)
{
	sd_event_source_set_time(a->timer, account_now(a) + delay);
	sd_event_source_set_enabled(a->timer, SD_EVENT_ONESHOT);
}

/* What was found before stays good until something better is known; that the
   machine is elsewhere, too. */
void
account_not_told(struct account *a, const struct err *e)
{
	uint64_t wish = MIN(e->retry_usec, a->opt.none_usec);

	a->asking = false;
	if (a->state == ACCOUNT_ELSEWHERE)
		return ask_later(a, a->opt.none_usec);
	a->last_error = *e;
	a->last_error.kind = ERR_UNAVAILABLE;	/* nobody knows yet, that is all */
	a->failed = true;
	a->denied = e->kind == ERR_GOOGLE && a->source->denial_counts;
	if (a->state != ACCOUNT_FOUND)
		ask_later(a, a->state == ACCOUNT_NONE ? a->opt.none_usec
			     : MAX(a->delay, wish));
	a->delay = MIN(2 * a->delay, a->opt.discover_max_usec);
	if (a->denied) {
		account_wait_tell(a, &a->waits, NULL, e);
		account_wait_tell(a, &a->token_waits, NULL, e);
	}
}

static int
account_denial(const struct account *a, struct err *e)
{
	*e = a->last_error;
	e->kind = ERR_GOOGLE;
	return err_kind_errno(e->kind);
}

static int
on_timer(_unused_ sd_event_source *s, _unused_ uint64_t usec, void *userdata)
{
	struct account *a = userdata;
	struct err e;

	if (!a->asking && ask(a, &e) < 0)
		account_not_told(a, &e);
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
	a->source->cancel_access(a);
	a->asking_access = false;
	account_wait_tell(a, &a->token_waits, NULL, e);
}

static int
ask_access(struct account *a, struct err *e)
{
	int r;

	a->access_deadline = account_now(a) + a->opt.token_usec;
	r = a->source->ask_access(a, e);
	a->asking_access = r >= 0;
	return r;
}

void
account_found(struct account *a, struct metadata_account *info)
{
	bool changed = !account_email(a) || strcmp(account_email(a), info->email);
	bool was_found = a->state == ACCOUNT_FOUND;
	struct err e;

	a->asking = false;
	metadata_account_clear(&a->info);
	a->info = *info;
	a->failed = false;
	sd_event_source_set_enabled(a->timer, SD_EVENT_OFF);
	if (changed && was_found) {
		err_set(&e, ERR_UNAVAILABLE, "the service account has changed");
		account_forget_access(a, &e);
	}
	if (changed)
		account_set_state(a, ACCOUNT_FOUND);
	account_wait_tell(a, &a->waits, NULL, NULL);
	/* Those who could not ask for its access token before. */
	if (!TAILQ_EMPTY(&a->token_waits) && !a->asking_access &&
	    ask_access(a, &e) < 0)
		account_wait_tell(a, &a->token_waits, NULL, &e);
}

/* Whatever was known before, there is none for us. */
static void
account_lost(struct account *a, enum account_state state, const struct err *e)
{
	a->asking = false;
	metadata_account_clear(&a->info);
	account_forget_access(a, e);
	ask_later(a, a->opt.none_usec);
	if (a->state != state)
		account_set_state(a, state);
	account_wait_tell(a, &a->waits, NULL, e);
}

void
account_none(struct account *a)
{
	struct err e;

	metadata_no_account(&e);
	a->failed = false;
	account_lost(a, ACCOUNT_NONE, &e);
}

void
account_elsewhere(struct account *a, const struct err *e)
{
	a->last_error = *e;
	a->failed = a->denied = true;
	account_lost(a, ACCOUNT_ELSEWHERE, e);
}

void
account_rediscover(struct account *a)
{
	struct err e;

	/* Denials come one an audience; one look is enough for all of them. */
	if (!a->source->ask || a->state != ACCOUNT_FOUND || a->asking ||
	    account_now(a) < a->asked + a->opt.none_usec)
		return;
	if (ask(a, &e) < 0)
		account_not_told(a, &e);
}

int
account_when_found(struct account *a, const uint64_t *deadline,
		   account_done_fn *done, void *userdata,
		   struct account_wait **ret, struct err *e)
{
	if (a->state == ACCOUNT_FOUND)
		return 1;
	if (a->state == ACCOUNT_NONE)
		return metadata_no_account(e);
	if (a->failed && a->denied)
		return account_denial(a, e);
	return account_wait_new(a, &a->waits, deadline, done, NULL, userdata, ret,
				e);
}

/* Its access token. */

void
account_access_came(struct account *a, const char *text, uint64_t life)
{
	struct token_now now = clock_machine_now(a->event);

	a->asking_access = false;
	token_unref(a->access);
	a->access = token_new_lasting(TOKEN_ACCESS, text,
				      MIN(life, ACCESS_LIFE_MAX), &now,
				      a->info.email, a->source->name);
	account_wait_tell(a, &a->token_waits, a->access, NULL);
}

void
account_access_failed(struct account *a, const struct err *e)
{
	a->asking_access = false;
	account_wait_tell(a, &a->token_waits, NULL, e);
}

int
account_access_token(struct account *a, const uint64_t *deadline,
		     account_token_fn *done, void *userdata,
		     struct token **ret_token, struct account_wait **ret,
		     struct err *e)
{
	struct token_now now = clock_machine_now(a->event);
	int r;

	if (a->state == ACCOUNT_NONE)
		return metadata_no_account(e);
	if (a->access && token_left(a->access, &now) > a->opt.access_margin_usec) {
		*ret_token = a->access;
		return 1;
	}

	if (a->state != ACCOUNT_FOUND && a->failed && a->denied)
		return account_denial(a, e);
	if (a->state == ACCOUNT_FOUND && !a->asking_access) {
		r = ask_access(a, e);
		if (r < 0)
			return r;
	}
	return account_wait_new(a, &a->token_waits, deadline, NULL, done, userdata,
				ret, e);
}

void
account_drop_token(struct account *a, const struct token *t)
{
	if (a->access == t)
		a->access = token_unref(a->access);
}

/* Birth, death, and looking. */

struct account *
account_alloc(const struct account_source *source, const char *name,
	      const struct account_setup *s)
{
	struct account *a;

	assert(source->account_size >= sizeof(*a));
	a = xcalloc(1, source->account_size);
	a->source = source;
	a->name = xstrdup(name);
	a->caller = a;
	a->delegates = xcalloc(1, sizeof(*a->delegates));
	a->event = sd_event_ref(s->event);
	a->http = s->http;
	a->at = s->at;
	a->clock = s->clock;
	a->opt = *s->opt;
	a->ops = *s->ops;
	a->userdata = s->userdata;
	a->delay = a->opt.discover_first_usec;
	TAILQ_INIT(&a->waits);
	TAILQ_INIT(&a->token_waits);
	return a;
}

static char **
list_of(const char *s)
{
	char **list = xcalloc(2, sizeof(*list));

	list[0] = xstrdup(s);
	return list;
}

struct metadata_account
account_info(const char *email, const char *alias)
{
	return (struct metadata_account){
		.email = xstrdup(email),
		.scopes = list_of(SCOPE_CLOUD_PLATFORM),
		.aliases = list_of(alias),
	};
}

void
account_known(struct account *a, struct metadata_account *info)
{
	a->info = *info;
	a->state = ACCOUNT_FOUND;
}

/* The first question leaves from the loop, not from here: whoever makes us is
   still starting up. */
int
account_begin(struct account *a, struct err *e)
{
	int r = sd_event_add_time_relative(a->event, &a->timer, CLOCK_BOOTTIME, 0,
					   1, on_timer, a);

	return r < 0 ? err_sys(e, -r, "cannot arm a timer") : 0;
}

struct account *
account_free(struct account *a)
{
	if (!a)
		return NULL;

	assert(TAILQ_EMPTY(&a->waits) && TAILQ_EMPTY(&a->token_waits));
	a->source->clear(a);
	sd_event_source_unref(a->timer);
	metadata_account_clear(&a->info);
	token_unref(a->access);
	sd_event_unref(a->event);
	for (size_t i = 0; a->delegates[i]; i++)
		free(a->delegates[i]);
	free(a->delegates);
	free(a->name);
	free(a);
	return NULL;
}

struct account *
account_caller(struct account *a)
{
	return a->caller;
}

bool
account_narrows(const struct account *a)
{
	return a->caller != a;
}

char *const *
account_delegates(const struct account *a)
{
	return a->delegates;
}

const char *
account_name(const struct account *a)
{
	return a->name;
}

/* The configuration writes emails of named accounts alone. */
enum iam_origin
account_origin(const struct account *a)
{
	return a->source->origin == IAM_OF_SECTION &&
	       strcmp(a->name, "default") == 0 ? IAM_OF_FILE : a->source->origin;
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
		return err_set(e, ERR_UNAVAILABLE, "no answer from %s yet",
			       a->source->whom);
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

	return strcmp(name, a->name) == 0 || (email && strcmp(name, email) == 0);
}
