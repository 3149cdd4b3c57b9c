/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A hash table of links that lie inside other objects.  It owns none of them, and
   knows hashes only: whoever looks compares keys along table_bucket().  Starts as
   all zeroes; its buckets are the owner's to free(). */

#include "base/base.h"

struct link {
	struct link *next;
	uint64_t hash;
};

struct table {
	struct link **buckets;
	size_t size, len;
};

/* The head of the list that has all of this hash, and others.  Not while size
   is 0. */
struct link **table_bucket(const struct table *t, uint64_t hash);

void table_add(struct table *t, struct link *l, uint64_t hash);
/* l is in it. */
void table_remove(struct table *t, struct link *l);
