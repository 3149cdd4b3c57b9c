/* SPDX-License-Identifier: MIT */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "cli_curlopt.h"

#define DIGITS "0123456789"
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define TOKEN LETTERS DIGITS "!#$%&'*+-.^_`|~"

#define URL_MAX 8192

typedef const char *check_fn(const char *value);

static check_fn check_method, check_header, check_seconds, check_any,
	check_data;

enum action { PASS, HEAD, OUTPUT, INCLUDE, FAIL, NOTHING };

/* The whole list.  check: it takes a value, and this judges it. */
static const struct known {
	char letter;
	const char *name;
	enum action action;
	check_fn *check;
} known[] = {
	{ 'X', "--request",		PASS,	check_method },
	{ 'd', "--data",		PASS,	check_data },
	{ 0,   "--data-ascii",		PASS,	check_data },
	{ 0,   "--data-binary",		PASS,	check_data },
	{ 0,   "--data-raw",		PASS,	check_data },
	{ 0,   "--data-urlencode",	PASS,	check_data },
	{ 'F', "--form",		PASS,	check_any },
	{ 'T', "--upload-file",		PASS,	check_any },
	{ 'H', "--header",		PASS,	check_header },
	{ 'I', "--head",		HEAD,	NULL },
	{ 'm', "--max-time",		PASS,	check_seconds },
	{ 0,   "--connect-timeout",	PASS,	check_seconds },
	{ 0,   "--compressed",		PASS,	NULL },
	{ 0,   "--cacert",		PASS,	check_any },
	{ 'o', "--output",		OUTPUT,	check_any },
	{ 'i', "--include",		INCLUDE, NULL },
	{ 'f', "--fail",		FAIL,	NULL },
	{ 's', "--silent",		NOTHING, NULL },
	{ 'S', "--show-error",		NOTHING, NULL },
};

static const char *
check_any(const char *value)
{
	return *value ? NULL : "needs a value";
}

/* An empty body is one, too. */
static const char *
check_data(const char *value)
{
	(void)value;
	return NULL;
}

/* curl writes the method into the request line as it is: a space or a line end
   in it would be another request.  TRACE sends the token back. */
static const char *
check_method(const char *value)
{
	if (!*value || strlen(value) > 32 ||
	    strspn(value, TOKEN) != strlen(value))
		return "is not a method";
	if (strcasecmp(value, "CONNECT") == 0 || strcasecmp(value, "TRACE") == 0 ||
	    strcasecmp(value, "TRACK") == 0)
		return "is not a method for this";
	return NULL;
}

static const char *
check_header(const char *value)
{
	static const char *const ours[] = { "authorization", "proxy-authorization",
					    "host" };
	size_t len = strspn(value, TOKEN);

	if (*value == '@')
		return "does not read files";
	if (len == 0 || (value[len] != ':' && value[len] != ';'))
		return "is not NAME: VALUE";
	for (const char *s = value; *s; s++)
		if (((unsigned char)*s < ' ' && *s != '\t') || *s == 127)
			return "has a control character in it";
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (strlen(ours[i]) == len && strncasecmp(value, ours[i], len) == 0)
			return "is not yours to set";
	return NULL;
}

static const char *
check_seconds(const char *value)
{
	size_t n = strspn(value, DIGITS);

	if (n == 0 || n > 6)
		return "is not a number of seconds";
	if (value[n] == '.')
		n += 1 + strspn(value + n + 1, DIGITS);
	return value[n] || strlen(value) > 12 ? "is not a number of seconds" : NULL;
}

static bool
is_host(const char *s, size_t len)
{
	if (len > 2 && s[0] == '[' && s[len - 1] == ']')
		return strspn(s + 1, DIGITS "abcdefABCDEF:.") == len - 2 &&
		       memchr(s, ':', len);
	return len > 0 && len <= 255 && strspn(s, LETTERS DIGITS ".-") >= len;
}

/* 127.x.y.z in full, [::1] and localhost; not the other spellings. */
static bool
is_loopback(const char *s, size_t len)
{
	unsigned dots = 0, value = 0, digits = 0;

	if ((len == 5 && memcmp(s, "[::1]", 5) == 0) ||
	    (len == 9 && memcmp(s, "localhost", 9) == 0))
		return true;
	if (len < 9 || memcmp(s, "127.", 4) != 0)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (s[i] == '.') {
			if (digits == 0)
				return false;
			dots++;
			value = digits = 0;
			continue;
		}
		if (s[i] < '0' || s[i] > '9' || (digits == 1 && value == 0))
			return false;
		value = value * 10 + (unsigned)(s[i] - '0');
		if (++digits > 3 || value > 255)
			return false;
	}
	return dots == 3 && digits > 0;
}

/* HOST[:PORT]; *ret_host is its length, *ret_end what follows. */
static const char *
check_authority(const char *s, size_t *ret_host, const char **ret_end)
{
	size_t len = strcspn(s, "/?#"), host = len, port;
	const char *colon;

	if (memchr(s, '@', len))
		return "an URL with a user name in it";
	if (*s == '[') {
		colon = memchr(s, ']', len);
		host = colon ? (size_t)(colon + 1 - s) : len;
	} else {
		colon = memchr(s, ':', len);
		host = colon ? (size_t)(colon - s) : len;
	}
	if (!is_host(s, host))
		return "an URL whose host is not one";
	if (host < len) {
		unsigned number = 0;

		port = len - host - 1;
		if (s[host] != ':' || port == 0 || port > 5 ||
		    strspn(s + host + 1, DIGITS) != port)
			return "an URL whose port is not one";
		for (size_t i = 0; i < port; i++)
			number = number * 10 + (unsigned)(s[host + 1 + i] - '0');
		if (number == 0 || number > 65535)
			return "an URL whose port is not one";
	}
	*ret_host = host;
	*ret_end = s + len;
	return NULL;
}

