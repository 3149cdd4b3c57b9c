/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <string.h>

#include "token/flow.h"

static const struct flow_ops *const flows[] = {
	&flow_signblob,
};

const struct flow_ops *
flow_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(flows); i++)
		if (strcmp(flows[i]->name, name) == 0)
			return flows[i];
	return NULL;
}

const char *
flow_names(void)
{
	return "signblob";
}

int
flow_fetch(const struct flow_ops *flow, const struct flow_context *ctx,
	   const char *audience, const uint64_t *deadline,
	   fetch_done_fn *done, void *userdata, struct fetch **ret,
	   struct err *e)
{
	struct fetch *f;
	int r;

	assert(flow->fetch_size >= sizeof(struct fetch));

	f = xcalloc(1, flow->fetch_size);
	f->ops = flow;
	f->ctx = ctx;
	f->slot = ret;
	f->audience = xstrdup(audience);
	f->deadline = deadline;
	f->done = done;
	f->userdata = userdata;
	*ret = f;

	r = flow->begin(f, e);
	if (r < 0) {
		*ret = fetch_free(f);
		return r;
	}
	return 0;
}

struct fetch *
fetch_free(struct fetch *f)
{
	if (!f)
		return NULL;

	f->ops->clear(f);
	free(f->audience);
	free(f);
	return NULL;
}

/* The owner's pointer goes first: by the time the callback runs there is nothing
   left that it could pull away. */
static void
fetch_end(struct fetch *f, struct token *token, const struct err *e)
{
	fetch_done_fn *done = f->done;
	void *userdata = f->userdata;
	struct err copy;

	if (e)
		copy = *e;	/* it may lie in what is freed next */
	*f->slot = NULL;
	fetch_free(f);
	done(userdata, token, e ? &copy : NULL);
}

void
fetch_succeed(struct fetch *f, struct token *token)
{
	fetch_end(f, token, NULL);
}

void
fetch_fail(struct fetch *f, const struct err *e)
{
	fetch_end(f, NULL, e);
}

int64_t
fetch_now(const struct fetch *f)
{
	uint64_t usec = 0;

	sd_event_now(f->ctx->event, CLOCK_REALTIME, &usec);
	return (int64_t)(usec / USEC_PER_SEC);
}
