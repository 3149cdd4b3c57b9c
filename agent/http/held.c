/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "http/conn.h"

struct held *
held_get(struct conn *c)
{
	if (!c->held)
		c->held = xcalloc(1, sizeof(*c->held));
	return c->held;
}

void
held_drop_input(struct conn *c)
{
	struct held *h = c->held;

	if (!h || !h->in)
		return;
	explicit_bzero(h->in, h->in_size);
	free(h->in);
	server_charge(c->x.server, h->in_size, 0);
	h->in = NULL;
	h->in_len = h->in_size = h->scanned = h->need = 0;
}

void
held_drop_output(struct conn *c)
{
	struct held *h = c->held;

	if (!h || !h->out)
		return;
	explicit_bzero(h->out, h->out_len);
	free(h->out);
	server_charge(c->x.server, h->out_len, 0);
	h->out = NULL;
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
		server_charge(c->x.server, sizeof(*c->held->refused), 0);
	free(c->held->refused);
	free(c->held);
	c->held = NULL;
}

bool
held_reserve(struct conn *c, size_t size)
{
	struct held *h = held_get(c);
	char *in;

	if (size <= h->in_size)
		return true;
	if (!server_charge(c->x.server, h->in_size, size))
		return false;
	in = xcalloc(size, 1);
	if (h->in) {
		memcpy(in, h->in, h->in_len);
		explicit_bzero(h->in, h->in_size);
		free(h->in);
	}
	h->in = in;
	h->in_size = size;
	return true;
}

bool
held_keep(struct conn *c, const char *p, size_t len, bool own)
{
	if (len == 0 || !own)
		held_drop_input(c);
	if (len == 0)
		return true;
	if (!own && !held_reserve(c, len))
		return false;
	/* Not in vain: a body may come byte by byte. */
	if (p != c->held->in)
		memmove(c->held->in, p, len);
	c->held->in_len = len;
	c->held->scanned = c->held->need = 0;
	return true;
}
