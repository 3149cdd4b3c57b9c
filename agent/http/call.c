/* SPDX-License-Identifier: Apache-2.0 */

/* A request with its tries and its deadline.

   One timer ends both tries and the pauses between them.  libcurl's own would
   not do for tries: it stands still while the machine is suspended and while a
   transfer waits for a free connection, and cannot follow a deadline that
   moves.

   Before each try stands the budget.  Calls that it does not let out stand in one
   line; when the next one's turn may have come, all are asked in order. */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/text.h"
#include "http/transfer.h"

struct http_call {
	struct http_client *client;
	struct http_call **slot;
	struct http_request q;
	const struct http_lane_options *lane;
	char *host;			/* for words */
	const uint64_t *deadline;
	http_done_fn *done;
	void *userdata;

	struct transfer *transfer;
	struct transfer_end end;	/* of the last try */
	sd_event_source *timer;
	bool running;			/* a try is; else it is a pause, or: */
	bool waiting;			/* for its turn, in the client's line ... */
	int lacks;			/* ... because of this: budget_take()'s */
	TAILQ_ENTRY(http_call) turn;
	unsigned tries;
	uint64_t try_end;
	char last[200], before[200];	/* what became of the last two tries */
};

static uint64_t
call_now(const struct http_call *call)
{
	uint64_t now = 0;

	sd_event_now(call->client->event, CLOCK_BOOTTIME, &now);
	return now;
}

static uint64_t
later(uint64_t when, uint64_t usec)
{
	return usec < UINT64_MAX - when ? when + usec : UINT64_MAX;
}

static uint64_t
random_bits(uint64_t now)
{
	uint64_t v;

	/* Early at boot there may be none; jitter can do without. */
	if (getrandom(&v, sizeof(v), GRND_NONBLOCK) != (ssize_t)sizeof(v))
		v = now * UINT64_C(0x9e3779b97f4a7c15);
	return v;
}

static void _printf_(2, 3)
call_note(struct http_call *call, const char *fmt, ...)
{
	va_list ap;

	memcpy(call->before, call->last, sizeof(call->before));
	va_start(ap, fmt);
	vsnprintf(call->last, sizeof(call->last), fmt, ap);
	va_end(ap);
}

/* Take the result out of the call and drop the call, then tell: when the
   callback runs there is nothing left that it could pull away. */
static void
call_finish(struct http_call *call, const struct err *failed)
{
	struct http_response re = call->end.re;
	struct buf body = call->end.body;
	http_done_fn *done = call->done;
	void *userdata = call->userdata;

	call->end.body = BUF_INIT(body.max);
	http_call_free(call);

	re.body = buf_str(&body);
	re.body_len = body.len;
	done(userdata, failed ? NULL : &re, failed);
	buf_free(&body);
}

static void
call_give_up(struct http_call *call, uint64_t now)
{
	bool twice = call->before[0] && strcmp(call->before, call->last) != 0;
	const char *and = twice ? "; before that: " : "";
	const char *before = twice ? call->before : "";
	struct err e;

	if (now >= *call->deadline)
		err_set(&e, ERR_TIMEOUT,
			"%s: no answer before the deadline: %s%s%s", call->host,
			call->last, and, before);
	else
		err_set(&e, ERR_UNAVAILABLE, "%s: %s%s%s",
			call->host, call->last, and, before);
	call_finish(call, &e);
}

static int
call_arm(struct http_call *call, uint64_t when)
{
	int r = sd_event_source_set_time(call->timer, when);

	if (r < 0)
		return r;
	return sd_event_source_set_enabled(call->timer, SD_EVENT_ONESHOT);
}

static int
call_try(struct http_call *call, uint64_t now, struct err *e)
{
	int r;

	call->try_end = later(now, call->lane->try_usec);
	r = call_arm(call, MIN(call->try_end, *call->deadline));
	if (r < 0)
		return err_sys(e, -r, "cannot arm a timer");
	r = transfer_run(call->transfer, e);
	if (r < 0)
		return r;
	call->running = true;
	call->tries++;
	return 0;
}

/* The budget. */

static uint64_t
client_now(const struct http_client *c)
{
	uint64_t now = 0;

	sd_event_now(c->event, CLOCK_BOOTTIME, &now);
	return now;
}

/* Whose fault is it: a peer's that wants more than its share? */
static int
budget_error(int r, uint64_t payer, uint64_t wait, struct err *e)
{
	if (r == -EDQUOT && payer >= HTTP_PAYER_PEERS)
		r = err_set(e, ERR_BUSY, "this peer has used up its share of what "
			    "may be asked upstream (peer-share of "
			    "requests-per-minute)");
	else
		r = err_set(e, ERR_UNAVAILABLE, "as much has been asked upstream "
			    "as may be in a minute (requests-per-minute)");
	e->retry_usec = wait;
	return r;
}

