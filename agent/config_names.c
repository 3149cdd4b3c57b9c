/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "config_names.h"

#define NAMES_FILE_MAX	(8 * 1024 * 1024)

static void
names_add(struct policy_name **list, size_t *n, const char *name, size_t len,
	  uint32_t id)
{
	*list = xrealloc(*list, *n + 1, sizeof(**list));
	(*list)[(*n)++] = (struct policy_name){ xstrndup(name, len), id };
}

/* "name:password:id:...": passwd and group begin alike.  Lines that begin with +
   or - refer to name services. */
static void
names_line(struct policy_name **list, size_t *n, const char *line, size_t len)
{
	const char *colon = memchr(line, ':', len), *id;
	size_t left;
	uint64_t v;

	if (!colon || colon == line || strchr("+-#", *line))
		return;
	left = len - (size_t)(colon + 1 - line);
	id = memchr(colon + 1, ':', left);
	if (!id)
		return;
	id++;
	left = len - (size_t)(id - line);
	if (memchr(id, ':', left))
		left = (size_t)((const char *)memchr(id, ':', left) - id);
	if (text_to_u64(id, left, UINT32_MAX - 1, &v))
		names_add(list, n, line, (size_t)(colon - line), (uint32_t)v);
}

static bool
names_text(const char *path, struct buf *b)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char part[4096];
	ssize_t n = -1;

	while (fd >= 0 && (n = read(fd, part, sizeof(part))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || buf_add(b, part, (size_t)n) < 0)
			return false;
	}
	return n == 0;
}

static void
names_read(const char *path, struct policy_name **list, size_t *n)
{
	struct buf b = BUF_INIT(NAMES_FILE_MAX);
	bool root = false;

	*list = NULL;
	*n = 0;
	if (names_text(path, &b)) {
		const char *line = buf_str(&b), *end = line + b.len, *nl;

		for (; line < end; line = nl + 1) {
			nl = memchr(line, '\n', (size_t)(end - line));
			if (!nl)
				nl = end;
			names_line(list, n, line, (size_t)(nl - line));
		}
	}
	buf_free(&b);

	/* The kernel knows root without a file; so must the default rule. */
	for (size_t i = 0; i < *n; i++)
		root = root || strcmp((*list)[i].name, "root") == 0;
	if (!root)
		names_add(list, n, "root", 4, 0);
}

void
config_names_read(const char *passwd, const char *group, struct config_names *ret)
{
	names_read(passwd, &ret->users, &ret->n_users);
	names_read(group, &ret->groups, &ret->n_groups);
}

static void
names_free(struct policy_name *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(list[i].name);
	free(list);
}

void
config_names_clear(struct config_names *n)
{
	names_free(n->users, n->n_users);
	names_free(n->groups, n->n_groups);
	*n = (struct config_names){ 0 };
}
