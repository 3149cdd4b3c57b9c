/* SPDX-License-Identifier: Apache-2.0 */

/* Flow "any": the first of the account's flows that is not denied, and then the
   next.

	any_walk()       starts a flow; where that fails, or
	on_inner()       it ends,
	inner_failed()   judges: the end, the next flow, or the same once more
	recipe_on_due()  lets those go on who are held for that */

#include <string.h>

#include "token/recipe.h"

/* A fetch on its way along the flows. */
struct any_fetch {
	struct fetch base;
	struct fetch *inner;
	size_t next;			/* in the plan */
	struct recipe *at;		/* whose inner is, or who holds it */
	struct recipe *first;		/* whose denial is the answer, if any */
	bool alone;			/* no other was running when inner began */
	bool retried;			/* it was held once */
	bool held;
	unsigned round;
	TAILQ_ENTRY(any_fetch) entry;
};

static fetch_done_fn on_inner;

static int
inner_start(struct any_fetch *f, struct recipe *rc, struct err *e)
{
	struct token_key key = {
		.kind = TOKEN_ID,
		.account = "",
		.variant = flow_variant(rc->format, f->base.licenses),
		.audience = f->base.audience,
	};
	int r;

	f->at = rc;
	f->alone = rc->running == 0;
	if (rc->denied)
		rc->trial = f;
	r = flow_fetch(rc->flow, f->base.ctx, &key, f->base.deadline, f->base.payer,
		       on_inner, f, &f->inner, e);
	if (r >= 0)
		rc->running++;
	return r;
}

static void
inner_ended(struct any_fetch *f)
{
	struct recipe *rc = f->at;

	if (rc->trial == f)
		rc->trial = NULL;
	if (rc->probe == f) {
		rc->probe = NULL;
		recipe_settle(rc);
	} else if (rc->running == 0 && !rc->probe && !rc->settled &&
		   !TAILQ_EMPTY(&rc->held)) {
		recipe_arm(rc, rc->due);	/* a probe can be alone now */
	}
}

static void
hold(struct any_fetch *f)
{
	struct recipe *rc = f->at;

	if (TAILQ_EMPTY(&rc->held)) {
		rc->due = recipe_now(rc) + rc->flows->opt.doubt_usec;
		rc->settled = false;
		recipe_arm(rc, rc->due);
	}
	f->held = f->retried = true;
	f->round = rc->round;
	TAILQ_INSERT_TAIL(&rc->held, f, entry);
}

static void
let_go(struct any_fetch *f)
{
	if (f->held)
		TAILQ_REMOVE(&f->at->held, f, entry);
	f->held = false;
}

enum verdict {
	END,		/* what the flow says is the answer */
	NEXT,		/* the flow is denied: the next one's turn */
	AGAIN		/* the same one, after a while */
};

static enum verdict
judge_doubtful(struct any_fetch *f, const struct err *e)
{
	struct recipe *rc = f->at;
	uint64_t now = recipe_now(rc), doubt = rc->flows->opt.doubt_usec;

	if (rc->doubted > 0 && f->alone && now >= rc->doubted + doubt) {
		recipe_deny(rc, e);
		return NEXT;
	}
	if (rc->doubted == 0)
		rc->doubted = now;
	return !f->retried && now + doubt < *f->base.deadline ? AGAIN : END;
}

static enum verdict
judge(struct any_fetch *f, const struct err *e)
{
	struct recipe *rc = f->at;

	if (e->kind == ERR_GOOGLE && e->scope == ERR_SCOPE_ACCOUNT) {
		if (e->doubtful && !rc->denied)
			return judge_doubtful(f, e);
		/* One refusal counts once, to however many it comes at a time. */
		if (!rc->denied || rc->trial == f)
			recipe_deny(rc, e);
		return NEXT;
	}
	if (!rc->denied || e->kind == ERR_NOT_FOUND)
		return END;
	/* A trial that shows nothing: all stays as it was. */
	if (rc->trial == f)
		rc->until = recipe_now(rc) + rc->span;
	return NEXT;
}

