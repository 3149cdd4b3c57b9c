/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/text.h"
#include "google/endpoints.h"
#include "google/iam.h"

#define API		"iamcredentials.googleapis.com"
#define SCOPES_WORDS	"the VM's access scopes do not allow calls to " API
#define SIGNED_IN_WORDS	"the scopes that were signed in for do not allow calls " \
			"to " API
#define BODY_MAX	(256 * 1024)

/* What a caller may not do, to itself and to another account. */
static const struct method {
	const char *name, *permission, *does, *to_itself, *to_it;
} methods[] = {
	[IAM_SIGN_BLOB] = { "signBlob", "iam.serviceAccounts.signBlob",
		"sign", "as itself", "as it" },
	[IAM_SIGN_JWT] = { "signJwt", "iam.serviceAccounts.signJwt",
		"sign", "as itself", "as it" },
	[IAM_GENERATE_ID_TOKEN] = { "generateIdToken",
		"iam.serviceAccounts.getOpenIdToken",
		"make ID tokens", "of itself", "of it" },
	[IAM_GENERATE_ACCESS_TOKEN] = { "generateAccessToken",
		"iam.serviceAccounts.getAccessToken",
		"make access tokens", "of itself", "of it" },
};

/* One path segment.  The API takes "@" as it is, and so do we. */
static char *
segment(const char *email)
{
	char *s = text_percent_encode(email), *p = s;

	while ((p = strstr(p, "%40"))) {
		*p++ = '@';
		memmove(p, p + 2, strlen(p + 2) + 1);
	}
	return s;
}

static void
write_delegates(struct buf *b, char *const *delegates)
{
	if (!delegates || !delegates[0])
		return;
	buf_adds(b, ",\"delegates\":[");
	for (size_t i = 0; delegates[i]; i++) {
		_cleanup_(freep) char *name =
			xasprintf("projects/-/serviceAccounts/%s", delegates[i]);

		if (i > 0)
			buf_addc(b, ',');
		json_write_string(b, name);
	}
	buf_addc(b, ']');
}

void
iam_request(enum iam_method method, const char *base_url,
	    const struct iam_subject *s, const char *access_token,
	    const char *members, struct http_request *ret)
{
	_cleanup_(secret_freep) char *bearer = xasprintf("Bearer %s", access_token);
	_cleanup_(freep) char *name = segment(s->email);
	struct buf body = BUF_INIT(BODY_MAX);

	buf_addc(&body, '{');
	buf_adds(&body, members);
	write_delegates(&body, s->delegates);
	buf_addc(&body, '}');
	assert(!body.overflow);		/* the limits on requests see to it */
	*ret = (struct http_request){
		.lane = HTTP_LANE_GOOGLE,
		.upstream = UPSTREAM_IAM,
		.method = "POST",
		.url = xasprintf("%s/v1/projects/-/serviceAccounts/%s:%s",
				 base_url, name, methods[method].name),
		.body_len = body.len,
	};
	ret->body = buf_steal(&body);
	http_request_field(ret, "Authorization", bearer);
	http_request_field(ret, "Content-Type", "application/json");
	http_request_field(ret, "Accept", "application/json");
}

void
iam_request_quota(struct http_request *q, const char *project)
{
	if (project)
		http_request_field(q, "x-goog-user-project", project);
}

/* --- failures --------------------------------------------------------------- */

/* How each one is mended: see mend(). */
enum mending {
	MEND_NOTHING,
	MEND_ROLE,
	MEND_SCOPES,
	MEND_API,
	MEND_ACCOUNT,
	MEND_PROJECT,
	MEND_QUOTA,
	MEND_PERIMETER,
	MEND_LATER		/* no denial: it passes */
};

