/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "google/credfile.h"
#include "google/endpoints.h"

#define WORD_MAX	512		/* bytes; ids and client secrets */
#define REFRESH_MAX	2048
#define PEM_MAX		(16 * 1024)
#define PROJECT_MAX	100
#define ACCOUNTS	"projects/-/serviceAccounts/"
#define SUPPORTED	"service_account, authorized_user and " \
			"impersonated_service_account are"

static const char *const names[] = {
	[CREDFILE_SERVICE_ACCOUNT] = "service_account",
	[CREDFILE_AUTHORIZED_USER] = "authorized_user",
	[CREDFILE_IMPERSONATED] = "impersonated_service_account",
};

const char *
credfile_type_name(enum credfile_type type)
{
	return names[type];
}

/* --- members ---------------------------------------------------------------- */

static int
wrong(struct err *e, const char *name, const char *words)
{
	return err_set(e, ERR_REQUEST, "%s %s", name, words);
}

/* A value to be shown, where it looks like one: whoever fills in a file by hand
   puts a secret into any member. */
static const char *
fit_to_show(const char *s, char ret[static TEXT_SHOW_SIZE])
{
	bool fits = strncmp(s, "http", 4) == 0 ||
		    !s[strspn(s, "abcdefghijklmnopqrstuvwxyz._")];

	return fits ? text_show_str(ret, s) : "(not shown)";
}

/* *ret is NULL where there is none, and lives as long as j. */
static int
find_string(const struct json *j, const char *name, const char **ret,
	    struct err *e)
{
	const struct json *v = json_get(j, name);
	const char *s = json_string(v);

	if (v && !s)
		return wrong(e, name, "is not a string");
	if (s && !*s)
		return wrong(e, name, "is empty");
	*ret = s;
	return 0;
}

static int
need_string(const struct json *j, const char *name, size_t max, const char **ret,
	    struct err *e)
{
	const char *s = NULL;
	int r = find_string(j, name, &s, e);

	if (r < 0)
		return r;
	if (!s)
		return wrong(e, name, "is missing");
	if (strlen(s) > max)
		return err_set(e, ERR_REQUEST, "%s is longer than %zu bytes", name,
			       max);
	*ret = s;
	return 0;
}

/* What goes into requests: nothing that could not stand in a field or a form. */
static int
take_word(const struct json *j, const char *name, size_t max, char **ret,
	  struct err *e)
{
	const char *s;
	int r = need_string(j, name, max, &s, e);

	if (r < 0)
		return r;
	if (!text_is_graph(s, max))
		return wrong(e, name, "has spaces or characters that do not belong "
			     "there");
	*ret = xstrdup(s);
	return 0;
}

static int
take_email(const struct json *j, const char *name, char **ret, struct err *e)
{
	const char *s;
	int r = need_string(j, name, WORD_MAX, &s, e);

	if (r < 0)
		return r;
	if (!endpoint_is_account(s))
		return wrong(e, name, "is not a service account's address");
	*ret = xstrdup(s);
	return 0;
}

/* Whether it is a key is for OpenSSL to say; these are the ways in which files are
   spoilt. */
static int
take_private_key(const struct json *j, char **ret, struct err *e)
{
	static const char name[] = "private_key";
	const char *s;
	int r = need_string(j, name, PEM_MAX, &s, e);

	if (r < 0)
		return r;
	if (strstr(s, "\\n"))
		return wrong(e, name, "has its line ends written as a backslash "
			     "and an n: the file was escaped twice");
	if (strncmp(s, "-----BEGIN ENCRYPTED", 20) == 0)
		return wrong(e, name, "is encrypted; Google's are not");
	if (strncmp(s, "-----BEGIN PRIVATE KEY-----\n", 28) != 0 &&
	    strncmp(s, "-----BEGIN RSA PRIVATE KEY-----\n", 32) != 0)
		return wrong(e, name, "is no PEM key: it does not begin with "
			     "-----BEGIN PRIVATE KEY----- on a line of its own");
	*ret = xstrdup(s);
	return 0;
}

