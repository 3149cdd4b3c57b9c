/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/text.h"
#include "google/endpoints.h"
#include "google/token_endpoint.h"

#define GRANT		"grant_type=urn%3Aietf%3Aparams%3Aoauth%3A" \
			"grant-type%3Ajwt-bearer&assertion="
#define ID_TOKEN_MAX	(64 * 1024)	/* bytes */
#define ACCESS_TOKEN_MAX (16 * 1024)
#define UNRESERVED	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" \
			"0123456789-._~"
#define SKEW_SHOWN	10		/* seconds; less is no skew to speak of */

/* body is taken over. */
static void
request(const char *url, char *body, struct http_request *ret)
{
	*ret = (struct http_request){
		.lane = HTTP_LANE_GOOGLE,
		.upstream = UPSTREAM_TOKEN,
		.method = "POST",
		.url = xstrdup(url),
		.body = body,
	};
	ret->body_len = strlen(ret->body);
	http_request_field(ret, "Content-Type",
			   "application/x-www-form-urlencoded");
	http_request_field(ret, "Accept", "application/json");
}

void
token_endpoint_assertion_request(const char *url, const char *assertion,
				 struct http_request *ret)
{
	/* Nothing in a JWT needs encoding. */
	assert(assertion[strspn(assertion, UNRESERVED)] == '\0');

	request(url, xasprintf("%s%s", GRANT, assertion), ret);
}

void
token_endpoint_refresh_request(const char *url, const struct token_endpoint_user *u,
			       const char *audience, struct http_request *ret)
{
	_cleanup_(freep) char *id = text_percent_encode(u->client_id);
	_cleanup_(secret_freep) char *secret = NULL, *token = NULL;
	_cleanup_(freep) char *aud = NULL;

	secret = text_percent_encode(u->client_secret);
	token = text_percent_encode(u->refresh_token);
	if (audience)
		aud = text_percent_encode(audience);
	request(url, xasprintf("client_id=%s&client_secret=%s&refresh_token=%s"
			       "&grant_type=refresh_token%s%s", id, secret, token,
			       aud ? "&audience=" : "", aud ?: ""), ret);
}

/* --- failures --------------------------------------------------------------- */

enum cause {
	CAUSE_UNKNOWN,
	CAUSE_PASSING,
	CAUSE_CLOCK,
	CAUSE_SIGNATURE,
	CAUSE_ACCOUNT,
	CAUSE_AUDIENCE,		/* of the token asked for */
	CAUSE_ENDPOINT,		/* of the assertion: it was for another endpoint */
	CAUSE_PROJECT,		/* the audience is a client of another project */
	CAUSE_REAUTH,		/* the user must show up again */
	CAUSE_REVOKED,		/* the refresh token */
	CAUSE_CLIENT		/* the user's OAuth client */
};

/* There are no codes for these: the endpoint's only words are its description,
   whose letters come in either case.  The first that matches counts; error NULL
   is any, text is looked for in the description, and behind it in the subtype.
   grant: what was given for the token. */
static const struct {
	const char *error, *text;
	enum cause cause;
	enum { ANY, ASSERTION, REFRESH } grant;
} causes[] = {
	{ "internal_failure",		NULL, CAUSE_PASSING, ANY },
	{ "server_error",		NULL, CAUSE_PASSING, ANY },
	{ "temporarily_unavailable",	NULL, CAUSE_PASSING, ANY },
	{ NULL, "internal_failure",	CAUSE_PASSING, ANY },
	{ NULL, "server_error",		CAUSE_PASSING, ANY },
	{ NULL, "temporarily_unavailable", CAUSE_PASSING, ANY },
	{ "invalid_scope",		NULL, CAUSE_AUDIENCE, ANY },
	{ NULL, "invalid oauth scope",	CAUSE_AUDIENCE, ANY },

	{ "invalid_audience",		NULL, CAUSE_PROJECT, REFRESH },
	{ "invalid_grant", "rapt",	CAUSE_REAUTH, REFRESH },
	{ "invalid_grant",		NULL, CAUSE_REVOKED, REFRESH },
	{ "invalid_client",		NULL, CAUSE_CLIENT, REFRESH },
	{ "unauthorized_client",	NULL, CAUSE_CLIENT, REFRESH },
	{ "deleted_client",		NULL, CAUSE_CLIENT, REFRESH },

	{ NULL, "account not found",	CAUSE_ACCOUNT, ASSERTION },
	{ "invalid_grant", "disabled",	CAUSE_ACCOUNT, ASSERTION },
	{ "invalid_grant", "deleted",	CAUSE_ACCOUNT, ASSERTION },
	{ NULL, "reasonable timeframe",	CAUSE_CLOCK, ASSERTION },
	{ NULL, "short-lived token",	CAUSE_CLOCK, ASSERTION },
	{ NULL, "jwt signature",	CAUSE_SIGNATURE, ASSERTION },
	{ NULL, "audience check",	CAUSE_ENDPOINT, ASSERTION },
};

