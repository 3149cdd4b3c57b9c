/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/b64.h"
#include "base/json.h"
#include "token/jwt.h"
#include "vectors.h"
#include "world.h"

#define WHERE		1	/* the first request asks for the universe */
#define SIGN	":signBlob"
#define TRADE	"POST /token"
#define LIFE	3600
#define BACKDATE 10
#define SKEW	300

static int
setup(void **state)
{
	struct world *w = world_new();

	world_add_own(w);
	w->ctx.opt = (struct flow_options){
		.assertion_life_usec = LIFE * USEC_PER_SEC,
		.assertion_backdate_usec = BACKDATE * USEC_PER_SEC,
		.iat_skew_usec = SKEW * USEC_PER_SEC,
		.token_life_max_usec = 86400 * USEC_PER_SEC,
		/* The fakes speak plain HTTP, and have no keys. */
		.verify = FLOW_VERIFY_CLAIMS,
	};
	*state = w;
	return 0;
}

static int
begin(struct world *w)
{
	static const struct token_key key = { TOKEN_ID, "default", "",
					      VEC_AUDIENCE };

	return world_fetch(w, &flow_signblob, &key);
}

static void
run(struct world *w)
{
	assert_int_equal(begin(w), 0);
	assert_int_equal(w->called, 0);
	RUN_UNTIL(w->event, w->called);
	assert_int_equal(w->called, 1);
}

/* What an ID token says; what is left out is as it should be. */
struct claims {
	const char *alg, *iss, *aud, *email;
	bool unverified;
	int64_t age, life;
};

static char *
id_token(const struct claims *c)
{
	_cleanup_(freep) char *head = NULL, *body = NULL, *a = NULL, *b = NULL;
	long long iat = (long long)time(NULL) - c->age;

	head = xasprintf("{\"alg\":\"%s\",\"kid\":\"k\",\"typ\":\"JWT\"}",
			 c->alg ?: "RS256");
	body = xasprintf("{\"iss\":\"%s\",\"aud\":\"%s\",\"email\":\"%s\","
			 "\"email_verified\":%s,\"sub\":\"1\",\"iat\":%lld,"
			 "\"exp\":%lld}", c->iss ?: "https://accounts.google.com",
			 c->aud ?: VEC_AUDIENCE, c->email ?: VEC_EMAIL,
			 c->unverified ? "false" : "true", iat,
			 iat + (c->life ?: LIFE));
	a = b64url_encode(head, strlen(head));
	b = b64url_encode(body, strlen(body));
	return xasprintf("%s.%s.c2lnbmF0dXJl", a, b);
}

static void
say_id_token(struct world *w, const char *text)
{
	_cleanup_(freep) char *body = xasprintf("{\"id_token\":\"%s\"}", text);

	fake_say(w->tok, TRADE, 200, body);
}

/* All is well, but for what a test says besides. */
static void
all_is_well(struct world *w)
{
	static const struct claims good = { 0 };
	_cleanup_(freep) char *text = id_token(&good);

	fake_say(w->mds, TOKEN, 200, VEC_A4_BODY);
	fake_say(w->iam, SIGN, 200, VEC_B1_BODY);
	say_id_token(w, text);
}

static void
counts(const struct world *w, size_t tokens, size_t signs, size_t trades)
{
	assert_int_equal(fake_count_of(w->mds, TOKEN), tokens);
	assert_int_equal(fake_count(w->iam), signs);
	assert_int_equal(fake_count_of(w->iam, SIGN), signs);
	assert_int_equal(fake_count(w->tok), trades);
}

/* --- the recipe --------------------------------------------------------------- */

static void
three_steps_make_an_id_token(void **state)
{
	struct world *w = *state;
	_cleanup_(freep) char *text = NULL;
	int64_t now = (int64_t)time(NULL);

	world_find(w, w->a);
	all_is_well(w);
	text = id_token(&(struct claims){ .age = 5 });
	say_id_token(w, text);
	run(w);
	assert_non_null(w->token);
	assert_string_equal(token_reveal(w->token, NULL), text);
	assert_string_equal(token_email(w->token), VEC_EMAIL);
	assert_string_equal(token_flow(w->token), "signblob");
	assert_true(token_exp(w->token) - token_iat(w->token) == LIFE);
	assert_true(token_iat(w->token) >= now - 6 && token_iat(w->token) <= now);
	counts(w, 1, 1, 1);
}

