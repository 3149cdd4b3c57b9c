/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include <cmocka.h>

#include "vectors.h"
#include "world.h"

#define DOUBT	(40 * MS)
#define SPAN	(60 * MS)

/* Two flows that do nothing by themselves: what they have begun stands in a list
   until the test ends it. */
struct fake_fetch {
	struct fetch base;
	TAILQ_ENTRY(fake_fetch) entry;
	bool listed;
};

static TAILQ_HEAD(, fake_fetch) flying;
static unsigned begun[2];
static bool impossible;
static struct err *begin_fails;

static int
fake_begin(struct fetch *f, struct err *e)
{
	struct fake_fetch *ff = container_of(f, struct fake_fetch, base);

	begun[strcmp(f->ops->name, "two") == 0]++;
	if (begin_fails && strcmp(f->ops->name, "one") == 0) {
		*e = *begin_fails;
		return err_kind_errno(e->kind);
	}
	TAILQ_INSERT_TAIL(&flying, ff, entry);
	ff->listed = true;
	return 0;
}

static void
fake_clear(struct fetch *f)
{
	struct fake_fetch *ff = container_of(f, struct fake_fetch, base);

	if (ff->listed)
		TAILQ_REMOVE(&flying, ff, entry);
}

static int
fake_possible(const struct flow_context *ctx _unused_, struct err *e)
{
	int r;

	if (!impossible)
		return 0;
	r = err_set(e, ERR_GOOGLE, "one: no scope");
	e->scope = ERR_SCOPE_ACCOUNT;
	return r;
}

/* one makes standard tokens, two both. */
static const struct flow_ops one = {
	.name = "one",
	.makes = { [TOKEN_STANDARD] = true },
	.fetch_size = sizeof(struct fake_fetch),
	.possible = fake_possible,
	.begin = fake_begin,
	.clear = fake_clear,
};
static const struct flow_ops two = {
	.name = "two",
	.makes = { [TOKEN_STANDARD] = true, [TOKEN_FULL] = true },
	.fetch_size = sizeof(struct fake_fetch),
	.begin = fake_begin,
	.clear = fake_clear,
};

static struct flows_options opt;
static unsigned told;
static char last[480];		/* what was told last */

static void
on_changed(void *userdata, const struct flow_status *s)
{
	assert_ptr_equal(userdata, &opt);
	told++;
	snprintf(last, sizeof(last), "%s %s %s", s->name,
		 s->format == TOKEN_FULL ? "full" : "standard",
		 s->denied ? s->why->msg : "serves");
}

static int
setup(void **state)
{
	struct world *w = world_new();

	TAILQ_INIT(&flying);
	begun[0] = begun[1] = 0;
	impossible = false;
	begin_fails = NULL;
	told = 0;
	opt = (struct flows_options){ .doubt_usec = DOUBT, .again_usec = SPAN,
				      .again_max_usec = 4 * SPAN };
	w->account_opt.none_usec = 10 * MS;
	world_add_own(w);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	assert_true(TAILQ_EMPTY(&flying));
	return world_teardown(state);
}

static void
begin_with(struct world *w, const struct flow_ops *first,
	   const struct flow_ops *second)
{
	const struct flow_ops *const list[] = { first, second, NULL };

	world_begin(w);
	assert_int_equal(flows_new(&w->ctx, list, &opt, on_changed, &opt,
				   &w->ctx.flows, NULL), 0);
}

static void
begin(struct world *w)
{
	begin_with(w, &one, &two);
}

/* Somebody who wants a token. */
struct caller {
	struct world *w;
	uint64_t deadline;
	struct fetch *fetch;
	int r;
	unsigned called;
	bool got;
	char flow[8];
	struct err e;
	struct caller *frees;	/* when called */
};

static void
on_fetched(void *userdata, struct token *t, const struct err *e)
{
	struct caller *c = userdata;

	assert_true(!t == !!e);
	assert_null(c->fetch);
	assert_int_equal(c->r, 0);
	c->called++;
	c->got = t;
	if (t)
		snprintf(c->flow, sizeof(c->flow), "%s", token_flow(t));
	else
		c->e = *e;
	if (c->frees)
		c->frees->fetch = fetch_free(c->frees->fetch);
}