/* What the endpoint says of a failure: an object, a string or bare text.  A page
   of HTML says nothing. */
struct complaint {
	struct json *root;
	char *bare;
	const char *error, *text, *subtype;	/* "" where there is none */
};

static void
complaint_clear(struct complaint *c)
{
	json_free(c->root);
	secret_free(c->bare);
}

static void
complaint_read(const struct http_response *re, struct complaint *ret)
{
	const char *text, *error, *subtype;

	*ret = (struct complaint){ .error = "", .text = "", .subtype = "" };
	ret->root = json_parse(re->body, re->body_len, JSON_DEPTH);
	if (!ret->root) {
		if (re->body_len == 0 || memchr(re->body, '<', re->body_len) ||
		    memchr(re->body, '\0', re->body_len))
			return;
		ret->text = ret->bare = xstrndup(re->body, re->body_len);
		return;
	}

	text = json_string(ret->root);
	if (!text)
		text = json_get_string(ret->root, "error_description");
	error = json_get_string(ret->root, "error");
	subtype = json_get_string(ret->root, "error_subtype");
	if (text)
		ret->text = text;
	if (error)
		ret->error = error;
	if (subtype)
		ret->subtype = subtype;
}

static bool
cause_is(size_t i, const struct complaint *c, bool refresh)
{
	const char *text = causes[i].text;

	if (causes[i].grant != ANY && (causes[i].grant == REFRESH) != refresh)
		return false;
	if (causes[i].error && strcmp(causes[i].error, c->error) != 0)
		return false;
	return !text || strcasestr(c->text, text) || strcasestr(c->subtype, text);
}

static enum cause
find_cause(const struct http_response *re, const struct complaint *c, bool refresh)
{
	/* A redirection, which is not followed, is not its own, either. */
	if (re->status < 400 || re->status >= 500 || re->status == 408 ||
	    re->status == 429)
		return CAUSE_PASSING;
	for (size_t i = 0; i < ARRAY_SIZE(causes); i++)
		if (cause_is(i, c, refresh))
			return causes[i].cause;
	/* Not the endpoint's own answer, or one that it did not mean. */
	return c->error[0] ? CAUSE_UNKNOWN : CAUSE_PASSING;
}

static int
denied(struct err *e, enum err_scope scope, const char *subject, const char *words)
{
	int r = err_set(e, ERR_GOOGLE, "token endpoint: %s: %s", subject, words);

	if (e)
		e->scope = scope;
	return r;
}

static int
unavailable(const struct http_response *re, struct err *e, const char *words)
{
	int r = err_set(e, ERR_UNAVAILABLE, "token endpoint: %s", words);

	if (e)
		e->retry_usec = re->retry_after_usec;
	return r;
}

static int
clock_failure(const struct http_response *re, int64_t now, struct err *e)
{
	int64_t skew = re->date > 0 ? now - re->date : 0;
	char words[160];
	int r;

	if (skew >= SKEW_SHOWN || skew <= -SKEW_SHOWN)
		snprintf(words, sizeof(words), "the time of the assertion is not "
			 "believed: this machine's clock is %lld s %s Google's",
			 (long long)(skew < 0 ? -skew : skew),
			 skew < 0 ? "behind" : "ahead of");
	else
		snprintf(words, sizeof(words), "the time of the assertion is not "
			 "believed%s", re->date > 0 ?
			 ", though this machine's clock agrees with Google's" : "");
	r = unavailable(re, e, words);
	err_hint(e, TOKEN_ENDPOINT_SET_CLOCK);
	return r;
}