/* The bytes that the last signBlob request wants signed. */
static char *
signed_input(const struct world *w)
{
	const char *body = fake_last(w->iam)->body;
	_cleanup_(json_freep) struct json *j = NULL;
	const char *payload;
	void *input;
	size_t len;

	j = json_parse(body, strlen(body), JSON_DEPTH);
	payload = json_get_string(j, "payload");
	assert_non_null(payload);
	assert_int_equal(b64_decode(payload, strlen(payload), &input, &len), 0);
	return input;
}

/* When it says it was made. */
static int64_t
input_iat(const char *input)
{
	const char *claims = strchr(input, '.') + 1;
	_cleanup_(json_freep) struct json *j = NULL;
	void *text;
	int64_t iat;
	size_t len;

	assert_int_equal(b64url_decode(claims, strlen(claims), &text, &len), 0);
	j = json_parse(text, len, JSON_DEPTH);
	free(text);
	assert_true(json_get_int(j, "iat", &iat));
	return iat;
}

static void
the_assertion_differs_from_the_example_by_its_time_only(void **state)
{
	int64_t before = (int64_t)time(NULL), iat;
	_cleanup_(freep) char *input = NULL, *same = NULL, *example = NULL;
	struct world *w = *state;

	world_find(w, w->a);
	all_is_well(w);
	run(w);
	input = signed_input(w);
	iat = input_iat(input);
	assert_true(iat >= before - BACKDATE - 1);
	assert_true(iat <= (int64_t)time(NULL) - BACKDATE);

	same = jwt_assertion_input(&(struct jwt_assertion){
		.iss = VEC_EMAIL, .aud = TOKEN_AUDIENCE, .iat = iat,
		.exp = iat + LIFE, .target_audience = VEC_AUDIENCE });
	assert_string_equal(input, same);
	example = jwt_assertion_input(&(struct jwt_assertion){
		.iss = VEC_EMAIL, .aud = TOKEN_AUDIENCE, .iat = VEC_ASSERTION_IAT,
		.exp = VEC_ASSERTION_EXP, .target_audience = VEC_AUDIENCE });
	assert_string_equal(example, VEC_ASSERTION_INPUT);
}

static void
the_signature_is_asked_for_in_these_bytes(void **state)
{
	_cleanup_(freep) char *input = NULL, *payload = NULL, *body = NULL;
	_cleanup_(freep) char *text = NULL;
	struct world *w = *state;

	world_find(w, w->a);
	all_is_well(w);
	run(w);
	input = signed_input(w);
	payload = b64_encode(input, strlen(input));
	body = xasprintf("{\"payload\":\"%s\"}", payload);
	text = xasprintf("POST /v1/projects/-/serviceAccounts/" VEC_EMAIL
			 ":signBlob HTTP/1.1\r\nHost: %s\r\nUser-Agent: test/1\r\n"
			 "Authorization: Bearer " VEC_ACCESS_TOKEN "\r\n"
			 "Content-Type: application/json\r\n"
			 "Accept: application/json\r\n"
			 "Content-Length: %zu\r\n\r\n%s",
			 fake_url(w->iam) + strlen("http://"), strlen(body), body);
	assert_string_equal(fake_last(w->iam)->text, text);
	assert_int_equal(strlen(body), strlen(VEC_B1_REQUEST));
}

