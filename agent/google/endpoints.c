/* SPDX-License-Identifier: Apache-2.0 */

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "google/endpoints.h"

#define METADATA_NAME		"metadata.google.internal"
#define METADATA_ADDRESS	"169.254.169.254"
#define HOST_MAX		253		/* bytes, as in DNS */
#define UNIVERSE_MAX		230		/* services stand before it */
#define LABEL_MAX		63
#define ACCOUNT_END		".gserviceaccount.com"
#define ACCOUNT_MAX		254		/* bytes */
#define ALNUM			"ABCDEFGHIJKLMNOPQRSTUVWXYZ" \
				"abcdefghijklmnopqrstuvwxyz0123456789"

const char *
upstream_name(enum upstream which)
{
	static const char *const names[] = {
		[UPSTREAM_METADATA] = "metadata",
		[UPSTREAM_IAM] = "iam",
		[UPSTREAM_TOKEN] = "token-endpoint",
		[UPSTREAM_CERTS] = "certs",
	};

	_Static_assert(ARRAY_SIZE(names) == HTTP_UPSTREAMS, "one each");
	return names[which];
}

void
endpoints_init(struct endpoints *at)
{
	*at = (struct endpoints){ .metadata = xstrdup(ENDPOINT_METADATA) };
	endpoints_complete(at);
}

static char *
token_endpoint_of(const char *universe)
{
	return xasprintf("https://oauth2.%s/token", universe);
}

void
endpoints_complete(struct endpoints *at)
{
	if (!at->universe)
		at->universe = xstrdup(ENDPOINT_UNIVERSE);
	if (!at->iam)
		at->iam = xasprintf("https://iamcredentials.%s", at->universe);
	if (!at->token)
		at->token = token_endpoint_of(at->universe);
	if (!at->certs)
		at->certs = xasprintf("https://www.%s/oauth2/v3/certs",
				      at->universe);
}

bool
endpoints_are_default(const struct endpoints *at)
{
	return strcmp(at->universe, ENDPOINT_UNIVERSE) == 0;
}

void
endpoints_clear(struct endpoints *at)
{
	free(at->universe);
	free(at->metadata);
	free(at->iam);
	free(at->token);
	free(at->certs);
	free(at->quota_project);
	*at = (struct endpoints){ .test = false };
}

/* --- parts of a URL --------------------------------------------------------- */

struct url {
	bool https;
	bool bracketed;		/* host is an IPv6 literal, brackets taken off */
	char host[HOST_MAX + 1];
	const char *path;	/* "" or "/..." */
};

static const char *
take_host(const char *s, struct url *ret)
{
	const char *end;
	size_t len;

	ret->bracketed = *s == '[';
	if (ret->bracketed) {
		end = strchr(++s, ']');
		len = end ? (size_t)(end - s) : 0;
	} else {
		len = strspn(s, ALNUM ".-");
	}
	if (len == 0 || len > HOST_MAX)
		return NULL;
	memcpy(ret->host, s, len);
	ret->host[len] = '\0';
	return s + len + (ret->bracketed ? 1 : 0);
}

/* What stands behind ":PORT", or NULL where that is none. */
static const char *
take_port(const char *s)
{
	uint64_t port;
	size_t len;

	if (*s != ':')
		return s;
	len = strcspn(++s, "/?#");
	return text_to_u64(s, len, UINT16_MAX, &port) && port > 0 ? s + len : NULL;
}

static bool
url_parse(const char *s, struct url *ret)
{
	struct in6_addr address;

	*ret = (struct url){ .https = strncmp(s, "https://", 8) == 0 };
	if (!ret->https && strncmp(s, "http://", 7) != 0)
		return false;
	s = take_host(s + (ret->https ? 8 : 7), ret);
	if (!s || (ret->bracketed && inet_pton(AF_INET6, ret->host, &address) != 1))
		return false;
	s = take_port(s);
	if (!s || (*s && *s != '/'))
		return false;
	ret->path = s;
	return true;
}

static bool
is_literal(const struct url *u)
{
	struct in_addr address;

	return u->bracketed || inet_pton(AF_INET, u->host, &address) == 1;
}

