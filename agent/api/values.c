/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <string.h>
#include <sys/queue.h>

#include "api/values.h"
#include "google/metadata.h"

struct value_wait {
	TAILQ_ENTRY(value_wait) entry;
	struct slot *slot;
	struct value_wait **owner;	/* the owner's pointer, cleared at the
					   end */
	unsigned round;
	value_done_fn *done;
	void *userdata;
};

struct slot {
	struct values *values;
	enum value which;
	char *text;		/* once known */
	struct err *failed;	/* how the last fetch ended; or NULL */
	uint64_t failed_until;	/* CLOCK_BOOTTIME; it is believed until then */
	struct http_call *call;
	uint64_t deadline;
	TAILQ_HEAD(, value_wait) waits;
};

struct values {
	sd_event *event;
	struct http_client *http;
	const struct endpoints *at;
	struct values_options opt;
	unsigned round;
	struct slot slots[VALUES];
};

static const char *const paths[VALUES] = {
	[VALUE_PROJECT_ID]		= "project/project-id",
	[VALUE_NUMERIC_PROJECT_ID]	= "project/numeric-project-id",
	[VALUE_INSTANCE_ID]		= "instance/id",
	[VALUE_INSTANCE_NAME]		= "instance/name",
	[VALUE_INSTANCE_HOSTNAME]	= "instance/hostname",
	[VALUE_INSTANCE_ZONE]		= "instance/zone",
	[VALUE_UNIVERSE_DOMAIN]		= "universe/universe-domain",
};

const char *
value_path(enum value which)
{
	return paths[which];
}

struct values *
values_new(sd_event *event, struct http_client *http,
	   const struct endpoints *at, const struct values_options *o)
{
	struct values *v = xcalloc(1, sizeof(*v));

	v->event = sd_event_ref(event);
	v->http = http;
	v->at = at;
	v->opt = *o;
	for (size_t i = 0; i < VALUES; i++) {
		v->slots[i].values = v;
		v->slots[i].which = (enum value)i;
		TAILQ_INIT(&v->slots[i].waits);
	}
	return v;
}

struct values *
values_free(struct values *v)
{
	if (!v)
		return NULL;

	for (size_t i = 0; i < VALUES; i++) {
		assert(TAILQ_EMPTY(&v->slots[i].waits));
		http_call_free(v->slots[i].call);
		free(v->slots[i].text);
		free(v->slots[i].failed);
	}
	sd_event_unref(v->event);
	free(v);
	return NULL;
}

void
values_know(struct values *v, enum value which, const char *text)
{
	assert(!v->slots[which].text && !v->slots[which].call);
	v->slots[which].text = xstrdup(text);
}

struct value_wait *
value_wait_free(struct value_wait *w)
{
	if (!w)
		return NULL;

	TAILQ_REMOVE(&w->slot->waits, w, entry);
	free(w);
	return NULL;
}

static uint64_t
now_boot(const struct values *v)
{
	uint64_t usec = 0;

	sd_event_now(v->event, CLOCK_BOOTTIME, &usec);
	return usec;
}

/* Callbacks may add and free waits: the head is taken afresh each turn, and those
   added meanwhile carry the new round. */
static void
slot_tell(struct slot *s, const struct err *e)
{
	struct value_wait *w, v;
	unsigned round = ++s->values->round;

	while ((w = TAILQ_FIRST(&s->waits)) && w->round != round) {
		v = *w;
		*w->owner = NULL;
		value_wait_free(w);
		v.done(v.userdata, e ? NULL : s->text, e);
	}
}

static void
on_value(void *userdata, const struct http_response *re, const struct err *failed)
{
	struct slot *s = userdata;
	struct values *v = s->values;
	struct err e;
	int r;

	if (failed) {
		e = *failed;
	} else {
		r = metadata_value_response(re, paths[s->which], &s->text, &e);
		if (r >= 0)
			return slot_tell(s, NULL);
		if (e.kind == ERR_NOT_FOUND)
			err_set(&e, ERR_NOT_FOUND, "the metadata server has no %s",
				paths[s->which]);
	}
	free(s->failed);
	s->failed = xmemdup(&e, sizeof(e));
	s->failed_until = now_boot(v) + v->opt.retry_usec;
	slot_tell(s, &e);
}

/* Is the last failure the answer still?  That there is no such value everybody
   believes. */
static bool
failure_stands(const struct slot *s, bool sparing)
{
	return s->failed && s->failed_until > now_boot(s->values) &&
		(sparing || s->failed->kind == ERR_NOT_FOUND);
}

int
values_get(struct values *v, enum value which, bool sparing,
	   value_done_fn *done, void *userdata, const char **ret_text,
	   struct value_wait **ret, struct err *e)
{
	struct slot *s = &v->slots[which];
	struct http_request q = { 0 };
	struct value_wait *w;
	int r;

	if (s->text) {
		*ret_text = s->text;
		return 1;
	}
	if (!s->call && failure_stands(s, sparing)) {
		if (e)
			*e = *s->failed;
		return err_kind_errno(s->failed->kind);
	}

	if (!s->call) {
		metadata_value_request(v->at->metadata, paths[which], &q);
		q.payer = HTTP_PAYER_VALUES;
		s->deadline = now_boot(v) + v->opt.fetch_usec;
		r = http_client_start(v->http, &q, &s->deadline, on_value, s,
				      &s->call, e);
		if (r < 0)
			return r;
	}

	w = xcalloc(1, sizeof(*w));
	w->slot = s;
	w->owner = ret;
	w->round = v->round;
	w->done = done;
	w->userdata = userdata;
	TAILQ_INSERT_TAIL(&s->waits, w, entry);
	*ret = w;
	return 0;
}
