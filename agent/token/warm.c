/* SPDX-License-Identifier: Apache-2.0 */

/* Audiences that the agent itself wants tokens for: fetched as soon as the account
   is known, again where that failed, and refreshed whether somebody asks or not.

   They are the agent's own, whoever causes their flights, so that nobody pays for
   them and nobody pushes them out.  A few of them fly at a time: the first callers
   after boot are not to queue behind them. */

#include <assert.h>
#include <string.h>

#include "token/flight.h"
#include "token/flows.h"

#define WARM_FLIGHTS	4

static struct token_key
warm_key(const struct broker *b, size_t i)
{
	struct flows *fs = b->ctx->flows;

	return (struct token_key){
		.kind = TOKEN_ID,
		.account = "default",
		.variant = fs ? flows_variant(fs, flows_format(fs), false) : "",
		.audience = b->warm.audience[i],
	};
}

ssize_t
warm_find(const struct broker *b, const struct token_key *key)
{
	for (size_t i = 0; i < b->warm.len; i++) {
		struct token_key k = warm_key(b, i);

		if (strcmp(k.audience, key->audience) == 0 &&
		    strcmp(k.variant, key->variant) == 0 &&
		    strcmp(k.account, key->account) == 0 && k.kind == key->kind)
			return (ssize_t)i;
	}
	return -1;
}

static void
warm_arm(struct broker *b)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < b->warm.len; i++)
		next = MIN(next, b->warm.due[i]);
	if (next == UINT64_MAX || b->warm.running >= WARM_FLIGHTS) {
		sd_event_source_set_enabled(b->warm.timer, SD_EVENT_OFF);
		return;
	}
	sd_event_source_set_time(b->warm.timer, next);
	sd_event_source_set_enabled(b->warm.timer, SD_EVENT_ONESHOT);
}

/* How long no flight is worth while; 0: begin. */
static uint64_t
warm_pause(const struct broker *b, const struct token_key *key)
{
	size_t len;
	_cleanup_(freep) char *bytes = token_key_bytes(key, &len);
	struct err e;

	return failures_get(b->failures, bytes, len, broker_boot(b), &e) < 0
		? e.retry_usec : 0;
}

/* How long the token in the cache is good for; 0: there is none. */
static uint64_t
warm_rest(const struct broker *b, const struct token_key *key)
{
	struct token_now now = clock_now(b->ctx->clock);
	const struct token *t = cache_get(b->cache, key, &now);

	return t ? token_left(t, &now) : 0;
}

/* What is there is refreshed in time.  But that may have failed, and the entry
   gone: so look again when its token ends. */
static void
warm_begin(struct broker *b, size_t i)
{
	struct token_key key = warm_key(b, i);
	uint64_t rest = warm_rest(b, &key), pause;

	b->warm.due[i] = rest > 0 ? broker_boot(b) + rest : UINT64_MAX;
	if (rest > 0)
		return;
	pause = warm_pause(b, &key);
	if (pause > 0)
		b->warm.due[i] = broker_boot(b) + pause;
	else
		broker_refresh(b, &key, CACHE_OWNER_AGENT);
}

static int
on_warm(_unused_ sd_event_source *s, _unused_ uint64_t usec, void *userdata)
{
	struct broker *b = userdata;
	uint64_t now = broker_boot(b);

	/* When there is one, warm_all() is called. */
	if (account_state(b->ctx->account) != ACCOUNT_FOUND)
		return 0;
	for (size_t i = 0; i < b->warm.len; i++)
		if (b->warm.due[i] <= now && b->warm.running < WARM_FLIGHTS)
			warm_begin(b, i);
	warm_arm(b);
	return 0;
}

void
warm_landed(struct broker *b, const struct token_key *key,
	    const struct err *failed)
{
	ssize_t i = warm_find(b, key);
	uint64_t wait = b->opt.failures.unavailable_max_usec, known;

	if (i < 0)
		return;
	/* Not all failures are remembered, and a token may come too late. */
	known = failed ? warm_pause(b, key) : warm_rest(b, key);
	if (failed)
		wait = MAX(wait, failed->retry_usec);
	b->warm.due[i] = broker_boot(b) + (known > 0 ? known : wait);
}

void
warm_left(struct broker *b)
{
	b->warm.running--;
	warm_arm(b);
}

void
warm_all(struct broker *b)
{
	for (size_t i = 0; i < b->warm.len; i++)
		b->warm.due[i] = 0;
	if (b->warm.len > 0)
		warm_arm(b);
}

int
broker_keep_warm(struct broker *b, char *const *audiences, struct err *e)
{
	int r;

	while (audiences[b->warm.len])
		b->warm.len++;
	assert(b->warm.len <= BROKER_WARM_MAX);
	b->warm.audience = audiences;
	r = sd_event_add_time(b->event, &b->warm.timer, CLOCK_BOOTTIME, 0, 1,
			      on_warm, b);
	if (r < 0)
		return err_sys(e, -r, "cannot make a timer");
	warm_all(b);
	return 0;
}