static int
check_universe(const struct json *j, enum credfile_type type, const char *universe,
	       struct err *e)
{
	char shown[TEXT_SHOW_SIZE];
	const char *s = NULL;
	int r = find_string(j, "universe_domain", &s, e);

	if (r < 0 || strcmp(s ?: ENDPOINT_UNIVERSE, universe) == 0)
		return r;
	if (!s && type == CREDFILE_IMPERSONATED)
		return 0;		/* its source has one */
	if (!s)
		return err_set(e, ERR_REQUEST, "universe_domain is missing, which "
			       "stands for " ENDPOINT_UNIVERSE ", and the agent's "
			       "is %s (universe in [upstream])", universe);
	return err_set(e, ERR_REQUEST, "universe_domain is %s, and the agent's is "
		       "%s (universe in [upstream])", endpoint_is_universe(s) ?
		       text_show_str(shown, s) : fit_to_show(s, shown), universe);
}

static int
check_token_uri(const struct json *j, const char *universe, struct err *e)
{
	char shown[TEXT_SHOW_SIZE];
	const char *s = NULL;
	int r = find_string(j, "token_uri", &s, e);

	if (r < 0)
		return r;
	if (s && !endpoint_is_token(s, universe))
		return err_set(e, ERR_REQUEST, "token_uri %s is not Google's token "
			       "endpoint (%s)", fit_to_show(s, shown),
			       ENDPOINT_TOKEN);
	return 0;
}

static int
take_quota_project(const struct json *j, char **ret, struct err *e)
{
	static const char name[] = "quota_project_id";
	const char *s = NULL;
	int r = find_string(j, name, &s, e);

	if (r < 0 || !s)
		return r;
	if (strlen(s) > PROJECT_MAX ||
	    s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-.:")])
		return wrong(e, name, "is not a project's id");
	*ret = xstrdup(s);
	return 0;
}

/* --- types ------------------------------------------------------------------ */

static int
parse_service_account(const struct json *j, const char *universe,
		      struct credfile *c, struct err *e)
{
	int r = take_email(j, "client_email", &c->email, e);

	if (r >= 0)
		r = take_word(j, "private_key_id", WORD_MAX, &c->key_id, e);
	if (r >= 0)
		r = take_private_key(j, &c->private_key, e);
	return r >= 0 ? check_token_uri(j, universe, e) : r;
}

static int
parse_authorized_user(const struct json *j, const char *universe,
		      struct credfile *c, struct err *e)
{
	int r = take_word(j, "client_id", WORD_MAX, &c->client_id, e);

	if (r >= 0)
		r = take_word(j, "client_secret", WORD_MAX, &c->client_secret, e);
	if (r >= 0)
		r = take_word(j, "refresh_token", REFRESH_MAX, &c->refresh_token,
			      e);
	return r >= 0 ? check_token_uri(j, universe, e) : r;
}

static int
take_target(const struct json *j, const char *universe, char **ret, struct err *e)
{
	static const char name[] = "service_account_impersonation_url";
	char shown[TEXT_SHOW_SIZE];
	const char *s;
	int r = need_string(j, name, WORD_MAX, &s, e);

	if (r < 0)
		return r;
	*ret = endpoint_impersonated(s, universe);
	if (!*ret)
		return err_set(e, ERR_REQUEST, "%s %s is not "
			       "https://iamcredentials.%s/v1/" ACCOUNTS
			       "EMAIL:generateAccessToken", name,
			       fit_to_show(s, shown), universe);
	return 0;
}

/* gcloud writes emails, the API's own documents the whole name. */
static int
take_delegates(const struct json *j, struct credfile *c, struct err *e)
{
	const struct json *list = json_get(j, "delegates");
	size_t n = json_array_len(list);
	const char *s;

	if (list && !json_is_array(list))
		return wrong(e, "delegates", "is not a list");
	if (n > CREDFILE_DELEGATES_MAX)
		return err_set(e, ERR_REQUEST, "delegates has more than %d "
			       "accounts", CREDFILE_DELEGATES_MAX);
	for (size_t i = 0; i < n; i++) {
		s = json_string(json_array_at(list, i));
		if (s && strncmp(s, ACCOUNTS, strlen(ACCOUNTS)) == 0)
			s += strlen(ACCOUNTS);
		if (!s || !endpoint_is_account(s))
			return err_set(e, ERR_REQUEST, "delegates: number %zu is "
				       "not a service account's address", i + 1);
		c->delegates[i] = xstrdup(s);
	}
	return 0;
}

static int parse_object(const struct json *j, const char *universe, bool inner,
			struct credfile **ret, struct err *e);

static int
parse_impersonated(const struct json *j, const char *universe, struct credfile *c,
		   struct err *e)
{
	static const char name[] = "source_credentials";
	const struct json *source = json_get(j, name);
	int r = take_target(j, universe, &c->email, e);

	if (r >= 0)
		r = take_delegates(j, c, e);
	if (r < 0)
		return r;
	if (!source)
		return wrong(e, name, "is missing");
	if (!json_is_object(source))
		return wrong(e, name, "is not an object");
	r = parse_object(source, universe, true, &c->source, e);
	return r < 0 ? err_prefix(e, r, "%s", name) : 0;
}

/* --- the file --------------------------------------------------------------- */

static int
take_type(const struct json *j, bool inner, enum credfile_type *ret, struct err *e)
{
	char shown[TEXT_SHOW_SIZE];
	const char *s = NULL;
	int r = find_string(j, "type", &s, e);

	if (r < 0)
		return r;
	if (!s && (json_get(j, "installed") || json_get(j, "web")))
		return err_set(e, ERR_REQUEST, "it describes an OAuth client, with "
			       "which nobody has signed in yet: gcloud auth "
			       "application-default login --client-id-file=FILE");
	if (!s)
		return wrong(e, "type", "is missing");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(s, names[i]) == 0 &&
		    (!inner || i != CREDFILE_IMPERSONATED)) {
			*ret = (enum credfile_type)i;
			return 0;
		}
	return err_set(e, ERR_REQUEST, "type %s is not supported%s: %s",
		       fit_to_show(s, shown), inner ? " here" : "", inner ?
		       "service_account and authorized_user are" : SUPPORTED);
}