static void
the_id_token_is_asked_for_in_these_bytes(void **state)
{
	_cleanup_(freep) char *input = NULL, *body = NULL, *text = NULL;
	size_t grant = strlen(VEC_C1_REQUEST) - strlen(VEC_ASSERTION);
	struct world *w = *state;

	world_find(w, w->a);
	all_is_well(w);
	run(w);
	input = signed_input(w);
	body = xasprintf("%.*s%s.%s", (int)grant, VEC_C1_REQUEST, input,
			 VEC_ASSERTION_SIGNATURE);
	text = xasprintf("POST /token HTTP/1.1\r\nHost: %s\r\n"
			 "User-Agent: test/1\r\n"
			 "Content-Type: application/x-www-form-urlencoded\r\n"
			 "Accept: application/json\r\n"
			 "Content-Length: %zu\r\n\r\n%s",
			 fake_url(w->tok) + strlen("http://"), strlen(body), body);
	assert_string_equal(fake_last(w->tok)->text, text);
	assert_int_equal(strlen(body), strlen(VEC_C1_REQUEST));
}

static void
the_access_token_is_asked_for_in_these_bytes(void **state)
{
	_cleanup_(freep) char *text = NULL;
	struct world *w = *state;

	world_find(w, w->a);
	all_is_well(w);
	run(w);
	text = xasprintf("GET /computeMetadata/v1/instance/service-accounts/"
			 "default/token HTTP/1.1\r\nHost: %s\r\n"
			 "User-Agent: test/1\r\nMetadata-Flavor: Google\r\n\r\n",
			 fake_url(w->mds) + strlen("http://"));
	assert_string_equal(fake_last(w->mds)->text, text);
}

static void
the_second_time_two_steps_do(void **state)
{
	struct world *w = *state;

	world_find(w, w->a);
	all_is_well(w);
	run(w);
	counts(w, 1, 1, 1);
	run(w);
	assert_non_null(w->token);
	counts(w, 1, 2, 2);
}

static void
it_waits_until_the_account_is_found(void **state)
{
	struct world *w = *state;

	all_is_well(w);
	assert_int_equal(begin(w), 0);
	RUN_UNTIL(w->event, fake_count_of(w->mds, WHO) == 1);
	assert_int_equal(w->called, 0);
	counts(w, 0, 0, 0);
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	RUN_UNTIL(w->event, w->called);
	assert_non_null(w->token);
	counts(w, 1, 1, 1);
}

static void
it_is_found_by_its_name(void **state _unused_)
{
	assert_ptr_equal(flow_find("signblob"), &flow_signblob);
	assert_null(flow_find("signBlob"));
	assert_null(flow_find(""));
	assert_non_null(strstr(flow_names(), "signblob"));
}

/* --- where there is no account to speak for ----------------------------------- */

static void
without_an_account_it_does_not_begin(void **state)
{
	struct world *w = *state;

	fake_say(w->mds, WHO, 404, VEC_A12_BODY);
	RUN_UNTIL(w->event, account_state(w->a) == ACCOUNT_NONE);
	assert_int_equal(begin(w), -ENOENT);
	assert_int_equal(w->e.kind, ERR_NOT_FOUND);
	assert_null(w->fetch);
	assert_int_equal(w->called, 0);
}

static void
an_account_that_turns_out_not_to_be_ends_it(void **state)
{
	struct world *w = *state;

	assert_int_equal(begin(w), 0);
	fake_say(w->mds, WHO, 404, VEC_A12_BODY);
	RUN_UNTIL(w->event, w->called);
	assert_int_equal(w->e.kind, ERR_NOT_FOUND);
	counts(w, 0, 0, 0);
}

static void
an_account_not_found_by_the_deadline_ends_it(void **state)
{
	struct world *w = *state;

	w->deadline = fake_now() + 10 * MS;
	assert_int_equal(begin(w), 0);
	RUN_UNTIL(w->event, w->called);
	assert_int_equal(w->e.kind, ERR_UNAVAILABLE);
	counts(w, 0, 0, 0);
}

#define NARROW \
	"{\"aliases\":[],\"email\":\"" VEC_EMAIL "\",\"scopes\":[" \
	"\"https://www.googleapis.com/auth/devstorage.read_only\"]}"

static void
without_the_scope_nothing_is_asked(void **state)
{
	struct world *w = *state;

	all_is_well(w);
	fake_say(w->mds, WHO, 200, NARROW);
	RUN_UNTIL(w->event, account_state(w->a) == ACCOUNT_FOUND);
	assert_int_equal(begin(w), -EREMOTEIO);
	assert_null(w->fetch);
	assert_int_equal(w->e.kind, ERR_GOOGLE);
	assert_int_equal(w->e.scope, ERR_SCOPE_ACCOUNT);
	assert_non_null(strstr(w->e.msg, VEC_EMAIL));
	assert_non_null(strstr(w->e.hint, "--scopes=cloud-platform"));
	assert_int_equal(http_client_sent(w->http), WHERE + 1);
}

