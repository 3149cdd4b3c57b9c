/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "http/listen.h"

/* The directory, and the two names in it.  Names are always used through the
   directory's descriptor, so that nobody can move it away below us. */
struct place {
	int dir;
	const char *path;	/* for words only */
	const char *name;
	char temp[32];
};

static int
dir_open(const char *path, bool make_dir, int *ret, struct err *e)
{
	const char *slash = strrchr(path, '/');
	_cleanup_(freep) char *dir = NULL;
	_cleanup_(closep) int fd = -1;
	bool made = false;
	struct stat st;

	if (path[0] != '/' || slash[1] == '\0')
		return err_set(e, ERR_REQUEST, "socket %s: not an absolute path",
			       path);
	dir = slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));

	if (make_dir) {
		made = mkdir(dir, 0755) == 0;
		if (!made && errno != EEXIST)
			return err_sys(e, errno, "cannot make directory %s", dir);
	}
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "socket directory %s", dir);
	if (made && fchmod(fd, 0755) < 0)	/* whatever the umask */
		return err_sys(e, errno, "socket directory %s", dir);
	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "socket directory %s", dir);
	if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & 022))
		return err_set(e, ERR_REQUEST, "socket directory %s is not safe: "
			"it must belong to root or to uid %u and be writable by "
			"nobody else (it belongs to uid %u, mode %04o)", dir,
			(unsigned)geteuid(), (unsigned)st.st_uid,
			(unsigned)st.st_mode & 07777);
	*ret = fd;
	fd = -1;
	return 0;
}

/* Does anybody listen there?  1 yes, 0 no, negative: cannot tell. */
static int
probe(int dir, const char *name)
{
	_cleanup_(closep) int fd = -1, file = -1;
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	/* The file itself by a descriptor: a name may be longer than sun_path. */
	file = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (file < 0)
		return errno == ENOENT ? 0 : -errno;
	snprintf(at.sun_path, sizeof(at.sun_path), "/proc/self/fd/%d", file);

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* EAGAIN: its queue is full, so somebody listens. */
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0 || errno == EAGAIN)
		return 1;
	return errno == ECONNREFUSED ? 0 : -errno;
}

static int
bind_temp(struct place *p, struct http_listen *l, struct err *e)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	uint32_t random = 0;
	struct stat st;

	if (getrandom(&random, sizeof(random), 0) < 0)
		return err_sys(e, errno, "no random numbers");
	snprintf(p->temp, sizeof(p->temp), ".agent-%08x", random);
	/* Through the directory's descriptor, for paths longer than sun_path. */
	snprintf(at.sun_path, sizeof(at.sun_path), "/proc/self/fd/%d/%s", p->dir,
		 p->temp);

	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return err_sys(e, errno, "socket");
	if (bind(l->fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
		p->temp[0] = '\0';
		return err_sys(e, errno, "cannot bind in the directory of %s",
			       p->path);
	}
	if (fchmodat(p->dir, p->temp, 0666, 0) < 0 ||
	    fstatat(p->dir, p->temp, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    listen(l->fd, SOMAXCONN) < 0)
		return err_sys(e, errno, "socket %s", p->path);
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	return 0;
}

static int
in_use(const struct place *p, struct err *e)
{
	return err_set(e, ERR_BUSY, "somebody listens on %s already: "
		       "systemctl status gce-oidc-agent.socket", p->path);
}

/* Put the temporary name in the place of what is there.  Two that start at once
   both find a stale socket; so what was taken out is looked at once more, and put
   back if it lives. */
static int
replace(struct place *p, struct err *e)
{
	unsigned how;

	if (renameat2(p->dir, p->temp, p->dir, p->name, RENAME_EXCHANGE) < 0) {
		/* It is gone, and the name free for the first; or this file
		   system cannot exchange. */
		if (errno != EINVAL && errno != ENOSYS && errno != ENOENT)
			return err_sys(e, errno, "cannot replace %s", p->path);
		how = errno == ENOENT ? RENAME_NOREPLACE : 0;
		if (renameat2(p->dir, p->temp, p->dir, p->name, how) < 0)
			return errno == EEXIST ? in_use(p, e) :
				err_sys(e, errno, "cannot replace %s", p->path);
		p->temp[0] = '\0';
		return 0;
	}
	if (probe(p->dir, p->temp) != 0) {
		if (renameat2(p->dir, p->temp, p->dir, p->name,
			      RENAME_EXCHANGE) < 0)
			return err_sys(e, errno, "cannot put %s back", p->path);
		return in_use(p, e);
	}
	return 0;
}

static int
take_name(struct place *p, struct err *e)
{
	struct stat st;
	int r;

	if (renameat2(p->dir, p->temp, p->dir, p->name, RENAME_NOREPLACE) == 0) {
		p->temp[0] = '\0';
		return 0;
	}
	if (errno != EEXIST)
		return err_sys(e, errno, "cannot name %s", p->path);

	if (fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, errno, "%s", p->path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, ERR_REQUEST, "%s is there and is no socket; it "
			       "is left alone", p->path);
	r = probe(p->dir, p->name);
	if (r > 0)
		return in_use(p, e);
	if (r < 0)
		return err_sys(e, -r, "cannot tell whether %s is in use", p->path);
	return replace(p, e);
}

int
http_listen_unix(const char *path, bool make_dir, struct http_listen *ret,
		 struct err *e)
{
	struct http_listen l = HTTP_LISTEN_INIT;
	_cleanup_(closep) int dir = -1;
	struct place p = { .path = path };
	int r;

	r = dir_open(path, make_dir, &dir, e);
	if (r < 0)
		return r;
	p.dir = dir;
	p.name = strrchr(path, '/') + 1;

	r = bind_temp(&p, &l, e);
	if (r >= 0)
		r = take_name(&p, e);
	if (p.temp[0])		/* ours on failure, the stale one on success */
		unlinkat(dir, p.temp, 0);
	if (r < 0) {
		closep(&l.fd);
		return r;
	}
	l.path = xstrdup(path);
	*ret = l;
	return 0;
}

void
http_listen_clear(struct http_listen *l)
{
	struct stat st;

	if (l->path && lstat(l->path, &st) == 0 && st.st_dev == l->dev &&
	    st.st_ino == l->ino)
		unlink(l->path);
	closep(&l->fd);
	free(l->path);
	*l = HTTP_LISTEN_INIT;
}
