/* SPDX-License-Identifier: Apache-2.0 */

#include <stdio.h>
#include <string.h>

#include "base/b64.h"
#include "base/json.h"
#include "base/text.h"
#include "google/endpoints.h"
#include "google/iam.h"

#define API		"iamcredentials.googleapis.com"
#define SCOPE_CLOUD	"https://www.googleapis.com/auth/cloud-platform"
#define SCOPE_IAM	"https://www.googleapis.com/auth/iam"
#define SCOPES_WORDS	"the VM's access scopes do not allow to call " API
#define KEY_ID_MAX	128		/* bytes; 40 today */
#define SIGNATURE_MAX	1024		/* bytes; RSA-8192 */

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

void
iam_sign_blob_request(const char *base_url, const char *email,
		      const char *access_token,
		      const void *input, size_t input_len,
		      struct http_request *ret)
{
	_cleanup_(secret_freep) char *payload = b64_encode(input, input_len);
	_cleanup_(secret_freep) char *bearer = xasprintf("Bearer %s", access_token);
	_cleanup_(freep) char *name = segment(email);

	*ret = (struct http_request){
		.lane = HTTP_LANE_GOOGLE,
		.upstream = UPSTREAM_IAM,
		.method = "POST",
		.url = xasprintf("%s/v1/projects/-/serviceAccounts/%s:signBlob",
				 base_url, name),
		.body = xasprintf("{\"payload\":\"%s\"}", payload),
	};
	ret->body_len = strlen(ret->body);
	http_request_field(ret, "Authorization", bearer);
	http_request_field(ret, "Content-Type", "application/json");
	http_request_field(ret, "Accept", "application/json");
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
	MEND_PERIMETER,
	MEND_LATER		/* no denial: it passes */
};

