/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/queue.h>

#include "base/hash.h"
#include "token/broker.h"

#define BUCKETS	1024

/* A key of our own, with its one-string form. */
struct own_key {
	struct token_key key;
	char *account, *variant, *audience;
	void *bytes;
	size_t len;
};

struct ticket {
	TAILQ_ENTRY(ticket) entry;
	struct flight *flight;
	struct ticket **slot;		/* the owner's, cleared at the end */
	struct broker_want want;
	sd_event_source *timer;
	enum broker_source source;
	broker_done_fn *done;
	void *userdata;
};

struct flight {
	LIST_ENTRY(flight) chain;	/* in the table */
	TAILQ_ENTRY(flight) queue;	/* while it waits for its turn */
	struct broker *broker;
	struct own_key k;
	uint64_t owner;
	uint64_t deadline;		/* the longest of all who wait or waited */
	struct fetch *fetch;		/* NULL while queued */
	TAILQ_HEAD(, ticket) tickets;
};

struct broker {
	sd_event *event;
	const struct flow_context *ctx;
	const struct flow_ops *flow;
	struct broker_options opt;
	broker_admit_fn *admit;
	void *userdata;
	struct cache *cache;
	struct hash_key hash;
	LIST_HEAD(, flight) flights[BUCKETS];
	struct failures *failures;
	TAILQ_HEAD(, flight) queue;
	struct broker_counts n;		/* .flights: running ones */
};

static fetch_done_fn on_fetched;

static uint64_t
now_boot(const struct broker *b)
{
	uint64_t usec = 0;

	sd_event_now(b->event, CLOCK_BOOTTIME, &usec);
	return usec;
}

static int64_t
now_wall(const struct broker *b)
{
	uint64_t usec = 0;

	sd_event_now(b->event, CLOCK_REALTIME, &usec);
	return (int64_t)(usec / USEC_PER_SEC);
}

/* Keys. */

static void
own_key_set(struct own_key *k, const struct token_key *key)
{
	k->key.kind = key->kind;
	k->key.account = k->account = xstrdup(key->account);
	k->key.variant = k->variant = xstrdup(key->variant);
	k->key.audience = k->audience = xstrdup(key->audience);
	k->bytes = token_key_bytes(key, &k->len);
}

static void
own_key_clear(struct own_key *k)
{
	free(k->account);
	free(k->variant);
	free(k->audience);
	free(k->bytes);
}

static bool
own_key_is(const struct own_key *k, const void *bytes, size_t len)
{
	return k->len == len && memcmp(k->bytes, bytes, len) == 0;
}

static size_t
bucket(const struct broker *b, const void *bytes, size_t len)
{
	return hash_bytes(&b->hash, bytes, len) % BUCKETS;
}

/* Tickets. */

struct ticket *
ticket_free(struct ticket *t)
{
	struct flight *fl;

	if (!t)
		return NULL;

	fl = t->flight;
	TAILQ_REMOVE(&fl->tickets, t, entry);
	fl->broker->n.waiters--;
	sd_event_source_unref(t->timer);
	free(t);
	return NULL;
}

/* The ticket is gone before its callback runs, which may free what it likes. */
static void
ticket_end(struct ticket *t, struct token *token, enum broker_source source,
	   const struct err *e)
{
	broker_done_fn *done = t->done;
	void *userdata = t->userdata;

	*t->slot = NULL;
	ticket_free(t);
	done(userdata, token, source, e);
}

/* What is still good in the cache beats an error, for those who made no demand. */
static void
ticket_fail(struct ticket *t, const struct err *e)
{
	struct broker *b = t->flight->broker;
	struct token *cached = t->want.min_left > 0 ? NULL :
		cache_get(b->cache, &t->flight->k.key, now_wall(b));

	if (!cached)
		return ticket_end(t, NULL, t->source, e);
	token_ref(cached);
	ticket_end(t, cached, BROKER_HIT, NULL);
	token_unref(cached);
}

/* No answer in time: is the account not known yet, or does a step hang? */
static int
on_ticket_deadline(_unused_ sd_event_source *s, _unused_ uint64_t usec,
		   void *userdata)
{
	struct ticket *t = userdata;
	const struct account *a = t->flight->broker->ctx->account;
	struct err e;

	if (account_state(a) == ACCOUNT_SOUGHT)
		account_sought_error(a, &e);
	else
		err_set(&e, ERR_TIMEOUT, "Google has not answered in time; it is "
			"still being asked: ask again");
	ticket_fail(t, &e);
	return 0;
}

static int
ticket_new(struct flight *fl, const struct broker_want *want,
	   enum broker_source source, struct ticket **ret, struct err *e)
{
	struct ticket *t = xcalloc(1, sizeof(*t));
	int r;

