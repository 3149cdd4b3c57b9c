/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <string.h>

#include "token/flight.h"

static fetch_done_fn on_fetched;

static size_t
bucket(const struct broker *b, const void *bytes, size_t len)
{
	return hash_bytes(&b->hash, bytes, len) % BROKER_BUCKETS;
}

/* Flights. */

static struct flight *
flight_find(struct broker *b, const void *bytes, size_t len)
{
	struct flight *fl;

	LIST_FOREACH(fl, &b->flights[bucket(b, bytes, len)], chain)
		if (fl->len == len && memcmp(fl->bytes, bytes, len) == 0)
			return fl;
	return NULL;
}

static struct flight *
flight_new(struct broker *b, const struct token_key *key, uint64_t owner)
{
	struct flight *fl = xcalloc(1, sizeof(*fl));

	fl->broker = b;
	fl->warm = warm_find(b, key) >= 0;
	fl->share = share_ref(b, fl->warm ? CACHE_OWNER_AGENT : owner);
	b->warm.running += fl->warm;
	fl->deadline = broker_boot(b) + b->opt.linger_usec;
	fl->bytes = token_key_bytes(key, &fl->len);
	fl->key = token_key_read(fl->bytes);
	fl->ctx = accounts_find(b->accounts, key->account);
	assert(fl->ctx);
	TAILQ_INIT(&fl->tickets);
	LIST_INSERT_HEAD(&b->flights[bucket(b, fl->bytes, fl->len)], fl, chain);
	fl->listed = true;
	return fl;
}

/* From here on nobody joins it. */
static void
flight_hide(struct flight *fl)
{
	if (fl->listed)
		LIST_REMOVE(fl, chain);
	fl->listed = false;
}

void
flight_free(struct flight *fl)
{
	assert(TAILQ_EMPTY(&fl->tickets));
	if (fl->warm)
		warm_left(fl->broker);
	queue_remove(fl);
	flight_hide(fl);
	share_unref(fl->share);
	fetch_free(fl->fetch);
	free(fl->key);
	free(fl->bytes);
	free(fl);
}

static uint64_t
payer_of(uint64_t owner)
{
	return HTTP_PAYER_PEERS + owner;
}

uint64_t
flight_payer(const struct flight *fl)
{
	return fl->ahead || fl->warm ? HTTP_PAYER_NOBODY
				     : payer_of(fl->share->owner);
}

static int
flight_start(struct flight *fl, struct err *e)
{
	struct broker *b = fl->broker;
	int r = flow_fetch(b->flow, fl->ctx, fl->key, &fl->deadline,
			   flight_payer(fl), on_fetched, fl, &fl->fetch, e);

	if (r >= 0)
		queue_started(fl);
	return r;
}

/* Nobody overtakes those who wait for a place. */
static int
flight_launch(struct flight *fl, struct err *e)
{
	struct broker *b = fl->broker;

	if (queue_free_place(fl) && !queue_next(b))
		return flight_start(fl, e);
	queue_add(fl);
	return 0;
}

/* Landing. */

/* A token has come: keep it, and say when to fetch the next. */
static void
keep_token(struct flight *fl, struct token *token)
{
	struct broker *b = fl->broker;
	struct token_now now = clock_now(b->ctx->clock);

	b->n.fetched++;
	b->n.refreshed += fl->ahead;
	failures_drop(b->failures, fl->bytes, fl->len);
	/* A warm one may have been adopted, and is the agent's all the same. */
	cache_put(b->cache, fl->key,
		  fl->warm ? CACHE_OWNER_AGENT : fl->share->owner, token,
		  ahead_when(b, token, &now));
	/* Those who wait now have used it. */
	if (!TAILQ_EMPTY(&fl->tickets))
		cache_get(b->cache, fl->key, &now);
}

/* None has come: what is cached stays, and is tried again when the failure has
   been forgotten.  A refresh that has joined a caller's flight may have ended with
   a failure of that caller's, which nobody remembers: it is not to be the last. */
static void
keep_failure(struct flight *fl, const struct err *failed)
{
	struct broker *b = fl->broker;
	uint64_t now = broker_boot(b), wait = b->opt.failures.unavailable_max_usec;
	struct err e;
	struct token_now clocks = clock_now(b->ctx->clock);
	int r;

	b->n.failed++;
	b->n.refresh_failed += fl->ahead;
	failures_put(b->failures, fl->bytes, fl->len, failed, now);
	r = failures_get(b->failures, fl->bytes, fl->len, now, &e);
	if (r < 0 || fl->ahead)
		cache_refresh_at(b->cache, fl->key, &clocks,
				 now + b->opt.refresh.pause_usec +
				 (r < 0 ? e.retry_usec : wait));
}