/* google.rpc.ErrorInfo.reason, which is made for programs; messages are not. */
static const struct reason {
	const char *name;
	enum mending mending;
	const char *words;	/* NULL: they depend on who asks */
} reasons[] = {
	{ "IAM_PERMISSION_DENIED", MEND_ROLE, NULL },
	{ "ACCESS_TOKEN_SCOPE_INSUFFICIENT", MEND_SCOPES, NULL },
	{ "SERVICE_DISABLED", MEND_API,
	  "the API " API " is not enabled in the project" },
	{ "ACCOUNT_STATE_INVALID", MEND_ACCOUNT, "is disabled or deleted" },
	{ "BILLING_DISABLED", MEND_PROJECT, "billing is disabled for the project" },
	{ "CONSUMER_SUSPENDED", MEND_PROJECT, "the project is suspended" },
	{ "CONSUMER_INVALID", MEND_PROJECT, "the project is not valid" },
	{ "USER_PROJECT_DENIED", MEND_QUOTA,
	  "may not use the project that quota is counted for" },
	{ "SECURITY_POLICY_VIOLATED", MEND_PERIMETER,
	  "an organisation's policy (VPC Service Controls) forbids it" },
	{ "CREDENTIALS_MISSING", MEND_NOTHING,
	  "no access token arrived at the API" },
	{ "ACCESS_TOKEN_TYPE_UNSUPPORTED", MEND_NOTHING,
	  "the API takes no access tokens of this type" },
	{ "RATE_LIMIT_EXCEEDED", MEND_LATER, "a quota is used up" },
	{ "RESOURCE_QUOTA_EXCEEDED", MEND_LATER, "a quota is used up" },
};

/* One answer that is none: to which question, and where the words go. */
struct failure {
	const struct http_response *re;
	const struct method *m;
	const struct iam_subject *s;
	struct err *e;
};

static const char *
caller_of(const struct iam_subject *s)
{
	return s->caller ?: s->email;
}

static bool
is_itself(const struct iam_subject *s)
{
	return strcmp(caller_of(s), s->email) == 0;
}

/* The names that gcloud commands need: a project's id ("example.com:web-1") or
   number; nothing that a shell would take for more than a name, and nothing that
   might be a piece of a token which the answer quotes. */
static bool
is_name(const char *s)
{
	char shown[TEXT_SHOW_SIZE];
	size_t len = strlen(s);

	return len > 0 && len <= 100 &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-.:") == len &&
	       strcmp(text_show_str(shown, s), s) == 0;
}

/* Whoever signed in is no service account. */
static bool
is_person(const struct iam_subject *s)
{
	return !endpoint_is_account(caller_of(s));
}

/* The caller as commands name it: freed by whoever asks.  A person's address may
   hold what a shell takes for more than a name. */
static char *
caller_member(const struct iam_subject *s)
{
	const char *email = caller_of(s);
	bool plain = !email[strspn(email, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "abcdefghijklmnopqrstuvwxyz0123456789@.-_+")];

	if (is_person(s))
		return xasprintf("user:%s", plain ? email : "EMAIL");
	return xasprintf("serviceAccount:%s", email);
}

static const char *
scopes_words(const struct iam_subject *s)
{
	return is_person(s) ? SIGNED_IN_WORDS : SCOPES_WORDS;
}

static void
mend_scopes(const struct iam_subject *s, struct err *e)
{
	if (is_person(s))
		err_hint(e, "sign in again: gcloud auth application-default login "
			 "--client-id-file=FILE --scopes=openid,"
			 "https://www.googleapis.com/auth/userinfo.email,"
			 SCOPE_CLOUD_PLATFORM);
	else
		err_hint(e, "stop the VM; gcloud compute instances "
			 "set-service-account INSTANCE --scopes=cloud-platform; "
			 "start it again");
}

/* Along a chain Google does not say which link is missing. */
static void
mend_role(const struct iam_subject *s, struct err *e)
{
	_cleanup_(freep) char *member = caller_member(s);
	struct buf chain = BUF_INIT(512);

	if (!s->delegates || !s->delegates[0]) {
		err_hint(e, "gcloud iam service-accounts add-iam-policy-binding %s "
			 "--member=%s "
			 "--role=roles/iam.serviceAccountTokenCreator "
			 "(takes some minutes)", s->email, member);
		return;
	}
	buf_adds(&chain, caller_of(s));
	for (char *const *next = s->delegates; *next; next++)
		buf_addf(&chain, ", %s", *next);
	buf_addf(&chain, ", %s", s->email);
	err_hint(e, "each of these needs roles/iam.serviceAccountTokenCreator on "
		 "the next one: %s; gcloud iam service-accounts "
		 "add-iam-policy-binding NEXT --member=serviceAccount:THIS "
		 "--role=roles/iam.serviceAccountTokenCreator (takes some minutes)"
		 "%s", buf_str(&chain), is_person(s) ?
		 "; of the first it is --member=user:THIS" : "");
	buf_free(&chain);
}