static int
account_failure(const char *email, const char *shown, struct err *e)
{
	int r = denied(e, ERR_SCOPE_ACCOUNT, email, shown);

	err_hint(e, "the account is missing, disabled or deleted: "
		 "gcloud iam service-accounts describe %s; "
		 "gcloud iam service-accounts enable %s", email, email);
	return r;
}

/* Whatever it is, signing in once more makes a new refresh token. */
static int
user_failure(enum cause cause, const char *shown, struct err *e)
{
	const char *subject = "the refresh token has expired or was revoked";
	int r;

	if (cause == CAUSE_REAUTH)
		subject = "the organisation wants the user to sign in again";
	if (cause == CAUSE_CLIENT)
		subject = "the OAuth client of the credentials is not accepted";
	r = denied(e, ERR_SCOPE_ACCOUNT, subject, shown);
	err_hint(e, "%ssign in again: gcloud auth application-default login "
		 "--client-id-file=FILE", cause == CAUSE_CLIENT ?
		 "make an OAuth client (type desktop) in the application's project "
		 "where this one is gone; then " : "");
	return r;
}

static int
audience_failure(enum cause cause, const char *audience, const char *shown,
		 struct err *e)
{
	char subject[TEXT_SHOW_SIZE];
	int r;

	if (!audience)
		return denied(e, ERR_SCOPE_REQUEST, "these scopes are not accepted",
			      shown);
	text_show_str(subject, audience);
	if (cause == CAUSE_PROJECT) {
		r = denied(e, ERR_SCOPE_REQUEST, "this audience is not accepted, "
			   "for it is of another project than the OAuth client of "
			   "the credentials", subject);
		err_hint(e, "sign in with an OAuth client (type desktop) of the "
			 "application's own project, or ask for an audience of "
			 "this one's");
		return r;
	}
	r = denied(e, ERR_SCOPE_REQUEST, "this audience is not accepted", subject);
	err_hint(e, "ask for the audience that the application expects: its URL, "
		 "or its OAuth client id");
	return r;
}

/* Google's own keys change now and then; one in a file is gone for good. */
static int
signature_failure(const struct http_response *re,
		  const struct token_endpoint_ask *ask, struct err *e)
{
	char shown[TEXT_SHOW_SIZE];
	int r;

	if (!ask->key_id)
		return unavailable(re, e, "the signature is not believed; the key "
				   "may just have been changed");
	r = err_set(e, ERR_GOOGLE, "token endpoint: %s: the key %s of the "
		    "credentials is not accepted: it was deleted or disabled",
		    ask->email, text_show_str(shown, ask->key_id));
	if (e)
		e->scope = ERR_SCOPE_ACCOUNT;
	err_hint(e, "gcloud iam service-accounts keys list --iam-account=%s; a new "
		 "one: gcloud iam service-accounts keys create FILE "
		 "--iam-account=%s", ask->email, ask->email);
	return r;
}

static int
failure(const struct http_response *re, const struct complaint *c,
	enum cause cause, const struct token_endpoint_ask *ask, struct err *e)
{
	char shown[TEXT_SHOW_SIZE], subject[TEXT_SHOW_SIZE];
	char words[2 * TEXT_SHOW_SIZE];
	int r;

	text_show_str(shown, c->text[0] ? c->text : c->error);