static int
on_turn(_unused_ sd_event_source *s, _unused_ uint64_t usec, void *userdata);

/* At the latest by then; a deadline is each call's own affair. */
static int
turn_arm(struct http_client *c, uint64_t when)
{
	int r;

	if (when >= c->turn_at)
		return 0;
	r = c->turn ? sd_event_source_set_time(c->turn, when)
		: sd_event_add_time(c->event, &c->turn, CLOCK_BOOTTIME, when, 1,
				    on_turn, c);
	if (r >= 0)
		r = sd_event_source_set_enabled(c->turn, SD_EVENT_ONESHOT);
	if (r >= 0)
		c->turn_at = when;
	return r;
}

static void
call_stand(struct http_call *call, bool in_line)
{
	struct http_client *c = call->client;

	if (in_line && !call->waiting) {
		TAILQ_INSERT_TAIL(&c->turns, call, turn);
		c->n.waiting++;
		c->n.delayed++;
	} else if (!in_line && call->waiting) {
		TAILQ_REMOVE(&c->turns, call, turn);
		c->n.waiting--;
	}
	call->waiting = in_line;
}

static bool
payer_waits(const struct http_client *c, uint64_t payer)
{
	const struct http_call *other;

	TAILQ_FOREACH(other, &c->turns, turn)
		if (other->q.payer == payer)
			return true;
	return false;
}

/* Try, or wait for the turn.  Negative: that would come too late. */
static int
call_go(struct http_call *call, uint64_t now, struct err *e)
{
	struct http_client *c = call->client;
	uint64_t wait = 0, payer = call->q.payer;
	bool behind = !call->waiting && payer_waits(c, payer);
	int r;

	if (behind || now >= *call->deadline)
		r = budget_ask(c->budget, payer, now, &wait);
	else
		r = budget_take(c->budget, payer, now, &wait);
	if (r == 0 && !behind && now < *call->deadline) {
		call_stand(call, false);
		return call_try(call, now, e);
	}
	if (r < 0 || !call->lacks)
		call->lacks = r < 0 ? r : -EAGAIN;
	if (later(now, wait) >= *call->deadline) {
		c->n.refused++;
		r = budget_error(call->lacks, payer, wait, e);
		return err_prefix(e, r, "%s: not asked", call->host);
	}

	call_stand(call, true);
	r = turn_arm(c, later(now, wait));
	if (r >= 0)
		r = call_arm(call, *call->deadline);
	return r < 0 ? err_sys(e, -r, "cannot arm a timer") : 0;
}

/* What was answered before tells more than that there is no further try. */
static void
call_went_not(struct http_call *call, uint64_t now, const struct err *e)
{
	if (call->tries == 0 || e->kind == ERR_INTERNAL)
		call_finish(call, e);
	else if (call->end.re.status > 0)
		call_finish(call, NULL);
	else
		call_give_up(call, now);
}

/* One that ends here may pull away any other: then from the head again, where all
   that were asked already are refused as before. */
static int
on_turn(_unused_ sd_event_source *s, _unused_ uint64_t usec, void *userdata)
{
	struct http_client *c = userdata;
	uint64_t now = client_now(c);
	struct http_call *call;
	struct err e;

	c->turn_at = UINT64_MAX;
	c->busy = true;
	for (call = TAILQ_FIRST(&c->turns); call; ) {
		struct http_call *next = TAILQ_NEXT(call, turn);

		if (call_go(call, now, &e) < 0) {
			call_went_not(call, now, &e);
			next = TAILQ_FIRST(&c->turns);
		}
		call = next;
	}
	client_rest(c);
	return 0;
}

/* A try is over: answered, or with status 0 for the reason noted. */
static void
call_judge(struct http_call *call)
{
	uint64_t now = call_now(call), delay;
	unsigned status = call->end.re.status;

	call->running = false;
	if (!call->end.for_good && !call->q.once &&
	    retry_next(&call->lane->retry, call->tries, status,
		       status > 0 ? call->end.re.retry_after_usec : 0, now,
		       *call->deadline, random_bits(now), &delay) &&
	    call_arm(call, later(now, delay)) >= 0) {
		if (status > 0)
			call_note(call, "HTTP %u", status);
		return;
	}
	if (status > 0)
		call_finish(call, NULL);
	else
		call_give_up(call, now);
}

