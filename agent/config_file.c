/* SPDX-License-Identifier: Apache-2.0 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/buf.h"
#include "base/text.h"
#include "config_file.h"

#ifndef CONFIG_VENDOR_DIR
#define CONFIG_VENDOR_DIR	"/usr/lib/gce-oidc-agent/agent.conf.d"
#endif
#ifndef CONFIG_ETC
#define CONFIG_ETC		"/etc/gce-oidc-agent"
#endif

const struct config_paths config_paths_installed = {
	.vendor_dir = CONFIG_VENDOR_DIR,
	.etc_file = CONFIG_ETC "/agent.conf",
	.etc_dir = CONFIG_ETC "/agent.conf.d",
};

/* Cut the blanks off both ends of a string, in place. */
static char *
trim(char *s)
{
	size_t len;

	s += strspn(s, " ");
	len = strlen(s);
	while (len > 0 && s[len - 1] == ' ')
		len--;
	s[len] = '\0';
	return s;
}

/* A line's bytes as a string of printable text, tabs made blanks. */
static int
line_copy(char out[static CONFIG_LINE_MAX + 1], const char *line, size_t len,
	  struct err *e)
{
	if (len > CONFIG_LINE_MAX)
		return err_set(e, ERR_REQUEST, "a line of more than 4096 bytes");
	if (len > 0 && line[len - 1] == '\r')
		return err_set(e, ERR_REQUEST, "Windows line ends (CR LF): save "
			       "the file with Unix ones");
	if (memchr(line, '\0', len))
		return err_set(e, ERR_REQUEST, "a NUL byte");
	if (!text_is_utf8(line, len))
		return err_set(e, ERR_REQUEST, "not UTF-8");

	for (size_t i = 0; i < len; i++)
		out[i] = line[i] == '\t' ? ' ' : line[i];
	out[len] = '\0';
	if (!text_is_plain(out, len))
		return err_set(e, ERR_REQUEST, "a control or invisible character");
	return 0;
}

/* Take the quotes off a value that has them. */
static int
unquote(char *value, char **ret, struct err *e)
{
	size_t len = strlen(value);
	char quote = value[0];

	*ret = value;
	if (quote != '"' && quote != '\'') {
		if (strstr(value, " #"))
			return err_set(e, ERR_REQUEST, "comments stand on lines of "
				       "their own (or quote a value that has a #)");
		return 0;
	}
	if (len < 2 || strchr(value + 1, quote) != value + len - 1)
		return err_set(e, ERR_REQUEST, "bad quotes: one pair around the "
			       "whole value, or none");
	value[len - 1] = '\0';
	*ret = value + 1;
	return 0;
}

struct parser {
	const char *file;
	unsigned line;
	bool in_section;
	const struct config_file_ops *ops;
	void *userdata;
};

static int
parse_section(struct parser *p, char *s, struct err *e)
{
	size_t len = strlen(s);
	char *name;

	if (s[len - 1] != ']')
		return err_set(e, ERR_REQUEST, "a section without its ]");
	s[len - 1] = '\0';
	s = trim(s + 1);

	name = strchr(s, ' ');
	if (name) {
		*name = '\0';
		name = trim(name + 1);
	}
	p->in_section = true;
	return p->ops->section(p->userdata, p->file, p->line, s, name, e);
}

static int
parse_setting(struct parser *p, char *s, struct err *e)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
	char *value = strchr(s, '=');
	char show[TEXT_SHOW_SIZE];
	char *key;
	int r;

	if (!value)
		return err_set(e, ERR_REQUEST, "%s: expected [section] or "
			       "key = value", text_show_str(show, s));
	*value = '\0';
	key = trim(s);
	if (!*key || strspn(key, letters) != strlen(key))
		return err_set(e, ERR_REQUEST, "bad key \"%s\"",
			       text_show_str(show, key));
	if (!p->in_section)
		return err_set(e, ERR_REQUEST, "%s stands before any [section]",
			       key);

	r = unquote(trim(value + 1), &value, e);
	if (r < 0)
		return r;
	return p->ops->setting(p->userdata, p->file, p->line, key, value, e);
}

static int
parse_line(struct parser *p, const char *text, size_t len, struct err *e)
{
	char line[CONFIG_LINE_MAX + 1], *s;
	int r = line_copy(line, text, len, e);

	if (r < 0)
		return r;
	s = trim(line);
	if (!*s || *s == '#')
		return 0;
	return *s == '[' ? parse_section(p, s, e) : parse_setting(p, s, e);
}

