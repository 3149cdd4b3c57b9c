/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "vectors.h"
#include "world.h"

#define WHERE		1	/* the first request asks for the universe */
#define UNIVERSE	"universe/universe-domain"
#define OTHER_EMAIL	"other-sa@example-proj-123.iam.gserviceaccount.com"
#define OTHER_BODY \
	"{\"aliases\":[],\"email\":\"" OTHER_EMAIL "\",\"scopes\":[]}"

static unsigned changes;
static enum account_state told[8];	/* with each change */

static void
on_changed(void *userdata, const struct account *a)
{
	const struct world *w = userdata;

	assert_ptr_equal(a, w->a);
	assert_true(changes < ARRAY_SIZE(told));
	told[changes++] = account_state(a);
}

static int
setup(void **state)
{
	static const struct account_ops ops = { .changed = on_changed };
	struct world *w = world_new();

	changes = 0;
	w->setup.ops = &ops;
	w->account_opt.discover_first_usec = 2 * MS;
	w->account_opt.discover_max_usec = 8 * MS;
	w->account_opt.none_usec = 30 * MS;
	*state = w;
	return 0;
}

static void
begin(struct world *w)
{
	/* The loop knows what time it is, also where a test has waited. */
	world_begin(w);
	world_add_own(w);
}

static void
begin_found(struct world *w)
{
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	begin(w);
	RUN_UNTIL(w->event, account_state(w->a) == ACCOUNT_FOUND);
}

/* One who waits. */
struct waiter {
	struct world *w;
	struct account_wait *wait;
	uint64_t deadline;
	unsigned called;
	bool found;
	struct token *token;
	struct err e;		/* where neither */
	struct waiter *frees;	/* when called */
	bool asks_again;
	unsigned order;
};

static unsigned calls;

static void
waiter_called(struct waiter *x, const struct err *e)
{
	assert_null(x->wait);	/* gone before it is told */
	x->called++;
	x->order = ++calls;
	if (e)
		x->e = *e;
	if (x->frees)
		x->frees->wait = account_wait_free(x->frees->wait);
}

static void
on_found(void *userdata, struct account *a, const struct err *e)
{
	struct waiter *x = userdata;

	assert_true(!a == !!e);
	x->found = a;
	if (a)
		assert_non_null(account_email(a));
	waiter_called(x, e);
}

static void
on_token(void *userdata, struct token *t, const struct err *e)
{
	struct waiter *x = userdata;
	struct err failed;

	assert_true(!t == !!e);
	token_unref(x->token);
	x->token = t ? token_ref(t) : NULL;
	waiter_called(x, e);
	if (x->asks_again && x->called == 1)
		assert_int_equal(account_access_token(x->w->a, &x->deadline,
						      on_token, x, &t, &x->wait,
						      &failed), 0);
}

static int
wait_found(struct world *w, struct waiter *x)
{
	x->w = w;
	if (x->deadline == 0)
		x->deadline = UINT64_MAX;
	return account_when_found(w->a, &x->deadline, on_found, x, &x->wait, &x->e);
}

static int
wait_token(struct world *w, struct waiter *x)
{
	struct token *t;
	int r;

	x->w = w;
	if (x->deadline == 0)
		x->deadline = UINT64_MAX;
	r = account_access_token(w->a, &x->deadline, on_token, x, &t, &x->wait,
				 &x->e);
	if (r == 1)
		x->token = token_ref(t);
	return r;
}

/* --- looking for it ----------------------------------------------------------- */

static void
it_is_asked_for_by_the_loop_and_not_before(void **state)
{
	_cleanup_(freep) char *text = NULL;
	struct world *w = *state;

	begin(w);
	assert_int_equal(http_client_sent(w->http), 0);
	assert_int_equal(account_state(w->a), ACCOUNT_SOUGHT);
	assert_null(account_email(w->a));
	assert_null(account_scopes(w->a));
	assert_null(account_aliases(w->a));
	assert_null(account_last_error(w->a));
	RUN_UNTIL(w->event, fake_count(w->mds) == 1);
	text = xasprintf("GET /computeMetadata/v1/instance/service-accounts/"
			 "default/?recursive=true HTTP/1.1\r\nHost: %s\r\n"
			 "User-Agent: test/1\r\nMetadata-Flavor: Google\r\n\r\n",
			 fake_url(w->mds) + strlen("http://"));
	assert_string_equal(fake_last(w->mds)->text, text);
}

static void
what_is_found_is_told_once(void **state)
{
	struct world *w = *state;

	begin_found(w);
	assert_int_equal(changes, 1);
	assert_int_equal(told[0], ACCOUNT_FOUND);
	assert_string_equal(account_email(w->a), VEC_EMAIL);
	assert_string_equal(account_scopes(w->a)[0],
			    "https://www.googleapis.com/auth/cloud-platform");
	assert_null(account_scopes(w->a)[1]);
	assert_string_equal(account_aliases(w->a)[0], "default");
	assert_null(account_last_error(w->a));
	assert_true(account_flavored(w->a));
}