static int
ask_for(struct world *w, struct caller *c, const char *audience,
	enum token_format format)
{
	struct token_key key = { TOKEN_ID, "default",
				 flows_variant(w->ctx.flows, format, false),
				 audience };

	c->w = w;
	c->called = 0;
	if (c->deadline == 0)
		c->deadline = fake_now() + 20 * USEC_PER_SEC;
	assert_true(sd_event_run(w->event, 0) >= 0);
	c->r = -1;
	c->r = flow_fetch(&flow_any, &w->ctx, &key, &c->deadline,
			  HTTP_PAYER_PEERS, on_fetched, c, &c->fetch, &c->e);
	assert_int_equal(c->called, 0);
	if (c->r < 0)
		assert_int_equal(err_kind_errno(c->e.kind), c->r);
	return c->r;
}

static int
ask(struct world *w, struct caller *c, const char *audience)
{
	return ask_for(w, c, audience, TOKEN_STANDARD);
}

static struct fetch *
in_flight(const char *flow, const char *audience)
{
	struct fake_fetch *f;

	TAILQ_FOREACH(f, &flying, entry)
		if (strcmp(f->base.audience, audience) == 0 &&
		    strcmp(f->base.ops->name, flow) == 0)
			return &f->base;
	return NULL;
}

static void
succeeds(const char *flow, const char *audience)
{
	_cleanup_(token_unrefp) struct token *t = NULL;
	struct fetch *f = in_flight(flow, audience);
	int64_t now = (int64_t)time(NULL);

	assert_non_null(f);
	t = token_new(TOKEN_ID, "a.b.c", now, now + 3600,
		      &(struct token_now){ 0 }, VEC_EMAIL, flow);
	fetch_succeed(f, t);
}

static struct err
error(enum err_kind kind, enum err_scope scope, bool doubtful)
{
	struct err e;

	err_set(&e, kind, "it fails");
	err_hint(&e, "mend it");
	e.scope = scope;
	e.doubtful = doubtful;
	return e;
}

static void
fails_with(const char *flow, const char *audience, struct err e)
{
	struct fetch *f = in_flight(flow, audience);

	assert_non_null(f);
	fetch_fail(f, &e);
}

static void
denied(const char *flow, const char *audience)
{
	fails_with(flow, audience, error(ERR_GOOGLE, ERR_SCOPE_ACCOUNT, false));
}

static void
doubted(const char *flow, const char *audience)
{
	fails_with(flow, audience, error(ERR_GOOGLE, ERR_SCOPE_ACCOUNT, true));
}

static void
down(const char *flow, const char *audience)
{
	fails_with(flow, audience,
		   error(ERR_UNAVAILABLE, ERR_SCOPE_REQUEST, false));
}

static bool
is_denied(const struct world *w, const char *flow, enum token_format format)
{
	struct flow_status s[FLOWS_MAX * TOKEN_FORMATS];
	size_t n = flows_status(w->ctx.flows, s);

	for (size_t i = 0; i < n; i++)
		if (strcmp(s[i].name, flow) == 0 && s[i].format == format) {
			assert_true(s[i].denied == !!s[i].why);
			return s[i].denied;
		}
	fail();
	return false;
}

#define DENIED(w) is_denied(w, "one", TOKEN_STANDARD)

static void
pass(struct world *w, uint64_t usec)
{
	fake_run_to(w->event, fake_now() + usec);
}

/* --- which flow ------------------------------------------------------------- */

static void
the_first_flow_serves(void **state)
{
	struct world *w = *state;
	struct caller c = { .r = 0 };

	begin(w);
	assert_int_equal(ask(w, &c, "a"), 0);
	succeeds("one", "a");
	assert_true(c.got);
	assert_string_equal(c.flow, "one");
	assert_int_equal(begun[1], 0);
	assert_int_equal(told, 0);
}

static void
full_tokens_are_asked_of_who_makes_them(void **state)
{
	struct world *w = *state;
	struct caller c = { .r = 0 };

	begin(w);
	assert_int_equal(ask_for(w, &c, "a", TOKEN_FULL), 0);
	assert_int_equal(in_flight("two", "a")->format, TOKEN_FULL);
	denied("two", "a");
	/* and else a standard one is better than none */
	assert_int_equal(in_flight("one", "a")->format, TOKEN_STANDARD);
	succeeds("one", "a");
	assert_true(c.got);
	assert_true(is_denied(w, "two", TOKEN_FULL));
	assert_false(is_denied(w, "two", TOKEN_STANDARD));
}