int
config_file_parse(const char *file, const char *text, size_t len,
		  const struct config_file_ops *ops, void *userdata, struct err *e)
{
	struct parser p = { .file = file, .ops = ops, .userdata = userdata };
	const char *end = text + len, *nl;

	for (; text < end; text = nl + 1) {
		int r;

		nl = memchr(text, '\n', (size_t)(end - text));
		if (!nl)
			nl = end;
		p.line++;
		r = parse_line(&p, text, (size_t)(nl - text), e);
		if (r < 0)
			return err_prefix(e, r, "%s:%u", file, p.line);
	}
	return 0;
}

struct reader {
	bool by_hand;
	const struct config_file_ops *ops;
	void *userdata;
	size_t n;
};

/* Whoever can write here decides who gets tokens. */
static int
check_owner(const struct reader *rd, const struct stat *st, const char *path,
	    struct err *e)
{
	if (st->st_uid != 0 && !(rd->by_hand && st->st_uid == geteuid()))
		return err_set(e, ERR_REQUEST, "%s: belongs to uid %u: chown root "
			       "it", path, st->st_uid);
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return err_set(e, ERR_REQUEST, "%s: others than its owner can "
			       "write to it (mode %04o): chmod go-w it", path,
			       (unsigned)(st->st_mode & 07777));
	return 0;
}

/* Nothing there at all: a link that leads nowhere was meant to lead to rules. */
static bool
is_absent(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

/* *ret is -1 where there is no such directory. */
static int
open_dir(const struct reader *rd, const char *path, int *ret, struct err *e)
{
	_cleanup_(closep) int fd = -1;
	struct stat st;
	int r;

	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && is_absent(AT_FDCWD, path)) {
		*ret = -1;
		return 0;
	}
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "%s", path);
	r = check_owner(rd, &st, path, e);
	if (r < 0)
		return r;

	*ret = fd;
	fd = -1;
	return 0;
}

static int
read_text(int fd, const char *path, struct buf *b, struct err *e)
{
	char part[4096];
	ssize_t n;

	while ((n = read(fd, part, sizeof(part))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, errno, "%s", path);
		if (buf_add(b, part, (size_t)n) < 0)
			return err_set(e, ERR_REQUEST, "%s: larger than 256 KiB",
				       path);
	}
	return 0;
}

static int
read_open_file(struct reader *rd, int fd, const char *path, struct err *e)
{
	struct buf b = BUF_INIT(CONFIG_FILE_MAX);
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "%s", path);
	if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3))
		return 0;		/* /dev/null */
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_REQUEST, "%s: not a regular file", path);

	r = check_owner(rd, &st, path, e);
	if (r >= 0)
		r = read_text(fd, path, &b, e);
	if (r >= 0)
		r = config_file_parse(path, buf_str(&b), b.len, rd->ops,
				      rd->userdata, e);
	buf_free(&b);
	return r;
}

/* One file of an open directory. */
static int
read_file(struct reader *rd, int dir, const char *dir_path, const char *name,
	  bool must, struct err *e)
{
	_cleanup_(freep) char *path = xasprintf("%s%s%s", dir_path,
						*dir_path ? "/" : "", name);
	_cleanup_(closep) int fd = -1;

	fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && errno == ENOENT && !must && is_absent(dir, name))
		return 0;
	if (fd < 0)
		return err_sys(e, errno, "%s", path);
	if (++rd->n > CONFIG_FILES_MAX)
		return err_set(e, ERR_REQUEST, "%s: more than 256 files", path);
	if (rd->ops->file)
		rd->ops->file(rd->userdata, path, false);
	return read_open_file(rd, fd, path, e);
}

/* A file by its path, its directory looked at, too. */
static int
read_path(struct reader *rd, const char *path, bool must, struct err *e)
{
	_cleanup_(freep) char *dir_path = xstrdup(path);
	_cleanup_(closep) int dir = -1;
	char *slash = strrchr(dir_path, '/');
	const char *name = path, *where = dir_path;
	int r;

	if (slash) {
		name = path + (slash - dir_path) + 1;
		*slash = '\0';
	}
	if (!slash || slash == dir_path)
		where = slash ? "/" : ".";
	r = open_dir(rd, where, &dir, e);
	if (r < 0)
		return r;
	if (dir < 0)
		return must ? err_sys(e, ENOENT, "%s", path) : 0;
	return read_file(rd, dir, slash ? dir_path : "", name, must, e);
}

