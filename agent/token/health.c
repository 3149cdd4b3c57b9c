/* SPDX-License-Identifier: Apache-2.0 */

/* Can a token be had now?  Judged by what is known already: a look costs nothing,
   and asks nobody.

   A flight that ends for want of an answer, or of a sensible one, is trouble, and
   trouble is believed until a flight ends otherwise, or for a while: where nobody
   asks for tokens nothing would ever show that it has passed. */

#include "google/metadata.h"
#include "token/flight.h"
#include "token/flows.h"

/* The account's part: whether there is one, and a way to its tokens. */
static int
account_health(const struct broker *b, struct err *e)
{
	const struct account *a = b->ctx->account;

	switch (account_state(a)) {
	case ACCOUNT_FOUND:
		return b->ctx->flows ? flows_error(b->ctx->flows, e) : 0;
	case ACCOUNT_NONE:
		return metadata_no_account(e);
	default:
		return account_sought_error(a, e);
	}
}

/* While flights are under way nothing better is known. */
static bool
trouble_lasts(const struct broker *b)
{
	return b->trouble.until > 0 && (broker_boot(b) < b->trouble.until ||
					b->n.flights + b->n.queued > 0);
}

/* Seconds that some token in the cache may be good for. */
static uint64_t
cache_good_for(const struct broker *b)
{
	struct token_now now = clock_now(b->ctx->clock);
	int64_t seconds = MAX(now.wall, now.google) / (int64_t)USEC_PER_SEC;
	int64_t exp = cache_last_exp(b->cache);

	return exp > seconds ? (uint64_t)exp - (uint64_t)seconds : 0;
}

int
broker_health(const struct broker *b, struct err *e)
{
	uint64_t now = broker_boot(b);
	int r = account_health(b, e);

	if (r < 0)
		return r;
	r = clock_check(b->ctx->clock, e);
	if (r < 0)
		return cache_good_for(b) > 0 ? 0 : r;
	if (!trouble_lasts(b))
		return 1;

	*e = b->trouble.e;
	e->retry_usec = b->trouble.until > now ? b->trouble.until - now : 0;
	if (cache_good_for(b) > 0)
		return 0;
	return err_kind_errno(e->kind);
}

static void
health_tell(struct broker *b)
{
	if (b->health_changed)
		b->health_changed(b->health_userdata);
}

/* When trouble is no longer believed, and when the last token expires while it
   is: nothing else would tell. */
static void
health_arm(struct broker *b)
{
	uint64_t when = b->trouble.until, now = broker_boot(b);
	uint64_t left = cache_good_for(b);

	if (left > 0 && when > now)
		when = MIN(when, now + left * USEC_PER_SEC);
	sd_event_source_set_time(b->health, when);
	sd_event_source_set_enabled(b->health, SD_EVENT_ONESHOT);
}

static int
on_health_due(_unused_ sd_event_source *s, _unused_ uint64_t usec, void *userdata)
{
	struct broker *b = userdata;

	if (b->trouble.until > broker_boot(b))
		health_arm(b);
	health_tell(b);
	return 0;
}

void
health_landed(struct broker *b, const struct err *failed)
{
	if (failed && failed->kind != ERR_UNAVAILABLE &&
	    failed->kind != ERR_TIMEOUT && failed->kind != ERR_GOOGLE)
		return;			/* it says nothing of upstream */

	if (!failed || failed->kind == ERR_GOOGLE) {
		b->trouble.until = 0;
		sd_event_source_set_enabled(b->health, SD_EVENT_OFF);
	} else {
		b->trouble.e = *failed;
		b->trouble.until = broker_boot(b) + b->opt.trouble_usec;
		health_arm(b);
	}
	health_tell(b);
}

void
health_forget(struct broker *b)
{
	b->trouble.until = 0;
	sd_event_source_set_enabled(b->health, SD_EVENT_OFF);
	health_tell(b);
}

void
broker_on_health(struct broker *b, broker_health_fn *changed, void *userdata)
{
	b->health_changed = changed;
	b->health_userdata = userdata;
}

int
health_init(struct broker *b)
{
	int r = sd_event_add_time(b->event, &b->health, CLOCK_BOOTTIME, 0, 1,
				  on_health_due, b);

	return r < 0 ? r : sd_event_source_set_enabled(b->health, SD_EVENT_OFF);
}