static void
variants_tell_apart_what_differs(void **state)
{
	struct world *w = *state;
	char *standard;

	begin(w);
	standard = xstrdup(flows_variant(w->ctx.flows, TOKEN_STANDARD, false));
	assert_string_equal(standard, "standard/one,two/0");
	assert_string_equal(flows_variant(w->ctx.flows, TOKEN_STANDARD, true),
			    standard);
	assert_string_equal(flows_variant(w->ctx.flows, TOKEN_FULL, false),
			    "full/one,two/0");
	assert_string_equal(flows_variant(w->ctx.flows, TOKEN_FULL, true),
			    "full+licenses/one,two/0");
	assert_int_equal(flows_format(w->ctx.flows), TOKEN_STANDARD);
	w->ctx.flows = flows_free(w->ctx.flows);

	begin_with(w, &one, NULL);
	assert_string_equal(flows_variant(w->ctx.flows, TOKEN_FULL, true),
			    "standard/one/0");
	w->ctx.flows = flows_free(w->ctx.flows);

	begin_with(w, &two, &one);
	assert_int_equal(flows_format(w->ctx.flows), TOKEN_FULL);
	free(standard);
}

static void
another_account_has_other_keys(void **state)
{
	struct world *w = *state;

	begin(w);
	flows_account_changed(w->ctx.flows);		/* still sought */
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	RUN_UNTIL(w->event, account_state(w->a) == ACCOUNT_FOUND);
	flows_account_changed(w->ctx.flows);
	flows_account_changed(w->ctx.flows);
	assert_string_equal(flows_variant(w->ctx.flows, TOKEN_STANDARD, false),
			    "standard/one,two/0");
	fake_say(w->mds, WHO, 200, "{\"aliases\":[],\"scopes\":[],\"email\":"
		 "\"x@y.gserviceaccount.com\"}");
	pass(w, 15 * MS);
	account_rediscover(w->a);
	RUN_UNTIL(w->event, strcmp(account_email(w->a), VEC_EMAIL) != 0);
	flows_account_changed(w->ctx.flows);
	assert_string_equal(flows_variant(w->ctx.flows, TOKEN_STANDARD, false),
			    "standard/one,two/1");
}

/* --- what denies ------------------------------------------------------------ */

static void
a_denial_of_the_account_passes_to_the_next_flow_at_once(void **state)
{
	struct caller c = { .r = 0 }, d = { .r = 0 };
	struct world *w = *state;

	begin(w);
	ask(w, &c, "a");
	denied("one", "a");
	assert_true(DENIED(w));
	assert_string_equal(last, "one standard it fails");
	succeeds("two", "a");
	assert_string_equal(c.flow, "two");

	/* And it does so for every audience. */
	ask(w, &d, "b");
	assert_null(in_flight("one", "b"));
	succeeds("two", "b");
	assert_int_equal(begun[0], 1);
	assert_int_equal(told, 1);
}

static void
what_concerns_one_audience_denies_nothing(void **state)
{
	struct caller c = { .r = 0 }, d = { .r = 0 };
	struct world *w = *state;

	begin(w);
	ask(w, &c, "a");
	fails_with("one", "a", error(ERR_GOOGLE, ERR_SCOPE_REQUEST, false));
	assert_int_equal(c.called, 1);
	assert_int_equal(c.e.kind, ERR_GOOGLE);
	assert_false(DENIED(w));
	ask(w, &d, "b");
	succeeds("one", "b");
	assert_int_equal(begun[1], 0);
}

static void
a_flow_that_is_down_is_waited_for(void **state)
{
	static const enum err_kind kinds[] = {
		ERR_UNAVAILABLE, ERR_TIMEOUT, ERR_NOT_FOUND, ERR_INTERNAL,
	};
	struct world *w = *state;

	begin(w);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct caller c = { .r = 0 };

		ask(w, &c, "a");
		/* The scope counts with denials only. */
		fails_with("one", "a", error(kinds[i], ERR_SCOPE_ACCOUNT, true));
		assert_int_equal(c.called, 1);
		assert_int_equal(c.e.kind, kinds[i]);
	}
	assert_false(DENIED(w));
	assert_int_equal(begun[1], 0);
	assert_int_equal(told, 0);
}

