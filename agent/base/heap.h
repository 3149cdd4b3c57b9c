/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A binary heap of ranks that lie inside other objects: the least on top.  Owns
   none of them, and knows where each stands, so that any can be moved and taken
   out.  Starts as all zeroes. */

#include "base/base.h"

struct rank {
	int64_t first;
	uint64_t second;	/* where the first is equal */
	size_t index;
};

struct heap {
	struct rank **ranks;
	size_t size, len;
};

void heap_add(struct heap *h, struct rank *r);
void heap_remove(struct heap *h, struct rank *r);
/* After its rank has changed. */
void heap_fix(struct heap *h, struct rank *r);
/* Empty, without memory; whatever stood in it stands nowhere. */
void heap_clear(struct heap *h);