static void
without_the_scope_who_waited_is_told(void **state)
{
	struct world *w = *state;

	all_is_well(w);
	assert_int_equal(begin(w), 0);
	fake_say(w->mds, WHO, 200, NARROW);
	RUN_UNTIL(w->event, w->called);
	assert_int_equal(w->e.kind, ERR_GOOGLE);
	assert_int_equal(http_client_sent(w->http), WHERE + 1);
}

/* --- what may go wrong -------------------------------------------------------- */

static void
no_access_token_ends_it(void **state)
{
	struct world *w = *state;

	world_find(w, w->a);
	all_is_well(w);
	fake_say(w->mds, TOKEN, 503, "");
	run(w);
	assert_int_equal(w->e.kind, ERR_UNAVAILABLE);
	counts(w, 1, 0, 0);
}

static void
a_denied_signature_ends_it_with_what_mends_it(void **state)
{
	struct world *w = *state;

	world_find(w, w->a);
	all_is_well(w);
	fake_say(w->iam, SIGN, 403, VEC_B2_BODY);
	run(w);
	assert_int_equal(w->e.kind, ERR_GOOGLE);
	assert_non_null(strstr(w->e.hint, "roles/iam.serviceAccountTokenCreator"));
	counts(w, 1, 1, 0);
}

static void
trouble_at_any_step_is_unavailable(void **state)
{
	static const struct {
		unsigned status;
		const char *body;
	} table[] = {
		{ 503, VEC_B11_BODY }, { 429, VEC_B10_BODY }, { 500, "" },
		{ 200, "" }, { 200, "{}" }, { 302, "" }, { 404, "<html>" },
	};
	struct world *w = *state;

	world_find(w, w->a);
	all_is_well(w);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		fake_say(w->iam, SIGN, table[i].status, table[i].body);
		run(w);
		assert_int_equal(w->e.kind, ERR_UNAVAILABLE);
		counts(w, 1, i + 1, 0);
	}
	fake_say(w->iam, SIGN, 200, VEC_B1_BODY);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		fake_say(w->tok, TRADE, table[i].status, table[i].body);
		run(w);
		assert_int_equal(w->e.kind, ERR_UNAVAILABLE);
		assert_null(w->token);
	}
}

static void
an_upstream_that_hangs_ends_it_at_the_deadline(void **state)
{
	struct world *w = *state;

	world_find(w, w->a);
	all_is_well(w);
	fake_always(w->iam, SIGN, NULL);
	w->deadline = fake_now() + 50 * MS;
	run(w);
	assert_true(fake_now() >= w->deadline);
	assert_int_equal(w->e.kind, ERR_TIMEOUT);
}

static void
a_bearer_taken_no_more_is_replaced(void **state)
{
	struct world *w = *state;

	world_find(w, w->a);
	all_is_well(w);
	fake_say_once(w->mds, TOKEN, 200, "{\"access_token\":\"old\","
		      "\"expires_in\":3000,\"token_type\":\"Bearer\"}");
	fake_say_once(w->iam, SIGN, 401, VEC_B5_BODY);
	run(w);
	assert_non_null(w->token);
	counts(w, 2, 2, 1);
	assert_non_null(strstr(fake_request(w->iam, 0)->text, "Bearer old\r\n"));
	assert_non_null(strstr(fake_request(w->iam, 1)->text,
			       "Bearer " VEC_ACCESS_TOKEN "\r\n"));
}

static void
a_bearer_is_replaced_once(void **state)
{
	struct world *w = *state;

	world_find(w, w->a);
	all_is_well(w);
	fake_say(w->iam, SIGN, 401, VEC_B5_BODY);
	run(w);
	assert_int_equal(w->e.kind, ERR_UNAVAILABLE);
	assert_non_null(strstr(w->e.msg, "access token"));
	/* Between IAM and us: to our clients it is as any other trouble. */
	assert_int_equal(err_http_status(&w->e), 503);
	counts(w, 2, 2, 0);
}

