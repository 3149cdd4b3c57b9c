/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <string.h>
#include <sys/queue.h>

#include "api/audit.h"
#include "api/audit_strangers.h"
#include "base/hash.h"
#include "base/table.h"
#include "base/text.h"

/* Whom the table of peers has no room for. */
#define REST	(UINT64_MAX - 1)

/* One uid's part of the strangers' bucket: an eighth. */
#define STRANGERS	8

TAILQ_HEAD(seen_list, audit_seen);

/* A bucket is when it will be full again, as in limit.c. */
struct audit_peer {
	struct link link;
	TAILQ_ENTRY(audit_peer) order;	/* least recently asked for first */
	struct seen_list seen;
	size_t n;			/* of these */
	uint64_t owner, full_at;
	struct audit_left left;
	struct audit_who who;		/* of the last that was left out */
	char unit[CGROUP_NAME_SIZE];
};

/* An audience may be long and is chosen by the peer: two hashes under secret keys
   stand for the whole question. */
struct seen_key {
	uint64_t a, b;
};

struct audit_seen {
	struct link link;
	TAILQ_ENTRY(audit_seen) all, own; /* forgotten from the front */
	struct audit_peer *peer;
	unsigned refs;		/* the table's, and each note's */
	bool used;		/* granted since it was last spared */
	uint64_t due;		/* the next line; 0: now, or it is forgotten */
	uint64_t count;		/* grants since the last line */
	uint64_t key_b;
	struct audit_event event; /* its texts are ours */
	char *account, *audience, *rule, *unit;
};

struct audit {
	struct audit_options opt;
	audit_write_fn *write;
	void *userdata;
	struct hash_key key_a, key_b;
	struct table peers, seen;
	struct audit_peer rest;
	struct audit_strangers strangers;
	TAILQ_HEAD(, audit_peer) order;
	struct seen_list all;
};

static void
peer_init_empty(struct audit_peer *p, uint64_t owner)
{
	p->owner = owner;
	TAILQ_INIT(&p->seen);
}

struct audit *
audit_new(const struct audit_options *o, audit_write_fn *write, void *userdata)
{
	struct audit *a = xcalloc(1, sizeof(*a));

	assert(o->entries > 0 && o->per_peer > 0 && o->burst > 0);
	a->opt = *o;
	a->write = write;
	a->userdata = userdata;
	a->key_a = hash_key_random();
	a->key_b = hash_key_random();
	TAILQ_INIT(&a->order);
	TAILQ_INIT(&a->all);
	peer_init_empty(&a->rest, REST);
	return a;
}

/* --- lines ------------------------------------------------------------------ */

static bool
bucket_take(uint64_t *full_at, uint64_t now, uint64_t each_usec, unsigned burst)
{
	uint64_t then = MAX(*full_at, now) + each_usec;

	if (then > now + each_usec * burst)
		return false;
	*full_at = then;
	return true;
}

/* May this peer have a line more? */
static bool
peer_take(struct audit *a, struct audit_peer *p, const struct audit_who *who,
	  uint64_t now)
{
	const struct audit_options *o = &a->opt;

	if (p->owner == AUDIT_STRANGERS &&
	    !bucket_take(audit_strangers_bucket(&a->strangers, who->uid, now), now,
			 o->each_usec * STRANGERS, MAX(o->burst / STRANGERS, 1U)))
		return false;
	return bucket_take(&p->full_at, now, o->each_usec, o->burst);
}

static void
peer_leave_out(struct audit_peer *p, const struct audit_who *who, uint64_t *left,
	       uint64_t n)
{
	*left += n;
	p->who = *who;
	p->who.unit = NULL;
	if (who->unit && strlen(who->unit) < sizeof(p->unit))
		p->who.unit = memcpy(p->unit, who->unit, strlen(who->unit) + 1);
}

uint64_t
audit_left_sum(const struct audit_left *l)
{
	return l->grants + l->denials + l->would_be;
}

/* Each line of a peer says what was left out before it. */
static void
peer_write(const struct audit *a, struct audit_peer *p, struct audit_line l)
{
	l.left = p->left;
	p->left = (struct audit_left){ 0 };
	a->write(a->userdata, &l);
}

static void
peer_write_event(const struct audit *a, struct audit_peer *p, enum audit_what what,
		 const struct audit_event *event, const char *words)
{
	char shown[TEXT_SHOW_SIZE];
	struct audit_line l = { .what = what, .event = *event, .words = words,
				.count = 1 };

	if (event->audience)
		l.event.audience = text_show_str(shown, event->audience);
	peer_write(a, p, l);
}

