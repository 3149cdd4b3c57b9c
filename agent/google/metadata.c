/* SPDX-License-Identifier: Apache-2.0 */

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/text.h"
#include "google/endpoints.h"
#include "google/metadata.h"

#define ROOT		"/computeMetadata/v1/"
#define ACCOUNT		ROOT "instance/service-accounts/default/"

#define UNIVERSE	"universe/universe-domain"

#define TOKEN_MAX	(16 * 1024)
#define ID_TOKEN_MAX	(64 * 1024)
#define VALUE_MAX	1024
#define STRING_MAX	1024		/* of a scope or an alias */
#define POOL_END	".svc.id.goog"
#define UNRESERVED	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" \
			"0123456789-._~"

/* --- requests --------------------------------------------------------------- */

static void
request(const char *base_url, const char *path, const char *rest,
	struct http_request *ret)
{
	*ret = (struct http_request){
		.lane = HTTP_LANE_LOCAL,
		.upstream = UPSTREAM_METADATA,
		.method = "GET",
		.url = xasprintf("%s%s%s", base_url, path, rest),
	};
	http_request_field(ret, "Metadata-Flavor", "Google");
}

void
metadata_account_request(const char *base_url, struct http_request *ret)
{
	request(base_url, ACCOUNT, "?recursive=true", ret);
}

void
metadata_token_request(const char *base_url, struct http_request *ret)
{
	request(base_url, ACCOUNT, "token", ret);
}

/* Names of parameters in the order of Google's own libraries. */
void
metadata_identity_request(const char *base_url, const char *audience, bool full,
			  bool licenses, struct http_request *ret)
{
	_cleanup_(freep) char *encoded = text_percent_encode(audience);
	_cleanup_(freep) char *rest = NULL;

	rest = xasprintf("identity?audience=%s&format=%s%s", encoded,
			 full ? "full" : "standard",
			 full && licenses ? "&licenses=TRUE" : "");
	request(base_url, ACCOUNT, rest, ret);
}

void
metadata_value_request(const char *base_url, const char *path,
		       struct http_request *ret)
{
	request(base_url, ROOT, path, ret);
}

/* --- what all answers have in common ---------------------------------------- */

static int
unavailable(const struct http_response *re, const char *what, const char *why,
	    struct err *e)
{
	int r = err_set(e, ERR_UNAVAILABLE, "metadata server: %s: %s", what, why);

	if (e)
		e->retry_usec = re->retry_after_usec;
	return r;
}

/* The server's own words on a failure: in JSON, or, as GKE's has them, a line of
   text; "" where there is a page or nothing. */
static const char *
description(const struct http_response *re, char ret[static TEXT_SHOW_SIZE])
{
	_cleanup_(json_freep) struct json *j = NULL;
	const char *s;

	j = json_parse(re->body, re->body_len, JSON_DEPTH);
	s = json_get_string(j, "error_description");
	if (s)
		return text_show_str(ret, s);
	if (re->body_len == 0 || strchr("<{", re->body[0]))
		return "";
	return text_show(ret, re->body, strcspn(re->body, "\r\n"));
}

static bool
says(const struct http_response *re, const char *words)
{
	char shown[TEXT_SHOW_SIZE];

	return strstr(description(re, shown), words);
}

/* 0 for a 200 of the metadata server's own.  A proxy or a captive portal answers
   anything to anybody, also 404 and 403: those are believed no more. */
static int
check_status(const struct http_response *re, const char *what, struct err *e)
{
	bool decides = re->status == 200 || re->status == 403 || re->status == 404;
	char shown[TEXT_SHOW_SIZE], words[16];
	const char *own;
	int r;

	if (decides && !re->flavor_google) {
		r = err_set(e, ERR_UNAVAILABLE,
			    "metadata server: %s: the answer lacks "
			    "Metadata-Flavor: Google, so it is somebody else's",
			    what);
		err_hint(e, "something stands between this machine and the "
			 "metadata server: look for a proxy, NAT or firewall "
			 "rule that takes in its address");
		return r;
	}

	switch (re->status) {
	case 200:
		return 0;
	case 403:
		own = description(re, shown);
		r = err_set(e, ERR_GOOGLE, "metadata server: %s: denied (HTTP "
			    "403)%s%s", what, own[0] ? ": " : "", own);
		if (e)
			e->scope = ERR_SCOPE_ACCOUNT;
		return r;
	case 404:
		return err_set(e, ERR_NOT_FOUND,
			       "metadata server: %s: there is none", what);
	default:
		snprintf(words, sizeof(words), "HTTP %u", re->status);
		return unavailable(re, what, words, e);
	}
}

