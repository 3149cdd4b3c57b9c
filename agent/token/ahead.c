/* SPDX-License-Identifier: Apache-2.0 */

/* Tokens are fetched anew ahead of their expiry, and judged anew when a clock was
   set or the machine has slept. */

#include "base/log.h"
#include "token/flight.h"

void
ahead_arm(struct broker *b)
{
	uint64_t next = cache_next_refresh(b->cache);

	if (next == CACHE_NEVER) {
		sd_event_source_set_enabled(b->refresh, SD_EVENT_OFF);
		return;
	}
	sd_event_source_set_time(b->refresh, next);
	sd_event_source_set_enabled(b->refresh, SD_EVENT_ONESHOT);
}

/* When to fetch the next one: however short this one's life, not at once. */
uint64_t
ahead_when(struct broker *b, const struct token *t, const struct token_now *now)
{
	struct refresh_options o = b->opt.refresh;
	uint64_t n = b->draws++;

	/* The metadata server's stays the same one until shortly before. */
	if (token_kind(t) == TOKEN_ACCESS) {
		o.ahead_usec = b->opt.access_ahead_usec;
		o.jitter_usec = 0;
	}
	/* One secret number for all, another one for each VM. */
	return broker_boot(b) + MAX(b->opt.refresh.pause_usec,
		refresh_after(&o, token_left(t, now),
			      hash_bytes(&b->hash, &n, sizeof(n))));
}

static int
on_refresh(_unused_ sd_event_source *s, _unused_ uint64_t usec, void *userdata)
{
	struct broker *b = userdata;
	uint64_t now = broker_boot(b);
	struct token_key *key;
	uint64_t owner;
	unsigned unused;

	while (cache_due(b->cache, now, &key, &owner, &unused)) {
		if (unused < b->opt.refresh.idle_limit || warm_find(b, key) >= 0)
			broker_refresh(b, key, owner);
		free(key);
	}
	ahead_arm(b);
	return 0;
}

/* Clocks. */

static uint64_t
on_rejudged(void *userdata, const struct token *t)
{
	struct broker *b = userdata;
	struct token_now now = clock_now(b->ctx->clock);

	return ahead_when(b, t, &now);
}

void
ahead_rejudge(struct broker *b)
{
	struct token_now now = clock_now(b->ctx->clock);

	cache_rejudge(b->cache, &now, on_rejudged, b);
	ahead_arm(b);
}

/* Tokens that are expired by now go, others have less time than they had, and what
   failed by the old time, or before the machine slept, may succeed. */
static void
on_clock(void *userdata, const struct clock_status *s)
{
	struct broker *b = userdata;
	struct err e;

	ahead_rejudge(b);
	if (!s->bad)
		failures_flush(b->failures);
	warm_all(b);
	health_forget(b);
	if (s->bad == b->clock_bad)
		return;
	b->clock_bad = s->bad;
	if (clock_check(b->ctx->clock, &e) < 0)
		log_warning(LOG_NO_FIELDS, "no new tokens: %s; %s", e.msg, e.hint);
	else
		log_notice(LOG_NO_FIELDS, "this machine's clock is near enough to "
			   "Google's again");
}

int
ahead_init(struct broker *b)
{
	int r = sd_event_add_time(b->event, &b->refresh, CLOCK_BOOTTIME, 0, 0,
				  on_refresh, b);

	clock_on_change(b->ctx->clock, on_clock, b);
	return r < 0 ? r : sd_event_source_set_enabled(b->refresh, SD_EVENT_OFF);
}
