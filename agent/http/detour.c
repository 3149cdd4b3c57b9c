/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "base/log.h"
#include "http/detour.h"

/* What follows the base URL; NULL: it is another one's. */
static const char *
path_below(const char *base, const char *url)
{
	size_t len = base ? strlen(base) : 0;

	return base && strncmp(url, base, len) == 0 && url[len] == '/' ? url + len
								       : NULL;
}

char *
detour_url(const struct http_client *c, const char *url)
{
	const char *path = path_below(c->opt.first, url);

	return path && c->detours ? xasprintf("%s%s", c->opt.second, path) : NULL;
}

char *
detour_other(const struct http_client *c, const char *url)
{
	const char *path = path_below(c->opt.first, url);

	if (path)
		return xasprintf("%s%s", c->opt.second, path);
	path = path_below(c->opt.second, url);
	return path ? xasprintf("%s%s", c->opt.first, path) : NULL;
}

void
detour_answered(struct http_client *c, const char *url)
{
	bool second = path_below(c->opt.second, url);

	if (second == c->detours || (!second && !path_below(c->opt.first, url)))
		return;
	c->detours = second;
	log_notice(LOG_NO_FIELDS, "there is no way to %s: the same server is "
		   "asked at %s",
		   second ? c->opt.first : c->opt.second,
		   second ? c->opt.second : c->opt.first);
}
