/* SPDX-License-Identifier: Apache-2.0 */

/* A request with its tries and its deadline.

   One timer ends both tries and the pauses between them.  libcurl's own would
   not do for tries: it stands still while the machine is suspended and while a
   transfer waits for a free connection, and cannot follow a deadline that
   moves.

   Before each try stands http/turn.h. */

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/text.h"
#include "http/detour.h"
#include "http/turn.h"

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
	struct turn turn;		/* it tries, or waits; else it is a pause */
	unsigned tries;			/* at both addresses: one */
	bool detours;			/* this one is at the other one */
	uint64_t try_end;
	char last[200], before[200];	/* what became of the last two tries */
};

static transfer_done_fn on_transfer;

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

const struct http_upstream *
http_client_upstream(const struct http_client *c, unsigned upstream)
{
	assert(upstream < HTTP_UPSTREAMS);
	return &c->upstream[upstream];
}

/* A try is over, and so much is known of its upstream. */
static void
call_count(const struct http_call *call, uint64_t now)
{
	struct http_upstream *u = &call->client->upstream[call->q.upstream];
	unsigned status = call->end.re.status;

	u->answers[status / 100 < ARRAY_SIZE(u->answers) ? status / 100 : 0]++;
	u->ended = now;
	u->failing = retry_status_is_transient(status);
	if (!u->failing)
		return;
	u->failed = now;
	if (status > 0)
		snprintf(u->why, sizeof(u->why), "HTTP %u", status);
	else
		snprintf(u->why, sizeof(u->why), "%s", call->last);
}

static void
call_give_up(struct http_call *call, uint64_t now)
{
	struct http_upstream *u = &call->client->upstream[call->q.upstream];
	bool twice = call->before[0] && strcmp(call->before, call->last) != 0;
	const char *and = twice ? "; before that: " : "";
	const char *before = twice ? call->before : "";
	bool late = now >= *call->deadline;
	const char *in_vain = late ? "no answer before the deadline: " : "";
	enum err_kind kind = late ? ERR_TIMEOUT : ERR_UNAVAILABLE;
	struct err e;

	u->gave_up++;
	if (!call->detours)
		err_set(&e, kind, "%s: %s%s%s%s", call->host, in_vain, call->last,
			and, before);
	else if (call->before[0])
		err_set(&e, kind, "%s; %s: %s%s", call->before, call->host,
			in_vain, call->last);
	else	/* the other address's turn never came */
		err_set(&e, kind, "%s%s", in_vain, call->last);
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
	turn_set(call->client, &call->turn, TURN_TRIES);
	call->tries += !call->detours;
	call->client->upstream[call->q.upstream].tries++;
	return 0;
}

/* Try, or wait for the turn.  Negative: that would come too late. */
static int
call_go(struct http_call *call, uint64_t now, struct err *e)
{
	struct http_client *c = call->client;
	uint64_t wait;
	int r = turn_take(c, &call->turn, now, &wait);

	if (r == 0) {
		turn_set(c, &call->turn, TURN_REST);
		return call_try(call, now, e);
	}
	if (now >= *call->deadline ||
	    (r != -EBUSY && later(now, wait) >= *call->deadline)) {
		c->n.refused++;
		r = turn_error(r, call->turn.payer, wait, e);
		return err_prefix(e, r, "%s: not asked", call->host);
	}

	call->turn.lacks = r;
	turn_set(c, &call->turn, TURN_WAITS);
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
void
turns_come(struct http_client *c, uint64_t now)
{
	struct turn *t, *next;
	struct err e;

	c->busy = true;
	for (t = TAILQ_FIRST(&c->turns); t; t = next) {
		struct http_call *call = container_of(t, struct http_call, turn);

		next = TAILQ_NEXT(t, entry);
		if (call_go(call, now, &e) < 0) {
			call_went_not(call, now, &e);
			next = TAILQ_FIRST(&c->turns);
		}
	}
	client_rest(c);
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

/* From here on at this URL, which is taken over. */
static int
call_aim(struct http_call *call, char *url, struct err *e)
{
	struct http_client *c = call->client;

	call->transfer = transfer_free(call->transfer);
	secret_free(call->q.url);
	call->q.url = url;
	free(call->host);
	call->turn.host = call->host = host_words(&c->opt, &call->q);
	return transfer_new(c, &call->q, &call->end, on_transfer, call,
			    &call->transfer, e);
}

/* Go on by the other address, where the server has one: as a part of this try. */
static bool
call_detour(struct http_call *call, uint64_t now)
{
	char words[sizeof(call->last)], *url = NULL;
	struct err e;
	int r;

	if (call->end.unreachable && !call->detours && now < *call->deadline)
		url = detour_other(call->client, call->q.url);
	if (!url)
		return false;

	memcpy(words, call->last, sizeof(words));
	call_note(call, "%s: %s", call->host, words);
	call->before[0] = '\0';
	call->detours = true;
	r = call_aim(call, url, &e);
	if (r >= 0)
		r = call_go(call, now, &e);
	if (r < 0)
		call_went_not(call, now, &e);
	return true;
}

/* A try is over: answered, or with status 0 for the reason noted. */
static void
call_judge(struct http_call *call)
{
	uint64_t now = call_now(call), delay;
	unsigned status = call->end.re.status;

	turn_set(call->client, &call->turn, TURN_REST);
	call_count(call, now);
	if (call->end.re.flavor_google)
		detour_answered(call->client, call->q.url);
	if (call_detour(call, now))
		return;
	if (!call->end.for_good && !call->q.once &&
	    retry_next(&call->lane->retry, call->tries, status,
		       status > 0 ? call->end.re.retry_after_usec : 0, now,
		       *call->deadline, random_bits(now), &delay) &&
	    call_arm(call, later(now, delay)) >= 0) {
		if (status > 0)
			call_note(call, "HTTP %u", status);
		call->detours = false;
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

	if (call->turn.state != TURN_TRIES) {
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
	call->end.unreachable = !transfer_reached(call->transfer);
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

struct http_call *
http_call_free(struct http_call *call)
{
	if (!call)
		return NULL;

	turn_set(call->client, &call->turn, TURN_REST);
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
	char *url;
	uint64_t now;
	int r;

	call = xcalloc(1, sizeof(*call));
	call->client = c;
	call->q = *q;
	*q = (struct http_request){ .method = NULL };
	call->lane = &o->lane[call->q.lane];
	url = detour_url(c, call->q.url);
	if (url) {
		secret_free(call->q.url);
		call->q.url = url;
	}
	call->host = host_words(o, &call->q);
	call->end.body = BUF_INIT(o->max_body);
	call->deadline = deadline;
	call->turn = (struct turn){ .payer = call->q.payer, .host = call->host,
				    .deadline = deadline };
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

	c->upstream[call->q.upstream].requests++;
	call->slot = ret;
	*ret = TAKE_PTR(call);
	return 0;
}

uint64_t
http_client_sent(const struct http_client *c)
{
	return c->sent;
}