static void
seen_write(const struct audit *a, struct audit_peer *p, struct audit_seen *s)
{
	peer_write(a, p, (struct audit_line){ .what = AUDIT_GRANT,
					      .event = s->event,
					      .count = s->count });
	s->count = 0;
}

/* --- questions granted ------------------------------------------------------ */

struct audit_seen *
audit_seen_unref(struct audit_seen *s)
{
	if (!s || --s->refs > 0)
		return NULL;

	assert(!s->peer);
	free(s->account);
	free(s->audience);
	free(s->rule);
	free(s->unit);
	free(s);
	return NULL;
}

static void
seen_forget(struct audit *a, struct audit_seen *s, uint64_t now)
{
	struct audit_peer *p = s->peer;

	if (s->count > 0 && peer_take(a, p, &s->event.who, now))
		seen_write(a, p, s);
	else if (s->count > 0)
		peer_leave_out(p, &s->event.who, &p->left.grants, s->count);
	table_remove(&a->seen, &s->link);
	TAILQ_REMOVE(&a->all, s, all);
	TAILQ_REMOVE(&p->seen, s, own);
	p->n--;
	s->peer = NULL;
	s->due = 0;
	audit_seen_unref(s);
}

/* The oldest that was not granted since it was last spared: each is spared once. */
static void
seen_forget_one(struct audit *a, uint64_t now)
{
	struct audit_seen *s;

	while ((s = TAILQ_FIRST(&a->all))->used) {
		s->used = false;
		TAILQ_REMOVE(&a->all, s, all);
		TAILQ_INSERT_TAIL(&a->all, s, all);
	}
	seen_forget(a, s, now);
}

static void
seen_forget_one_of(struct audit *a, struct audit_peer *p, uint64_t now)
{
	struct audit_seen *s;

	while ((s = TAILQ_FIRST(&p->seen))->used) {
		s->used = false;
		TAILQ_REMOVE(&p->seen, s, own);
		TAILQ_INSERT_TAIL(&p->seen, s, own);
	}
	seen_forget(a, s, now);
}

static uint64_t
hash_event(const struct hash_key *k, const struct audit_event *event)
{
	const char *audience = event->audience ?: "";
	uint64_t parts[5] = {
		event->owner,
		event->kind,
		event->audience != NULL,
		hash_bytes(k, event->account, strlen(event->account)),
		hash_bytes(k, audience, strlen(audience)),
	};

	return hash_bytes(k, parts, sizeof(parts));
}

static struct audit_seen *
seen_find(const struct audit *a, const struct seen_key *key)
{
	struct link *l = a->seen.size ? *table_bucket(&a->seen, key->a) : NULL;

	for (; l; l = l->next) {
		struct audit_seen *s = container_of(l, struct audit_seen, link);

		if (l->hash == key->a && s->key_b == key->b)
			return s;
	}
	return NULL;
}

static char *
text_replace(char *old, const char *new)
{
	if (old && new && strcmp(old, new) == 0)
		return old;
	free(old);
	return new ? xstrdup(new) : NULL;
}

/* Who got it last, and by which rule, is what its next line says. */
static void
seen_set(struct audit_seen *s, const struct audit_event *event)
{
	s->rule = text_replace(s->rule, event->rule);
	s->unit = text_replace(s->unit, event->who.unit);
	s->event.rule = s->rule;
	s->event.who = event->who;
	s->event.who.unit = s->unit;
}

static struct audit_seen *
seen_new(struct audit *a, struct audit_peer *p, const struct audit_event *event,
	 const struct seen_key *key, uint64_t now)
{
	struct audit_seen *s = xcalloc(1, sizeof(*s));
	char shown[TEXT_SHOW_SIZE];

	if (p->n >= a->opt.per_peer)
		seen_forget_one_of(a, p, now);
	else if (a->seen.len >= a->opt.entries)
		seen_forget_one(a, now);

	s->refs = 1;
	s->peer = p;
	s->key_b = key->b;
	s->event = *event;
	s->event.account = s->account = xstrdup(event->account);
	if (event->audience)
		s->audience = xstrdup(text_show_str(shown, event->audience));
	s->event.audience = s->audience;
	table_add(&a->seen, &s->link, key->a);
	TAILQ_INSERT_TAIL(&a->all, s, all);
	TAILQ_INSERT_TAIL(&p->seen, s, own);
	p->n++;
	return s;
}

/* --- peers ------------------------------------------------------------------ */