static void
what_the_scopes_deny_is_not_even_begun(void **state)
{
	struct world *w = *state;
	struct caller c = { .r = 0 };
	struct err e;

	impossible = true;
	begin(w);
	assert_int_equal(flows_error(w->ctx.flows, &e), 0);
	ask(w, &c, "a");
	assert_int_equal(begun[0], 0);
	assert_string_equal(last, "one standard one: no scope");
	succeeds("two", "a");
	assert_true(c.got);
	/* The same every time that it would be its turn, and told once. */
	for (int i = 0; i < 3; i++) {
		pass(w, SPAN + MS);
		ask(w, &c, "a");
		succeeds("two", "a");
	}
	assert_int_equal(begun[0], 0);
	assert_int_equal(told, 1);
}

static void
a_flow_that_fails_to_begin_is_judged_the_same(void **state)
{
	struct caller c = { .r = 0 }, d = { .r = 0 };
	struct world *w = *state;
	struct err e = error(ERR_UNAVAILABLE, ERR_SCOPE_REQUEST, false);

	begin_fails = &e;
	begin(w);
	assert_int_equal(ask(w, &c, "a"), err_kind_errno(ERR_UNAVAILABLE));
	assert_null(c.fetch);
	e = error(ERR_GOOGLE, ERR_SCOPE_ACCOUNT, false);
	assert_int_equal(ask(w, &d, "a"), 0);
	succeeds("two", "a");
	assert_true(DENIED(w));
}

static void
all_denied_is_told_in_the_first_ones_words(void **state)
{
	struct caller c = { .r = 0 }, d = { .r = 0 }, full = { .r = 0 };
	struct err second = error(ERR_GOOGLE, ERR_SCOPE_ACCOUNT, false);
	struct world *w = *state;
	struct err e;

	begin(w);
	ask(w, &c, "a");
	denied("one", "a");
	err_set(&second, ERR_GOOGLE, "the second");
	second.scope = ERR_SCOPE_ACCOUNT;
	fails_with("two", "a", second);
	assert_int_equal(c.called, 1);
	assert_string_equal(c.e.msg, "it fails");
	assert_string_equal(c.e.hint, "mend it");
	/* Without asking anybody, from now on. */
	assert_int_equal(ask(w, &d, "b"), err_kind_errno(ERR_GOOGLE));
	assert_string_equal(d.e.hint, "mend it");
	assert_int_equal(begun[0] + begun[1], 2);

	/* Full tokens are another matter, and then no more. */
	assert_int_equal(flows_error(w->ctx.flows, &e), 0);
	assert_int_equal(ask_for(w, &full, "a", TOKEN_FULL), 0);
	fails_with("two", "a", second);
	assert_string_equal(full.e.hint, "mend it");
	assert_true(flows_error(w->ctx.flows, &e) < 0);
	assert_string_equal(e.hint, "mend it");

	/* When the next try is due, nobody knows. */
	pass(w, SPAN + MS);
	assert_int_equal(flows_error(w->ctx.flows, &e), 0);
}

/* --- how long --------------------------------------------------------------- */

static void
a_denied_flow_is_tried_again_after_times_that_double(void **state)
{
	static const uint64_t spans[] = { SPAN, 2 * SPAN, 4 * SPAN, 4 * SPAN };
	struct world *w = *state;
	struct caller c = { .r = 0 };

	begin(w);
	ask(w, &c, "a");
	denied("one", "a");
	succeeds("two", "a");
	for (size_t i = 0; i < ARRAY_SIZE(spans); i++) {
		struct flow_status s[FLOWS_MAX * TOKEN_FORMATS];

		flows_status(w->ctx.flows, s);
		assert_true(s[0].again_usec <= spans[i]);
		assert_true(s[0].again_usec > spans[i] / 2);
		assert_int_equal(begun[0], 1 + i);
		pass(w, spans[i] + MS);
		assert_int_equal(begun[0], 1 + i);	/* nobody asked */
		ask(w, &c, "a");
		assert_int_equal(begun[0], 2 + i);
		doubted("one", "a");		/* there is no doubt by now */
		succeeds("two", "a");
	}
	assert_int_equal(told, 1);

	pass(w, 4 * SPAN + MS);
	ask(w, &c, "a");
	succeeds("one", "a");
	assert_false(DENIED(w));
	assert_string_equal(last, "one standard serves");
	assert_int_equal(told, 2);
	assert_string_equal(c.flow, "one");
}

