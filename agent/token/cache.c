/* SPDX-License-Identifier: Apache-2.0 */

/* Two kinds of things, entries and owners, and each is found in two ways: by key
   in a hash table, and by rank in a heap.  Entries rank by the time to refresh,
   owners by how much they hold; an owner's entries stand in a list in order of
   use.  Nothing here takes longer than the logarithm of what is cached. */

#include <assert.h>
#include <string.h>
#include <sys/queue.h>

#include "base/hash.h"
#include "base/heap.h"
#include "base/table.h"
#include "token/cache.h"

struct owner {
	struct link link;
	uint64_t id;
	/* Who holds the most comes first (hence the count is negative; the agent's
	   is 0), of these who used something last the longest ago.  "used" is
	   copied to the rank only when somebody has to go: a hit need not touch
	   the heap. */
	struct rank rank;
	uint64_t used;
	size_t len;
	TAILQ_HEAD(, entry) entries;	/* least recently used first */
};

struct entry {
	struct link link;
	struct rank rank;
	TAILQ_ENTRY(entry) siblings;
	struct owner *owner;
	struct token *token;
	void *key;
	size_t key_len;
	bool used;		/* since this token was put */
	unsigned unused;	/* tokens before it, in a row, that were not */
};

struct cache {
	struct cache_options opt;
	struct hash_key hash_key;
	uint64_t uses;			/* counts them; orders owners */
	uint64_t evicted;
	int64_t last_exp;		/* see cache_last_exp() */
	struct table entries, owners;
	struct heap by_refresh, by_share;
};

static struct owner *
owner_find(const struct cache *c, uint64_t id, uint64_t hash)
{
	struct owner *o;

	if (c->owners.len == 0)
		return NULL;
	for (struct link *l = *table_bucket(&c->owners, hash); l; l = l->next) {
		o = container_of(l, struct owner, link);
		if (o->id == id)
			return o;
	}
	return NULL;
}

static struct owner *
owner_get(struct cache *c, uint64_t id)
{
	uint64_t hash = hash_bytes(&c->hash_key, &id, sizeof(id));
	struct owner *o = owner_find(c, id, hash);

	if (o)
		return o;

	o = xcalloc(1, sizeof(*o));
	o->id = id;
	TAILQ_INIT(&o->entries);
	table_add(&c->owners, &o->link, hash);
	heap_add(&c->by_share, &o->rank);
	return o;
}

/* After its number of entries has changed. */
static void
owner_rank(struct cache *c, struct owner *o)
{
	if (o->len > 0) {
		o->rank.first = o->id == CACHE_OWNER_AGENT ? 0 : -(int64_t)o->len;
		o->rank.second = o->used;
		heap_fix(&c->by_share, &o->rank);
		return;
	}
	heap_remove(&c->by_share, &o->rank);
	table_remove(&c->owners, &o->link);
	free(o);
}

/* Who holds the most.  Each turn settles one owner, who used something since it
   was last ranked: no more turns than there were uses. */
static struct owner *
owner_largest(struct cache *c)
{
	struct owner *o;

	for (;;) {
		o = container_of(c->by_share.ranks[0], struct owner, rank);
		if (o->rank.second == o->used)
			return o;
		owner_rank(c, o);
	}
}

static struct entry *
entry_find(const struct cache *c, const void *key, size_t len, uint64_t hash)
{
	struct entry *en;

	if (c->entries.len == 0)
		return NULL;
	for (struct link *l = *table_bucket(&c->entries, hash); l; l = l->next) {
		en = container_of(l, struct entry, link);
		if (l->hash == hash && en->key_len == len &&
		    memcmp(en->key, key, len) == 0)
			return en;
	}
	return NULL;
}

static struct entry *
entry_find_key(const struct cache *c, const struct token_key *key)
{
	size_t len;
	_cleanup_(freep) char *bytes = token_key_bytes(key, &len);

	return entry_find(c, bytes, len, hash_bytes(&c->hash_key, bytes, len));
}

static void
entry_use(struct cache *c, struct entry *en)
{
	struct owner *o = en->owner;

	en->used = true;
	o->used = ++c->uses;
	TAILQ_REMOVE(&o->entries, en, siblings);
	TAILQ_INSERT_TAIL(&o->entries, en, siblings);
}

