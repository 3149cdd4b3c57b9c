/* SPDX-License-Identifier: Apache-2.0 */

/* The broker's, too: another one takes its place, and those who wait stay. */

#include "token/flight.h"

/* A refresh may be due earlier than its first owner had planned; and what is under
   way to him never comes here. */
static void
take_cache(struct broker *b, struct broker *from)
{
	struct cache *empty = b->cache;

	b->cache = from->cache;
	from->cache = empty;
	cache_configure(b->cache, &b->opt.cache);
	cache_due_again(b->cache);
	ahead_rejudge(b);
}

void
broker_retire(struct broker *b, struct broker *heir)
{
	if (heir)
		take_cache(heir, b);
	cache_flush(b->cache);
	ahead_arm(b);
	if (b->warm.len > 0)
		sd_event_source_set_enabled(b->warm.timer, SD_EVENT_OFF);
	b->warm.len = 0;
	b->health_changed = NULL;
}