static void
a_signature_not_believed_is_made_once_more(void **state)
{
	struct world *w = *state;

	world_find(w, w->a);
	all_is_well(w);
	fake_say_once(w->tok, TRADE, 400, VEC_C3_BODY);
	run(w);
	assert_non_null(w->token);
	counts(w, 1, 2, 2);
}

static void
a_signature_is_made_anew_once(void **state)
{
	struct world *w = *state;

	world_find(w, w->a);
	all_is_well(w);
	fake_say(w->tok, TRADE, 400, VEC_C3_BODY);
	run(w);
	assert_null(w->token);
	assert_int_equal(w->e.kind, ERR_UNAVAILABLE);
	assert_non_null(strstr(w->e.msg, "signature"));
	counts(w, 1, 2, 2);
}

static void
each_of_both_may_happen_once(void **state)
{
	struct world *w = *state;

	world_find(w, w->a);
	all_is_well(w);
	fake_say_once(w->tok, TRADE, 400, VEC_C3_BODY);
	fake_say_once(w->iam, SIGN, 200, VEC_B1_BODY);
	fake_say_once(w->iam, SIGN, 401, VEC_B5_BODY);
	run(w);
	assert_non_null(w->token);
	counts(w, 2, 3, 2);
}

static void
an_audience_not_accepted_is_the_requests_fault(void **state)
{
	struct world *w = *state;

	world_find(w, w->a);
	all_is_well(w);
	fake_say(w->tok, TRADE, 400, VEC_C4_BODY);
	run(w);
	assert_int_equal(w->e.kind, ERR_GOOGLE);
	assert_int_equal(w->e.scope, ERR_SCOPE_REQUEST);
	counts(w, 1, 1, 1);
}

static void
a_clock_not_believed_is_named(void **state)
{
	struct world *w = *state;

	world_find(w, w->a);
	all_is_well(w);
	fake_say(w->tok, TRADE, 400, VEC_C2_BODY);
	run(w);
	assert_int_equal(w->e.kind, ERR_UNAVAILABLE);
	assert_non_null(strstr(w->e.hint, "timedatectl"));
	counts(w, 1, 1, 1);
}

static void
what_comes_without_tls_teaches_no_time(void **state)
{
	_cleanup_(freep) char *text = NULL, *body = NULL, *bytes = NULL;
	static const struct claims good = { 0 };
	struct world *w = *state;
	struct clock_status s;
	char date[30];

	world_find(w, w->a);
	all_is_well(w);
	text = id_token(&good);
	body = xasprintf("{\"id_token\":\"%s\"}", text);
	http_date_format((int64_t)time(NULL) + 300, date);
	bytes = xasprintf("HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Length: %zu\r\n"
			  "\r\n%s", date, strlen(body), body);
	fake_always(w->tok, TRADE, bytes);
	for (int i = 0; i < 3; i++) {
		run(w);
		assert_non_null(w->token);
	}
	clock_status(w->ctx.clock, &s);
	assert_false(s.known);
}

static void
an_assertion_has_googles_date(void **state)
{
	static const int64_t ahead[] = { 300, -300, 590, -590 };
	struct world *w = *state;

	world_find(w, w->a);
	all_is_well(w);
	for (size_t i = 0; i < ARRAY_SIZE(ahead); i++) {
		_cleanup_(freep) char *input = NULL;
		int64_t now = (int64_t)time(NULL);

		world_google_is_ahead(w, ahead[i]);
		run(w);
		input = signed_input(w);
		assert_in_range(input_iat(input) - (now + ahead[i] - BACKDATE) + 2,
				0, 4);
	}
}

/* Begin, and stop where the assertion has been sent. */
static void
begin_to_trade(struct world *w)
{
	world_find(w, w->a);
	all_is_well(w);
	fake_always(w->tok, TRADE, NULL);
	assert_int_equal(begin(w), 0);
	RUN_UNTIL(w->event, fake_count(w->tok) == 1);
}