	r = sd_event_add_time(fl->broker->event, &t->timer, CLOCK_BOOTTIME,
			      want->deadline, 1, on_ticket_deadline, t);
	if (r < 0) {
		free(t);
		return err_sys(e, -r, "cannot arm a timer");
	}
	t->flight = fl;
	t->want = *want;
	t->source = source;
	t->slot = ret;
	TAILQ_INSERT_TAIL(&fl->tickets, t, entry);
	fl->broker->n.waiters++;
	fl->deadline = MAX(fl->deadline, want->deadline);
	*ret = t;
	return 0;
}

/* Flights. */

static struct flight *
flight_find(struct broker *b, const void *bytes, size_t len)
{
	struct flight *fl;

	LIST_FOREACH(fl, &b->flights[bucket(b, bytes, len)], chain)
		if (own_key_is(&fl->k, bytes, len))
			return fl;
	return NULL;
}

static struct flight *
flight_new(struct broker *b, const struct token_key *key, uint64_t owner)
{
	struct flight *fl = xcalloc(1, sizeof(*fl));

	fl->broker = b;
	fl->owner = owner;
	fl->deadline = now_boot(b) + b->opt.linger_usec;
	own_key_set(&fl->k, key);
	TAILQ_INIT(&fl->tickets);
	LIST_INSERT_HEAD(&b->flights[bucket(b, fl->k.bytes, fl->k.len)], fl, chain);
	return fl;
}

static void
flight_free(struct flight *fl)
{
	assert(TAILQ_EMPTY(&fl->tickets));
	fetch_free(fl->fetch);
	own_key_clear(&fl->k);
	free(fl);
}

static int
flight_start(struct flight *fl, struct err *e)
{
	struct broker *b = fl->broker;
	int r = flow_fetch(b->flow, b->ctx, fl->k.key.audience, &fl->deadline,
			   on_fetched, fl, &fl->fetch, e);

	if (r >= 0)
		b->n.flights++;
	return r;
}

/* Is this token what the ticket asked for?  Judged after every wait. */
static int
want_check(const struct broker_want *w, const struct token *token, int64_t now,
	   struct err *e)
{
	uint64_t left = token_left(token, now);

	if (left == 0)
		return err_set(e, ERR_UNAVAILABLE, "the token expired meanwhile");
	if (left < w->min_left)
		return err_set(e, ERR_UNAVAILABLE,
			       "the newest token is good for %llu s, not for the "
			       "%llu s asked for", (unsigned long long)left,
			       (unsigned long long)w->min_left);
	return 0;
}

/* Remember how it went, and tell everybody.  The flight leaves the table first:
   whoever asks again from a callback starts or joins another one. */
static void
flight_land(struct flight *fl, struct token *token, const struct err *failed)
{
	struct broker *b = fl->broker;
	struct ticket *t;

	LIST_REMOVE(fl, chain);
	if (token) {
		failures_drop(b->failures, fl->k.bytes, fl->k.len);
		cache_put(b->cache, &fl->k.key, fl->owner, token, INT64_MAX);
	} else {
		failures_put(b->failures, fl->k.bytes, fl->k.len, failed,
			     now_boot(b));
	}
	while ((t = TAILQ_FIRST(&fl->tickets))) {
		struct err e;

		if (!token)
			ticket_fail(t, failed);
		else if (want_check(&t->want, token, now_wall(b), &e) < 0)
			ticket_end(t, NULL, t->source, &e);
		else
			ticket_end(t, token, t->source, NULL);
	}
	flight_free(fl);
}

/* Places have become free.  A queued flight that everybody has left is not worth
   one. */
static void
broker_run_queue(struct broker *b)
{
	struct flight *fl;
	struct err e;

	while (b->n.flights < b->opt.max_flights && (fl = TAILQ_FIRST(&b->queue))) {
		TAILQ_REMOVE(&b->queue, fl, queue);
		b->n.queued--;
		if (TAILQ_EMPTY(&fl->tickets)) {
			LIST_REMOVE(fl, chain);
			flight_free(fl);
		} else if (flight_start(fl, &e) < 0) {
			flight_land(fl, NULL, &e);
		}
	}
}

static void
on_fetched(void *userdata, struct token *token, const struct err *failed)
{
	struct flight *fl = userdata;
	struct broker *b = fl->broker;
	const char *email = account_email(b->ctx->account);
	struct err e;

	b->n.flights--;
	if (token && (!email || strcmp(email, token_email(token)) != 0)) {
		err_set(&e, ERR_UNAVAILABLE,
			"the VM's service account has changed; ask again");
		failed = &e;
		token = NULL;
	}
	flight_land(fl, token, failed);
	broker_run_queue(b);
}

/* Asking. */

