/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>
#include <strings.h>

#include "api/headers.h"
#include "base/text.h"

/* A name that an attacker's DNS gives our address is none of these. */
static const struct {
	const char *name;
	bool dot;		/* may have a final one */
} hosts[] = {
	{ "127.0.0.1",			true },
	{ "localhost",			true },
	{ "[::1]",			false },
	{ "169.254.169.254",		true },
	{ "metadata.google.internal",	true },
};

/* What stands behind the name: nothing, or ":" and our port. */
static bool
port_is(const char *p, size_t len, uint16_t port)
{
	char ours[TEXT_U64_SIZE];
	size_t n = text_from_u64(ours, port);

	return len == 0 ||
		(len == n + 1 && p[0] == ':' && memcmp(p + 1, ours, n) == 0);
}

bool
headers_host_is_ours(struct http_span host, uint16_t port)
{
	for (size_t i = 0; host.p && i < ARRAY_SIZE(hosts); i++) {
		size_t n = strlen(hosts[i].name);

		if (host.len < n || strncasecmp(host.p, hosts[i].name, n) != 0)
			continue;
		n += hosts[i].dot && host.len > n && host.p[n] == '.';
		if (port_is(host.p + n, host.len - n, port))
			return true;
	}
	return false;
}

int
headers_check_tcp(const struct http_head *h, uint16_t port, struct err *e)
{
	struct http_span host = h->field[HTTP_FIELD_HOST];
	char shown[TEXT_SHOW_SIZE];

	if (!headers_host_is_ours(host, port))
		return err_set_status(e, ERR_REQUEST, 403, "Host %s is not one of "
			"ours: ask 127.0.0.1:%u",
			host.p ? text_show(shown, host.p, host.len) : "(none)",
			port);
	if (h->field[HTTP_FIELD_BROWSER].p || h->field[HTTP_FIELD_FORWARDED].p)
		return err_set_status(e, ERR_REQUEST, 403, "Origin, Referer, "
			"Sec-Fetch-*, Forwarded, Via and X-Forwarded-For are "
			"refused: this is not to be asked by a browser or through "
			"a proxy");
	return 0;
}

/* An HTTP library that was tricked into asking us sends no flavor; a proxy that
   was tricked into passing something on adds its field. */
int
headers_check(const struct http_head *h, struct err *e)
{
	struct http_span flavor = h->field[HTTP_FIELD_METADATA_FLAVOR];

	if (!flavor.p)
		return err_set_status(e, ERR_REQUEST, 403,
				      "Missing Metadata-Flavor:Google header.");
	if (!http_span_is(flavor, "Google"))
		return err_set_status(e, ERR_REQUEST, 403,
				      "Metadata-Flavor must be Google.");
	if (h->field[HTTP_FIELD_FORWARDED].p)
		return err_set_status(e, ERR_REQUEST, 403,
			"X-Forwarded-For is refused: this is not to be asked "
			"through a proxy.");
	return 0;
}

/* Whoever was tricked into a POST says what a page's form says, or nothing. */
int
headers_check_post(const struct http_head *h, struct err *e)
{
	if (h->field[HTTP_FIELD_CONTENT_TYPE].p)
		return 0;
	return err_set_status(e, ERR_REQUEST, 415, "a POST needs Content-Type, "
			      "also without a body");
}