/* consumer: "projects/N", or NULL. */
static void
mend(const struct failure *f, enum mending mending, const char *consumer)
{
	_cleanup_(freep) char *member = caller_member(f->s);
	const char *project = "PROJECT";
	struct err *e = f->e;

	if (consumer && strncmp(consumer, "projects/", 9) == 0 &&
	    is_name(consumer + 9))
		project = consumer + 9;

	switch (mending) {
	case MEND_SCOPES:
		mend_scopes(f->s, e);
		break;
	case MEND_API:
		err_hint(e, "gcloud services enable " API " --project=%s "
			 "(takes some minutes)", project);
		break;
	case MEND_ACCOUNT:
		if (!is_person(f->s))
			err_hint(e, "gcloud iam service-accounts enable %s",
				 caller_of(f->s));
		break;
	case MEND_PROJECT:
		err_hint(e, "gcloud billing projects describe %s, and see the "
			 "project's state in the console", project);
		break;
	case MEND_QUOTA:
		err_hint(e, "gcloud projects add-iam-policy-binding %s --member=%s "
			 "--role=roles/serviceusage.serviceUsageConsumer "
			 "(takes some minutes)", project, member);
		break;
	case MEND_PERIMETER:
		err_hint(e, "ask the organisation's administrators to allow " API
			 " from this VM's network");
		break;
	case MEND_ROLE:
	case MEND_NOTHING:
	case MEND_LATER:
		break;
	}
}

static int
denied(const struct failure *f, enum err_scope scope, const char *who,
       const char *words)
{
	int r = err_set(f->e, ERR_GOOGLE, "IAM %s: %s: %s", f->m->name, who, words);

	if (f->e)
		f->e->scope = scope;
	return r;
}

static int
unavailable(const struct failure *f, const char *words)
{
	int r = err_set(f->e, ERR_UNAVAILABLE, "IAM %s: %s", f->m->name, words);

	if (f->e)
		f->e->retry_usec = f->re->retry_after_usec;
	return r;
}

static const struct json *
error_info(const struct json *error)
{
	const struct json *details = json_get(error, "details");

	for (size_t i = 0; i < json_array_len(details); i++)
		if (json_get_string(json_array_at(details, i), "reason"))
			return json_array_at(details, i);
	return NULL;
}

static const struct reason *
find_reason(const char *name)
{
	for (size_t i = 0; name && i < ARRAY_SIZE(reasons); i++)
		if (strcmp(reasons[i].name, name) == 0)
			return &reasons[i];
	return NULL;
}

static void
mend_not_found(const struct failure *f)
{
	static const char *const remedies[] = {
		[IAM_OF_MACHINE] = "attach one that exists: gcloud compute "
			"instances set-service-account INSTANCE "
			"--service-account=EMAIL --scopes=cloud-platform",
		[IAM_OF_FILE] = "have credentials in [account default] name the "
			"file of one that exists",
		[IAM_OF_SECTION] = "see to the email in the account's section of "
			"the configuration",
	};

	err_hint(f->e, "gcloud iam service-accounts describe %s; %s", f->s->email,
		 remedies[f->s->origin]);
}

/* An error whose reason is not in the table: what its status alone says.  text is
   the server's own words, NULL where a front end answered and not the API. */