/* What the owner's share has forbidden says nothing to others. */
static void
tell_failure(struct flight *fl, struct ticket *t, const struct err *failed)
{
	struct err e;

	if (failed->kind != ERR_BUSY || t->share == fl->share)
		return ticket_fail(t, failed);
	err_set(&e, ERR_UNAVAILABLE, "another peer asked for this token first, and "
		"has used up its share of what may be asked upstream; ask again");
	ticket_fail(t, &e);
}

/* Remember how it went, and tell everybody.  The flight leaves the table first:
   whoever asks again from a callback starts or joins another one. */
static void
flight_land(struct flight *fl, struct token *token, const struct err *failed)
{
	struct broker *b = fl->broker;
	struct token_now now = clock_now(b->ctx->clock);
	struct ticket *t;

	flight_hide(fl);
	if (token)
		keep_token(fl, token);
	else
		keep_failure(fl, failed);
	ahead_arm(b);
	health_landed(b, failed);
	while ((t = TAILQ_FIRST(&fl->tickets))) {
		struct err e;

		if (!token)
			tell_failure(fl, t, failed);
		else if (want_check(&t->want, token, &now, &e) < 0)
			ticket_end(t, NULL, t->source, &e);
		else
			ticket_end(t, token, t->source, NULL);
	}
	if (fl->warm)
		warm_landed(b, fl->key, failed);
	flight_free(fl);
}

/* Places have become free. */
static void
broker_run_queue(struct broker *b)
{
	struct flight *fl;
	struct err e;

	while ((fl = queue_next(b))) {
		queue_remove(fl);
		if (flight_start(fl, &e) < 0)
			flight_land(fl, NULL, &e);
	}
}

static int
on_run_queue(_unused_ sd_event_source *s, void *userdata)
{
	broker_run_queue(userdata);
	return 0;
}

static void
on_fetched(void *userdata, struct token *token, const struct err *failed)
{
	struct flight *fl = userdata;
	struct broker *b = fl->broker;
	const char *email = account_email(fl->ctx->account);
	struct err e;

	queue_ended(fl);
	if (token && (!email || strcmp(email, token_email(token)) != 0)) {
		err_set(&e, ERR_UNAVAILABLE,
			"the VM's service account has changed; ask again");
		failed = &e;
		token = NULL;
	}
	flight_land(fl, token, failed);
	broker_run_queue(b);
}

void
broker_refresh(struct broker *b, const struct token_key *key, uint64_t owner)
{
	struct flight *fl;
	struct err e;
	size_t len;
	_cleanup_(freep) char *bytes = token_key_bytes(key, &len);

	fl = flight_find(b, bytes, len);
	if (fl) {
		fl->ahead = true;
		if (fl->queued && queue_free_place(fl))
			sd_event_source_set_enabled(b->run_queue,
						    SD_EVENT_ONESHOT);
		return;
	}
	fl = flight_new(b, key, owner);
	fl->ahead = true;
	if (flight_launch(fl, &e) < 0)
		flight_land(fl, NULL, &e);
}

/* Asking. */

static int
join(struct broker *b, struct flight *fl, const struct broker_want *want,
     enum broker_source source, broker_done_fn *done, void *userdata,
     struct ticket **ret, struct err *e)
{
	int r;

	if (b->n.waiters >= b->opt.max_waiters) {
		b->n.waiters_full++;
		return err_set(e, ERR_BUSY, "%u callers are waiting already, which "
			       "is the limit (waiters)", b->n.waiters);
	}
	if (!share_may_wait(b, want->owner))
		return err_set(e, ERR_BUSY, "%u callers of this peer are waiting "
			       "already, which is its share (peer-share of "
			       "waiters)", share_waiters(b));
	r = ticket_new(fl, want, source, ret, e);
	if (r < 0)
		return r;
	(*ret)->done = done;
	(*ret)->userdata = userdata;
	if (queue_adopt(fl, want->owner))
		sd_event_source_set_enabled(b->run_queue, SD_EVENT_ONESHOT);
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

	r = http_client_may(b->ctx->http, payer_of(want->owner), want->deadline, e);
	if (r >= 0)
		r = b->admit(b->userdata, want->owner, e);
	if (r < 0)
		return r;

	fl = flight_new(b, key, want->owner);
	r = join(b, fl, want, BROKER_MISS, done, userdata, ret, e);
	if (r >= 0) {
		r = flight_launch(fl, e);
		if (r >= 0)
			return 0;
		failures_put(b->failures, fl->bytes, fl->len, e, broker_boot(b));
		if (fl->warm)
			warm_landed(b, key, e);
		*ret = ticket_free(*ret);
	}
	flight_free(fl);
	return r;
}

struct cache_key *
broker_key(const struct broker *b, const struct token_key *key)
{
	return cache_key_new(b->cache, key);
}

