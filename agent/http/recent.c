/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <string.h>

#include "http/conn.h"

/* Where input of these bytes would be remembered.  Whoever makes two of them meet
   gains nothing but that both are read anew. */
static struct recent *
recent_at(struct http_server *s, const char *p, size_t len)
{
	uint64_t h = len, w;

	for (; len >= sizeof(w); p += sizeof(w), len -= sizeof(w)) {
		memcpy(&w, p, sizeof(w));
		h = (h ^ w) * UINT64_C(0x9e3779b97f4a7c15);
	}
	return &s->recents[(h >> 32) % SERVER_RECENTS];
}

static bool
recent_is(const struct recent *r, const char *p, size_t len)
{
	return r->len > 0 && r->len <= len && memcmp(p, r->bytes, r->len) == 0;
}

static void
recent_forget(struct http_server *s, struct recent *r)
{
	if (r->note)
		s->ops.drop(s->userdata, r->note);
	r->note = NULL;
	r->len = 0;
}

void
recent_clear(struct http_server *s)
{
	for (size_t i = 0; i < SERVER_RECENTS; i++)
		recent_forget(s, &s->recents[i]);
}

/* Only input read into server->in is remembered, and is at the same place when it
   comes again: so the spans hold. */
ssize_t
recent_parse(struct conn *c, const char *p, size_t len, size_t *scanned,
	     struct err *e)
{
	struct http_server *s = c->x.server;
	struct recent *r = NULL;
	bool known = false;
	ssize_t n;

	if (p == s->in && len <= SERVER_RECENT_SIZE) {
		r = s->latest;		/* again and again, as a rule */
		known = recent_is(r, p, len);
		if (!known) {
			r = recent_at(s, p, len);
			known = recent_is(r, p, len);
		}
	}
	if (known) {
		s->latest = r;
		s->recent = r;
		s->head = &r->head;
		return (ssize_t)r->len;
	}
	s->recent = NULL;
	s->head = &s->parsed;
	n = http_parse(p, len, scanned, &s->parsed, e);
	if (n > 0 && r && s->parsed.body_len == 0) {
		recent_forget(s, r);
		r->len = (size_t)n;
		r->head = s->parsed;
		memcpy(r->bytes, p, r->len);
		s->recent = r;
	}
	return n;
}

void *
http_exchange_note(const struct http_exchange *x)
{
	const struct recent *r = x->server->recent;

	return r ? r->note : NULL;
}

bool
http_exchange_keeps(const struct http_exchange *x)
{
	return x->server->recent != NULL;
}

void
http_exchange_keep(struct http_exchange *x, void *note)
{
	struct http_server *s = x->server;

	assert(s->recent);
	if (s->recent->note)
		s->ops.drop(s->userdata, s->recent->note);
	s->recent->note = note;
}