	switch (cause) {
	case CAUSE_CLOCK:
		return clock_failure(re, ask->now, e);
	case CAUSE_ACCOUNT:
		return account_failure(ask->email, shown, e);
	case CAUSE_SIGNATURE:
		return signature_failure(re, ask, e);
	case CAUSE_AUDIENCE:
	case CAUSE_PROJECT:
		return audience_failure(cause, ask->audience, shown, e);
	case CAUSE_REAUTH:
	case CAUSE_REVOKED:
	case CAUSE_CLIENT:
		return user_failure(cause, shown, e);
	case CAUSE_ENDPOINT:
		r = denied(e, ERR_SCOPE_REQUEST, "the assertion", shown);
		err_hint(e, "is [upstream] token-endpoint Google's own?");
		return r;
	case CAUSE_UNKNOWN:
		text_show_str(subject, c->error);
		return denied(e, ERR_SCOPE_REQUEST, subject, shown);
	case CAUSE_PASSING:
		break;
	}
	snprintf(words, sizeof(words), "HTTP %u%s%s", re->status,
		 shown[0] ? ": " : "", shown);
	return unavailable(re, e, words);
}

static enum token_endpoint_verdict
verdict(enum cause cause)
{
	switch (cause) {
	case CAUSE_CLOCK:
		return TOKEN_ENDPOINT_CLOCK;
	case CAUSE_SIGNATURE:
		return TOKEN_ENDPOINT_SIGNATURE;
	case CAUSE_ACCOUNT:
		return TOKEN_ENDPOINT_ACCOUNT;
	default:
		return TOKEN_ENDPOINT_OTHER;
	}
}

/* --- answers ---------------------------------------------------------------- */

/* 0 for a 200; c is the caller's to clear in any case. */
static int
read_answer(const struct http_response *re, const struct token_endpoint_ask *ask,
	    struct complaint *c, enum token_endpoint_verdict *ret_verdict,
	    struct err *e)
{
	enum cause cause;

	complaint_read(re, c);
	if (ret_verdict)
		*ret_verdict = TOKEN_ENDPOINT_OTHER;
	if (re->status == 200)
		return 0;
	cause = find_cause(re, c, !ask->email);
	if (ret_verdict)
		*ret_verdict = verdict(cause);
	return failure(re, c, cause, ask, e);
}

int
token_endpoint_id_token_response(const struct http_response *re,
				 const struct token_endpoint_ask *ask,
				 char **ret_id_token,
				 enum token_endpoint_verdict *ret_verdict,
				 struct err *e)
{
	_cleanup_(complaint_clear) struct complaint c = { .root = NULL };
	const char *token;
	size_t len;
	int r = read_answer(re, ask, &c, ret_verdict, e);

	if (r < 0)
		return r;
	token = json_get_string(c.root, "id_token");
	len = token ? strlen(token) : 0;
	if (len == 0 || len > ID_TOKEN_MAX || strspn(token, UNRESERVED) != len)
		return unavailable(re, e, "the answer holds no ID token");
	*ret_id_token = xstrdup(token);
	return 0;
}

/* A number, which some have as a string. */
static bool
read_life(const struct json *root, uint64_t *ret)
{
	const char *s = json_get_string(root, "expires_in");
	int64_t n;

	if (s)
		return text_to_u64(s, strlen(s), INT64_MAX, ret) && *ret > 0;
	if (!json_get_int(root, "expires_in", &n) || n <= 0)
		return false;
	*ret = (uint64_t)n;
	return true;
}

int
token_endpoint_access_token_response(const struct http_response *re,
				     const struct token_endpoint_ask *ask,
				     char **ret_token, uint64_t *ret_life,
				     enum token_endpoint_verdict *ret_verdict,
				     struct err *e)
{
	_cleanup_(complaint_clear) struct complaint c = { .root = NULL };
	const char *token, *type;
	uint64_t life;
	int r = read_answer(re, ask, &c, ret_verdict, e);

	if (r < 0)
		return r;
	token = json_get_string(c.root, "access_token");
	if (!token || !text_is_graph(token, ACCESS_TOKEN_MAX))
		return unavailable(re, e, "the answer holds no access token");
	if (!read_life(c.root, &life))
		return unavailable(re, e, "the answer holds no life time");
	type = json_get_string(c.root, "token_type");
	if (type && strcasecmp(type, "Bearer") != 0)
		return unavailable(re, e, "the token is of an unknown type");
	*ret_token = xstrdup(token);
	*ret_life = life;
	return 0;
}