struct token *
broker_hit(struct broker *b, const struct cache_key *key,
	   const struct broker_want *want, const struct token_now *now)
{
	struct token *t = cache_get_ready(b->cache, key, now);
	struct err e _unset_;

	if (!t || want_check_cached(want, &b->opt.want, t, now, &e) <= 0)
		return NULL;
	b->n.hits++;
	return t;
}

static int
get(struct broker *b, const struct token_key *key, const struct broker_want *want,
    broker_done_fn *done, void *userdata, struct token **ret_token,
    struct ticket **ret, struct err *e)
{
	_cleanup_(freep) char *bytes = NULL;
	struct token_now now = clock_now(b->ctx->clock);
	struct flight *fl;
	bool remembered = false;
	struct token *t;
	size_t len;
	int r;

	t = cache_get(b->cache, key, &now);
	r = t ? want_check_cached(want, &b->opt.want, t, &now, e) : 0;
	if (r > 0)
		*ret_token = t;
	if (r != 0)
		return r;
	if (want->only_if_cached)
		return err_set(e, ERR_TIMEOUT, "no such token in the cache, and "
			       "the request forbids to fetch one (only-if-cached)");

	bytes = token_key_bytes(key, &len);
	fl = flight_find(b, bytes, len);
	if (fl && t && want->min_left == 0 && !want->no_cache) {
		*ret_token = t;		/* what is better is under way */
		return 1;
	}
	if (fl)
		r = join(b, fl, want, BROKER_SHARED, done, userdata, ret, e);
	else
		r = failures_get(b->failures, bytes, len, broker_boot(b), e);
	remembered = !fl && r < 0;
	if (!fl && r == 0)
		r = take_off(b, key, want, done, userdata, ret, e);
	if (r < 0 && t && want->min_left == 0) {
		*ret_token = t;		/* good still, if not for long */
		return 1;
	}
	b->n.remembered += remembered;
	b->n.refused += r == err_kind_errno(ERR_BUSY);
	return r;
}

int
broker_get(struct broker *b, const struct token_key *key,
	   const struct broker_want *want, broker_done_fn *done, void *userdata,
	   struct token **ret_token, struct ticket **ret, struct err *e)
{
	int r = get(b, key, want, done, userdata, ret_token, ret, e);

	if (r > 0)
		b->n.hits++;
	else if (r == 0 && (*ret)->source == BROKER_MISS)
		b->n.misses++;
	else if (r == 0)
		b->n.shared++;
	return r;
}

/* Birth and death. */

struct broker *
broker_new(sd_event *event, const struct accounts *accounts,
	   const struct flow_ops *flow, const struct broker_options *o,
	   broker_admit_fn *admit, void *userdata)
{
	struct broker *b = xcalloc(1, sizeof(*b));

	b->event = sd_event_ref(event);
	b->accounts = accounts;
	b->ctx = accounts_default(accounts);
	b->flow = flow;
	b->opt = *o;
	b->admit = admit;
	b->userdata = userdata;
	b->cache = cache_new(&o->cache);
	b->failures = failures_new(&o->failures);
	b->hash = hash_key_random();
	TAILQ_INIT(&b->queue);
	(void)ahead_init(b);
	if (sd_event_add_defer(event, &b->run_queue, on_run_queue, b) >= 0)
		sd_event_source_set_enabled(b->run_queue, SD_EVENT_OFF);
	(void)health_init(b);
	return b;
}

struct broker *
broker_free(struct broker *b)
{
	struct flight *fl;

	if (!b)
		return NULL;

	for (size_t i = 0; i < BROKER_BUCKETS; i++)
		while ((fl = LIST_FIRST(&b->flights[i])))
			flight_free(fl);
	clock_on_change(b->ctx->clock, NULL, NULL);
	sd_event_source_unref(b->refresh);
	sd_event_source_unref(b->run_queue);
	sd_event_source_unref(b->health);
	sd_event_source_unref(b->warm.timer);
	cache_free(b->cache);
	failures_free(b->failures);
	sd_event_unref(b->event);
	free(b);
	return NULL;
}

void
broker_account_found(struct broker *b)
{
	failures_flush(b->failures);
	warm_all(b);
	health_forget(b);
}

void
broker_flush(struct broker *b)
{
	cache_flush(b->cache);
	broker_account_found(b);
}

void
broker_flush_audience(struct broker *b, const char *audience)
{
	cache_drop_audience(b->cache, audience);
	failures_drop_audience(b->failures, audience);
	warm_all(b);
	health_forget(b);
}

size_t
broker_walk(const struct broker *b, cache_look_fn *look, void *userdata)
{
	return cache_walk(b->cache, look, userdata);
}

void
broker_count(const struct broker *b, struct broker_counts *ret)
{
	*ret = b->n;
	ret->cached = cache_len(b->cache);
	ret->failures = failures_len(b->failures);
	ret->evicted = cache_evicted(b->cache);
}

const struct broker_options *
broker_options_of(const struct broker *b)
{
	return &b->opt;
}