static bool
is_loopback(const struct url *u)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (u->bracketed)
		return inet_pton(AF_INET6, u->host, &v6) == 1 &&
		       IN6_IS_ADDR_LOOPBACK(&v6);
	if (strcasecmp(u->host, "localhost") == 0)
		return true;
	return inet_pton(AF_INET, u->host, &v4) == 1 &&
	       ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
}

/* Segments of plain characters; no slash at the end, because paths are appended
   to it. */
static bool
is_plain_path(const char *path)
{
	size_t len = strlen(path);

	return len == 0 ||
	       (path[len - 1] != '/' && !strstr(path, "//") &&
		!strstr(path, "/.") &&
		strspn(path, ALNUM "-._~/") == len);
}

/* --- rules ------------------------------------------------------------------ */

/* The address goes into paths, assertions and commands that people paste: plain
   characters only. */
bool
endpoint_is_account(const char *email)
{
	size_t len = strlen(email), end = strlen(ACCOUNT_END);
	const char *at = strchr(email, '@');

	return len <= ACCOUNT_MAX && at && at > email && !strchr(at + 1, '@') &&
	       len > (size_t)(at + 1 - email) + end &&
	       strcmp(email + len - end, ACCOUNT_END) == 0 &&
	       strspn(email, ALNUM "@.-_+") == len;
}

/* Labels are apart by dots; the last one of a name is no number. */
bool
endpoint_is_universe(const char *domain)
{
	size_t labels = 0, len = strlen(domain);

	if (len == 0 || len > UNIVERSE_MAX)
		return false;
	for (const char *p = domain;; p += len + 1) {
		len = strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789-");
		if (len == 0 || len > LABEL_MAX || p[0] == '-' ||
		    p[len - 1] == '-' || (p[len] && p[len] != '.'))
			return false;
		labels++;
		if (!p[len])
			return labels > 1 && strspn(p, "0123456789") < len;
	}
}

bool
endpoint_is_in(const char *url, const char *domain)
{
	size_t len, n = strlen(domain);
	struct url u;

	if (!url_parse(url, &u) || u.bracketed)
		return false;
	len = strlen(u.host);
	while (len > 0 && u.host[len - 1] == '.')
		len--;
	return len >= n && strncasecmp(u.host + len - n, domain, n) == 0 &&
	       (len == n || u.host[len - n - 1] == '.');
}

int
endpoint_check(const char *url, enum endpoint_kind kind, bool test, struct err *e)
{
	char shown[TEXT_SHOW_SIZE];
	struct url u;

	text_show_str(shown, url);
	if (!url_parse(url, &u))
		return err_set(e, ERR_REQUEST, "%s is no URL of the form "
			       "http[s]://HOST[:PORT][/PATH]", shown);

	if (kind == ENDPOINT_KIND_METADATA) {
		if (u.https)
			return err_set(e, ERR_REQUEST,
				       "%s: the metadata server speaks http",
				       shown);
		if (!is_literal(&u))
			return err_set(e, ERR_REQUEST, "%s: the metadata server is "
				       "asked by address, never by name", shown);
		if (*u.path)
			return err_set(e, ERR_REQUEST,
				       "%s: nothing may stand behind the port",
				       shown);
		return 0;
	}

	if (!is_plain_path(u.path))
		return err_set(e, ERR_REQUEST, "%s: the path must be made of plain "
			       "characters and not end in a slash", shown);
	if (!u.https && !test)
		return err_set(e, ERR_REQUEST, "%s: https only", shown);
	if (!u.https && !is_loopback(&u))
		return err_set(e, ERR_REQUEST,
			       "%s: http only to a loopback address", shown);
	return 0;
}

bool
endpoint_is_token(const char *url, const char *universe)
{
	_cleanup_(freep) char *own = token_endpoint_of(universe);
	static const char *const names[] = {
		ENDPOINT_TOKEN,
		"https://www.googleapis.com/oauth2/v4/token",
		"https://accounts.google.com/o/oauth2/token",
		"https://oauth2.mtls.googleapis.com/token",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(url, names[i]) == 0)
			return true;
	return strcmp(url, own) == 0;
}