static void
only_one_tries_a_denied_flow_at_a_time(void **state)
{
	struct caller c = { .r = 0 }, d = { .r = 0 };
	struct world *w = *state;

	begin(w);
	ask(w, &c, "a");
	denied("one", "a");
	succeeds("two", "a");
	pass(w, SPAN + MS);
	ask(w, &c, "a");
	ask(w, &d, "b");
	assert_non_null(in_flight("one", "a"));
	succeeds("two", "b");
	/* One that leaves makes room. */
	c.fetch = fetch_free(c.fetch);
	ask(w, &d, "b");
	succeeds("one", "b");
	assert_false(DENIED(w));
}

static void
a_trial_that_shows_nothing_changes_nothing(void **state)
{
	struct world *w = *state;
	struct caller c = { .r = 0 };

	begin(w);
	ask(w, &c, "a");
	denied("one", "a");
	succeeds("two", "a");
	pass(w, SPAN + MS);
	ask(w, &c, "a");
	down("one", "a");
	succeeds("two", "a");			/* who served before goes on */
	assert_true(c.got && DENIED(w));
	ask(w, &c, "a");
	assert_null(in_flight("one", "a"));
	succeeds("two", "a");
	pass(w, SPAN + MS);
	ask(w, &c, "a");
	fails_with("one", "a", error(ERR_GOOGLE, ERR_SCOPE_REQUEST, false));
	succeeds("two", "a");
	assert_int_equal(told, 1);
}

static void
a_flush_forgets_denials(void **state)
{
	struct world *w = *state;
	struct caller c = { .r = 0 };

	begin(w);
	ask(w, &c, "a");
	denied("one", "a");
	succeeds("two", "a");
	flows_flush(w->ctx.flows);
	assert_false(DENIED(w));
	ask(w, &c, "a");
	denied("one", "a");
	succeeds("two", "a");
	assert_int_equal(told, 2);		/* it was asked anew */
	/* And what was told last is untrue once it serves. */
	flows_flush(w->ctx.flows);
	ask(w, &c, "a");
	succeeds("one", "a");
	assert_int_equal(told, 3);
	assert_string_equal(last, "one standard serves");
}

static void
a_denial_that_outlives_a_change_of_account_is_told_once(void **state)
{
	struct world *w = *state;

	impossible = true;
	begin(w);
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	RUN_UNTIL(w->event, account_state(w->a) == ACCOUNT_FOUND);
	for (int i = 0; i < 3; i++)
		flows_account_changed(w->ctx.flows);
	assert_true(DENIED(w));
	assert_int_equal(told, 1);
}

static void
a_success_of_an_older_request_opens_the_flow(void **state)
{
	struct caller c = { .r = 0 }, d = { .r = 0 };
	struct world *w = *state;

	begin(w);
	ask(w, &c, "a");
	ask(w, &d, "b");
	denied("one", "a");
	assert_true(DENIED(w));
	succeeds("one", "b");
	assert_false(DENIED(w));
	succeeds("two", "a");
}

static void
many_denials_at_a_time_count_once(void **state)
{
	static const char *const audiences[] = { "a", "b", "c", "d" };
	struct flow_status s[FLOWS_MAX * TOKEN_FORMATS];
	struct caller c[4] = { { .r = 0 } };
	struct world *w = *state;

	begin(w);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		ask(w, &c[i], audiences[i]);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		denied("one", audiences[i]);
	flows_status(w->ctx.flows, s);
	assert_true(s[0].again_usec <= SPAN);
	assert_int_equal(told, 1);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		succeeds("two", audiences[i]);
}

/* --- doubt ------------------------------------------------------------------ */