static void
on_transfer(void *userdata)
{
	struct http_call *call = userdata;

	if (call->end.failed[0])
		call_note(call, "%s", call->end.failed);
	call_judge(call);
}

static int
on_time(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata)
{
	struct http_call *call = userdata;
	uint64_t now = call_now(call), end;
	struct err e;

	if (!call->running) {
		if (now >= *call->deadline && call->tries > 0)
			call_give_up(call, now);
		else if (call_go(call, now, &e) < 0)
			call_went_not(call, now, &e);
		return 0;
	}

	/* The deadline may have moved away since the timer was set. */
	end = MIN(call->try_end, *call->deadline);
	if (now < end && call_arm(call, end) >= 0)
		return 0;
	call_note(call, "waited in vain for %s", transfer_stage(call->transfer));
	transfer_stop(call->transfer);
	call->end.re.status = 0;
	call_judge(call);
	return 0;
}

static bool
scheme_allowed(const struct http_client_options *o, const struct http_request *q)
{
	if (strncmp(q->url, "https://", 8) == 0)
		return o->plain_http || q->lane == HTTP_LANE_GOOGLE;
	if (strncmp(q->url, "http://", 7) == 0)
		return o->plain_http || q->lane == HTTP_LANE_LOCAL;
	return false;
}

/* HOST[:PORT] of the URL, and never its path or query: they may be secret. */
static char *
host_words(const struct http_client_options *o, const struct http_request *q)
{
	bool proxied = q->lane == HTTP_LANE_GOOGLE && o->proxy;
	const char *host = strstr(q->url, "://");
	char shown[TEXT_SHOW_SIZE];

	host = host ? host + 3 : q->url;
	text_show(shown, host, strcspn(host, "/?#"));
	return xasprintf("%s%s", shown, proxied ? " (through the proxy)" : "");
}

struct http_call *
http_call_free(struct http_call *call)
{
	if (!call)
		return NULL;

	call_stand(call, false);
	transfer_free(call->transfer);
	sd_event_source_disable_unref(call->timer);
	http_request_clear(&call->q);
	buf_free(&call->end.body);
	free(call->host);
	if (call->slot)
		*call->slot = NULL;
	free(call);
	return NULL;
}
DEFINE_CLEANUP(struct http_call *, http_call_free)

int
http_client_start(struct http_client *c, struct http_request *q,
		  const uint64_t *deadline,
		  http_done_fn *done, void *userdata,
		  struct http_call **ret, struct err *e)
{
	const struct http_client_options *o = &c->opt;
	_cleanup_(http_call_freep) struct http_call *call = NULL;
	uint64_t now;
	int r;

	call = xcalloc(1, sizeof(*call));
	call->client = c;
	call->q = *q;
	*q = (struct http_request){ .method = NULL };
	call->lane = &o->lane[call->q.lane];
	call->host = host_words(o, &call->q);
	call->end.body = BUF_INIT(o->max_body);
	call->deadline = deadline;
	call->done = done;
	call->userdata = userdata;

	if (!scheme_allowed(o, &call->q))
		return err_set(e, ERR_INTERNAL, "%s: not asked by this scheme",
			       call->host);
	now = call_now(call);
	if (now >= *deadline)
		return err_set(e, ERR_TIMEOUT, "%s: not asked: no time left",
			       call->host);

	r = sd_event_add_time(c->event, &call->timer, CLOCK_BOOTTIME,
			      UINT64_MAX, 1, on_time, call);
	if (r < 0)
		return err_sys(e, -r, "cannot make a timer");
	r = transfer_new(c, &call->q, &call->end, on_transfer, call,
			 &call->transfer, e);
	if (r < 0)
		return r;
	r = call_go(call, now, e);
	if (r < 0)
		return r;

	call->slot = ret;
	*ret = TAKE_PTR(call);
	return 0;
}

/* Looking. */

int
http_client_may(const struct http_client *c, uint64_t payer, uint64_t deadline,
		struct err *e)
{
	uint64_t now = client_now(c), wait;
	int r = budget_ask(c->budget, payer, now, &wait);

	if (r == 0 || later(now, wait) < deadline)
		return 0;
	return budget_error(r, payer, wait, e);
}

uint64_t
http_client_sent(const struct http_client *c)
{
	return c->sent;
}

void
http_client_count(const struct http_client *c, struct http_client_counts *ret)
{
	*ret = c->n;
	ret->per_minute = c->opt.budget.per_minute;
	ret->left = budget_left(c->budget, client_now(c));
}
