/* SPDX-License-Identifier: Apache-2.0 */

#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/text.h"
#include "token/claims.h"

#define CLAIMS_MAX	(96 * 1024)	/* bytes written; a body has 64 Ki */

/* Those that are ours to set or to judge stand once, as they are written here. */
static const char *const ours[] = { "iss", "sub", "aud", "iat", "exp" };

/* Text only: json-c's tree is many times as large, and this waits for IAM. */
struct claims {
	char *iss, *sub, *aud;		/* NULL where absent */
	char *others;			/* ",NAME:VALUE" of each, written anew */
	int64_t iat, exp;
	bool has_iat, has_exp;
};

/* --- in ------------------------------------------------------------------- */

static bool
is_ours(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		if (strcmp(name, ours[i]) == 0)
			return true;
	return false;
}

/* Does some reader take the one for the other?  Letters of either case are one to
   Go's, and "targetAudience" is "target_audience" to protobuf's. */
static bool
reads_as(const char *name, const char *as)
{
	for (; *name; name++) {
		char c = *name;

		if (c >= 'A' && c <= 'Z')
			c |= 0x20;
		if (c == '_' || c == '-')
			continue;
		if (c != *as++)
			return false;
	}
	return !*as;
}

static int
check_name(void *userdata, const char *name, _unused_ const struct json *value)
{
	static const char *const never[] = { "scope", "scopes", "targetaudience",
					     "prn" };
	char shown[TEXT_SHOW_SIZE];
	struct err *e = userdata;

	for (const char *p = name; *p; p++)
		if (*p <= ' ' || *p > '~')
			return err_set(e, ERR_REQUEST, "claims: the name %s is "
				       "not of printable ASCII without space",
				       text_show_str(shown, name));
	for (size_t i = 0; i < ARRAY_SIZE(never); i++)
		if (reads_as(name, never[i]))
			return err_set(e, ERR_REQUEST, "claims: %s asks a token "
				       "endpoint for another token, so it is not "
				       "signed", text_show_str(shown, name));
	for (size_t i = 0; i < ARRAY_SIZE(ours) && !is_ours(name); i++)
		if (reads_as(name, ours[i]))
			return err_set(e, ERR_REQUEST, "claims: %s may be read as "
				       "%s", text_show_str(shown, name), ours[i]);
	return 0;
}

/* A claim may be absent, but not of another type, null among them. */
static int
take_string(const struct json *root, const char *name, char **ret, struct err *e)
{
	const char *s = json_get_string(root, name);

	*ret = s ? xstrdup(s) : NULL;
	if (s || !json_has(root, name))
		return 0;
	return err_set(e, ERR_REQUEST, "claims: %s has to be one string", name);
}

static int
take_time(const struct json *root, const char *name, bool *ret_has, int64_t *ret,
	  struct err *e)
{
	*ret_has = json_has(root, name);
	*ret = 0;
	if (!*ret_has || (json_get_int(root, name, ret) && *ret > 0 &&
			  *ret <= JSON_INT_MAX))
		return 0;
	return err_set(e, ERR_REQUEST, "claims: %s has to be a time in whole "
		       "seconds since 1970", name);
}

/* IAP reads a "*" as any path; nobody is to read one as any host. */
static bool
has_wild_host(const char *aud)
{
	const char *star = strchr(aud, '*'), *path;

	if (!star)
		return false;
	if (strncmp(aud, "https://", 8) != 0)
		return true;
	path = strchr(aud + 8, '/');
	return !path || star < path;
}

static int
check_audience(const char *aud, const struct endpoints *at, size_t max,
	       struct err *e)
{
	char shown[TEXT_SHOW_SIZE];

	if (!aud || !*aud)
		return err_set(e, ERR_REQUEST, "claims: aud has to be there, one "
			       "string that is not empty");
	if (strlen(aud) > max)
		return err_set(e, ERR_REQUEST, "claims: aud is longer than %zu "
			       "bytes", max);
	text_show_str(shown, aud);
	for (const char *p = aud; *p; p++)
		if (*p <= ' ' || *p > '~' || *p == '"' || *p == '\\')
			return err_set(e, ERR_REQUEST, "claims: aud %s has to be "
				       "of printable ASCII, without space, quote "
				       "and backslash", shown);
	if (has_wild_host(aud))
		return err_set(e, ERR_REQUEST, "claims: aud %s: a * has its place "
			       "behind https://HOST/ only", shown);
	if (endpoint_is_googles(at, aud))
		return err_set(e, ERR_REQUEST, "claims: aud %s may be read as "
			       "the name of one of Google's own services, which "
			       "take such a JWT for more than an ID", shown);
	return 0;
}

static int
write_other(void *userdata, const char *name, const struct json *value)
{
	struct buf *b = userdata;

	if (is_ours(name))
		return 0;
	buf_addc(b, ',');
	json_write_string(b, name);
	buf_addc(b, ':');
	return json_write(b, value);
}

