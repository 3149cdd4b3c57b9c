/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "google/endpoints.h"
#include "google/token_endpoint.h"

#define GRANT		"grant_type=urn%3Aietf%3Aparams%3Aoauth%3A" \
			"grant-type%3Ajwt-bearer&assertion="
#define ID_TOKEN_MAX	(64 * 1024)	/* bytes */
#define UNRESERVED	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" \
			"0123456789-._~"
#define SKEW_SHOWN	10		/* seconds; less is no skew to speak of */

void
token_endpoint_assertion_request(const char *url, const char *assertion,
				 struct http_request *ret)
{
	/* Nothing in a JWT needs encoding. */
	assert(assertion[strspn(assertion, UNRESERVED)] == '\0');

	*ret = (struct http_request){
		.lane = HTTP_LANE_GOOGLE,
		.upstream = UPSTREAM_TOKEN,
		.method = "POST",
		.url = xstrdup(url),
		.body = xasprintf("%s%s", GRANT, assertion),
	};
	ret->body_len = strlen(ret->body);
	http_request_field(ret, "Content-Type",
			   "application/x-www-form-urlencoded");
	http_request_field(ret, "Accept", "application/json");
}

/* --- failures --------------------------------------------------------------- */

enum cause {
	CAUSE_UNKNOWN,
	CAUSE_PASSING,
	CAUSE_CLOCK,
	CAUSE_SIGNATURE,
	CAUSE_ACCOUNT,
	CAUSE_AUDIENCE,		/* of the token asked for */
	CAUSE_ENDPOINT		/* of the assertion: it was for another endpoint */
};

/* There are no codes for these: the endpoint's only words are its description,
   whose letters come in either case.  The first that matches counts; error NULL
   is any, text is looked for in the description. */
static const struct {
	const char *error, *text;
	enum cause cause;
} causes[] = {
	{ "internal_failure",		NULL,			CAUSE_PASSING },
	{ "server_error",		NULL,			CAUSE_PASSING },
	{ "temporarily_unavailable",	NULL,			CAUSE_PASSING },
	{ NULL,				"internal_failure",	CAUSE_PASSING },
	{ NULL,				"server_error",		CAUSE_PASSING },
	{ NULL,				"temporarily_unavailable", CAUSE_PASSING },
	{ "invalid_scope",		NULL,			CAUSE_AUDIENCE },
	{ NULL,				"invalid oauth scope",	CAUSE_AUDIENCE },
	{ NULL,				"account not found",	CAUSE_ACCOUNT },
	{ "invalid_grant",		"disabled",		CAUSE_ACCOUNT },
	{ "invalid_grant",		"deleted",		CAUSE_ACCOUNT },
	{ NULL,				"reasonable timeframe",	CAUSE_CLOCK },
	{ NULL,				"short-lived token",	CAUSE_CLOCK },
	{ NULL,				"jwt signature",	CAUSE_SIGNATURE },
	{ NULL,				"audience check",	CAUSE_ENDPOINT },
};

/* What the endpoint says of a failure: an object, a string or bare text.  A page
   of HTML says nothing. */
struct complaint {
	struct json *root;
	char *bare;
	const char *error, *text;	/* "" where there is none */
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
	const char *text, *error;

	*ret = (struct complaint){ .error = "", .text = "" };
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
	if (text)
		ret->text = text;
	if (error)
		ret->error = error;
}

static enum cause
find_cause(const struct http_response *re, const struct complaint *c)
{
	/* A redirection, which is not followed, is not its own, either. */
	if (re->status < 400 || re->status >= 500 || re->status == 408 ||
	    re->status == 429)
		return CAUSE_PASSING;
	for (size_t i = 0; i < ARRAY_SIZE(causes); i++)
		if ((!causes[i].error || strcmp(causes[i].error, c->error) == 0) &&
		    (!causes[i].text || strcasestr(c->text, causes[i].text)))
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

static int
failure(const struct http_response *re, const struct complaint *c,
	enum cause cause, const char *email, const char *audience, int64_t now,
	struct err *e)
{
	char shown[TEXT_SHOW_SIZE], subject[TEXT_SHOW_SIZE];
	char words[2 * TEXT_SHOW_SIZE];
	int r;

	text_show_str(shown, c->text[0] ? c->text : c->error);

	switch (cause) {
	case CAUSE_CLOCK:
		return clock_failure(re, now, e);
	case CAUSE_ACCOUNT:
		return account_failure(email, shown, e);
	case CAUSE_SIGNATURE:
		return unavailable(re, e, "the signature is not believed; the key "
				   "may just have been changed");
	case CAUSE_AUDIENCE:
		r = denied(e, ERR_SCOPE_REQUEST, "this audience is not accepted",
			   text_show_str(subject, audience));
		err_hint(e, "ask for the audience that the application "
			 "expects: its URL, or its OAuth client id");
		return r;
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

int
token_endpoint_id_token_response(const struct http_response *re,
				 const char *email, const char *audience,
				 int64_t now, char **ret_id_token,
				 enum token_endpoint_verdict *ret_verdict,
				 struct err *e)
{
	_cleanup_(complaint_clear) struct complaint c;
	enum cause cause;
	const char *token;
	size_t len;

	complaint_read(re, &c);
	if (re->status != 200) {
		cause = find_cause(re, &c);
		if (ret_verdict)
			*ret_verdict = verdict(cause);
		return failure(re, &c, cause, email, audience, now, e);
	}

	token = json_get_string(c.root, "id_token");
	len = token ? strlen(token) : 0;
	if (len == 0 || len > ID_TOKEN_MAX || strspn(token, UNRESERVED) != len) {
		if (ret_verdict)
			*ret_verdict = TOKEN_ENDPOINT_OTHER;
		return unavailable(re, e, "the answer holds no ID token");
	}
	*ret_id_token = xstrdup(token);
	return 0;
}