/* Does the cached token do?  Negative: no, and it is too new to be replaced. */
static int
cached_check(const struct broker *b, const struct broker_want *w,
	     const struct token *t, int64_t now, struct err *e)
{
	int64_t rest = (int64_t)(b->opt.brand_new_usec / USEC_PER_SEC) -
			MAX(now - token_iat(t), 0);
	uint64_t left = token_left(t, now);
	int r;

	if (left < w->min_left || (w->no_cache && rest <= 0)) {
		if (rest <= 0 || w->only_if_cached)
			return 0;
		r = want_check(w, t, now, e);
		e->retry_usec = (uint64_t)rest * USEC_PER_SEC;
		return r;
	}
	return rest > 0 || w->min_left > 0 || w->only_if_cached ||
		left >= b->opt.wish_usec / USEC_PER_SEC;
}

static int
join(struct broker *b, struct flight *fl, const struct broker_want *want,
     enum broker_source source, broker_done_fn *done, void *userdata,
     struct ticket **ret, struct err *e)
{
	int r;

	if (b->n.waiters >= b->opt.max_waiters)
		return err_set(e, ERR_BUSY, "%u callers are waiting already, which "
			       "is the limit (waiters)", b->n.waiters);
	r = ticket_new(fl, want, source, ret, e);
	if (r < 0)
		return r;
	(*ret)->done = done;
	(*ret)->userdata = userdata;
	return 0;
}

/* A flight of the caller's own. */
static int
take_off(struct broker *b, const struct token_key *key,
	 const struct broker_want *want, broker_done_fn *done, void *userdata,
	 struct ticket **ret, struct err *e)
{
	struct flight *fl;
	int r;

	r = b->admit(b->userdata, want->owner, e);
	if (r < 0)
		return r;

	fl = flight_new(b, key, want->owner);
	r = join(b, fl, want, BROKER_MISS, done, userdata, ret, e);
	/* Nobody overtakes those who wait for a place. */
	if (r >= 0 && (b->n.flights >= b->opt.max_flights ||
		       !TAILQ_EMPTY(&b->queue))) {
		TAILQ_INSERT_TAIL(&b->queue, fl, queue);
		b->n.queued++;
		return 0;
	}
	if (r >= 0) {
		r = flight_start(fl, e);
		if (r >= 0)
			return 0;
		failures_put(b->failures, fl->k.bytes, fl->k.len, e, now_boot(b));
		*ret = ticket_free(*ret);
	}
	LIST_REMOVE(fl, chain);
	flight_free(fl);
	return r;
}

int
broker_get(struct broker *b, const struct token_key *key,
	   const struct broker_want *want, broker_done_fn *done, void *userdata,
	   struct token **ret_token, struct ticket **ret, struct err *e)
{
	_cleanup_(freep) char *bytes = NULL;
	int64_t now = now_wall(b);
	struct flight *fl;
	struct token *t;
	size_t len;
	int r;

	t = cache_get(b->cache, key, now);
	r = t ? cached_check(b, want, t, now, e) : 0;
	if (r > 0)
		*ret_token = t;
	if (r != 0)
		return r;
	if (want->only_if_cached)
		return err_set(e, ERR_TIMEOUT, "no such token in the cache, and "
			       "the request forbids to fetch one (only-if-cached)");

	bytes = token_key_bytes(key, &len);
	fl = flight_find(b, bytes, len);
	if (fl)
		r = join(b, fl, want, BROKER_SHARED, done, userdata, ret, e);
	else
		r = failures_get(b->failures, bytes, len, now_boot(b), e);
	if (!fl && r == 0)
		r = take_off(b, key, want, done, userdata, ret, e);
	if (r < 0 && t && want->min_left == 0) {
		*ret_token = t;		/* good still, if not for long */
		return 1;
	}
	return r;
}

/* Birth and death. */

struct broker *
broker_new(sd_event *event, const struct flow_context *ctx,
	   const struct flow_ops *flow, const struct broker_options *o,
	   broker_admit_fn *admit, void *userdata)
{
	struct broker *b = xcalloc(1, sizeof(*b));

	b->event = sd_event_ref(event);
	b->ctx = ctx;
	b->flow = flow;
	b->opt = *o;
	b->admit = admit;
	b->userdata = userdata;
	b->cache = cache_new(&o->cache);
	b->failures = failures_new(&o->failures);
	b->hash = hash_key_random();
	TAILQ_INIT(&b->queue);
	return b;
}

struct broker *
broker_free(struct broker *b)
{
	struct flight *fl;

	if (!b)
		return NULL;

	for (size_t i = 0; i < BUCKETS; i++)
		while ((fl = LIST_FIRST(&b->flights[i]))) {
			LIST_REMOVE(fl, chain);
			flight_free(fl);
		}
	cache_free(b->cache);
	failures_free(b->failures);
	sd_event_unref(b->event);
	free(b);
	return NULL;
}

void
broker_flush(struct broker *b)
{
	cache_flush(b->cache);
	failures_flush(b->failures);
}

void
broker_count(const struct broker *b, struct broker_counts *ret)
{
	*ret = b->n;
	ret->cached = cache_len(b->cache);
	ret->failures = failures_len(b->failures);
}