/* Takes over key. */
static struct entry *
entry_new(struct cache *c, void *key, size_t key_len, uint64_t hash,
	  uint64_t owner)
{
	struct entry *en = xcalloc(1, sizeof(*en));
	struct owner *o = owner_get(c, owner);

	en->key = key;
	en->key_len = key_len;
	en->owner = o;
	en->used = true;	/* somebody waits for it */
	en->rank.first = (int64_t)CACHE_NEVER;
	table_add(&c->entries, &en->link, hash);
	heap_add(&c->by_refresh, &en->rank);

	TAILQ_INSERT_TAIL(&o->entries, en, siblings);
	o->used = ++c->uses;
	o->len++;
	owner_rank(c, o);
	return en;
}

static void
entry_free(struct cache *c, struct entry *en)
{
	struct owner *o = en->owner;

	heap_remove(&c->by_refresh, &en->rank);
	table_remove(&c->entries, &en->link);
	TAILQ_REMOVE(&o->entries, en, siblings);
	o->len--;
	owner_rank(c, o);

	token_unref(en->token);
	free(en->key);
	free(en);
}

static void
entry_evict(struct cache *c, struct owner *o)
{
	entry_free(c, TAILQ_FIRST(&o->entries));
	c->evicted++;
}

/* --- the cache --------------------------------------------------------------- */

struct cache *
cache_new(const struct cache_options *o)
{
	struct cache *c;

	assert(o->entries > 0 && o->per_owner > 0);

	c = xcalloc(1, sizeof(*c));
	c->opt = *o;
	c->hash_key = hash_key_random();
	c->last_exp = INT64_MIN;
	return c;
}

struct cache *
cache_free(struct cache *c)
{
	if (!c)
		return NULL;

	cache_flush(c);
	free(c);
	return NULL;
}

void
cache_configure(struct cache *c, const struct cache_options *o)
{
	c->opt = *o;
	while (c->by_share.len > 0 && owner_largest(c)->len > o->per_owner)
		entry_evict(c, owner_largest(c));
	while (c->entries.len > o->entries)
		entry_evict(c, owner_largest(c));
}

static struct token *
entry_token(struct cache *c, struct entry *en, const struct token_now *now)
{
	if (!en)
		return NULL;
	if (token_left(en->token, now) == 0) {
		entry_free(c, en);
		return NULL;
	}
	entry_use(c, en);
	return en->token;
}

struct token *
cache_get(struct cache *c, const struct token_key *key, const struct token_now *now)
{
	return entry_token(c, entry_find_key(c, key), now);
}

struct cache_key *
cache_key_new(const struct cache *c, const struct token_key *key)
{
	size_t len;
	_cleanup_(freep) char *bytes = token_key_bytes(key, &len);
	struct cache_key *k = xcalloc(1, sizeof(*k) + len);

	memcpy(k->bytes, bytes, len);
	k->len = len;
	k->hash = hash_bytes(&c->hash_key, bytes, len);
	return k;
}

struct token *
cache_get_ready(struct cache *c, const struct cache_key *key,
		const struct token_now *now)
{
	return entry_token(c, entry_find(c, key->bytes, key->len, key->hash), now);
}

/* How many tokens in a row nobody has used, with the one that is there. */
static unsigned
next_unused(const struct entry *en)
{
	return en->used ? 0 : en->unused + 1;
}

void
cache_put(struct cache *c, const struct token_key *key, uint64_t owner,
	  struct token *t, uint64_t refresh_at)
{
	size_t len;
	_cleanup_(freep) char *bytes = token_key_bytes(key, &len);
	uint64_t hash = hash_bytes(&c->hash_key, bytes, len);
	struct entry *en = entry_find(c, bytes, len, hash);

	if (!en) {
		en = entry_new(c, TAKE_PTR(bytes), len, hash, owner);
	} else {
		en->unused = next_unused(en);
		en->used = false;
	}

	/* Reference first: t may be the very one being replaced. */
	token_ref(t);
	token_unref(en->token);
	en->token = t;
	c->last_exp = MAX(c->last_exp, token_exp(t));
	en->rank.first = (int64_t)refresh_at;
	heap_fix(&c->by_refresh, &en->rank);

	/* Room is made afterwards, so that the new entry counts.  It is the last
	   to go: the most recently used one, of the most recent owner. */
	if (en->owner->len > c->opt.per_owner)
		entry_evict(c, en->owner);
	if (c->entries.len > c->opt.entries)
		entry_evict(c, owner_largest(c));
}

void
cache_drop(struct cache *c, const struct token_key *key)
{
	struct entry *en = entry_find_key(c, key);

	if (en)
		entry_free(c, en);
}