static int
parse_object(const struct json *j, const char *universe, bool inner,
	     struct credfile **ret, struct err *e)
{
	_cleanup_(credfile_freep) struct credfile *c = xcalloc(1, sizeof(*c));
	int r = take_type(j, inner, &c->type, e);

	if (r >= 0)
		r = check_universe(j, c->type, universe, e);
	if (r >= 0)
		r = take_quota_project(j, &c->quota_project, e);
	if (r < 0)
		return r;

	switch (c->type) {
	case CREDFILE_SERVICE_ACCOUNT:
		r = parse_service_account(j, universe, c, e);
		break;
	case CREDFILE_AUTHORIZED_USER:
		r = parse_authorized_user(j, universe, c, e);
		break;
	case CREDFILE_IMPERSONATED:
		r = parse_impersonated(j, universe, c, e);
		break;
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

int
credfile_parse(const void *text, size_t len, const char *universe,
	       struct credfile **ret, struct err *e)
{
	_cleanup_(json_freep) struct json *j = NULL;

	if (len > CREDFILE_MAX)
		return err_set(e, ERR_REQUEST, "longer than %d bytes",
			       CREDFILE_MAX);
	j = json_parse(text, len, JSON_DEPTH);
	if (!json_is_object(j))
		return err_set(e, ERR_REQUEST, "it is no JSON object");
	return parse_object(j, universe, false, ret, e);
}

struct credfile *
credfile_free(struct credfile *c)
{
	if (!c)
		return NULL;

	free(c->quota_project);
	free(c->email);
	free(c->key_id);
	secret_free(c->private_key);
	free(c->client_id);
	secret_free(c->client_secret);
	secret_free(c->refresh_token);
	for (size_t i = 0; i < CREDFILE_DELEGATES_MAX; i++)
		free(c->delegates[i]);
	credfile_free(c->source);
	free(c);
	return NULL;
}
