/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <string.h>
#include <sys/queue.h>

#include "base/hash.h"
#include "base/text.h"
#include "google/certs.h"
#include "token/keyring.h"
#include "token/rs256.h"

struct key {
	char *kid;
	struct rs256_key *rsa;
};

struct keyset {
	struct key key[CERTS_KEYS_MAX];
	size_t len;
};

TAILQ_HEAD(wait_list, keyring_wait);

struct keyring_wait {
	TAILQ_ENTRY(keyring_wait) entry;
	struct keyring *keyring;
	struct keyring_wait **slot;	/* the owner's, cleared at the end */
	const struct jwt *jwt;
	const char *text;
	const uint64_t *deadline;
	sd_event_source *timer;
	unsigned round;			/* see on_certs() */
	keyring_done_fn *done;
	void *userdata;
};

struct keyring {
	sd_event *event;
	struct http_client *http;
	const struct endpoints *at;
	struct keyring_options opt;
	struct keyset set;
	uint64_t fresh_until;		/* CLOCK_BOOTTIME, as all below */
	uint64_t next;			/* no fetch before */
	uint64_t delay;			/* after the next failure */
	struct http_call *call;
	uint64_t call_deadline;
	sd_event_source *early;
	struct err last_error;
	bool failed;			/* last_error is set */
	struct wait_list waits;
	unsigned round;
};

static http_done_fn on_certs;

static uint64_t
now_boot(const struct keyring *k)
{
	uint64_t usec = 0;

	sd_event_now(k->event, CLOCK_BOOTTIME, &usec);
	return usec;
}

/* Keys. */

static void
keyset_clear(struct keyset *s)
{
	for (size_t i = 0; i < s->len; i++) {
		free(s->key[i].kid);
		rs256_key_free(s->key[i].rsa);
	}
	s->len = 0;
}

/* One bad key does not spoil the others. */
static int
keyset_read(const struct certs *c, struct keyset *ret, struct err *e)
{
	ret->len = 0;
	for (size_t i = 0; i < c->len; i++) {
		struct rs256_key *rsa;

		if (rs256_key_from_jwk(c->key[i].n, c->key[i].e, &rsa, e) < 0)
			continue;
		ret->key[ret->len++] = (struct key){
			.kid = xstrdup(c->key[i].kid), .rsa = rsa,
		};
	}
	return ret->len > 0 ? 0 : err_prefix(e, err_kind_errno(ERR_UNAVAILABLE),
					     "Google's public keys");
}

static struct rs256_key *
keyset_find(const struct keyset *s, const char *kid)
{
	for (size_t i = 0; kid && i < s->len; i++)
		if (strcmp(s->key[i].kid, kid) == 0)
			return s->key[i].rsa;
	return NULL;
}

/* 1: good, 0: there is no such key, negative: bad. */
static int
judge(const struct keyring *k, const struct jwt *j, const char *text,
      struct err *e)
{
	char shown[TEXT_SHOW_SIZE];
	struct rs256_key *rsa;

	if (!j->alg || strcmp(j->alg, "RS256") != 0)
		return err_set(e, ERR_UNAVAILABLE, "ID token: alg is not RS256");
	rsa = keyset_find(&k->set, j->kid);
	if (!rsa)
		return 0;
	if (!rs256_verify(rsa, text, j->signed_len, j->signature,
			  j->signature_len))
		return err_set(e, ERR_UNAVAILABLE, "ID token: the signature is not "
			       "that of Google's key %s",
			       text_show_str(shown, j->kid));
	return 1;
}

/* Fetching. */

static int
ask_certs(struct keyring *k, struct err *e)
{
	struct http_request q = { 0 };
	uint64_t now = now_boot(k);
	int r;

	certs_request(k->at->certs, &q);
	k->call_deadline = now + k->opt.fetch_usec;
	k->next = now + k->opt.refetch_usec;
	r = http_client_start(k->http, &q, &k->call_deadline, on_certs, k, &k->call,
			      e);
	if (r < 0) {
		k->last_error = *e;
		k->failed = true;
	}
	return r;
}

static bool
may_ask(const struct keyring *k)
{
	return !k->call && now_boot(k) >= k->next;
}

/* Why there is no such key, and when it is worth to ask again. */
static int
unknown_key(const struct keyring *k, const struct jwt *j, struct err *e)
{
	uint64_t now = now_boot(k);
	char shown[TEXT_SHOW_SIZE];
	int r;

	if (k->failed) {
		*e = k->last_error;
		e->kind = ERR_UNAVAILABLE;
		e->status = 0;
		r = err_kind_errno(e->kind);
		err_hint(e, "the VM must reach the certs endpoint of [upstream]; "
			 "verify = claims in [cache] does without signatures");
	} else {
		r = err_set(e, ERR_UNAVAILABLE, "ID token: signed with key %s, "
			    "which is none of Google's current ones",
			    text_show_str(shown, j->kid ?: ""));
	}
	if (now < k->next)
		e->retry_usec = MAX(e->retry_usec, k->next - now);
	return r;
}

/* Waiting. */

struct keyring_wait *
keyring_wait_free(struct keyring_wait *w)
{
	if (!w)
		return NULL;

	TAILQ_REMOVE(&w->keyring->waits, w, entry);
	sd_event_source_unref(w->timer);
	free(w);
	return NULL;
}

/* The wait is gone before its callback runs, which may free what it likes. */
static void
wait_end(struct keyring_wait *w, const struct err *e)
{
	struct keyring_wait v = *w;

	*w->slot = NULL;
	keyring_wait_free(w);
	v.done(v.userdata, e);
}