static const char *
check_bytes(const char *url)
{
	if (strlen(url) > URL_MAX)
		return "an URL that is too long";
	for (const char *s = url; *s; s++)
		if (*s <= ' ' || *s >= 127 || *s == '\\')
			return "an URL with a space, a backslash, a control or a"
			       " non-ASCII character in it";
	return NULL;
}

const char *
curlopt_url(const char *url)
{
	const char *why = check_bytes(url), *s, *end;
	size_t host;
	bool tls = strncmp(url, "https://", 8) == 0;

	if (why)
		return why;
	if (!tls && strncmp(url, "http://", 7) != 0)
		return "not an https:// URL";
	s = url + (tls ? 8 : 7);
	why = check_authority(s, &host, &end);
	if (why)
		return why;
	if (!tls && !is_loopback(s, host))
		return "an http:// URL that is not of this machine: the token could"
		       " be read on the way";
	return *end && *end != '/' ? "an URL without a / behind its host" : NULL;
}

size_t
curlopt_origin(const char *url)
{
	const char *s = strstr(url, "://") + 3;

	return (size_t)(s - url) + strcspn(s, "/?#");
}

const char *
curlopt_proxy(const char *url)
{
	const char *why = check_bytes(url), *end;
	size_t host;

	if (why)
		return why;
	if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
		return "not an http:// or https:// proxy";
	why = check_authority(strstr(url, "://") + 3, &host, &end);
	if (why)
		return why;
	return *end && strcmp(end, "/") != 0 ? "a proxy with a path" : NULL;
}

static const struct known *
find_letter(char letter)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (letter && known[i].letter == letter)
			return &known[i];
	return NULL;
}

static const struct known *
find_name(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strlen(known[i].name) == len &&
		    memcmp(known[i].name, name, len) == 0)
			return &known[i];
	return NULL;
}

static int
apply(struct curlopt *o, const struct known *k, const char *value, char *why,
      size_t why_size)
{
	const char *wrong = value ? k->check(value) : NULL;

	if (wrong) {
		snprintf(why, why_size, "%s '%s' %s", k->name, value, wrong);
		return -EINVAL;
	}
	switch (k->action) {
	case HEAD:
		o->head = true;
		__attribute__((fallthrough));
	case PASS:
		if (o->n + 2 > CURLOPT_ARGS_MAX) {
			snprintf(why, why_size, "too many options for curl");
			return -EINVAL;
		}
		o->args[o->n++] = k->name;
		if (value)
			o->args[o->n++] = value;
		break;
	case OUTPUT:
		o->output = value;
		break;
	case INCLUDE:
		o->include = true;
		break;
	case FAIL:
		o->fail = true;
		break;
	case NOTHING:
		break;
	}
	return 0;
}

static int
refuse(const char *word, int len, char *why, size_t why_size)
{
	snprintf(why, why_size, "%.*s is not an option for curl here", len, word);
	return -EINVAL;
}

/* --name, --name VALUE, --name=VALUE (which curl itself does not know). */
static int
parse_long(struct curlopt *o, size_t *i, size_t n, char *const *words, char *why,
	   size_t why_size)
{
	const char *word = words[*i], *value = NULL;
	size_t len = strcspn(word, "=");
	const struct known *k = find_name(word, len);

	if (!k || (word[len] && !k->check))
		return refuse(word, (int)strlen(word), why, why_size);
	if (word[len]) {
		value = word + len + 1;
	} else if (k->check) {
		if (++*i == n) {
			snprintf(why, why_size, "%s needs a value", k->name);
			return -EINVAL;
		}
		value = words[*i];
	}
	return apply(o, k, value, why, why_size);
}

/* -i, -sSf, -X POST, -XPOST, -sXPOST. */
static int
parse_short(struct curlopt *o, size_t *i, size_t n, char *const *words, char *why,
	    size_t why_size)
{
	const struct known *k;
	int r;

	for (const char *s = words[*i] + 1; *s; s++) {
		char name[3] = { '-', *s, '\0' };
		const char *value = NULL;

		k = find_letter(*s);
		if (!k)
			return refuse(name, 2, why, why_size);
		if (k->check) {
			if (!s[1] && ++*i == n) {
				snprintf(why, why_size, "%s needs a value", name);
				return -EINVAL;
			}
			value = s[1] ? s + 1 : words[*i];
		}
		r = apply(o, k, value, why, why_size);
		if (r < 0 || value)
			return r;
	}
	return 0;
}

int
curlopt_parse(struct curlopt *o, size_t n, char *const *words, char *why,
	      size_t why_size)
{
	int r = 0;

	*o = (struct curlopt){ .n = 0 };
	for (size_t i = 0; r == 0 && i < n; i++) {
		const char *word = words[i];

		if (strncmp(word, "--", 2) == 0 && word[2])
			r = parse_long(o, &i, n, words, why, why_size);
		else if (word[0] == '-' && word[1] && word[1] != '-')
			r = parse_short(o, &i, n, words, why, why_size);
		else
			r = refuse(word, (int)strlen(word), why, why_size);
	}
	return r;
}