static void
it_is_asked_for_until_it_is_found_and_no_more(void **state)
{
	static const unsigned gaps_ms[] = { 2, 4, 8, 8, 8 };
	struct world *w = *state;

	fake_say_once(w->mds, WHO, 503, "");
	fake_say_once(w->mds, WHO, 200, "{\"email\":\"" VEC_EMAIL "\"}");
	fake_once(w->mds, WHO, "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
	fake_say_once(w->mds, WHO, 403, "no");
	fake_once(w->mds, WHO, "220 mail\r\n");
	begin_found(w);

	assert_int_equal(fake_count(w->mds), 6);
	for (size_t i = 0; i < ARRAY_SIZE(gaps_ms); i++)
		assert_true(fake_request(w->mds, i + 1)->came -
			    fake_request(w->mds, i)->came >= gaps_ms[i] * MS);
	fake_run_to(w->event, fake_now() + 40 * MS);
	assert_int_equal(http_client_sent(w->http), WHERE + 6);
	assert_int_equal(changes, 1);
}

static void
the_last_failure_is_told_while_there_is_one(void **state)
{
	struct world *w = *state;

	fake_say_once(w->mds, WHO, 503, "");
	begin(w);
	RUN_UNTIL(w->event, account_last_error(w->a));
	assert_int_equal(account_last_error(w->a)->kind, ERR_UNAVAILABLE);
	assert_non_null(strstr(account_last_error(w->a)->msg,
			       "looking for the VM's service account: "));
	assert_non_null(strstr(account_last_error(w->a)->msg, "HTTP 503"));
	assert_int_equal(account_state(w->a), ACCOUNT_SOUGHT);
	assert_int_equal(changes, 0);
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	RUN_UNTIL(w->event, account_state(w->a) == ACCOUNT_FOUND);
	assert_null(account_last_error(w->a));
}

static void
a_question_that_cannot_be_asked_is_asked_again_later(void **state)
{
	struct world *w = *state;

	free(w->at.metadata);
	w->at.metadata = xstrdup("gopher://127.0.0.1");
	begin(w);
	RUN_UNTIL(w->event, account_last_error(w->a));
	free(w->at.metadata);
	w->at.metadata = xstrdup(fake_url(w->mds));
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	RUN_UNTIL(w->event, account_state(w->a) == ACCOUNT_FOUND);
}

static void
only_a_metadata_server_counts_as_one(void **state)
{
	struct world *w = *state;

	fake_once(w->mds, UNIVERSE, "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
	begin(w);
	RUN_UNTIL(w->event, account_last_error(w->a));
	assert_false(account_flavored(w->a));
	fake_say(w->mds, UNIVERSE, 500, "");
	RUN_UNTIL(w->event, account_flavored(w->a));
	assert_int_equal(account_state(w->a), ACCOUNT_SOUGHT);
}

static void
while_the_vm_boots_no_account_is_not_believed(void **state)
{
	struct waiter x = { 0 };
	struct world *w = *state;

	w->account_opt.boot_usec = fake_now() + 60 * MS;
	fake_say(w->mds, WHO, 404, VEC_A12_BODY);
	begin(w);
	assert_int_equal(wait_found(w, &x), 0);
	RUN_UNTIL(w->event, account_last_error(w->a));
	assert_int_equal(account_last_error(w->a)->kind, ERR_UNAVAILABLE);
	RUN_UNTIL(w->event, account_state(w->a) != ACCOUNT_SOUGHT);
	assert_true(fake_now() >= w->account_opt.boot_usec);
	assert_int_equal(account_state(w->a), ACCOUNT_NONE);
	assert_true(fake_count(w->mds) > 2);
	assert_null(account_last_error(w->a));
	assert_int_equal(x.called, 1);
	assert_int_equal(x.e.kind, ERR_NOT_FOUND);
	assert_int_equal(changes, 1);
	assert_int_equal(told[0], ACCOUNT_NONE);
}

static void
an_account_that_comes_while_the_vm_boots_is_found(void **state)
{
	struct world *w = *state;

	w->account_opt.boot_usec = fake_now() + USEC_PER_MIN;
	fake_say_once(w->mds, WHO, 404, VEC_A12_BODY);
	fake_say_once(w->mds, WHO, 404, VEC_A12_BODY);
	begin_found(w);
	assert_int_equal(changes, 1);
	assert_int_equal(fake_count(w->mds), 3);
}

static void
a_metadata_server_that_asks_for_time_gets_some(void **state)
{
	static const char busy[] = "HTTP/1.1 429 Too Many Requests\r\n"
		"Metadata-Flavor: Google\r\nRetry-After: 3600\r\n"
		"Content-Length: 0\r\n\r\n";
	struct world *w = *state;

	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	fake_once(w->mds, WHO, busy);
	begin(w);
	RUN_UNTIL(w->event, account_state(w->a) == ACCOUNT_FOUND);
	assert_int_equal(fake_count(w->mds), 2);
	/* As long as it is left alone where there is none, and no longer. */
	assert_true(fake_request(w->mds, 1)->came - fake_request(w->mds, 0)->came >=
		    w->account_opt.none_usec);
}

static void
where_there_is_none_it_is_looked_for_again_every_while(void **state)
{
	struct waiter x = { 0 };
	struct world *w = *state;

	fake_say_once(w->mds, WHO, 404, VEC_A12_BODY);
	fake_say_once(w->mds, WHO, 404, VEC_A12_BODY);
	fake_say_once(w->mds, WHO, 503, "");
	begin(w);
	RUN_UNTIL(w->event, account_state(w->a) == ACCOUNT_NONE);
	assert_int_equal(wait_found(w, &x), -ENOENT);
	assert_int_equal(x.e.kind, ERR_NOT_FOUND);
	assert_non_null(strstr(x.e.hint, "gcloud compute instances "
					 "set-service-account"));
	assert_null(account_email(w->a));
	assert_int_equal(wait_token(w, &x), -ENOENT);

	RUN_UNTIL(w->event, account_last_error(w->a));
	assert_int_equal(account_state(w->a), ACCOUNT_NONE);
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	RUN_UNTIL(w->event, account_state(w->a) == ACCOUNT_FOUND);
	assert_int_equal(fake_count(w->mds), 4);
	for (size_t i = 1; i < 4; i++)
		assert_true(fake_request(w->mds, i)->came -
			    fake_request(w->mds, i - 1)->came >= 30 * MS);
	assert_int_equal(changes, 2);
	assert_int_equal(told[1], ACCOUNT_FOUND);
	assert_null(account_last_error(w->a));
	fake_run_to(w->event, fake_now() + 40 * MS);
	assert_int_equal(http_client_sent(w->http), WHERE + 4);
}

/* --- the universe ----------------------------------------------------------- */

static void
set_universe(struct world *w, const char *domain)
{
	free(w->at.universe);
	w->at.universe = xstrdup(domain);
}

static void
where_the_machine_is_is_asked_once_and_before_who_it_is(void **state)
{
	struct world *w = *state;

	fake_say(w->mds, UNIVERSE, 200, "googleapis.com");
	begin_found(w);
	assert_int_equal(fake_count(w->mds), 2);
	assert_non_null(strstr(fake_request(w->mds, 0)->text, UNIVERSE));
	fake_run_to(w->event, fake_now() + 2 * w->account_opt.none_usec);
	account_rediscover(w->a);
	RUN_UNTIL(w->event, fake_count_of(w->mds, WHO) == 2);
	assert_int_equal(fake_count_of(w->mds, UNIVERSE), 1);
}

/* Whose email it is, and its access token, nobody asks. */
static void
a_machine_in_another_universe_has_no_account_for_us(void **state)
{
	struct world *w = *state;
	struct waiter x = { 0 }, y = { 0 }, late = { 0 };

	begin(w);
	assert_int_equal(wait_found(w, &x), 0);
	assert_int_equal(wait_token(w, &y), 0);
	fake_say(w->mds, UNIVERSE, 200, "apis.example");
	RUN_UNTIL(w->event, x.called && y.called);
	assert_int_equal(account_state(w->a), ACCOUNT_ELSEWHERE);
	assert_int_equal(x.e.kind, ERR_GOOGLE);
	assert_int_equal(y.e.kind, ERR_GOOGLE);
	assert_string_equal(x.e.msg, "this machine is in universe apis.example, as "
			    "its metadata server says, and the agent is in "
			    "googleapis.com, the default");
	assert_string_equal(x.e.hint, "if the machine is meant to be there: "
			    "universe = apis.example in [upstream], and reload");
	assert_null(account_email(w->a));
	assert_string_equal(account_last_error(w->a)->msg, x.e.msg);
	assert_int_equal(wait_found(w, &late), -EREMOTEIO);
	assert_string_equal(late.e.msg, x.e.msg);
	assert_int_equal(wait_token(w, &late), -EREMOTEIO);

	/* Asked again from time to time, told once; and until it is another answer
	   a failure changes nothing. */
	fake_say_once(w->mds, UNIVERSE, 503, "");
	RUN_UNTIL(w->event, fake_count_of(w->mds, UNIVERSE) >= 4);
	assert_int_equal(changes, 1);
	assert_int_equal(fake_count_of(w->mds, "service-accounts"), 0);
	assert_int_equal(wait_found(w, &late), -EREMOTEIO);
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	fake_say(w->mds, UNIVERSE, 200, "googleapis.com");
	RUN_UNTIL(w->event, account_state(w->a) == ACCOUNT_FOUND);
	assert_int_equal(changes, 2);
}

static void
a_configured_universe_has_to_be_the_machines(void **state)
{
	struct world *w = *state;
	struct waiter x = { 0 };

	set_universe(w, "apis.example");
	fake_say(w->mds, UNIVERSE, 404, VEC_A15_BODY);
	begin(w);
	assert_int_equal(wait_found(w, &x), 0);
	RUN_UNTIL(w->event, x.called);
	assert_int_equal(account_state(w->a), ACCOUNT_ELSEWHERE);
	assert_string_equal(x.e.msg, "this machine is in universe googleapis.com, "
			    "as its metadata server says, and the agent is in "
			    "apis.example");
	assert_string_equal(x.e.hint,
			    "take universe out of [upstream], and reload");
	assert_int_equal(fake_count_of(w->mds, "service-accounts"), 0);
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	fake_say(w->mds, UNIVERSE, 200, "apis.example");
	RUN_UNTIL(w->event, account_state(w->a) == ACCOUNT_FOUND);
}

static void
while_the_vm_boots_a_missing_universe_is_not_held_against_it(void **state)
{
	struct world *w = *state;

	w->account_opt.boot_usec = UINT64_MAX;
	set_universe(w, "apis.example");
	fake_say_once(w->mds, UNIVERSE, 404, "");
	fake_say_once(w->mds, UNIVERSE, 404, "");
	fake_say(w->mds, UNIVERSE, 200, "apis.example");
	begin_found(w);
	assert_int_equal(changes, 1);
	assert_int_equal(told[0], ACCOUNT_FOUND);
}

static void
without_an_answer_no_universe_is_supposed(void **state)
{
	struct world *w = *state;

	fake_say_once(w->mds, UNIVERSE, 500, "");
	fake_say_once(w->mds, UNIVERSE, 403, "");
	fake_say_once(w->mds, UNIVERSE, 200, "no domain");
	fake_once(w->mds, UNIVERSE, "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
	fake_once(w->mds, UNIVERSE, "");
	begin(w);
	RUN_UNTIL(w->event, account_last_error(w->a));
	assert_non_null(strstr(account_last_error(w->a)->msg,
			       "looking for the VM's service account: metadata "
			       "server: universe/"));
	RUN_UNTIL(w->event, fake_count_of(w->mds, WHO) == 1);
	assert_int_equal(fake_count_of(w->mds, UNIVERSE), 5);
}

static void
default_and_its_email_mean_the_account(void **state)
{
	struct world *w = *state;

	begin(w);
	assert_true(account_is(w->a, "default"));
	assert_false(account_is(w->a, VEC_EMAIL));
	assert_false(account_is(w->a, ""));
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	RUN_UNTIL(w->event, account_state(w->a) == ACCOUNT_FOUND);
	assert_true(account_is(w->a, "default"));
	assert_true(account_is(w->a, VEC_EMAIL));
	assert_false(account_is(w->a, OTHER_EMAIL));
	assert_false(account_is(w->a, "Default"));
}

/* --- looking again ------------------------------------------------------------ */

static void
it_is_looked_for_anew_at_most_once_a_while(void **state)
{
	struct world *w = *state;

	begin_found(w);
	account_rediscover(w->a);	/* we have just looked */
	assert_int_equal(http_client_sent(w->http), WHERE + 1);
	fake_run_to(w->event, fake_now() + 31 * MS);
	for (unsigned i = 0; i < 5; i++)
		account_rediscover(w->a);
	assert_int_equal(http_client_sent(w->http), WHERE + 2);
	RUN_UNTIL(w->event, fake_count(w->mds) == 2);
	account_rediscover(w->a);
	fake_run_to(w->event, fake_now() + 5 * MS);
	account_rediscover(w->a);
	assert_int_equal(http_client_sent(w->http), WHERE + 2);
}

static void
what_is_not_found_yet_is_not_looked_for_faster(void **state)
{
	struct world *w = *state;

	w->account_opt.none_usec = 0;
	begin(w);
	account_rediscover(w->a);
	assert_int_equal(http_client_sent(w->http), 0);
	RUN_UNTIL(w->event, fake_count(w->mds) == 1);
	account_rediscover(w->a);
	assert_int_equal(http_client_sent(w->http), WHERE + 1);
}

/* Found, and looked for anew as soon as that may be. */
static void
look_anew(struct world *w, unsigned status, const char *body)
{
	size_t n;

	begin_found(w);
	fake_always(w->mds, WHO, NULL);
	fake_run_to(w->event, fake_now() + 31 * MS);
	n = fake_count_of(w->mds, WHO);
	account_rediscover(w->a);
	RUN_UNTIL(w->event, fake_count_of(w->mds, WHO) == n + 1);
	assert_string_equal(account_email(w->a), VEC_EMAIL);
	fake_say(w->mds, WHO, status, body);
}

static void
the_same_account_found_anew_changes_nothing(void **state)
{
	struct world *w = *state;

	look_anew(w, 200, "{\"aliases\":[],\"email\":\"" VEC_EMAIL "\","
		  "\"scopes\":[]}");
	RUN_UNTIL(w->event, !account_scopes(w->a)[0]);
	assert_string_equal(account_email(w->a), VEC_EMAIL);
	assert_int_equal(changes, 1);
}

static void
another_account_is_a_change(void **state)
{
	struct world *w = *state;
	struct waiter x = { 0 }, y = { 0 };

	fake_say(w->mds, TOKEN, 200, VEC_A4_BODY);
	begin_found(w);
	assert_int_equal(wait_token(w, &x), 0);
	RUN_UNTIL(w->event, x.called);
	fake_run_to(w->event, fake_now() + 31 * MS);
	fake_say(w->mds, WHO, 200, OTHER_BODY);
	account_rediscover(w->a);
	RUN_UNTIL(w->event, account_is(w->a, OTHER_EMAIL));
	assert_int_equal(changes, 2);
	assert_int_equal(told[1], ACCOUNT_FOUND);
	/* The access token was the other's. */
	assert_int_equal(wait_token(w, &y), 0);
	RUN_UNTIL(w->event, y.called);
	assert_string_equal(token_email(x.token), VEC_EMAIL);
	assert_string_equal(token_email(y.token), OTHER_EMAIL);
	token_unref(x.token);
	token_unref(y.token);
}

static void
a_token_under_way_for_another_account_is_nobodys(void **state)
{
	struct world *w = *state;
	struct waiter x = { 0 }, y = { 0 };

	begin_found(w);
	assert_int_equal(wait_token(w, &x), 0);
	RUN_UNTIL(w->event, fake_count_of(w->mds, TOKEN) == 1);
	fake_run_to(w->event, fake_now() + 31 * MS);
	fake_say(w->mds, WHO, 200, OTHER_BODY);
	account_rediscover(w->a);
	RUN_UNTIL(w->event, x.called);
	assert_null(x.token);
	assert_int_equal(x.e.kind, ERR_UNAVAILABLE);
	fake_say(w->mds, TOKEN, 200, VEC_A4_BODY);
	assert_int_equal(wait_token(w, &y), 0);
	RUN_UNTIL(w->event, y.called);
	assert_string_equal(token_email(y.token), OTHER_EMAIL);
	token_unref(y.token);
}

static void
a_look_in_vain_leaves_what_was_found(void **state)
{
	struct world *w = *state;

	look_anew(w, 503, "");
	RUN_UNTIL(w->event, account_last_error(w->a));
	assert_int_equal(account_state(w->a), ACCOUNT_FOUND);
	assert_string_equal(account_email(w->a), VEC_EMAIL);
	assert_int_equal(changes, 1);
}

static void
an_account_may_go(void **state)
{
	struct world *w = *state;

	look_anew(w, 404, VEC_A12_BODY);
	RUN_UNTIL(w->event, account_state(w->a) == ACCOUNT_NONE);
	assert_null(account_email(w->a));
	assert_int_equal(changes, 2);
	assert_int_equal(told[1], ACCOUNT_NONE);
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	RUN_UNTIL(w->event, account_state(w->a) == ACCOUNT_FOUND);
	assert_int_equal(changes, 3);
}

/* --- waiting for it ----------------------------------------------------------- */

static void
everybody_who_waits_is_told_once_and_in_order(void **state)
{
	struct world *w = *state;
	struct waiter x[5] = { { 0 } }, late = { 0 };

	begin(w);
	calls = 0;
	for (size_t i = 0; i < ARRAY_SIZE(x); i++)
		assert_int_equal(wait_found(w, &x[i]), 0);
	RUN_UNTIL(w->event, fake_count(w->mds) == 1);
	assert_int_equal(x[0].called, 0);
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	RUN_UNTIL(w->event, x[4].called);
	for (size_t i = 0; i < ARRAY_SIZE(x); i++) {
		assert_int_equal(x[i].called, 1);
		assert_int_equal(x[i].order, i + 1);
		assert_true(x[i].found);
	}
	assert_int_equal(wait_found(w, &late), 1);
	fake_run_to(w->event, fake_now() + 10 * MS);
	assert_int_equal(late.called, 0);
}

static void
a_wait_lasts_through_failures(void **state)
{
	struct world *w = *state;
	struct waiter x = { 0 };

	fake_say_once(w->mds, WHO, 503, "");
	fake_say_once(w->mds, WHO, 503, "");
	begin(w);
	assert_int_equal(wait_found(w, &x), 0);
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	RUN_UNTIL(w->event, x.called);
	assert_true(x.found);
	assert_int_equal(fake_count(w->mds), 3);
}

static void
a_wait_ends_at_its_deadline(void **state)
{
	struct world *w = *state;
	struct waiter x = { .deadline = fake_now() + 20 * MS };

	begin(w);
	assert_int_equal(wait_found(w, &x), 0);
	RUN_UNTIL(w->event, x.called);
	assert_true(fake_now() >= x.deadline);
	assert_false(x.found);
	assert_int_equal(x.e.kind, ERR_UNAVAILABLE);
	assert_string_equal(x.e.msg, "no answer from the metadata server yet");
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	RUN_UNTIL(w->event, account_state(w->a) == ACCOUNT_FOUND);
	assert_int_equal(x.called, 1);
}

static void
a_wait_that_ends_tells_the_last_failure(void **state)
{
	struct world *w = *state;
	struct waiter x = { 0 };

	fake_say(w->mds, WHO, 503, "");
	begin(w);
	RUN_UNTIL(w->event, account_last_error(w->a));
	x.deadline = fake_now() + 20 * MS;
	assert_int_equal(wait_found(w, &x), 0);
	RUN_UNTIL(w->event, x.called);
	assert_int_equal(x.e.kind, ERR_UNAVAILABLE);
	assert_non_null(strstr(x.e.msg, "HTTP 503"));
}

static void
a_token_not_given_in_time_is_a_timeout_of_whom_was_asked(void **state)
{
	struct world *w = *state;
	struct waiter x = { .deadline = fake_now() + 20 * MS };

	begin_found(w);
	assert_int_equal(wait_token(w, &x), 0);
	RUN_UNTIL(w->event, x.called);
	assert_null(x.token);
	assert_int_equal(x.e.kind, ERR_TIMEOUT);
	assert_string_equal(x.e.msg, "the metadata server has not given an access "
			    "token of " VEC_EMAIL " in time");
}

static void
a_deadline_may_move(void **state)
{
	struct world *w = *state;
	uint64_t first = fake_now() + 10 * MS;
	struct waiter x = { .deadline = first };

	begin(w);
	assert_int_equal(wait_found(w, &x), 0);
	x.deadline = first + 30 * MS;
	RUN_UNTIL(w->event, x.called);
	assert_true(fake_now() >= first + 30 * MS);
	assert_int_equal(x.called, 1);
}

static void
a_deadline_that_is_past_ends_the_wait_and_not_the_call(void **state)
{
	struct world *w = *state;
	struct waiter x = { .deadline = 1 };

	begin(w);
	assert_int_equal(wait_found(w, &x), 0);
	assert_int_equal(x.called, 0);
	RUN_UNTIL(w->event, x.called);
	assert_int_equal(x.e.kind, ERR_UNAVAILABLE);
}

static void
who_stops_waiting_is_not_told(void **state)
{
	struct world *w = *state;
	struct waiter x = { 0 }, y = { 0 };

	begin(w);
	assert_int_equal(wait_found(w, &x), 0);
	assert_int_equal(wait_found(w, &y), 0);
	x.wait = account_wait_free(x.wait);
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	RUN_UNTIL(w->event, y.called);
	assert_int_equal(x.called, 0);
	assert_null(account_wait_free(NULL));
}

static void
a_callback_may_end_anothers_wait(void **state)
{
	struct world *w = *state;
	struct waiter x[3] = { { 0 } };

	begin(w);
	for (size_t i = 0; i < ARRAY_SIZE(x); i++)
		assert_int_equal(wait_found(w, &x[i]), 0);
	x[0].frees = &x[1];
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	RUN_UNTIL(w->event, x[2].called);
	assert_int_equal(x[0].called, 1);
	assert_int_equal(x[1].called, 0);
}

/* --- its access token --------------------------------------------------------- */

static void
an_access_token_is_fetched_once_for_all_who_ask(void **state)
{
	struct world *w = *state;
	struct waiter x[4] = { { 0 } }, late = { 0 };

	begin_found(w);
	for (size_t i = 0; i < ARRAY_SIZE(x); i++)
		assert_int_equal(wait_token(w, &x[i]), 0);
	RUN_UNTIL(w->event, fake_count_of(w->mds, TOKEN) == 1);
	fake_say(w->mds, TOKEN, 200, VEC_A4_BODY);
	RUN_UNTIL(w->event, x[3].called);
	assert_int_equal(wait_token(w, &late), 1);
	for (size_t i = 0; i < ARRAY_SIZE(x); i++) {
		assert_int_equal(x[i].called, 1);
		assert_ptr_equal(x[i].token, late.token);
		token_unref(x[i].token);
	}
	assert_string_equal(token_reveal(late.token, NULL), VEC_ACCESS_TOKEN);
	assert_string_equal(token_email(late.token), VEC_EMAIL);
	assert_true(token_exp(late.token) - token_iat(late.token) == 3421);
	token_unref(late.token);
	assert_int_equal(http_client_sent(w->http), WHERE + 2);
}

/* The answers that the token endpoint gives for a token of this life. */
static void
say_token(struct world *w, const char *text, int64_t life)
{
	_cleanup_(freep) char *body = NULL;

	body = xasprintf("{\"access_token\":\"%s\",\"expires_in\":%lld,"
			 "\"token_type\":\"Bearer\"}", text, (long long)life);
	fake_say(w->mds, TOKEN, 200, body);
}

static void
get_token(struct world *w, struct waiter *x)
{
	assert_int_equal(wait_token(w, x), 0);
	RUN_UNTIL(w->event, x->called);
	assert_non_null(x->token);
}

static void
a_token_is_stale_a_margin_before_its_end(void **state)
{
	struct world *w = *state;
	struct waiter x = { 0 }, y = { 0 }, z = { 0 };

	begin_found(w);
	say_token(w, "one", 60);
	get_token(w, &x);
	say_token(w, "two", 61 + 60);
	get_token(w, &y);	/* "one" was stale at once */
	assert_int_equal(wait_token(w, &z), 1);
	assert_ptr_equal(z.token, y.token);
	assert_int_equal(fake_count_of(w->mds, TOKEN), 2);
	token_unref(x.token);
	token_unref(y.token);
	token_unref(z.token);
}

static void
a_margin_larger_than_the_life_makes_no_loop(void **state)
{
	struct world *w = *state;
	struct waiter x = { .asks_again = true };

	begin_found(w);
	say_token(w, "short", 5);
	get_token(w, &x);
	RUN_UNTIL(w->event, x.called == 2);
	fake_run_to(w->event, fake_now() + 10 * MS);
	assert_int_equal(fake_count_of(w->mds, TOKEN), 2);
	assert_int_equal(http_client_sent(w->http), WHERE + 3);
	token_unref(x.token);
}

static void
a_life_beyond_all_measure_is_cut(void **state)
{
	static const int64_t lives[] = { 1000000, INT64_MAX / 2, INT64_MAX };
	struct world *w = *state;

	begin_found(w);
	for (size_t i = 0; i < ARRAY_SIZE(lives); i++) {
		struct waiter x = { 0 }, y = { 0 };

		say_token(w, "long", lives[i]);
		get_token(w, &x);
		assert_int_equal(wait_token(w, &y), 1);
		assert_true(token_exp(x.token) - token_iat(x.token) <= 24 * 3600);
		account_drop_token(w->a, x.token);
		token_unref(x.token);
		token_unref(y.token);
	}
}

static void
a_dropped_token_is_fetched_anew(void **state)
{
	struct world *w = *state;
	struct waiter x = { 0 }, y = { 0 }, z = { 0 };

	begin_found(w);
	say_token(w, "one", 3600);
	get_token(w, &x);
	account_drop_token(w->a, x.token);
	say_token(w, "two", 3600);
	get_token(w, &y);
	assert_string_equal(token_reveal(x.token, NULL), "one");
	assert_string_equal(token_reveal(y.token, NULL), "two");
	/* Who comes late with the old one costs nobody the new one. */
	account_drop_token(w->a, x.token);
	assert_int_equal(wait_token(w, &z), 1);
	assert_ptr_equal(z.token, y.token);
	token_unref(x.token);
	token_unref(y.token);
	token_unref(z.token);
}

static void
a_failure_is_told_to_all_and_not_remembered(void **state)
{
	static const struct {
		unsigned status;
		const char *body;
		enum err_kind kind;
	} table[] = {
		{ 503, "", ERR_UNAVAILABLE },
		{ 404, "no", ERR_NOT_FOUND },
		{ 403, "no", ERR_GOOGLE },
		{ 200, "{\"access_token\":\"x\"}", ERR_UNAVAILABLE },
		{ 200, "[]", ERR_UNAVAILABLE },
	};
	struct world *w = *state;

	begin_found(w);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct waiter x = { 0 }, y = { 0 };

		fake_say(w->mds, TOKEN, table[i].status, table[i].body);
		assert_int_equal(wait_token(w, &x), 0);
		assert_int_equal(wait_token(w, &y), 0);
		RUN_UNTIL(w->event, y.called);
		assert_int_equal(x.called, 1);
		assert_int_equal(x.e.kind, table[i].kind);
		assert_int_equal(y.e.kind, table[i].kind);
		assert_int_equal(fake_count_of(w->mds, TOKEN), i + 1);
	}
	assert_int_equal(account_state(w->a), ACCOUNT_FOUND);
}

static void
who_asks_again_when_told_waits_for_the_next_answer(void **state)
{
	struct world *w = *state;
	struct waiter x = { .asks_again = true }, y = { 0 };

	begin_found(w);
	fake_say_once(w->mds, TOKEN, 503, "");
	assert_int_equal(wait_token(w, &x), 0);
	assert_int_equal(wait_token(w, &y), 0);
	RUN_UNTIL(w->event, fake_count_of(w->mds, TOKEN) == 2);
	assert_int_equal(x.called, 1);
	assert_int_equal(y.called, 1);
	fake_say(w->mds, TOKEN, 200, VEC_A4_BODY);
	RUN_UNTIL(w->event, x.called == 2);
	assert_non_null(x.token);
	assert_int_equal(y.called, 1);
	token_unref(x.token);
}

static void
who_waits_no_longer_does_not_end_the_fetch(void **state)
{
	struct world *w = *state;
	struct waiter x = { .deadline = fake_now() + 40 * MS };
	struct waiter y = { 0 }, z = { 0 };

	begin_found(w);
	assert_int_equal(wait_token(w, &x), 0);
	assert_int_equal(wait_token(w, &y), 0);
	y.wait = account_wait_free(y.wait);
	RUN_UNTIL(w->event, x.called);
	assert_int_equal(x.e.kind, ERR_TIMEOUT);
	RUN_UNTIL(w->event, fake_count_of(w->mds, TOKEN) == 1);
	fake_say(w->mds, TOKEN, 200, VEC_A4_BODY);
	RUN_UNTIL(w->event, wait_token(w, &z) == 1 ||
		  (account_wait_free(z.wait), 0));
	assert_int_equal(fake_count_of(w->mds, TOKEN), 1);
	assert_int_equal(y.called, 0);
	token_unref(z.token);
}

static void
who_waits_for_a_token_is_told_when_the_account_goes(void **state)
{
	struct world *w = *state;
	struct waiter x = { 0 };

	look_anew(w, 404, VEC_A12_BODY);
	assert_int_equal(wait_token(w, &x), 0);
	RUN_UNTIL(w->event, x.called);
	assert_int_equal(account_state(w->a), ACCOUNT_NONE);
	assert_null(x.token);
	assert_int_equal(x.e.kind, ERR_NOT_FOUND);
}

static void
it_may_be_freed_with_questions_under_way(void **state)
{
	struct world *w = *state;
	struct waiter x = { 0 };

	begin_found(w);
	fake_always(w->mds, WHO, NULL);
	fake_run_to(w->event, fake_now() + 31 * MS);
	account_rediscover(w->a);
	assert_int_equal(wait_token(w, &x), 0);
	RUN_UNTIL(w->event, fake_count(w->mds) == 3);
	account_wait_free(x.wait);
	w->a = account_free(w->a);
	assert_null(account_free(NULL));
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, world_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_is_asked_for_by_the_loop_and_not_before),
		TEST(what_is_found_is_told_once),
		TEST(it_is_asked_for_until_it_is_found_and_no_more),
		TEST(the_last_failure_is_told_while_there_is_one),
		TEST(a_question_that_cannot_be_asked_is_asked_again_later),
		TEST(only_a_metadata_server_counts_as_one),
		TEST(while_the_vm_boots_no_account_is_not_believed),
		TEST(an_account_that_comes_while_the_vm_boots_is_found),
		TEST(a_metadata_server_that_asks_for_time_gets_some),
		TEST(where_there_is_none_it_is_looked_for_again_every_while),
		TEST(where_the_machine_is_is_asked_once_and_before_who_it_is),
		TEST(a_machine_in_another_universe_has_no_account_for_us),
		TEST(a_configured_universe_has_to_be_the_machines),
		TEST(while_the_vm_boots_a_missing_universe_is_not_held_against_it),
		TEST(without_an_answer_no_universe_is_supposed),
		TEST(default_and_its_email_mean_the_account),
		TEST(it_is_looked_for_anew_at_most_once_a_while),
		TEST(what_is_not_found_yet_is_not_looked_for_faster),
		TEST(the_same_account_found_anew_changes_nothing),
		TEST(another_account_is_a_change),
		TEST(a_token_under_way_for_another_account_is_nobodys),
		TEST(a_look_in_vain_leaves_what_was_found),
		TEST(an_account_may_go),
		TEST(everybody_who_waits_is_told_once_and_in_order),
		TEST(a_wait_lasts_through_failures),
		TEST(a_wait_ends_at_its_deadline),
		TEST(a_wait_that_ends_tells_the_last_failure),
		TEST(a_token_not_given_in_time_is_a_timeout_of_whom_was_asked),
		TEST(a_deadline_may_move),
		TEST(a_deadline_that_is_past_ends_the_wait_and_not_the_call),
		TEST(who_stops_waiting_is_not_told),
		TEST(a_callback_may_end_anothers_wait),
		TEST(an_access_token_is_fetched_once_for_all_who_ask),
		TEST(a_token_is_stale_a_margin_before_its_end),
		TEST(a_margin_larger_than_the_life_makes_no_loop),
		TEST(a_life_beyond_all_measure_is_cut),
		TEST(a_dropped_token_is_fetched_anew),
		TEST(a_failure_is_told_to_all_and_not_remembered),
		TEST(who_asks_again_when_told_waits_for_the_next_answer),
		TEST(who_waits_no_longer_does_not_end_the_fetch),
		TEST(who_waits_for_a_token_is_told_when_the_account_goes),
		TEST(it_may_be_freed_with_questions_under_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