static int
on_wait_deadline(sd_event_source *s, _unused_ uint64_t usec, void *userdata)
{
	struct keyring_wait *w = userdata;
	struct err e;

	if (*w->deadline > now_boot(w->keyring)) {	/* it has moved */
		sd_event_source_set_time(s, *w->deadline);
		return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	}
	err_set(&e, ERR_TIMEOUT, "Google's public keys have not come in time");
	wait_end(w, &e);
	return 0;
}

static int
wait_new(struct keyring *k, const uint64_t *deadline, struct keyring_wait **ret,
	 struct err *e)
{
	struct keyring_wait *w = xcalloc(1, sizeof(*w));
	int r;

	r = sd_event_add_time(k->event, &w->timer, CLOCK_BOOTTIME, *deadline, 0,
			      on_wait_deadline, w);
	if (r < 0) {
		free(w);
		return err_sys(e, -r, "cannot arm a timer");
	}
	w->keyring = k;
	w->deadline = deadline;
	w->round = k->round;
	w->slot = ret;
	TAILQ_INSERT_TAIL(&k->waits, w, entry);
	*ret = w;
	return 0;
}

static void
set_replace(struct keyring *k, struct keyset *set, uint64_t max_age)
{
	uint64_t now = now_boot(k), life = k->opt.min_usec;

	if (max_age != HTTP_MAX_AGE_UNKNOWN)
		life = MAX(life, MIN(max_age, k->opt.max_usec / USEC_PER_SEC) *
			   USEC_PER_SEC);
	keyset_clear(&k->set);
	k->set = *set;
	k->fresh_until = now + MIN(life, k->opt.max_usec);
	k->delay = k->opt.retry_usec;
	k->failed = false;
}

static void
set_failed(struct keyring *k, const struct err *e)
{
	k->last_error = *e;
	k->failed = true;
	k->next = now_boot(k) + MIN(k->delay, k->opt.refetch_usec);
	k->delay = MIN(2 * k->delay, k->opt.refetch_usec);
}

/* Callbacks may add and free waits, so the head is taken afresh each turn; those
   added meanwhile carry the new round and end the loop. */
static void
on_certs(void *userdata, const struct http_response *re,
	 const struct err *failed)
{
	struct keyring *k = userdata;
	struct certs certs = { .len = 0 };
	struct keyring_wait *w;
	struct keyset set;
	struct err e;
	unsigned round;
	int r = -1;

	if (failed) {
		e = *failed;
		err_prefix(&e, r, "Google's public keys");
	} else {
		r = certs_response(re, &certs, &e);
	}
	if (r >= 0)
		r = keyset_read(&certs, &set, &e);
	certs_clear(&certs);
	if (r >= 0)
		set_replace(k, &set, re->max_age);
	else
		set_failed(k, &e);

	round = ++k->round;
	while ((w = TAILQ_FIRST(&k->waits)) && w->round != round) {
		r = judge(k, w->jwt, w->text, &e);
		if (r == 0)
			r = unknown_key(k, w->jwt, &e);
		wait_end(w, r < 0 ? &e : NULL);
	}
}

int
keyring_verify(struct keyring *k, const struct jwt *j, const char *text,
	       const uint64_t *deadline, keyring_done_fn *done,
	       void *userdata, struct keyring_wait **ret, struct err *e)
{
	struct err ignored;
	int r = judge(k, j, text, e);

	if (r != 0) {
		if (r > 0 && now_boot(k) >= k->fresh_until && may_ask(k))
			(void)ask_certs(k, &ignored);
		return r;
	}

	if (!k->call && !may_ask(k))
		return unknown_key(k, j, e);
	if (!k->call) {
		r = ask_certs(k, e);
		if (r < 0)
			return r;
	}
	r = wait_new(k, deadline, ret, e);
	if (r < 0)
		return r;
	(*ret)->jwt = j;
	(*ret)->text = text;
	(*ret)->done = done;
	(*ret)->userdata = userdata;
	return 0;
}

/* Birth, death, and looking. */

static int
on_early(_unused_ sd_event_source *s, _unused_ uint64_t usec, void *userdata)
{
	struct keyring *k = userdata;
	struct err e;

	if (k->set.len == 0 && may_ask(k))
		(void)ask_certs(k, &e);
	return 0;
}

uint64_t
keyring_early_delay(const struct keyring_options *o, uint64_t random)
{
	return o->early_usec == UINT64_MAX ? random : random % (o->early_usec + 1);
}

/* From the loop, not from here: whoever makes us is still starting up.  Where it
   fails, whoever needs a key asks again. */
void
keyring_prefetch(struct keyring *k)
{
	struct hash_key dice = hash_key_random();

	if (!k->early)
		(void)sd_event_add_time_relative(
			k->event, &k->early, CLOCK_BOOTTIME,
			keyring_early_delay(&k->opt, dice.k0), 1, on_early, k);
}

struct keyring *
keyring_new(sd_event *event, struct http_client *http,
	    const struct endpoints *at, const struct keyring_options *o)
{
	struct keyring *k = xcalloc(1, sizeof(*k));

	k->event = sd_event_ref(event);
	k->http = http;
	k->at = at;
	k->opt = *o;
	k->delay = o->retry_usec;
	TAILQ_INIT(&k->waits);
	return k;
}

struct keyring *
keyring_free(struct keyring *k)
{
	if (!k)
		return NULL;

	assert(TAILQ_EMPTY(&k->waits));
	http_call_free(k->call);
	sd_event_source_unref(k->early);
	keyset_clear(&k->set);
	sd_event_unref(k->event);
	free(k);
	return NULL;
}

void
keyring_status(const struct keyring *k, struct keyring_status *ret)
{
	uint64_t now = now_boot(k);

	*ret = (struct keyring_status){
		.keys = k->set.len,
		.fresh_usec = k->fresh_until > now ? k->fresh_until - now : 0,
		.e = k->failed ? &k->last_error : NULL,
	};
}