/* Recipes stand in the order of configuration, plans do not. */
static void
note_denial(struct any_fetch *f, struct recipe *rc)
{
	if (!f->first || rc < f->first)
		f->first = rc;
}

/* What a flow's failure comes to.  0: wait.  1: walk on.  Negative: the end. */
static int
inner_failed(struct any_fetch *f, const struct err *e)
{
	struct recipe *rc = f->at;
	enum verdict v = judge(f, e);

	inner_ended(f);
	switch (v) {
	case AGAIN:
		hold(f);
		return 0;
	case NEXT:
		note_denial(f, rc);
		return 1;
	default:
		return err_kind_errno(e->kind);
	}
}

/* Start the first of the plan's rest that may be tried. */
static int
any_walk(struct any_fetch *f, struct err *e)
{
	struct recipe *const *plan = f->base.ctx->flows->plan[f->base.format];
	struct recipe *rc;
	int r = 1;

	while (r > 0 && (rc = plan[f->next])) {
		f->next++;
		if (!recipe_open(rc)) {
			note_denial(f, rc);
			continue;
		}
		r = inner_start(f, rc, e);
		if (r < 0)
			r = inner_failed(f, e);
	}
	if (r <= 0)
		return r;
	*e = f->first->why;
	return err_kind_errno(e->kind);
}

/* From a callback: nobody is there to take a failure but by another one. */
static void
any_continue(struct any_fetch *f, int r, struct err *e)
{
	if (r > 0)
		r = any_walk(f, e);
	if (r < 0)
		fetch_fail(&f->base, e);
}

static void
any_retry(struct any_fetch *f)
{
	struct recipe *rc = f->at;
	struct err e;
	int r;

	let_go(f);
	if (rc->denied) {
		note_denial(f, rc);
		return any_continue(f, 1, &e);
	}
	r = inner_start(f, rc, &e);
	any_continue(f, r < 0 ? inner_failed(f, &e) : 0, &e);
}

/* Some may end here at once, and whoever hears of it may come with new ones: those
   carry the new round and end the loop. */
static void
recipe_release(struct recipe *rc)
{
	unsigned round = ++rc->round;
	struct any_fetch *f;

	rc->settled = false;
	while ((f = TAILQ_FIRST(&rc->held)) && f->round != round)
		any_retry(f);
}

/* One tries for all as soon as it can be alone; all at once where that will not
   come, and then no denial counts. */
int
recipe_on_due(_unused_ sd_event_source *s, _unused_ uint64_t usec, void *userdata)
{
	struct recipe *rc = userdata;
	struct any_fetch *f = TAILQ_FIRST(&rc->held);
	uint64_t patience = rc->due + rc->flows->opt.doubt_usec;

	if (!f)
		return 0;
	if (rc->settled) {
		recipe_release(rc);
	} else if (rc->running == 0) {
		rc->probe = f;
		any_retry(f);
	} else if (!rc->probe) {
		if (recipe_now(rc) >= patience)
			recipe_release(rc);
		else
			recipe_arm(rc, patience);
	}
	return 0;
}

static void
on_inner(void *userdata, struct token *token, const struct err *failed)
{
	struct any_fetch *f = userdata;
	struct recipe *rc = f->at;
	struct err e;

	rc->running--;
	if (!token) {
		e = *failed;
		return any_continue(f, inner_failed(f, &e), &e);
	}
	recipe_serves(rc);
	inner_ended(f);
	fetch_succeed(&f->base, token);
}

static int
any_begin(struct fetch *base, struct err *e)
{
	return any_walk(container_of(base, struct any_fetch, base), e);
}

static void
any_clear(struct fetch *base)
{
	struct any_fetch *f = container_of(base, struct any_fetch, base);

	let_go(f);
	if (f->inner) {
		f->at->running--;
		f->inner = fetch_free(f->inner);
	}
	if (f->at)
		inner_ended(f);
}

const struct flow_ops flow_any = {
	.name = "any",
	.makes = { [TOKEN_STANDARD] = true, [TOKEN_FULL] = true },
	.access = &flow_access,
	.fetch_size = sizeof(struct any_fetch),
	.begin = any_begin,
	.clear = any_clear,
};
