/* SPDX-License-Identifier: Apache-2.0 */

/* The broker's, too: another one takes its place, and those who wait stay. */

#include "token/flight.h"

static uint64_t
on_rejudged(void *userdata, const struct token *t)
{
	struct broker *b = userdata;
	struct token_now now = clock_now(b->ctx->clock);

	return ahead_when(b, t, &now);
}

/* A refresh may be due earlier than its first owner had planned. */
static void
take_cache(struct broker *b, struct broker *from)
{
	struct token_now now = clock_now(b->ctx->clock);
	struct cache *empty = b->cache;

	b->cache = from->cache;
	from->cache = empty;
	cache_configure(b->cache, &b->opt.cache);
	cache_rejudge(b->cache, &now, on_rejudged, b);
	ahead_arm(b);
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