static int
no_account(struct err *e, const char *or, const char *words)
{
	int r = err_set(e, ERR_NOT_FOUND,
			"this VM has no service account%s%s%s", or,
			words[0] ? ": " : "", words);

	err_hint(e, "stop the VM; gcloud compute instances set-service-account "
		 "INSTANCE --service-account=EMAIL --scopes=cloud-platform; "
		 "start it again");
	return r;
}

int
metadata_no_account(struct err *e)
{
	return no_account(e, "", "");
}

/* GKE: a pod is whom its Kubernetes service account is annotated with. */
static void
hint_workload_identity(struct err *e)
{
	err_hint(e, "on GKE: annotate the pod's Kubernetes service account with "
		 "iam.gke.io/gcp-service-account=EMAIL, and grant it "
		 "roles/iam.workloadIdentityUser on that account");
}

/* --- the account ------------------------------------------------------------ */

static char **
strv_free(char **v)
{
	for (size_t i = 0; v && v[i]; i++)
		free(v[i]);
	free(v);
	return NULL;
}

void
metadata_account_clear(struct metadata_account *a)
{
	free(a->email);
	strv_free(a->scopes);
	strv_free(a->aliases);
	*a = (struct metadata_account){ .email = NULL };
}

static char **
strings(const struct json *array)
{
	size_t n = json_array_len(array);
	const char *s;
	char **v;

	if (!json_is_array(array) || n > METADATA_SCOPES_MAX)
		return NULL;
	v = xcalloc(n + 1, sizeof(*v));
	for (size_t i = 0; i < n; i++) {
		s = json_string(json_array_at(array, i));
		if (!s || !text_is_graph(s, STRING_MAX))
			return strv_free(v);
		v[i] = xstrdup(s);
	}
	return v;
}

/* What GKE's server says to a pod that is nobody in particular. */
static bool
is_pool(const char *email)
{
	size_t len = strlen(email), end = strlen(POOL_END);

	return len > end && strcmp(email + len - end, POOL_END) == 0 &&
	       !strchr(email, '@');
}

int
metadata_account_response(const struct http_response *re,
			  struct metadata_account *ret, struct err *e)
{
	static const char what[] = "service account";
	_cleanup_(json_freep) struct json *j = NULL;
	struct metadata_account a = { .email = NULL };
	char shown[TEXT_SHOW_SIZE];
	const char *email;
	int r;

	r = check_status(re, what, e);
	if (r < 0 && re->status == 404 && re->flavor_google)
		return no_account(e, "", description(re, shown));
	if (r < 0)
		return r;

	j = json_parse(re->body, re->body_len, JSON_DEPTH);
	if (!json_is_object(j))
		return unavailable(re, what, "the answer is no JSON object", e);
	email = json_get_string(j, "email");
	if (!email)
		return unavailable(re, what, "partial answer: no email", e);
	if (is_pool(email)) {
		r = unavailable(re, what, "it is the workload identity pool, no "
				"account", e);
		hint_workload_identity(e);
		return r;
	}
	if (!endpoint_is_account(email))
		return err_set(e, ERR_UNAVAILABLE,
			       "metadata server: %s: \"%s\" is not "
			       "a service account's address",
			       what, text_show_str(shown, email));

	a.scopes = strings(json_get(j, "scopes"));
	a.aliases = strings(json_get(j, "aliases"));
	if (!a.scopes || !a.aliases) {
		r = unavailable(re, what,
				a.scopes ? "partial answer: no list of aliases"
					 : "partial answer: no list of scopes",
				e);
		metadata_account_clear(&a);
		return r;
	}
	a.email = xstrdup(email);
	*ret = a;
	return 0;
}

/* --- the access token ------------------------------------------------------- */

/* GKE asks IAM for it, and passes on what that says: a denial; or trouble, which is
   none. */
static bool
iam_refuses(const struct http_response *re)
{
	return re->flavor_google && (re->status == 403 || re->status == 404) &&
	       says(re, "IAM returned 40");
}

static int
refused_by_iam(const struct http_response *re, const char *what, struct err *e)
{
	char shown[TEXT_SHOW_SIZE];
	int r = err_set(e, ERR_GOOGLE, "metadata server: %s: %s", what,
			description(re, shown));

	if (e)
		e->scope = ERR_SCOPE_ACCOUNT;
	hint_workload_identity(e);
	return r;
}