static int
parse(const char *text, size_t len, struct json **ret, struct err *e)
{
	_cleanup_(json_freep) struct json *root = NULL;
	const char *why;
	int r;

	root = json_parse_strict(text, len, CLAIMS_DEPTH, &why);
	if (!root)
		return err_set(e, ERR_REQUEST, "claims: %s (%d levels at most)",
			       why, CLAIMS_DEPTH);
	if (!json_is_object(root))
		return err_set(e, ERR_REQUEST, "claims: not a JSON object");
	r = json_each(root, check_name, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(root);
	return 0;
}

/* All but those that are ours, each of which has a judge of its own. */
static int
take_others(const struct json *root, char **ret, struct err *e)
{
	_cleanup_(buf_free) struct buf b = BUF_INIT(CLAIMS_MAX);
	int r = json_each(root, write_other, &b);

	if (b.overflow)
		return err_set(e, ERR_REQUEST, "claims: too long");
	if (r < 0)
		return err_set(e, ERR_REQUEST, "claims: numbers have to be whole "
			       "and between -(2^53 - 1) and 2^53 - 1");
	*ret = xstrdup(buf_str(&b));
	return 0;
}

int
claims_read(const char *text, size_t len, const struct endpoints *at,
	    size_t max_audience, struct claims **ret, struct err *e)
{
	_cleanup_(claims_freep) struct claims *c = xcalloc(1, sizeof(*c));
	_cleanup_(json_freep) struct json *root = NULL;
	int r;

	r = parse(text, len, &root, e);
	if (r >= 0)
		r = take_string(root, "iss", &c->iss, e);
	if (r >= 0)
		r = take_string(root, "sub", &c->sub, e);
	if (r >= 0)
		r = take_string(root, "aud", &c->aud, e);
	if (r >= 0)
		r = take_time(root, "iat", &c->has_iat, &c->iat, e);
	if (r >= 0)
		r = take_time(root, "exp", &c->has_exp, &c->exp, e);
	if (r >= 0)
		r = check_audience(c->aud, at, max_audience, e);
	if (r >= 0)
		r = take_others(root, &c->others, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

struct claims *
claims_free(struct claims *c)
{
	if (!c)
		return NULL;

	free(c->iss);
	free(c->sub);
	free(c->aud);
	free(c->others);
	free(c);
	return NULL;
}

const char *
claims_audience(const struct claims *c)
{
	return c->aud;
}

/* --- out ------------------------------------------------------------------ */

static int
check_own(const char *name, const char *is, const char *email, struct err *e)
{
	char shown[TEXT_SHOW_SIZE];

	if (!is || strcmp(is, email) == 0)
		return 0;
	err_set(e, ERR_REQUEST, "claims: %s is %s, and the account that signs is "
		"%s", name, text_show_str(shown, is), email);
	err_hint(e, "leave %s out, it is set by the agent", name);
	return err_kind_errno(ERR_REQUEST);
}

static int
check_times(int64_t iat, int64_t exp, int64_t now, struct err *e)
{
	if (exp <= now)
		return err_set(e, ERR_REQUEST, "claims: exp %" PRId64 " is past: "
			       "now is %" PRId64, exp, now);
	if (exp - now > CLAIMS_LIFE_MAX)
		return err_set(e, ERR_REQUEST, "claims: exp %" PRId64 " lies ahead "
			       "of now, %" PRId64 ", by more than 12 hours", exp,
			       now);
	if (exp <= iat)
		return err_set(e, ERR_REQUEST, "claims: exp %" PRId64 " is not "
			       "behind iat %" PRId64, exp, iat);
	return 0;
}

int
claims_write(const struct claims *c, const char *email,
	     const struct claims_times *t, char **ret, struct err *e)
{
	_cleanup_(buf_free) struct buf b = BUF_INIT(CLAIMS_MAX);
	int64_t iat = c->has_iat ? c->iat : t->now - t->backdate;
	int64_t exp = c->has_exp ? c->exp : iat + t->life;
	int r;

	r = check_own("iss", c->iss, email, e);
	if (r >= 0)
		r = check_own("sub", c->sub, email, e);
	if (r >= 0)
		r = check_times(iat, exp, t->now, e);
	if (r < 0)
		return r;

	buf_adds(&b, "{\"iss\":");
	json_write_string(&b, email);
	buf_adds(&b, ",\"sub\":");
	json_write_string(&b, email);
	buf_adds(&b, ",\"aud\":");
	json_write_string(&b, c->aud);
	buf_addf(&b, ",\"iat\":%" PRId64 ",\"exp\":%" PRId64, iat, exp);
	buf_adds(&b, c->others);
	buf_addc(&b, '}');
	if (b.overflow)		/* what was read would have been too long already */
		return err_set(e, ERR_REQUEST, "claims: too long");
	*ret = buf_steal(&b);
	return 0;
}
