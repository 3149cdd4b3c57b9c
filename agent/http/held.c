/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "http/conn.h"

int
held_charge(struct conn *c, size_t old, size_t new)
{
	struct http_server *s = c->x.server;

	assert(old <= s->buffers);

	if (new > old && new - old > s->opt.max_buffers - s->buffers)
		return -ENOBUFS;
	if (c->admitted && s->ops.charge &&
	    !s->ops.charge(s->userdata, c->ctx, old, new))
		return -EDQUOT;
	s->buffers = s->buffers - old + new;
	return 0;
}

struct held *
held_get(struct conn *c)
{
	if (!c->held)
		c->held = xcalloc(1, sizeof(*c->held));
	return c->held;
}

static void
drop_buffer(struct conn *c, char **p, size_t size)
{
	explicit_bzero(*p, size);
	free(*p);
	*p = NULL;
	held_charge(c, size, 0);
}

void
held_drop_input(struct conn *c)
{
	struct held *h = c->held;

	if (!h || !h->in)
		return;
	drop_buffer(c, &h->in, h->in_size);
	h->in_len = h->in_size = h->scanned = h->need = 0;
}

void
held_drop_output(struct conn *c)
{
	struct held *h = c->held;

	if (!h || !h->out)
		return;
	drop_buffer(c, &h->out, h->out_len);
	h->out_len = h->out_sent = 0;
}

void
held_free(struct conn *c)
{
	if (!c->held)
		return;
	held_drop_input(c);
	held_drop_output(c);
	if (c->held->refused)
		held_charge(c, sizeof(*c->held->refused), 0);
	free(c->held->refused);
	free(c->held);
	c->held = NULL;
}

int
held_reserve(struct conn *c, size_t size)
{
	struct held *h = held_get(c);
	char *in;
	int r;

	if (size <= h->in_size)
		return 0;
	r = held_charge(c, h->in_size, size);
	if (r < 0)
		return r;
	in = xcalloc(size, 1);
	if (h->in) {
		memcpy(in, h->in, h->in_len);
		explicit_bzero(h->in, h->in_size);
		free(h->in);
	}
	h->in = in;
	h->in_size = size;
	return 0;
}

int
held_keep(struct conn *c, const char *p, size_t len, bool own)
{
	int r;

	if (len == 0 || !own)
		held_drop_input(c);
	if (len == 0)
		return 0;
	r = own ? 0 : held_reserve(c, len);
	if (r < 0)
		return r;
	/* Not in vain: a body may come byte by byte. */
	if (p != c->held->in)
		memmove(c->held->in, p, len);
	c->held->in_len = len;
	c->held->scanned = c->held->need = 0;
	return 0;
}
