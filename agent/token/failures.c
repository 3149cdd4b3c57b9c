/* SPDX-License-Identifier: Apache-2.0 */

#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "base/hash.h"
#include "token/failures.h"
#include "token/token.h"

#define BUCKETS	1024

struct failure {
	LIST_ENTRY(failure) chain;
	TAILQ_ENTRY(failure) age;
	void *key;
	size_t len;
	/* The err; its own room for words would be most of our memory. */
	enum err_kind kind;
	enum err_scope scope;
	bool doubtful;
	unsigned status;
	char *msg;
	char *hint;
	uint64_t until;
	uint64_t span;		/* how long it was remembered this time */
};

struct failures {
	struct failures_options opt;
	struct hash_key hash;
	size_t n;
	LIST_HEAD(, failure) buckets[BUCKETS];
	TAILQ_HEAD(, failure) ages;	/* oldest first */
};

struct failures *
failures_new(const struct failures_options *o)
{
	struct failures *f = xcalloc(1, sizeof(*f));

	f->opt = *o;
	f->hash = hash_key_random();
	TAILQ_INIT(&f->ages);
	return f;
}

struct failures *
failures_free(struct failures *f)
{
	if (!f)
		return NULL;

	failures_flush(f);
	free(f);
	return NULL;
}

static size_t
bucket(const struct failures *f, const void *key, size_t len)
{
	return hash_bytes(&f->hash, key, len) % BUCKETS;
}

static struct failure *
find(const struct failures *f, const void *key, size_t len)
{
	struct failure *x;

	LIST_FOREACH(x, &f->buckets[bucket(f, key, len)], chain)
		if (x->len == len && memcmp(x->key, key, len) == 0)
			return x;
	return NULL;
}

static void
forget(struct failures *f, struct failure *x)
{
	LIST_REMOVE(x, chain);
	TAILQ_REMOVE(&f->ages, x, age);
	f->n--;
	free(x->key);
	free(x->msg);
	free(x->hint);
	free(x);
}

static void
keep_err(struct failure *x, const struct err *e)
{
	free(x->msg);
	free(x->hint);
	x->kind = e->kind;
	x->scope = e->scope;
	x->doubtful = e->doubtful;
	x->status = e->status;
	x->msg = xstrdup(e->msg);
	x->hint = xstrdup(e->hint);
}

static void
read_err(const struct failure *x, struct err *ret)
{
	*ret = (struct err){
		.kind = x->kind, .scope = x->scope, .doubtful = x->doubtful,
		.status = x->status,
	};
	snprintf(ret->msg, sizeof(ret->msg), "%s", x->msg);
	snprintf(ret->hint, sizeof(ret->hint), "%s", x->hint);
}

/* A denial in doubt is trouble. */
static uint64_t
span_of(const struct failures *f, const struct err *e, const struct failure *last)
{
	bool was_trouble = last && (last->kind != ERR_GOOGLE || last->doubtful);

	if (e->kind == ERR_GOOGLE && !e->doubtful)
		return f->opt.denied_usec;
	switch (e->kind) {
	case ERR_GOOGLE:
	case ERR_UNAVAILABLE:
	case ERR_TIMEOUT:
	case ERR_NOT_FOUND:	/* said by the metadata server, which may mend */
		if (!was_trouble)
			return f->opt.unavailable_first_usec;
		return MIN(2 * last->span, f->opt.unavailable_max_usec);
	default:
		return 0;
	}
}

/* Upstream may ask for more time than ours, but it does not close a key for
   good. */
static uint64_t
wish_of(const struct failures *f, const struct err *e)
{
	return MIN(e->retry_usec, MAX(f->opt.denied_usec,
				      f->opt.unavailable_max_usec));
}

void
failures_put(struct failures *f, const void *key, size_t len,
	     const struct err *e, uint64_t now)
{
	struct failure *x = find(f, key, len);
	uint64_t span = span_of(f, e, x);

	if (x && span == 0)
		forget(f, x);
	if (span == 0)
		return;

	if (x) {
		TAILQ_REMOVE(&f->ages, x, age);
	} else {
		if (f->n >= f->opt.max)
			forget(f, TAILQ_FIRST(&f->ages));
		x = xcalloc(1, sizeof(*x));
		x->key = xmemdup(key, len);
		x->len = len;
		LIST_INSERT_HEAD(&f->buckets[bucket(f, key, len)], x, chain);
		f->n++;
	}
	TAILQ_INSERT_TAIL(&f->ages, x, age);
	keep_err(x, e);
	x->span = span;
	x->until = now + MAX(span, wish_of(f, e));
}

int
failures_get(const struct failures *f, const void *key, size_t len,
	     uint64_t now, struct err *ret)
{
	const struct failure *x = find(f, key, len);

	if (!x || x->until <= now)
		return 0;

	read_err(x, ret);
	ret->retry_usec = x->until - now;
	return err_kind_errno(ret->kind);
}

void
failures_drop(struct failures *f, const void *key, size_t len)
{
	struct failure *x = find(f, key, len);

	if (x)
		forget(f, x);
}

void
failures_drop_audience(struct failures *f, const char *audience)
{
	struct failure *x = TAILQ_FIRST(&f->ages), *next;

	for (; x; x = next) {
		next = TAILQ_NEXT(x, age);
		if (token_key_is_for(x->key, x->len, audience))
			forget(f, x);
	}
}

void
failures_flush(struct failures *f)
{
	while (!TAILQ_EMPTY(&f->ages))
		forget(f, TAILQ_FIRST(&f->ages));
}

size_t
failures_len(const struct failures *f)
{
	return f->n;
}