char *
endpoint_impersonated(const char *url, const char *universe)
{
	static const char path[] = "/v1/projects/-/serviceAccounts/";
	static const char end[] = ":generateAccessToken";
	_cleanup_(freep) char *host = xasprintf("https://iamcredentials.%s",
						universe);
	_cleanup_(freep) char *email = NULL;
	size_t len;

	if (strncmp(url, host, strlen(host)) != 0)
		return NULL;
	url += strlen(host);
	if (strncmp(url, path, strlen(path)) != 0)
		return NULL;
	url += strlen(path);
	len = strlen(url);
	if (len <= strlen(end) || strcmp(url + len - strlen(end), end) != 0)
		return NULL;
	email = xstrndup(url, len - strlen(end));
	return endpoint_is_account(email) ? TAKE_PTR(email) : NULL;
}

int
endpoint_metadata_from_host(const char *host, char **ret, struct err *e)
{
	_cleanup_(freep) char *url = NULL;
	struct in6_addr v6;
	size_t name_len;
	int r;

	if (strncasecmp(host, "http://", 7) == 0)
		host += 7;

	/* The two names that need no looking up. */
	name_len = strcspn(host, ":");
	if ((name_len == strlen(METADATA_NAME) ||
	     (name_len == strlen(METADATA_NAME) + 1 &&
	      host[name_len - 1] == '.')) &&
	    strncasecmp(host, METADATA_NAME, strlen(METADATA_NAME)) == 0)
		url = xasprintf("http://%s%s", METADATA_ADDRESS, host + name_len);
	else if (name_len == 9 && strncasecmp(host, "localhost", 9) == 0)
		url = xasprintf("http://127.0.0.1%s", host + name_len);
	else if (inet_pton(AF_INET6, host, &v6) == 1)
		url = xasprintf("http://[%s]", host);
	else
		url = xasprintf("http://%s", host);

	r = endpoint_check(url, ENDPOINT_KIND_METADATA, false, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(url);
	return 0;
}

/* --- whose name is it? ------------------------------------------------------ */

/* Where Google's services are, and where their older token endpoints were. */
static const char *const google_domains[] = { "googleapis.com", "google.com" };

/* Small letters, and %XX undone, also where that makes another one. */
static char *
fold(const char *s)
{
	char *out = xcalloc(1, strlen(s) + 1), *p = out;
	int high, low;

	for (; *s; s++) {
		*p++ = *s;
		while (p - out >= 3 && p[-3] == '%' &&
		       (high = text_hex_digit(p[-2])) >= 0 &&
		       (low = text_hex_digit(p[-1])) >= 0) {
			p -= 2;
			p[-1] = (char)(high << 4 | low);
			if (!p[-1])
				p[-1] = ' ';	/* an end to some readers */
		}
		if (p[-1] >= 'A' && p[-1] <= 'Z')
			p[-1] |= 0x20;
	}
	*p = '\0';
	return out;
}

/* The domain or a name below it; dots at the end of a name mean nothing. */
static bool
is_below(const char *name, size_t len, const char *domain)
{
	size_t n = strlen(domain);

	while (len > 0 && name[len - 1] == '.')
		len--;
	return len >= n && memcmp(name + len - n, domain, n) == 0 &&
	       (len == n || name[len - n - 1] == '.');
}

/* Our own token endpoint, where it is another one than Google's: by its name, or on
   loopback, where others listen, too, by its port. */
static bool
is_token_endpoint(const struct endpoints *at, const char *folded)
{
	const char *host = strstr(at->token, "://");
	_cleanup_(freep) char *own = NULL;
	size_t len;

	host = host ? host + 3 : at->token;
	len = strcspn(host, at->test ? "/" : ":/");
	own = xstrndup(host, len);
	for (char *p = own; *p; p++)
		*p = *p >= 'A' && *p <= 'Z' ? (char)(*p | 0x20) : *p;
	return strstr(folded, own);
}

bool
endpoint_is_googles(const struct endpoints *at, const char *s)
{
	_cleanup_(freep) char *folded = fold(s);
	const char *p = folded;
	size_t len;

	for (; *p; p += len + (p[len] != '\0')) {
		if ((unsigned char)*p >= 0x80)
			return true;
		len = strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789.-_");
		for (size_t i = 0; i < ARRAY_SIZE(google_domains); i++)
			if (is_below(p, len, google_domains[i]))
				return true;
		if (is_below(p, len, at->universe))
			return true;
	}
	return is_token_endpoint(at, folded);
}