static void
an_assertion_is_made_once_more_when_google_says_another_time(void **state)
{
	static const struct claims good = { .age = -300 };
	_cleanup_(freep) char *text = id_token(&good), *input = NULL;
	int64_t now = (int64_t)time(NULL);
	struct world *w = *state;

	begin_to_trade(w);
	world_google_is_ahead(w, 300);
	fake_say_once(w->tok, TRADE, 400, VEC_C2_BODY);	/* to who waits */
	say_id_token(w, text);
	RUN_UNTIL(w->event, w->called);
	assert_non_null(w->token);
	input = signed_input(w);
	assert_in_range(input_iat(input) - (now + 300 - BACKDATE) + 2, 0, 4);
	counts(w, 1, 2, 2);
}

static void
an_assertion_is_made_anew_for_its_time_only_once(void **state)
{
	struct world *w = *state;

	begin_to_trade(w);
	world_google_is_ahead(w, 300);
	fake_say(w->tok, TRADE, 400, VEC_C2_BODY);
	RUN_UNTIL(w->event, w->called);
	assert_null(w->token);
	assert_int_equal(w->e.kind, ERR_UNAVAILABLE);
	assert_non_null(strstr(w->e.hint, "timedatectl"));
	counts(w, 1, 2, 2);
}

static void
time_and_signature_together_are_made_anew_only_once(void **state)
{
	struct world *w = *state;

	begin_to_trade(w);
	world_google_is_ahead(w, 300);
	fake_say_once(w->tok, TRADE, 400, VEC_C3_BODY);
	fake_say(w->tok, TRADE, 400, VEC_C2_BODY);
	RUN_UNTIL(w->event, w->called);
	assert_null(w->token);
	counts(w, 1, 2, 2);
}

static void
a_clock_too_far_off_makes_no_second_assertion(void **state)
{
	struct world *w = *state;

	begin_to_trade(w);
	world_google_is_ahead(w, 700);
	fake_say(w->tok, TRADE, 400, VEC_C2_BODY);
	RUN_UNTIL(w->event, w->called);
	assert_null(w->token);
	assert_int_equal(w->e.kind, ERR_UNAVAILABLE);
	counts(w, 1, 1, 1);
}

static void
no_token_is_served_by_a_clock_too_far_off(void **state)
{
	struct world *w = *state;

	world_find(w, w->a);
	all_is_well(w);
	world_google_is_ahead(w, 700);
	run(w);
	assert_null(w->token);
	assert_int_equal(w->e.kind, ERR_UNAVAILABLE);
	assert_non_null(strstr(w->e.msg, "behind Google's"));
	assert_non_null(strstr(w->e.hint, "chronyc makestep"));
	world_google_is_ahead(w, 0);
	run(w);
	assert_non_null(w->token);
}

static void
claims_are_judged_by_googles_clock(void **state)
{
	static const struct claims ahead = { .age = -SKEW - 100 };
	_cleanup_(freep) char *text = id_token(&ahead);
	struct world *w = *state;

	world_find(w, w->a);
	all_is_well(w);
	say_id_token(w, text);
	run(w);
	assert_null(w->token);
	assert_non_null(strstr(w->e.msg, "iat "));
	world_google_is_ahead(w, SKEW + 100);
	run(w);
	assert_non_null(w->token);
}

static void
an_account_that_google_does_not_know_is_looked_for_anew(void **state)
{
	struct world *w = *state;

	world_find(w, w->a);
	all_is_well(w);
	fake_run_to(w->event, fake_now() + 21 * MS);
	fake_say(w->tok, TRADE, 400, VEC_C5_BODY);
	run(w);
	assert_int_equal(w->e.kind, ERR_GOOGLE);
	assert_int_equal(w->e.scope, ERR_SCOPE_ACCOUNT);
	RUN_UNTIL(w->event, fake_count_of(w->mds, WHO) == 2);
}

/* --- nobody gets a token that is not what was asked for -------------------- */