static void
a_doubtful_denial_counts_the_second_time(void **state)
{
	struct world *w = *state;
	struct caller c = { .r = 0 };
	uint64_t when;

	begin(w);
	when = fake_now();	/* before the loop's own time */
	ask(w, &c, "a");
	doubted("one", "a");
	assert_false(DENIED(w));
	assert_int_equal(c.called, 0);
	assert_null(in_flight("one", "a"));
	RUN_UNTIL(w->event, in_flight("one", "a"));
	assert_true(fake_now() >= when + DOUBT);
	doubted("one", "a");
	assert_true(DENIED(w));
	succeeds("two", "a");
	assert_string_equal(c.flow, "two");
	assert_int_equal(begun[0], 2);
}

static void
throttling_in_disguise_passes(void **state)
{
	struct world *w = *state;
	struct caller c = { .r = 0 };

	begin(w);
	for (int i = 0; i < 2; i++) {
		ask(w, &c, "a");
		doubted("one", "a");
		RUN_UNTIL(w->event, in_flight("one", "a"));
		succeeds("one", "a");
		assert_true(c.got);
	}
	assert_false(DENIED(w));
	assert_int_equal(told + begun[1], 0);
}

static void
one_tries_again_for_all_who_are_held(void **state)
{
	static const char *const audiences[] = { "a", "b", "c" };
	struct caller c[3] = { { .r = 0 } };
	struct world *w = *state;

	begin(w);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		ask(w, &c[i], audiences[i]);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		doubted("one", audiences[i]);
	RUN_UNTIL(w->event, in_flight("one", "a"));
	pass(w, 2 * DOUBT);
	assert_int_equal(begun[0], 4);
	doubted("one", "a");
	assert_true(DENIED(w));
	RUN_UNTIL(w->event, in_flight("two", "c"));
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		succeeds("two", audiences[i]);
	assert_int_equal(begun[0], 4);
	assert_int_equal(told, 1);
}

static void
all_try_again_once_one_has_got_through(void **state)
{
	static const char *const audiences[] = { "a", "b", "c" };
	struct caller c[3] = { { .r = 0 } };
	struct world *w = *state;

	begin(w);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		ask(w, &c[i], audiences[i]);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		doubted("one", audiences[i]);
	RUN_UNTIL(w->event, in_flight("one", "a"));
	succeeds("one", "a");
	RUN_UNTIL(w->event, in_flight("one", "b") && in_flight("one", "c"));
	/* Held once, not again. */
	doubted("one", "b");
	assert_int_equal(c[1].called, 1);
	assert_int_equal(c[1].e.kind, ERR_GOOGLE);
	succeeds("one", "c");
	assert_false(DENIED(w));
}

static void
a_denial_in_company_does_not_count(void **state)
{
	struct caller c = { .r = 0 }, d = { .r = 0 };
	struct world *w = *state;

	begin(w);
	ask(w, &d, "busy");
	ask(w, &c, "a");
	doubted("one", "a");
	/* It is not let go alone, and does not wait for ever. */
	RUN_UNTIL(w->event, in_flight("one", "a"));
	doubted("one", "a");
	assert_int_equal(c.called, 1);
	assert_int_equal(c.e.kind, ERR_GOOGLE);
	assert_false(DENIED(w));
	assert_int_equal(begun[1], 0);
	d.fetch = fetch_free(d.fetch);
}

static void
whoever_is_held_goes_as_soon_as_it_is_alone(void **state)
{
	struct caller c = { .r = 0 }, d = { .r = 0 };
	struct world *w = *state;

	opt.doubt_usec = 20 * MS;
	begin(w);
	ask(w, &d, "busy");
	ask(w, &c, "a");
	doubted("one", "a");
	pass(w, 22 * MS);
	down("one", "busy");
	RUN_UNTIL(w->event, in_flight("one", "a"));
	doubted("one", "a");
	assert_true(DENIED(w));
	succeeds("two", "a");
}

static void
a_success_beside_ends_the_doubt(void **state)
{
	struct caller c = { .r = 0 }, d = { .r = 0 };
	struct world *w = *state;

	/* Longer than RUN_UNTIL() has patience. */
	opt.doubt_usec = 100 * USEC_PER_SEC;
	begin(w);
	c.deadline = fake_now() + 1000 * USEC_PER_SEC;
	ask(w, &d, "b");
	ask(w, &c, "a");
	doubted("one", "a");
	succeeds("one", "b");
	RUN_UNTIL(w->event, in_flight("one", "a"));	/* at once */
	succeeds("one", "a");
	assert_true(c.got);
}