/* What it has not said yet is said. */
static void
peer_forget(struct audit *a, struct audit_peer *p, uint64_t now)
{
	while (!TAILQ_EMPTY(&p->seen))
		seen_forget(a, TAILQ_FIRST(&p->seen), now);
	if (audit_left_sum(&p->left) > 0)
		peer_write(a, p, (struct audit_line){
			.what = AUDIT_SUM,
			.event = { .owner = p->owner, .who = p->who },
		});
	if (p == &a->rest)
		return;
	table_remove(&a->peers, &p->link);
	TAILQ_REMOVE(&a->order, p, order);
	free(p);
}

static struct audit_peer *
peer_find(const struct audit *a, uint64_t owner, uint64_t hash)
{
	struct link *l = a->peers.size ? *table_bucket(&a->peers, hash) : NULL;

	for (; l; l = l->next) {
		struct audit_peer *p = container_of(l, struct audit_peer, link);

		if (p->owner == owner)
			return p;
	}
	return NULL;
}

/* Nobody is forgotten whose bucket is not full: it would be, when he comes back. */
static struct audit_peer *
peer_of(struct audit *a, uint64_t owner, uint64_t now)
{
	uint64_t hash = hash_bytes(&a->key_a, &owner, sizeof(owner));
	struct audit_peer *p = peer_find(a, owner, hash);

	if (p) {
		TAILQ_REMOVE(&a->order, p, order);
		TAILQ_INSERT_TAIL(&a->order, p, order);
		return p;
	}
	p = TAILQ_FIRST(&a->order);
	if (a->peers.len >= a->opt.peers) {
		if (!p || p->full_at > now)
			return &a->rest;
		peer_forget(a, p, now);
	}
	p = xcalloc(1, sizeof(*p));
	peer_init_empty(p, owner);
	table_add(&a->peers, &p->link, hash);
	TAILQ_INSERT_TAIL(&a->order, p, order);
	return p;
}

void
audit_configure(struct audit *a, const struct audit_options *o)
{
	a->opt.mode = o->mode;
	a->opt.repeat_usec = o->repeat_usec;
}

struct audit *
audit_free(struct audit *a, uint64_t now)
{
	if (!a)
		return NULL;

	while (!TAILQ_EMPTY(&a->order))
		peer_forget(a, TAILQ_FIRST(&a->order), now);
	peer_forget(a, &a->rest, now);
	assert(a->seen.len == 0 && a->peers.len == 0);
	free(a->seen.buckets);
	free(a->peers.buckets);
	free(a);
	return NULL;
}

/* --- events ----------------------------------------------------------------- */

static bool
kind_is_strong(enum policy_kind kind)
{
	return kind != POLICY_ID && kind != POLICY_MONITOR;
}

bool
audit_again(struct audit_seen *s, uint64_t now)
{
	if (!s || now >= s->due)
		return false;
	s->count++;
	s->used = true;
	return true;
}

static void
note_set(struct audit_seen **note, struct audit_seen *s)
{
	if (*note == s)
		return;
	audit_seen_unref(*note);
	*note = s;
	s->refs++;
}

void
audit_granted(struct audit *a, const struct audit_event *event, uint64_t now,
	      struct audit_seen **note)
{
	struct audit_peer *p;
	struct audit_seen *s;
	struct seen_key key;

	if (a->opt.mode < AUDIT_NEW)
		return;
	p = peer_of(a, event->owner, now);
	if (kind_is_strong(event->kind))
		return peer_write_event(a, p, AUDIT_GRANT, event, NULL);
	if (a->opt.mode == AUDIT_ALL) {
		if (peer_take(a, p, &event->who, now))
			return peer_write_event(a, p, AUDIT_GRANT, event, NULL);
		return peer_leave_out(p, &event->who, &p->left.grants, 1);
	}

	key = (struct seen_key){ hash_event(&a->key_a, event),
				 hash_event(&a->key_b, event) };
	s = seen_find(a, &key) ?: seen_new(a, p, event, &key, now);
	seen_set(s, event);
	s->used = true;
	s->count++;
	if (now >= s->due && peer_take(a, p, &event->who, now)) {
		seen_write(a, p, s);
		s->due = now + a->opt.repeat_usec;
	}
	note_set(note, s);
}

void
audit_denied(struct audit *a, const struct audit_event *event, bool served,
	     const char *words, uint64_t now)
{
	struct audit_peer *p;

	if (a->opt.mode == AUDIT_NONE)
		return;
	p = peer_of(a, event->owner, now);
	if (peer_take(a, p, &event->who, now))
		peer_write_event(a, p, served ? AUDIT_WOULD_DENY : AUDIT_DENY,
				 event, words);
	else
		peer_leave_out(p, &event->who,
			       served ? &p->left.would_be : &p->left.denials, 1);
}
