/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/text.h"
#include "credentials.h"
#include "google/endpoints.h"

#define VARIABLE	"GOOGLE_APPLICATION_CREDENTIALS"
#define FILE_NAME	"application_default_credentials.json"

/* --- whose file ------------------------------------------------------------- */

/* What the service manager hands over lies in a directory of ours alone, and shows
   the mask of an access list where other files show their group. */
static bool
is_handed_over(const char *path)
{
	const char *dir = secure_getenv("CREDENTIALS_DIRECTORY");
	size_t len = dir ? strlen(dir) : 0;

	return len > 1 && *dir == '/' && strncmp(path, dir, len) == 0 &&
	       path[len] == '/' && !strchr(path + len + 1, '/');
}

static int
check_owner(const struct stat *st, struct err *e)
{
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return err_set(e, ERR_REQUEST, "belongs to uid %u, who is neither "
			       "root nor uid %u that the agent runs as: chown root "
			       "it", st->st_uid, geteuid());
	return 0;
}

static int
check_file(const struct stat *st, const char *path, struct err *e)
{
	mode_t others = S_IRWXO | (is_handed_over(path) ? S_IWGRP : S_IRWXG);
	char shown[TEXT_SHOW_SIZE];
	int r;

	if (!S_ISREG(st->st_mode))
		return err_set(e, ERR_REQUEST, "not a regular file");
	r = check_owner(st, e);
	if (r < 0)
		return r;
	if (st->st_mode & others)
		return err_set(e, ERR_REQUEST, "others than its owner can read "
			       "or write it (mode %04o), so what it holds may "
			       "be known to them: chmod 600 %s",
			       (unsigned)(st->st_mode & 07777),
			       text_show_str(shown, path));
	if (st->st_size > CREDFILE_MAX)
		return err_set(e, ERR_REQUEST, "larger than %d KiB",
			       CREDFILE_MAX / 1024);
	return 0;
}

/* Whoever can write to the directory can put another file in this one's place. */
static int
check_directory(int fd, struct err *e)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "its directory");
	r = check_owner(&st, e);
	if (r < 0)
		return err_prefix(e, r, "its directory");
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return err_set(e, ERR_REQUEST, "its directory: others than its "
			       "owner can write to it (mode %04o): chmod go-w it",
			       (unsigned)(st.st_mode & 07777));
	return 0;
}

static int
cannot_open(int errnum, bool by_hand, struct err *e)
{
	if (errnum == ELOOP)
		return err_set(e, ERR_REQUEST, "a symbolic link: name the file "
			       "itself");
	if (errnum == EACCES && !by_hand)
		return err_set(e, ERR_REQUEST, "uid %u that the agent runs as "
			       "cannot read it: hand it over by LoadCredential= "
			       "of the service (gce-oidc-agent.conf(5))",
			       geteuid());
	return err_sys(e, errnum, "cannot be opened");
}

static int
open_file(const char *path, bool by_hand, struct err *e)
{
	_cleanup_(freep) char *dir_path = xstrdup(path);
	_cleanup_(closep) int dir = -1;
	char *slash = strrchr(dir_path, '/');
	const char *name = slash ? path + (slash - dir_path) + 1 : path;
	struct stat st;
	int fd, r;

	if (slash)
		*slash = '\0';
	dir = open(!slash ? "." : slash == dir_path ? "/" : dir_path,
		   O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return cannot_open(errno, by_hand, e);
	r = check_directory(dir, e);
	if (r < 0)
		return r;
	fd = openat(dir, name,
		    O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return cannot_open(errno, by_hand, e);
	r = fstat(fd, &st) < 0 ? err_sys(e, errno, "cannot be looked at")
			       : check_file(&st, path, e);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

/* --- what is in it ---------------------------------------------------------- */

static int
read_bytes(int fd, struct buf *b, struct err *e)
{
	ssize_t n;
	char *at;

	/* It may grow while it is read. */
	while ((at = buf_reserve(b, 4096)) != NULL) {
		n = read(fd, at, 4096);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, errno, "cannot be read");
		if (n == 0)
			return 0;
		b->len += (size_t)n;
	}
	return err_set(e, ERR_REQUEST, "larger than %d KiB", CREDFILE_MAX / 1024);
}

static int
load_file(const char *path, bool by_hand, const char *universe,
	  struct credential **ret, struct err *e)
{
	_cleanup_(buf_free) struct buf b = BUF_INIT(CREDFILE_MAX + 4096);
	_cleanup_(credfile_freep) struct credfile *file = NULL;
	_cleanup_(closep) int fd = open_file(path, by_hand, e);
	char shown[TEXT_SHOW_SIZE];
	int r = fd;

	if (r >= 0)
		r = read_bytes(fd, &b, e);
	if (r >= 0)
		r = credfile_parse(buf_str(&b), b.len, universe, &file, e);
	if (r >= 0)
		r = credential_new(TAKE_PTR(file), ret, e);
	return r < 0 ? err_prefix(e, r, "%s", text_show_str(shown, path)) : 0;
}

/* --- adc -------------------------------------------------------------------- */

static bool
is_below_etc(const char *path)
{
	return strncmp(path, "/etc/", 5) == 0 && !strstr(path, "/../");
}

/* Where gcloud puts it; NULL where nobody has a home. */
static char *
well_known_path(void)
{
	const char *config = secure_getenv("CLOUDSDK_CONFIG");
	const char *home = secure_getenv("HOME");

	if (config && *config)
		return xasprintf("%s/" FILE_NAME, config);
	if (home && *home)
		return xasprintf("%s/.config/gcloud/" FILE_NAME, home);
	return NULL;
}

static int
find_default(bool by_hand, const char *universe, struct credential **ret,
	     struct err *e)
{
	_cleanup_(freep) char *known = NULL;
	const char *named = secure_getenv(VARIABLE);
	char shown[TEXT_SHOW_SIZE];
	int r;

	if (named && *named) {
		if (!by_hand && !is_below_etc(named))
			return err_set(e, ERR_REQUEST, "adc: " VARIABLE " is %s, "
				       "and a service takes files below /etc only, "
				       "which are nobody's session: name the file "
				       "itself in credentials",
				       text_show_str(shown, named));
		r = load_file(named, by_hand, universe, ret, e);
		return r < 0 ? err_prefix(e, r, "adc: " VARIABLE) : 0;
	}
	if (by_hand)
		known = well_known_path();
	if (!known || access(known, F_OK) < 0)
		return 0;
	r = load_file(known, by_hand, universe, ret, e);
	return r < 0 ? err_prefix(e, r, "adc") : 0;
}

int
credentials_load(const char *setting, bool by_hand, const char *universe,
		 struct credential **ret, struct err *e)
{
	*ret = NULL;
	if (strcmp(setting, "adc") == 0)
		return find_default(by_hand, universe, ret, e);
	if (*setting != '/')
		return err_set(e, ERR_REQUEST, "neither an absolute path nor adc");
	return load_file(setting, by_hand, universe, ret, e);
}