static void
whoever_has_no_time_to_wait_is_told_at_once(void **state)
{
	struct caller c = { .deadline = fake_now() + 30 * MS }, d = { .r = 0 };
	struct world *w = *state;

	begin(w);
	ask(w, &c, "a");
	doubted("one", "a");
	assert_int_equal(c.called, 1);
	assert_int_equal(c.e.kind, ERR_GOOGLE);
	assert_false(DENIED(w));
	/* But it was the first time: the next one counts. */
	pass(w, DOUBT + MS);
	ask(w, &d, "b");
	doubted("one", "b");
	assert_true(DENIED(w));
	succeeds("two", "b");
}

static void
a_probe_that_leaves_or_fails_holds_up_nobody(void **state)
{
	static const char *const audiences[] = { "a", "b", "c" };
	struct caller c[3] = { { .r = 0 } };
	struct world *w = *state;

	begin(w);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		ask(w, &c[i], audiences[i]);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		doubted("one", audiences[i]);
	RUN_UNTIL(w->event, in_flight("one", "a"));
	c[0].fetch = fetch_free(c[0].fetch);
	RUN_UNTIL(w->event, in_flight("one", "b"));
	down("one", "b");
	assert_int_equal(c[1].e.kind, ERR_UNAVAILABLE);
	RUN_UNTIL(w->event, in_flight("one", "c"));
	succeeds("one", "c");
	assert_true(c[2].got);
}

static void
those_who_are_held_may_leave(void **state)
{
	struct caller c = { .r = 0 }, d = { .r = 0 }, x = { .r = 0 };
	struct world *w = *state;

	begin(w);
	ask(w, &c, "a");
	ask(w, &d, "b");
	ask(w, &x, "c");
	doubted("one", "a");
	doubted("one", "b");
	denied("one", "c");
	/* c's end frees b, which stands behind a in the list. */
	c.frees = &d;
	RUN_UNTIL(w->event, in_flight("two", "a"));
	succeeds("two", "a");
	assert_int_equal(d.called, 0);
	succeeds("two", "c");
	pass(w, 2 * DOUBT);

	flows_flush(w->ctx.flows);
	ask(w, &c, "a");
	c.frees = NULL;
	doubted("one", "a");
	c.fetch = fetch_free(c.fetch);
	pass(w, 2 * DOUBT);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_first_flow_serves),
		TEST(full_tokens_are_asked_of_who_makes_them),
		TEST(variants_tell_apart_what_differs),
		TEST(another_account_has_other_keys),
		TEST(a_denial_of_the_account_passes_to_the_next_flow_at_once),
		TEST(what_concerns_one_audience_denies_nothing),
		TEST(a_flow_that_is_down_is_waited_for),
		TEST(what_the_scopes_deny_is_not_even_begun),
		TEST(a_flow_that_fails_to_begin_is_judged_the_same),
		TEST(all_denied_is_told_in_the_first_ones_words),
		TEST(a_denied_flow_is_tried_again_after_times_that_double),
		TEST(only_one_tries_a_denied_flow_at_a_time),
		TEST(a_trial_that_shows_nothing_changes_nothing),
		TEST(a_flush_forgets_denials),
		TEST(a_denial_that_outlives_a_change_of_account_is_told_once),
		TEST(a_success_of_an_older_request_opens_the_flow),
		TEST(many_denials_at_a_time_count_once),
		TEST(a_doubtful_denial_counts_the_second_time),
		TEST(throttling_in_disguise_passes),
		TEST(one_tries_again_for_all_who_are_held),
		TEST(all_try_again_once_one_has_got_through),
		TEST(a_denial_in_company_does_not_count),
		TEST(whoever_is_held_goes_as_soon_as_it_is_alone),
		TEST(a_success_beside_ends_the_doubt),
		TEST(whoever_has_no_time_to_wait_is_told_at_once),
		TEST(a_probe_that_leaves_or_fails_holds_up_nobody),
		TEST(those_who_are_held_may_leave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