struct names {
	char **v;
	size_t n;
};

static void
names_clear(struct names *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
}

static int
names_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool
names_have(const struct names *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->v[i], name) == 0)
			return true;
	return false;
}

static bool
is_conf(const char *name)
{
	size_t len = strlen(name);

	return *name != '.' && len > 5 && strcmp(name + len - 5, ".conf") == 0;
}

/* The *.conf of a directory, sorted. */
static int
list_dir(int dir, const char *path, struct names *ret, struct err *e)
{
	struct dirent *de;
	DIR *d;
	int fd, r = 0;

	if (dir < 0)
		return 0;
	fd = fcntl(dir, F_DUPFD_CLOEXEC, 0);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		r = err_sys(e, errno, "%s", path);
		if (fd >= 0)
			close(fd);
		return r;
	}

	while (errno = 0, r == 0 && (de = readdir(d))) {
		if (!is_conf(de->d_name))
			continue;
		if (ret->n == CONFIG_FILES_MAX) {
			r = err_set(e, ERR_REQUEST, "%s: more than 256 files",
				    path);
			break;
		}
		ret->v = xrealloc(ret->v, ret->n + 1, sizeof(*ret->v));
		ret->v[ret->n++] = xstrdup(de->d_name);
	}
	if (r == 0 && errno != 0)
		r = err_sys(e, errno, "%s", path);
	closedir(d);
	if (ret->n > 0)
		qsort(ret->v, ret->n, sizeof(*ret->v), names_compare);
	return r;
}

static void
pass_over(struct reader *rd, const char *dir_path, const char *name)
{
	_cleanup_(freep) char *path = xasprintf("%s/%s", dir_path, name);

	rd->n++;
	if (rd->ops->file)
		rd->ops->file(rd->userdata, path, true);
}

static int
read_names(struct reader *rd, int dir, const char *path, const struct names *names,
	   const struct names *masks, struct err *e)
{
	for (size_t i = 0; i < names->n; i++) {
		int r;

		if (masks && names_have(masks, names->v[i])) {
			pass_over(rd, path, names->v[i]);
			continue;
		}
		r = read_file(rd, dir, path, names->v[i], true, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int
read_installed(struct reader *rd, const char *vendor, const char *file,
	       const char *etc, struct err *e)
{
	_cleanup_(names_clear) struct names vendors = { 0 };
	_cleanup_(names_clear) struct names etcs = { 0 };
	_cleanup_(closep) int vendor_dir = -1;
	_cleanup_(closep) int etc_dir = -1;
	int r;

	r = open_dir(rd, vendor, &vendor_dir, e);
	if (r >= 0)
		r = list_dir(vendor_dir, vendor, &vendors, e);
	if (r >= 0)
		r = open_dir(rd, etc, &etc_dir, e);
	if (r >= 0)
		r = list_dir(etc_dir, etc, &etcs, e);
	if (r >= 0)
		r = read_names(rd, vendor_dir, vendor, &vendors, &etcs, e);
	if (r >= 0)
		r = read_path(rd, file, false, e);
	if (r >= 0)
		r = read_names(rd, etc_dir, etc, &etcs, NULL, e);
	return r;
}

int
config_file_read_all(const struct config_paths *paths, bool by_hand,
		     const struct config_file_ops *ops, void *userdata,
		     size_t *ret_n, struct err *e)
{
	struct reader rd = { .by_hand = by_hand, .ops = ops, .userdata = userdata };
	const char *root = paths->root ? paths->root : "";
	int r;

	if (paths->single) {
		r = read_path(&rd, paths->single, true, e);
	} else {
		_cleanup_(freep) char *vendor = xasprintf("%s%s", root,
							  paths->vendor_dir);
		_cleanup_(freep) char *file = xasprintf("%s%s", root,
							paths->etc_file);
		_cleanup_(freep) char *etc = xasprintf("%s%s", root,
						       paths->etc_dir);

		r = read_installed(&rd, vendor, file, etc, e);
	}
	if (r < 0)
		return r;
	*ret_n = rd.n;
	return 0;
}
