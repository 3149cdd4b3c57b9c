/* SPDX-License-Identifier: Apache-2.0 */

#include "base/heap.h"

#define HEAP_MIN	16

static bool
rank_less(const struct rank *a, const struct rank *b)
{
	return a->first != b->first ? a->first < b->first : a->second < b->second;
}

static void
heap_set(struct heap *h, size_t index, struct rank *r)
{
	h->ranks[index] = r;
	r->index = index;
}

void
heap_fix(struct heap *h, struct rank *r)
{
	size_t i = r->index, child;

	for (; i > 0 && rank_less(r, h->ranks[(i - 1) / 2]); i = (i - 1) / 2)
		heap_set(h, i, h->ranks[(i - 1) / 2]);
	for (; (child = 2 * i + 1) < h->len; i = child) {
		if (child + 1 < h->len &&
		    rank_less(h->ranks[child + 1], h->ranks[child]))
			child++;
		if (!rank_less(h->ranks[child], r))
			break;
		heap_set(h, i, h->ranks[child]);
	}
	heap_set(h, i, r);
}

static void
heap_resize(struct heap *h, size_t size)
{
	h->ranks = xrealloc(h->ranks, size, sizeof(*h->ranks));
	h->size = size;
}

void
heap_add(struct heap *h, struct rank *r)
{
	if (h->len == h->size)
		heap_resize(h, h->size > 0 ? h->size * 2 : HEAP_MIN);
	heap_set(h, h->len++, r);
	heap_fix(h, r);
}

void
heap_remove(struct heap *h, struct rank *r)
{
	struct rank *last = h->ranks[--h->len];

	if (last != r) {
		heap_set(h, r->index, last);
		heap_fix(h, last);
	}
	if (h->size > HEAP_MIN && h->len < h->size / 4)
		heap_resize(h, h->size / 2);
}

void
heap_clear(struct heap *h)
{
	free(h->ranks);
	*h = (struct heap){ .len = 0 };
}