int
metadata_token_response(const struct http_response *re, char **ret_token,
			uint64_t *ret_life, struct err *e)
{
	static const char what[] = "access token";
	_cleanup_(json_freep) struct json *j = NULL;
	char shown[TEXT_SHOW_SIZE];
	const char *token, *type;
	int64_t life;
	int r;

	r = check_status(re, what, e);
	if (r < 0 && iam_refuses(re))
		return refused_by_iam(re, what, e);
	if (r < 0 && re->status == 404 && re->flavor_google)
		return no_account(e, " or one without scopes",
				  description(re, shown));
	if (r == err_kind_errno(ERR_GOOGLE))
		err_hint(e, "the VM's access scopes may be missing; stop the VM; "
			 "gcloud compute instances set-service-account INSTANCE "
			 "--scopes=cloud-platform; start it again");
	if (r < 0)
		return r;

	j = json_parse(re->body, re->body_len, JSON_DEPTH);
	if (!json_is_object(j))
		return unavailable(re, what, "the answer is no JSON object", e);
	token = json_get_string(j, "access_token");
	if (!token || !text_is_graph(token, TOKEN_MAX))
		return unavailable(re, what, "the answer holds no usable token", e);
	if (!json_get_int(j, "expires_in", &life) || life <= 0)
		return unavailable(re, what, "the answer holds no life time", e);
	type = json_get_string(j, "token_type");
	if (type && strcasecmp(type, "Bearer") != 0)
		return unavailable(re, what, "the token is of an unknown type", e);

	*ret_token = xstrdup(token);
	*ret_life = (uint64_t)life;
	return 0;
}

/* --- the identity token ----------------------------------------------------- */

static int
refused_audience(const char *audience, struct err *e)
{
	char shown[TEXT_SHOW_SIZE];
	int r = err_set(e, ERR_GOOGLE, "metadata server: identity token: this "
			"audience is not accepted: %s (HTTP 400)",
			text_show_str(shown, audience));

	err_hint(e, "ask for the audience that the application expects: its URL, "
		 "or its OAuth client id");
	return r;
}

static int
not_found_yet(const struct http_response *re, const char *what, struct err *e)
{
	char shown[TEXT_SHOW_SIZE];
	const char *own = description(re, shown);
	int r = unavailable(re, what, own[0] ? own : "HTTP 404", e);

	if (says(re, "Kubernetes"))
		hint_workload_identity(e);
	return r;
}

int
metadata_identity_response(const struct http_response *re, const char *audience,
			   char **ret_token, struct err *e)
{
	static const char what[] = "identity token";
	int r;

	if (re->status == 400 && re->flavor_google)
		return refused_audience(audience, e);
	r = check_status(re, what, e);
	if (r < 0 && iam_refuses(re))
		return refused_by_iam(re, what, e);
	/* An unknown path is 404, too, and passes while the VM boots or migrates;
	   only these words say that there is no account. */
	if (r < 0 && re->status == 404 && re->flavor_google)
		return says(re, "not enabled") ? metadata_no_account(e)
					       : not_found_yet(re, what, e);
	if (r == err_kind_errno(ERR_GOOGLE))
		err_hint(e, "curl -i -H Metadata-Flavor:Google '" ENDPOINT_METADATA
			 ACCOUNT "identity?audience=test' shows what it says; a "
			 "proxy in front of it may refuse this path");
	if (r < 0)
		return r;

	if (re->body_len == 0 || re->body_len > ID_TOKEN_MAX ||
	    strspn(re->body, UNRESERVED) != re->body_len)
		return unavailable(re, what, "the answer is no token", e);
	*ret_token = xstrndup(re->body, re->body_len);
	return 0;
}

/* --- plain values ----------------------------------------------------------- */

int
metadata_value_response(const struct http_response *re, const char *path,
			char **ret, struct err *e)
{
	int r = check_status(re, path, e);

	if (r < 0)
		return r;
	if (re->body_len > VALUE_MAX || !text_is_utf8(re->body, re->body_len) ||
	    !text_is_plain(re->body, re->body_len))
		return unavailable(re, path, "the value is no plain text", e);
	*ret = xstrndup(re->body, re->body_len);
	return 0;
}

/* --- the universe ----------------------------------------------------------- */

void
metadata_universe_request(const char *base_url, struct http_request *ret)
{
	metadata_value_request(base_url, UNIVERSE, ret);
}

int
metadata_universe_response(const struct http_response *re, char **ret,
			   bool *ret_known, struct err *e)
{
	_cleanup_(freep) char *domain = NULL;
	char shown[TEXT_SHOW_SIZE];
	int r = metadata_value_response(re, UNIVERSE, &domain, e);

	if (r < 0 && r != err_kind_errno(ERR_NOT_FOUND))
		return r;
	*ret_known = r >= 0;
	if (r < 0 || !*domain) {
		*ret = xstrdup(ENDPOINT_UNIVERSE);
		return 0;
	}
	if (!endpoint_is_universe(domain))
		return err_set(e, ERR_UNAVAILABLE, "metadata server: " UNIVERSE
			       ": \"%s\" is no domain",
			       text_show_str(shown, domain));
	*ret = TAKE_PTR(domain);
	return 0;
}