static int
failure_by_status(const struct failure *f, const char *text)
{
	char words[TEXT_SHOW_SIZE + 80], shown[TEXT_SHOW_SIZE] = "no words";
	unsigned status = f->re->status;
	int r;

	if (text)
		text_show_str(shown, text);

	if (status == 401)
		return err_set_status(f->e, ERR_UNAVAILABLE, 401, "IAM %s: the "
				      "access token is taken no more", f->m->name);
	if (text && status == 404) {
		r = denied(f, ERR_SCOPE_ACCOUNT, f->s->email,
			   "there is no such account");
		mend_not_found(f);
		return r;
	}
	if (text && status == 403) {
		snprintf(words, sizeof(words), "denied: %s", shown);
		return denied(f, ERR_SCOPE_REQUEST, f->s->email, words);
	}
	/* Its words may quote what was to be signed. */
	if (text && status == 400)
		return denied(f, ERR_SCOPE_REQUEST, f->s->email,
			      "the request was not understood (HTTP 400)");

	if (text)
		snprintf(words, sizeof(words), "HTTP %u: %s", status, shown);
	else
		snprintf(words, sizeof(words),
			 "HTTP %u, and not from the API itself", status);
	return unavailable(f, words);
}

/* Somebody lacks the role: the caller, or one on the way. */
static int
role_denied(const struct failure *f)
{
	const struct iam_subject *s = f->s;
	_cleanup_(freep) char *words = NULL;
	int r;

	if (is_itself(s))
		words = xasprintf("may not %s %s (or does not exist): it lacks the "
				  "permission %s", f->m->does, f->m->to_itself,
				  f->m->permission);
	else
		words = xasprintf("%s may not %s %s%s (or it does not exist): the "
				  "permission %s is missing", caller_of(s),
				  f->m->does, f->m->to_it,
				  s->delegates && s->delegates[0] ?
				  " by its delegates" : "", f->m->permission);
	r = denied(f, ERR_SCOPE_ACCOUNT, s->email, words);
	if (f->e)
		f->e->doubtful = true;
	mend_role(s, f->e);
	return r;
}

static int
fail(const struct failure *f)
{
	char shown[TEXT_SHOW_SIZE], words[TEXT_SHOW_SIZE + 80];
	const struct http_response *re = f->re;
	_cleanup_(json_freep) struct json *j = NULL;
	const struct json *error, *info, *metadata;
	const struct reason *reason;
	const char *quota, *text, *who = f->s->email;
	int r;

	j = json_parse(re->body, re->body_len, JSON_DEPTH);
	error = json_get(j, "error");
	info = error_info(error);
	metadata = json_get(info, "metadata");
	reason = find_reason(json_get_string(info, "reason"));

	if (!reason || re->status < 400 || re->status > 499) {
		text = json_get_string(error, "message");
		if (!text && json_is_object(error))
			text = "";
		return failure_by_status(f, text);
	}
	if (reason->mending == MEND_LATER) {
		quota = json_get_string(metadata, "quota_metric");
		snprintf(words, sizeof(words), "%s%s%s", reason->words,
			 quota ? ": " : "",
			 quota ? text_show_str(shown, quota) : "");
		return unavailable(f, words);
	}
	if (reason->mending == MEND_ROLE)
		return role_denied(f);

	if (reason->mending == MEND_ACCOUNT || reason->mending == MEND_QUOTA)
		who = caller_of(f->s);
	r = denied(f, ERR_SCOPE_ACCOUNT, who,
		   reason->words ?: scopes_words(f->s));
	mend(f, reason->mending, json_get_string(metadata, "consumer"));
	return r;
}

int
iam_failure(enum iam_method method, const struct http_response *re,
	    const struct iam_subject *s, struct err *e)
{
	return fail(&(struct failure){ re, &methods[method], s, e });
}

int
iam_nonsense(enum iam_method method, const struct http_response *re,
	     const char *words, struct err *e)
{
	return unavailable(&(struct failure){ .re = re, .m = &methods[method],
					      .e = e }, words);
}

bool
iam_scopes_suffice(char *const *scopes)
{
	for (; *scopes; scopes++)
		if (strcmp(*scopes, SCOPE_CLOUD_PLATFORM) == 0 ||
		    strcmp(*scopes, SCOPE_IAM) == 0)
			return true;
	return false;
}

int
iam_scopes_error(enum iam_method method, const struct iam_subject *s,
		 struct err *e)
{
	int r = denied(&(struct failure){ .m = &methods[method], .e = e },
		       ERR_SCOPE_ACCOUNT, s->email, scopes_words(s));

	mend_scopes(s, e);
	return r;
}