static void
a_token_with_wrong_claims_is_refused_by_their_names(void **state)
{
	static const struct {
		struct claims c;
		const char *words;
	} table[] = {
		{ { .aud = "https://other" }, "ID token: aud is https://other" },
		{ { .aud = VEC_AUDIENCE "/" }, "aud is " },
		{ { .iss = "https://accounts.example" }, "iss is " },
		{ { .email = "a@b.iam.gserviceaccount.com" }, "email is a@b" },
		{ { .unverified = true }, "email_verified is not true" },
		{ { .age = 4000 }, "exp " },
		{ { .age = LIFE }, "exp " },
		{ { .age = -SKEW - 30 }, "iat " },
		{ { .life = 90000 }, "exp " },
		{ { .life = -1 }, "exp " },
		{ { .alg = "none" }, "alg is none" },
		{ { .alg = "HS256" }, "alg is HS256" },
	};
	struct world *w = *state;

	world_find(w, w->a);
	all_is_well(w);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		_cleanup_(freep) char *text = id_token(&table[i].c);

		say_id_token(w, text);
		run(w);
		assert_null(w->token);
		assert_int_equal(w->e.kind, ERR_UNAVAILABLE);
		if (!strstr(w->e.msg, table[i].words) ||
		    !strstr(w->e.msg, "the token endpoint's ID token: "))
			fail_msg("%s: not \"%s\"", w->e.msg, table[i].words);
		assert_null(strstr(w->e.msg, "eyJ"));
	}
	counts(w, 1, ARRAY_SIZE(table), ARRAY_SIZE(table));
}

static void
an_example_of_another_day_is_refused(void **state)
{
	struct world *w = *state;

	world_find(w, w->a);
	all_is_well(w);
	fake_say(w->tok, TRADE, 200, VEC_C1_RESPONSE);
	run(w);
	assert_null(w->token);
	assert_true(strstr(w->e.msg, "exp 1767229200 is past") ||
		    strstr(w->e.msg, "iat 1767225600 lies ahead"));
}

static void
what_is_no_token_is_refused(void **state)
{
	static const char *const texts[] = {
		"a", "a.b", "a.b.c", "..", "e30.e30.e30",
	};
	struct world *w = *state;

	world_find(w, w->a);
	all_is_well(w);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		say_id_token(w, texts[i]);
		run(w);
		assert_null(w->token);
		assert_int_equal(w->e.kind, ERR_UNAVAILABLE);
	}
}

static void
both_spellings_of_the_issuer_are_googles(void **state)
{
	struct world *w = *state;
	_cleanup_(freep) char *text = NULL;

	world_find(w, w->a);
	all_is_well(w);
	text = id_token(&(struct claims){ .iss = "accounts.google.com" });
	say_id_token(w, text);
	run(w);
	assert_non_null(w->token);
}

/* --- cancelling --------------------------------------------------------------- */

/* Freed once this many requests have come in, of which the last is not answered:
   then all is answered, and nobody may be told. */
static void
cancel_at(struct world *w, size_t requests)
{
	RUN_UNTIL(w->event, fake_count(w->mds) + fake_count(w->iam) +
		  fake_count(w->tok) == requests);
	assert_non_null(w->fetch);
	w->fetch = fetch_free(w->fetch);
	all_is_well(w);
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	fake_run_to(w->event, fake_now() + 20 * MS);
	assert_int_equal(w->called, 0);
}

static void
it_may_be_freed_while_it_waits_for_the_account(void **state)
{
	struct world *w = *state;

	assert_int_equal(begin(w), 0);
	cancel_at(w, 1);
	counts(w, 0, 0, 0);
	assert_null(fetch_free(NULL));
}

static void
it_may_be_freed_while_it_waits_for_the_access_token(void **state)
{
	struct world *w = *state;

	world_find(w, w->a);
	assert_int_equal(begin(w), 0);
	cancel_at(w, 2);
	counts(w, 1, 0, 0);
}

static void
it_may_be_freed_while_it_waits_for_the_signature(void **state)
{
	struct world *w = *state;

	world_find(w, w->a);
	fake_say(w->mds, TOKEN, 200, VEC_A4_BODY);
	assert_int_equal(begin(w), 0);
	cancel_at(w, 3);
	counts(w, 1, 1, 0);
}

