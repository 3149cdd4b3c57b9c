/* SPDX-License-Identifier: Apache-2.0 */

#include "base/table.h"

#define TABLE_MIN	16	/* buckets; a power of 2, like all later sizes */

struct link **
table_bucket(const struct table *t, uint64_t hash)
{
	return &t->buckets[hash & (t->size - 1)];
}

static void
table_resize(struct table *t, size_t size)
{
	struct table fresh = { xcalloc(size, sizeof(*t->buckets)), size, t->len };
	struct link *l, *next, **bucket;

	for (size_t i = 0; i < t->size; i++) {
		for (l = t->buckets[i]; l; l = next) {
			next = l->next;
			bucket = table_bucket(&fresh, l->hash);
			l->next = *bucket;
			*bucket = l;
		}
	}
	free(t->buckets);
	*t = fresh;
}

void
table_add(struct table *t, struct link *l, uint64_t hash)
{
	struct link **bucket;

	if (t->len >= t->size)
		table_resize(t, t->size > 0 ? t->size * 2 : TABLE_MIN);
	bucket = table_bucket(t, hash);
	l->hash = hash;
	l->next = *bucket;
	*bucket = l;
	t->len++;
}

void
table_remove(struct table *t, struct link *l)
{
	struct link **at = table_bucket(t, l->hash);

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	t->len--;
	if (t->size > TABLE_MIN && t->len < t->size / 8)
		table_resize(t, t->size / 2);
}