void
cache_drop_audience(struct cache *c, const char *audience)
{
	const struct heap *all = &c->by_refresh;
	struct entry **gone = xcalloc(all->len + 1, sizeof(struct entry *));
	size_t n = 0;

	c->last_exp = INT64_MIN;
	for (size_t i = 0; i < all->len; i++) {
		struct entry *en = container_of(all->ranks[i], struct entry, rank);

		if (token_key_is_for(en->key, en->key_len, audience))
			gone[n++] = en;
		else
			c->last_exp = MAX(c->last_exp, token_exp(en->token));
	}
	while (n > 0)
		entry_free(c, gone[--n]);
	free(gone);
}

size_t
cache_walk(const struct cache *c, cache_look_fn *look, void *userdata)
{
	const struct heap *all = &c->by_refresh;
	size_t i;
	bool more = true;

	for (i = 0; more && i < all->len; i++) {
		struct entry *en = container_of(all->ranks[i], struct entry, rank);
		struct token_key *key = token_key_read(en->key);

		more = look(userdata, &(struct cache_item){
			.key = key, .token = en->token, .owner = en->owner->id,
		});
		free(key);
	}
	return more ? i : i - 1;
}

int64_t
cache_last_exp(const struct cache *c)
{
	return c->entries.len > 0 ? c->last_exp : INT64_MIN;
}

void
cache_flush(struct cache *c)
{
	const struct heap *all = &c->by_refresh;

	/* From the end, where nothing has to move up. */
	while (all->len > 0)
		entry_free(c, container_of(all->ranks[all->len - 1], struct entry,
					   rank));
	free(c->entries.buckets);
	free(c->owners.buckets);
	heap_clear(&c->by_refresh);
	heap_clear(&c->by_share);
	c->entries = c->owners = (struct table){ 0 };
	c->last_exp = INT64_MIN;
}

uint64_t
cache_next_refresh(const struct cache *c)
{
	return c->by_refresh.len > 0 ? (uint64_t)c->by_refresh.ranks[0]->first
				     : CACHE_NEVER;
}

static void
entry_refresh_at(struct cache *c, struct entry *en, uint64_t when)
{
	en->rank.first = (int64_t)when;
	heap_fix(&c->by_refresh, &en->rank);
}

bool
cache_due(struct cache *c, uint64_t boot, struct token_key **ret_key,
	  uint64_t *ret_owner, unsigned *ret_unused)
{
	struct entry *en;

	if (cache_next_refresh(c) > boot || c->by_refresh.len == 0)
		return false;

	en = container_of(c->by_refresh.ranks[0], struct entry, rank);
	entry_refresh_at(c, en, CACHE_NEVER);
	*ret_key = token_key_read(en->key);
	*ret_owner = en->owner->id;
	*ret_unused = next_unused(en);
	return true;
}

void
cache_due_again(struct cache *c)
{
	struct heap *all = &c->by_refresh;

	/* Still the last ones, so all of them keep their places. */
	for (size_t i = 0; i < all->len; i++)
		if (all->ranks[i]->first == (int64_t)CACHE_NEVER)
			all->ranks[i]->first--;
}

void
cache_refresh_at(struct cache *c, const struct token_key *key,
		 const struct token_now *now, uint64_t when)
{
	struct entry *en = entry_find_key(c, key);

	if (en && token_left(en->token, now) == 0)
		entry_free(c, en);
	else if (en)
		entry_refresh_at(c, en, when);
}

void
cache_rejudge(struct cache *c, const struct token_now *now, cache_when_fn *when,
	      void *userdata)
{
	struct heap old = c->by_refresh;

	/* Each is ranked anew, so the heap is built anew. */
	c->by_refresh = (struct heap){ 0 };
	for (size_t i = 0; i < old.len; i++) {
		struct entry *en = container_of(old.ranks[i], struct entry, rank);

		if (en->rank.first < (int64_t)CACHE_NEVER)
			en->rank.first = MIN(en->rank.first,
					     (int64_t)when(userdata, en->token));
		heap_add(&c->by_refresh, &en->rank);
		if (token_left(en->token, now) == 0)
			entry_free(c, en);
	}
	free(old.ranks);
}

size_t
cache_len(const struct cache *c)
{
	return c->entries.len;
}

uint64_t
cache_evicted(const struct cache *c)
{
	return c->evicted;
}

size_t
cache_owner_len(const struct cache *c, uint64_t owner)
{
	const struct owner *o;

	o = owner_find(c, owner, hash_bytes(&c->hash_key, &owner, sizeof(owner)));
	return o ? o->len : 0;
}