static void
it_may_be_freed_while_it_waits_for_the_id_token(void **state)
{
	struct world *w = *state;

	world_find(w, w->a);
	fake_say(w->mds, TOKEN, 200, VEC_A4_BODY);
	fake_say(w->iam, SIGN, 200, VEC_B1_BODY);
	assert_int_equal(begin(w), 0);
	cancel_at(w, 4);
	counts(w, 1, 1, 1);
}

static void
it_may_be_freed_while_it_waits_for_a_fresh_bearer(void **state)
{
	struct world *w = *state;

	world_find(w, w->a);
	fake_say_once(w->mds, TOKEN, 200, VEC_A4_BODY);
	fake_say_once(w->iam, SIGN, 401, VEC_B5_BODY);
	assert_int_equal(begin(w), 0);
	cancel_at(w, 4);
	counts(w, 2, 1, 0);
}

static void
it_may_be_freed_while_it_signs_once_more(void **state)
{
	struct world *w = *state;

	world_find(w, w->a);
	fake_say(w->mds, TOKEN, 200, VEC_A4_BODY);
	fake_say_once(w->iam, SIGN, 200, VEC_B1_BODY);
	fake_say_once(w->tok, TRADE, 400, VEC_C3_BODY);
	assert_int_equal(begin(w), 0);
	cancel_at(w, 5);
	counts(w, 1, 2, 1);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, world_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(three_steps_make_an_id_token),
		TEST(the_assertion_differs_from_the_example_by_its_time_only),
		TEST(the_signature_is_asked_for_in_these_bytes),
		TEST(the_id_token_is_asked_for_in_these_bytes),
		TEST(the_access_token_is_asked_for_in_these_bytes),
		TEST(the_second_time_two_steps_do),
		TEST(it_waits_until_the_account_is_found),
		cmocka_unit_test(it_is_found_by_its_name),
		TEST(without_an_account_it_does_not_begin),
		TEST(an_account_that_turns_out_not_to_be_ends_it),
		TEST(an_account_not_found_by_the_deadline_ends_it),
		TEST(without_the_scope_nothing_is_asked),
		TEST(without_the_scope_who_waited_is_told),
		TEST(no_access_token_ends_it),
		TEST(a_denied_signature_ends_it_with_what_mends_it),
		TEST(trouble_at_any_step_is_unavailable),
		TEST(an_upstream_that_hangs_ends_it_at_the_deadline),
		TEST(a_bearer_taken_no_more_is_replaced),
		TEST(a_bearer_is_replaced_once),
		TEST(a_signature_not_believed_is_made_once_more),
		TEST(a_signature_is_made_anew_once),
		TEST(each_of_both_may_happen_once),
		TEST(an_audience_not_accepted_is_the_requests_fault),
		TEST(a_clock_not_believed_is_named),
		TEST(what_comes_without_tls_teaches_no_time),
		TEST(an_assertion_has_googles_date),
		TEST(an_assertion_is_made_once_more_when_google_says_another_time),
		TEST(an_assertion_is_made_anew_for_its_time_only_once),
		TEST(time_and_signature_together_are_made_anew_only_once),
		TEST(a_clock_too_far_off_makes_no_second_assertion),
		TEST(no_token_is_served_by_a_clock_too_far_off),
		TEST(claims_are_judged_by_googles_clock),
		TEST(an_account_that_google_does_not_know_is_looked_for_anew),
		TEST(a_token_with_wrong_claims_is_refused_by_their_names),
		TEST(an_example_of_another_day_is_refused),
		TEST(what_is_no_token_is_refused),
		TEST(both_spellings_of_the_issuer_are_googles),
		TEST(it_may_be_freed_while_it_waits_for_the_account),
		TEST(it_may_be_freed_while_it_waits_for_the_access_token),
		TEST(it_may_be_freed_while_it_waits_for_the_signature),
		TEST(it_may_be_freed_while_it_waits_for_the_id_token),
		TEST(it_may_be_freed_while_it_waits_for_a_fresh_bearer),
		TEST(it_may_be_freed_while_it_signs_once_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