/* google.rpc.ErrorInfo.reason, which is made for programs; messages are not. */
static const struct reason {
	const char *name;
	enum mending mending;
	const char *words;
} reasons[] = {
	{ "IAM_PERMISSION_DENIED", MEND_ROLE,
	  "may not sign as itself (or does not exist): it lacks the permission "
	  "iam.serviceAccounts.signBlob" },
	{ "ACCESS_TOKEN_SCOPE_INSUFFICIENT", MEND_SCOPES, SCOPES_WORDS },
	{ "SERVICE_DISABLED", MEND_API,
	  "the API " API " is not enabled in the project" },
	{ "ACCOUNT_STATE_INVALID", MEND_ACCOUNT, "is disabled or deleted" },
	{ "BILLING_DISABLED", MEND_PROJECT, "billing is disabled for the project" },
	{ "CONSUMER_SUSPENDED", MEND_PROJECT, "the project is suspended" },
	{ "CONSUMER_INVALID", MEND_PROJECT, "the project is not valid" },
	{ "USER_PROJECT_DENIED", MEND_PROJECT,
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

static void
mend_scopes(struct err *e)
{
	err_hint(e, "stop the VM; gcloud compute instances set-service-account "
		 "INSTANCE --scopes=cloud-platform; start it again");
}

/* consumer: "projects/N", or NULL. */
static void
mend(enum mending mending, const char *email, const char *consumer, struct err *e)
{
	const char *project = "PROJECT";

	if (consumer && strncmp(consumer, "projects/", 9) == 0 &&
	    is_name(consumer + 9))
		project = consumer + 9;

	switch (mending) {
	case MEND_ROLE:
		err_hint(e, "gcloud iam service-accounts add-iam-policy-binding %s "
			 "--member=serviceAccount:%s "
			 "--role=roles/iam.serviceAccountTokenCreator "
			 "(takes some minutes)", email, email);
		break;
	case MEND_SCOPES:
		mend_scopes(e);
		break;
	case MEND_API:
		err_hint(e, "gcloud services enable " API " --project=%s "
			 "(takes some minutes)", project);
		break;
	case MEND_ACCOUNT:
		err_hint(e, "gcloud iam service-accounts enable %s", email);
		break;
	case MEND_PROJECT:
		err_hint(e, "gcloud billing projects describe %s, and see the "
			 "project's state in the console", project);
		break;
	case MEND_PERIMETER:
		err_hint(e, "ask the organisation's administrators to allow " API
			 " from this VM's network");
		break;
	case MEND_NOTHING:
	case MEND_LATER:
		break;
	}
}

static int
denied(struct err *e, enum err_scope scope, const char *email, const char *words)
{
	int r = err_set(e, ERR_GOOGLE, "IAM signBlob: %s: %s", email, words);

	if (e)
		e->scope = scope;
	return r;
}

static int
unavailable(const struct http_response *re, struct err *e, const char *words)
{
	int r = err_set(e, ERR_UNAVAILABLE, "IAM signBlob: %s", words);

	if (e)
		e->retry_usec = re->retry_after_usec;
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

/* An error whose reason is not in the table: what its status alone says.  text is
   the server's own words, NULL where a front end answered and not the API. */
static int
failure_by_status(const struct http_response *re, const char *email,
		  const char *text, struct err *e)
{
	char words[TEXT_SHOW_SIZE + 80], shown[TEXT_SHOW_SIZE] = "no words";
	int r;

	if (text)
		text_show_str(shown, text);

	if (re->status == 401)
		return err_set_status(e, ERR_UNAVAILABLE, 401, "IAM signBlob: "
				      "the access token is taken no more");
	if (text && re->status == 404) {
		r = denied(e, ERR_SCOPE_ACCOUNT, email, "there is no such account");
		err_hint(e, "gcloud iam service-accounts describe %s; attach one "
			 "that exists: gcloud compute instances "
			 "set-service-account INSTANCE --service-account=EMAIL "
			 "--scopes=cloud-platform", email);
		return r;
	}
	if (text && re->status == 403) {
		snprintf(words, sizeof(words), "denied: %s", shown);
		return denied(e, ERR_SCOPE_REQUEST, email, words);
	}
	/* Its words may quote what was to be signed. */
	if (text && re->status == 400)
		return denied(e, ERR_SCOPE_REQUEST, email,
			      "the request was not understood (HTTP 400)");

	if (text)
		snprintf(words, sizeof(words), "HTTP %u: %s", re->status, shown);
	else
		snprintf(words, sizeof(words),
			 "HTTP %u, and not from the API itself", re->status);
	return unavailable(re, e, words);
}

static int
failure(const struct http_response *re, const char *email, struct err *e)
{
	_cleanup_(json_freep) struct json *j = NULL;
	const struct json *error, *info, *metadata;
	const struct reason *reason;
	const char *quota, *text;
	char shown[TEXT_SHOW_SIZE], words[TEXT_SHOW_SIZE + 80];
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
		return failure_by_status(re, email, text, e);
	}
	if (reason->mending == MEND_LATER) {
		quota = json_get_string(metadata, "quota_metric");
		snprintf(words, sizeof(words), "%s%s%s", reason->words,
			 quota ? ": " : "",
			 quota ? text_show_str(shown, quota) : "");
		return unavailable(re, e, words);
	}

	r = denied(e, ERR_SCOPE_ACCOUNT, email, reason->words);
	if (e)
		e->doubtful = reason->mending == MEND_ROLE;
	mend(reason->mending, email, json_get_string(metadata, "consumer"), e);
	return r;
}

/* --- answers ---------------------------------------------------------------- */

static bool
is_key_id(const char *s)
{
	size_t len = strlen(s);

	return len > 0 && len <= KEY_ID_MAX &&
	       strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		      "0123456789-_") == len;
}

int
iam_sign_blob_response(const struct http_response *re, const char *email,
		       char **ret_signature, char **ret_key_id,
		       struct err *e)
{
	_cleanup_(json_freep) struct json *j = NULL;
	_cleanup_(freep) char *signature = NULL;
	const char *blob, *key_id;
	void *bytes = NULL;
	size_t len;

	if (re->status != 200)
		return failure(re, email, e);

	j = json_parse(re->body, re->body_len, JSON_DEPTH);
	blob = json_get_string(j, "signedBlob");
	key_id = json_get_string(j, "keyId");
	if (!blob || !key_id || !is_key_id(key_id))
		return unavailable(re, e, "the answer lacks signature or key id");
	if (b64_decode(blob, strlen(blob), &bytes, &len) < 0)
		return unavailable(re, e, "the signature is not base64");
	if (len > 0 && len <= SIGNATURE_MAX)
		signature = b64url_encode(bytes, len);
	free(bytes);
	if (!signature)
		return unavailable(re, e, "the signature has an impossible length");

	*ret_signature = TAKE_PTR(signature);
	*ret_key_id = xstrdup(key_id);
	return 0;
}

bool
iam_scopes_suffice(char *const *scopes)
{
	for (; *scopes; scopes++)
		if (strcmp(*scopes, SCOPE_CLOUD) == 0 ||
		    strcmp(*scopes, SCOPE_IAM) == 0)
			return true;
	return false;
}

int
iam_scopes_error(const char *email, struct err *e)
{
	int r = denied(e, ERR_SCOPE_ACCOUNT, email, SCOPES_WORDS);

	mend_scopes(e);
	return r;
}
