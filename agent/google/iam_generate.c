/* SPDX-License-Identifier: Apache-2.0 */

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/text.h"
#include "google/iam_generate.h"

#define MEMBERS_MAX	(64 * 1024)
#define ID_TOKEN_MAX	(64 * 1024)
#define ACCESS_MAX	(16 * 1024)
#define UNRESERVED	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" \
			"0123456789-._~"

void
iam_generate_id_token_request(const char *base_url, const struct iam_subject *s,
			      const char *access_token, const char *audience,
			      struct http_request *ret)
{
	struct buf members = BUF_INIT(MEMBERS_MAX);

	buf_adds(&members, "\"audience\":");
	json_write_string(&members, audience);
	buf_adds(&members, ",\"includeEmail\":true");
	iam_request(IAM_GENERATE_ID_TOKEN, base_url, s, access_token,
		    buf_str(&members), ret);
	buf_free(&members);
}

int
iam_generate_id_token_response(const struct http_response *re,
			       const struct iam_subject *s, char **ret_token,
			       struct err *e)
{
	_cleanup_(json_freep) struct json *j = NULL;
	const char *token;
	size_t len;

	if (re->status != 200)
		return iam_failure(IAM_GENERATE_ID_TOKEN, re, s, e);

	j = json_parse(re->body, re->body_len, JSON_DEPTH);
	token = json_get_string(j, "token");
	len = token ? strlen(token) : 0;
	if (len == 0 || len > ID_TOKEN_MAX || strspn(token, UNRESERVED) != len)
		return iam_nonsense(IAM_GENERATE_ID_TOKEN, re,
				    "the answer holds no token", e);
	*ret_token = xstrdup(token);
	return 0;
}

void
iam_generate_access_token_request(const char *base_url,
				  const struct iam_subject *s,
				  const char *access_token, char *const *scopes,
				  struct http_request *ret)
{
	struct buf members = BUF_INIT(MEMBERS_MAX);

	buf_adds(&members, "\"scope\":[");
	for (size_t i = 0; scopes[i]; i++) {
		if (i > 0)
			buf_addc(&members, ',');
		json_write_string(&members, scopes[i]);
	}
	buf_addf(&members, "],\"lifetime\":\"%ds\"", IAM_ACCESS_LIFE);
	iam_request(IAM_GENERATE_ACCESS_TOKEN, base_url, s, access_token,
		    buf_str(&members), ret);
	buf_free(&members);
}

/* "2026-01-01T01:00:00Z", perhaps with a fraction; Unix seconds, or -1. */
static int64_t
read_time(const char *s)
{
	static const char form[] = "dddd-dd-ddTdd:dd:dd";
	struct tm tm = { .tm_year = 0 };
	size_t i;

	for (i = 0; form[i]; i++)
		if (form[i] == 'd' ? s[i] < '0' || s[i] > '9' : s[i] != form[i])
			return -1;
	if (s[i] == '.')
		i += 1 + strspn(s + i + 1, "0123456789");
	if (strcmp(s + i, "Z") != 0 ||
	    sscanf(s, "%4d-%2d-%2dT%2d:%2d:%2d", &tm.tm_year, &tm.tm_mon,
		   &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
		return -1;
	if (tm.tm_year < 1970 || tm.tm_mon < 1 || tm.tm_mon > 12 ||
	    tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 ||
	    tm.tm_min > 59 || tm.tm_sec > 60)
		return -1;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	return timegm(&tm);
}

int
iam_generate_access_token_response(const struct http_response *re,
				   const struct iam_subject *s, int64_t now,
				   char **ret_token, int64_t *ret_exp,
				   struct err *e)
{
	_cleanup_(json_freep) struct json *j = NULL;
	const char *token, *expires;
	int64_t exp;

	if (re->status != 200)
		return iam_failure(IAM_GENERATE_ACCESS_TOKEN, re, s, e);

	j = json_parse(re->body, re->body_len, JSON_DEPTH);
	token = json_get_string(j, "accessToken");
	expires = json_get_string(j, "expireTime");
	if (!token || !text_is_graph(token, ACCESS_MAX))
		return iam_nonsense(IAM_GENERATE_ACCESS_TOKEN, re,
				    "the answer holds no usable token", e);
	exp = expires ? read_time(expires) : -1;
	if (exp <= now)
		return iam_nonsense(IAM_GENERATE_ACCESS_TOKEN, re, exp < 0 ?
				    "the answer does not say when the token expires"
				    : "the token is expired already", e);
	*ret_token = xstrdup(token);
	*ret_exp = exp;
	return 0;
}
