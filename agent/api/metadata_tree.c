/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "api/metadata_tree.h"
#include "base/text.h"

#define PATH_MAX_LEN	1024	/* decoded; an email is at most 254 bytes of it */
#define ACCOUNTS	"v1/instance/service-accounts/"

static const struct dir {
	const char *path, *listing;
} dirs[] = {
	{ "", "v1/\n" },
	{ "v1/", "instance/\nproject/\nuniverse/\n" },
	{ "v1/instance/", "hostname\nid\nname\nservice-accounts/\nzone\n" },
	{ "v1/project/", "numeric-project-id\nproject-id\n" },
	{ "v1/universe/", "universe-domain\n" },
};

static const struct leaf {
	const char *name;
	enum node node;
} leaves[] = {
	{ "",		NODE_ACCOUNT },
	{ "aliases",	NODE_ALIASES },
	{ "email",	NODE_EMAIL },
	{ "identity",	NODE_IDENTITY },
	{ "scopes",	NODE_SCOPES },
	{ "token",	NODE_TOKEN },
};

static bool
path_decode(const char *p, size_t len, char ret[static PATH_MAX_LEN])
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		char c = p[i];

		if (c == '%') {
			int hi = i + 2 < len ? text_hex_digit(p[i + 1]) : -1;
			int lo = hi >= 0 ? text_hex_digit(p[i + 2]) : -1;

			if (i + 2 >= len || lo < 0)
				return false;
			c = (char)(hi << 4 | lo);
			i += 2;
		}
		if (c <= ' ' || c > '~' || n + 1 >= PATH_MAX_LEN)
			return false;
		if (c != '/' || (n > 0 && ret[n - 1] != '/'))
			ret[n++] = c;
	}
	ret[n] = '\0';
	return true;
}

/* What stands behind service-accounts/. */
static bool
account_find(const char *rest, struct place *ret)
{
	const char *slash = strchr(rest, '/');

	if (*rest == '\0') {
		ret->node = NODE_ACCOUNTS;
		return true;
	}
	if (!slash)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(leaves); i++)
		if (strcmp(leaves[i].name, slash + 1) == 0) {
			ret->node = leaves[i].node;
			ret->listing = "aliases\nemail\nidentity\nscopes\ntoken\n";
			ret->account = xstrndup(rest, (size_t)(slash - rest));
			return true;
		}
	return false;
}

static bool
place_find(const char *path, struct place *ret)
{
	if (strncmp(path, ACCOUNTS, strlen(ACCOUNTS)) == 0)
		return account_find(path + strlen(ACCOUNTS), ret);

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		if (strcmp(dirs[i].path, path) == 0) {
			ret->node = NODE_DIR;
			ret->listing = dirs[i].listing;
			ret->dir = dirs[i].path;
			return true;
		}
	for (size_t i = 0; i < VALUES; i++)
		if (strncmp(path, "v1/", 3) == 0 &&
		    strcmp(value_path((enum value)i), path + 3) == 0) {
			ret->node = NODE_VALUE;
			ret->value = (enum value)i;
			return true;
		}
	return false;
}

enum tree_found
tree_find(struct http_span raw, struct place *ret)
{
	size_t root = strlen(METADATA_ROOT), len;
	char path[PATH_MAX_LEN + 1] _unset_;
	struct place found = { 0 };

	if (raw.len < root)
		return TREE_SLASHLESS;	/* "/computeMetadata" itself */
	if (!path_decode(raw.p + root, raw.len - root, path))
		return TREE_NOTHING;
	if (place_find(path, &found)) {
		*ret = found;
		return TREE_PLACE;
	}

	len = strlen(path);
	path[len] = '/';
	path[len + 1] = '\0';
	if (!place_find(path, &found))
		return TREE_NOTHING;
	free(found.account);
	return TREE_SLASHLESS;
}

bool
tree_holds_value(const char *dir, enum value which)
{
	size_t len = strlen(dir), v1 = strlen("v1/");

	if (len <= v1)
		return strncmp("v1/", dir, len) == 0;
	return strncmp(value_path(which), dir + v1, len - v1) == 0;
}

bool
tree_holds_accounts(const char *dir)
{
	return strncmp(ACCOUNTS, dir, strlen(dir)) == 0;
}

const char *
tree_listing(const char *dir)
{
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		if (strcmp(dirs[i].path, dir) == 0)
			return dirs[i].listing;
	return NULL;
}
