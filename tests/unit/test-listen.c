/* SPDX-License-Identifier: Apache-2.0 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "http/listen.h"

static char dir[64];		/* a fresh one for every test */

static int
setup(void **state _unused_)
{
	snprintf(dir, sizeof(dir), "/tmp/test-listen-XXXXXX");
	return mkdtemp(dir) && chmod(dir, 0755) == 0 ? 0 : -1;
}

static int
forget(const char *path, const struct stat *st _unused_, int type _unused_,
       struct FTW *at _unused_)
{
	return remove(path);
}

static int
teardown(void **state _unused_)
{
	return nftw(dir, forget, 16, FTW_DEPTH | FTW_PHYS);
}

static char *
in_dir(const char *name)
{
	return xasprintf("%s/%s", dir, name);
}

/* Through a descriptor, for paths of any length. */
static void
address(const char *path, struct sockaddr_un *ret, int *ret_fd)
{
	_cleanup_(freep) char *parent = xstrdup(path);
	char *slash = strrchr(parent, '/');

	*slash = '\0';
	*ret_fd = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(*ret_fd >= 0);
	memset(ret, 0, sizeof(*ret));
	ret->sun_family = AF_UNIX;
	assert_true((size_t)snprintf(ret->sun_path, sizeof(ret->sun_path),
				     "/proc/self/fd/%d/%s", *ret_fd, slash + 1) <
		    sizeof(ret->sun_path));
}

/* A socket bound at path; its backlog, or -1 to not listen. */
static int
bound(const char *path, int type, int backlog)
{
	_cleanup_(closep) int at_fd = -1;
	struct sockaddr_un at;
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	address(path, &at, &at_fd);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	if (backlog >= 0)
		assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static int
connected(const char *path)
{
	_cleanup_(closep) int at_fd = -1;
	struct sockaddr_un at;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	address(path, &at, &at_fd);
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
		close(fd);
		return -errno;
	}
	return fd;
}

static void
make_stale(const char *path)
{
	close(bound(path, SOCK_STREAM, 1));
	assert_int_equal(connected(path), -ECONNREFUSED);
}

/* Does connecting to path reach this listener? */
static bool
reaches(const char *path, int listener)
{
	int client = connected(path), server;

	if (client < 0)
		return false;
	server = accept(listener, NULL, NULL);
	close(client);
	if (server < 0)
		return false;
	close(server);
	return true;
}

/* How many names there are in the directory. */
static unsigned
files(void)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	unsigned n = 0;

	assert_non_null(d);
	while ((entry = readdir(d)))
		n += strcmp(entry->d_name, ".") != 0 &&
			strcmp(entry->d_name, "..") != 0;
	closedir(d);
	return n;
}

static struct http_listen
listens(const char *path)
{
	struct http_listen l = HTTP_LISTEN_INIT;
	struct err e;

	if (http_listen_unix(path, false, &l, &e) < 0)
		fail_msg("%s", e.msg);
	return l;
}

static void
refuses(const char *path, bool make_dir, enum err_kind kind, const char *words)
{
	struct http_listen l = HTTP_LISTEN_INIT;
	struct err e;
	int r = http_listen_unix(path, make_dir, &l, &e);

	if (r >= 0)
		fail_msg("%s: taken", path);
	if (e.kind != kind || !strstr(e.msg, words))
		fail_msg("%s: not \"%s\"", e.msg, words);
	assert_int_equal(l.fd, -1);
	assert_null(l.path);
}

static void
a_free_name_is_taken(void **state _unused_)
{
	_cleanup_(freep) char *path = in_dir("sock");
	struct http_listen l = listens(path);
	struct stat st;

	assert_string_equal(l.path, path);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_true(l.dev == st.st_dev && l.ino == st.st_ino);
	assert_true(reaches(path, l.fd));
	assert_int_equal(files(), 1);
	assert_true(fcntl(l.fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(l.fd, F_GETFL) & O_NONBLOCK);
	http_listen_clear(&l);
	assert_int_equal(files(), 0);
}

static void
anybody_may_connect_whatever_the_umask(void **state _unused_)
{
	_cleanup_(freep) char *path = in_dir("sock");
	mode_t before = umask(077);
	struct http_listen l = listens(path);
	struct stat st;

	umask(before);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0666);
	http_listen_clear(&l);
}

static void
a_stale_socket_is_replaced(void **state _unused_)
{
	_cleanup_(freep) char *path = in_dir("sock");
	struct http_listen l;

	make_stale(path);
	l = listens(path);
	assert_true(reaches(path, l.fd));
	assert_int_equal(files(), 1);
	http_listen_clear(&l);
	assert_int_equal(files(), 0);
}

static void
a_socket_bound_and_not_listened_on_is_stale(void **state _unused_)
{
	_cleanup_(freep) char *path = in_dir("sock");
	int other = bound(path, SOCK_STREAM, -1);
	struct http_listen l = listens(path);

	assert_true(reaches(path, l.fd));
	assert_int_equal(files(), 1);
	close(other);
	http_listen_clear(&l);
}

static void
a_living_socket_is_left_alone(void **state _unused_)
{
	_cleanup_(freep) char *path = in_dir("sock");
	int other = bound(path, SOCK_STREAM, 4), client;

	refuses(path, false, ERR_BUSY, "somebody listens on");
	refuses(path, true, ERR_BUSY, path);
	/* It was knocked at twice, and that is all. */
	assert_int_equal(fcntl(other, F_SETFL, O_NONBLOCK), 0);
	for (unsigned i = 0; i < 2; i++) {
		client = accept(other, NULL, NULL);
		assert_true(client >= 0);
		close(client);
	}
	assert_int_equal(accept(other, NULL, NULL), -1);
	assert_true(reaches(path, other));
	assert_int_equal(files(), 1);
	close(other);
}

static void
a_living_socket_whose_queue_is_full_is_left_alone(void **state _unused_)
{
	_cleanup_(freep) char *path = in_dir("sock");
	int other = bound(path, SOCK_STREAM, 0), clients[8], n = 0;

	while (n < 8 && (clients[n] = connected(path)) >= 0)
		n++;
	assert_true(n > 0 && n < 8);
	refuses(path, false, ERR_BUSY, "somebody listens on");
	assert_int_equal(files(), 1);
	while (n > 0)
		close(clients[--n]);
	close(other);
}

static void
a_second_one_of_ours_is_refused(void **state _unused_)
{
	_cleanup_(freep) char *path = in_dir("sock");
	struct http_listen l = listens(path);

	refuses(path, false, ERR_BUSY, "systemctl status gce-oidc-agent.socket");
	http_listen_clear(&l);
	l = listens(path);
	http_listen_clear(&l);
}

static void
what_is_no_socket_is_left_alone(void **state _unused_)
{
	_cleanup_(freep) char *path = in_dir("sock"), *other = in_dir("other");
	static const char words[] = "is no socket; it is left alone";
	struct stat st;
	int fd;

	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(write(fd, "abc", 3), 3);
	close(fd);
	refuses(path, false, ERR_REQUEST, words);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISREG(st.st_mode) && st.st_size == 3);
	assert_int_equal(unlink(path), 0);

	assert_int_equal(mkfifo(path, 0600), 0);
	refuses(path, false, ERR_REQUEST, words);
	assert_int_equal(unlink(path), 0);

	assert_int_equal(mkdir(path, 0700), 0);
	refuses(path, false, ERR_REQUEST, words);
	assert_int_equal(rmdir(path), 0);

	make_stale(other);
	assert_int_equal(symlink("other", path), 0);
	refuses(path, false, ERR_REQUEST, words);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(files(), 2);
}

static void
a_living_socket_of_another_type_is_left_alone(void **state _unused_)
{
	_cleanup_(freep) char *path = in_dir("sock");
	int other = bound(path, SOCK_DGRAM, -1);
	struct stat before, after;

	assert_int_equal(lstat(path, &before), 0);
	refuses(path, false, ERR_INTERNAL, "cannot tell whether");
	assert_int_equal(lstat(path, &after), 0);
	assert_true(before.st_ino == after.st_ino);
	assert_int_equal(files(), 1);
	close(other);
}

static void
only_absolute_paths_of_files_are_taken(void **state _unused_)
{
	_cleanup_(freep) char *slash = in_dir("");

	refuses("sock", false, ERR_REQUEST, "not an absolute path");
	refuses("./sock", true, ERR_REQUEST, "not an absolute path");
	refuses("", false, ERR_REQUEST, "not an absolute path");
	refuses("/", false, ERR_REQUEST, "not an absolute path");
	refuses(slash, false, ERR_REQUEST, "not an absolute path");
}

static void
a_missing_directory_is_made_only_when_told_to(void **state _unused_)
{
	_cleanup_(freep) char *path = in_dir("sub/sock"), *sub = in_dir("sub");
	_cleanup_(freep) char *deep = in_dir("a/b/sock");
	mode_t before = umask(077);
	struct http_listen l;
	struct stat st;
	struct err e;

	refuses(path, false, ERR_INTERNAL, "No such file or directory");
	assert_int_equal(files(), 0);
	assert_int_equal(http_listen_unix(path, true, &l, &e), 0);
	umask(before);
	assert_int_equal(lstat(sub, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	http_listen_clear(&l);

	/* One that is there stays as it is. */
	assert_int_equal(chmod(sub, 0700), 0);
	assert_int_equal(http_listen_unix(path, true, &l, &e), 0);
	assert_int_equal(lstat(sub, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	http_listen_clear(&l);

	refuses(deep, true, ERR_INTERNAL, "cannot make directory");
}

static void
a_directory_that_others_may_write_is_refused(void **state _unused_)
{
	static const mode_t modes[] = { 0775, 0757, 0777, 01777, 0722 };
	_cleanup_(freep) char *path = in_dir("sock");

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		assert_int_equal(chmod(dir, modes[i]), 0);
		refuses(path, true, ERR_REQUEST, "is not safe");
	}
	assert_int_equal(chmod(dir, 0755), 0);
	assert_int_equal(files(), 0);
}

static void
a_directory_of_somebody_else_is_refused(void **state _unused_)
{
	_cleanup_(freep) char *path = NULL;

	if (geteuid() != 0)
		skip();
	path = in_dir("sock");
	assert_int_equal(chown(dir, 12345, 0), 0);
	refuses(path, false, ERR_REQUEST, "it belongs to uid 12345, mode 0755");
	assert_int_equal(chown(dir, 0, 0), 0);
	assert_int_equal(files(), 0);
}

static void
what_is_no_directory_is_refused(void **state _unused_)
{
	_cleanup_(freep) char *file = in_dir("file"), *path = in_dir("file/sock");

	close(open(file, O_CREAT | O_WRONLY, 0600));
	refuses(path, false, ERR_INTERNAL, "Not a directory");
	refuses(path, true, ERR_INTERNAL, "Not a directory");
}

static void
paths_longer_than_an_address_work(void **state _unused_)
{
	_cleanup_(freep) char *path = NULL, *sub = NULL;
	struct http_listen l;
	char name[201];
	struct err e;

	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	sub = in_dir(name);
	assert_int_equal(mkdir(sub, 0755), 0);
	path = xasprintf("%s/sock", sub);
	make_stale(path);
	l = listens(path);
	assert_true(reaches(path, l.fd));
	assert_int_equal(http_listen_unix(path, false, &l, &e), -EAGAIN);
	http_listen_clear(&l);
	assert_int_equal(access(path, F_OK), -1);
}

static void
names_longer_than_an_address_are_replaced_too(void **state _unused_)
{
	_cleanup_(freep) char *path = NULL;
	struct http_listen l, kept;
	char name[201];

	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	path = in_dir(name);
	l = listens(path);
	refuses(path, false, ERR_BUSY, "somebody listens on");
	close(l.fd);			/* as if it had crashed */
	kept = listens(path);
	assert_int_equal(files(), 1);
	http_listen_clear(&kept);
	assert_int_equal(files(), 0);
	free(l.path);
}

static void
clearing_removes_its_own_file_only(void **state _unused_)
{
	_cleanup_(freep) char *path = in_dir("sock");
	struct http_listen l = listens(path);
	int other, fd;

	/* Another socket stands there now. */
	assert_int_equal(unlink(path), 0);
	other = bound(path, SOCK_STREAM, 4);
	http_listen_clear(&l);
	assert_int_equal(l.fd, -1);
	assert_null(l.path);
	assert_true(reaches(path, other));
	close(other);

	/* Another file. */
	l = listens(path);
	assert_int_equal(unlink(path), 0);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	http_listen_clear(&l);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(unlink(path), 0);

	/* None at all. */
	l = listens(path);
	assert_int_equal(unlink(path), 0);
	http_listen_clear(&l);
	http_listen_clear(&l);
}

static void
clearing_leaves_a_descriptor_alone_that_was_handed_on(void **state _unused_)
{
	_cleanup_(freep) char *path = in_dir("sock");
	struct http_listen l = listens(path);
	int fd = l.fd;

	l.fd = -1;
	http_listen_clear(&l);
	assert_int_equal(files(), 0);
	assert_true(fcntl(fd, F_GETFD) >= 0);
	close(fd);
}

/* One of those that start at once.  It says what became of it and stays until
   it is killed. */
static pid_t
starter(const char *path, const int gate[2], int verdict)
{
	struct http_listen l = HTTP_LISTEN_INIT;
	pid_t pid = fork();
	struct err e;
	char c;

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;

	close(gate[1]);
	if (read(gate[0], &c, 1) != 0)	/* opens for all at once, by its end */
		_exit(1);
	if (http_listen_unix(path, false, &l, &e) >= 0)
		c = 'w';
	else
		c = e.kind == ERR_BUSY ? 'b' : '?';
	if (write(verdict, &c, 1) == 1)
		pause();
	_exit(1);
}

static void
one_wins(const char *path)
{
	int gate[2], verdict[2], client;
	pid_t pids[2];
	char said[2];

	assert_int_equal(pipe(gate), 0);
	assert_int_equal(pipe(verdict), 0);
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		pids[i] = starter(path, gate, verdict[1]);
	close(gate[1]);
	for (size_t i = 0; i < ARRAY_SIZE(said); i++)
		assert_int_equal(read(verdict[0], &said[i], 1), 1);

	client = connected(path);
	assert_true(client >= 0);
	close(client);
	assert_int_equal(files(), 1);
	assert_true((said[0] == 'w' && said[1] == 'b') ||
		    (said[0] == 'b' && said[1] == 'w'));

	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	close(gate[0]);
	close(verdict[0]);
	close(verdict[1]);
}

static void
of_two_that_start_at_once_one_wins(void **state _unused_)
{
	_cleanup_(freep) char *path = in_dir("sock");

	one_wins(path);			/* a free name ... */
	for (unsigned i = 0; i < 50; i++)
		one_wins(path);		/* ... and then a stale one each time */
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_free_name_is_taken),
		TEST(anybody_may_connect_whatever_the_umask),
		TEST(a_stale_socket_is_replaced),
		TEST(a_socket_bound_and_not_listened_on_is_stale),
		TEST(a_living_socket_is_left_alone),
		TEST(a_living_socket_whose_queue_is_full_is_left_alone),
		TEST(a_second_one_of_ours_is_refused),
		TEST(what_is_no_socket_is_left_alone),
		TEST(a_living_socket_of_another_type_is_left_alone),
		TEST(only_absolute_paths_of_files_are_taken),
		TEST(a_missing_directory_is_made_only_when_told_to),
		TEST(a_directory_that_others_may_write_is_refused),
		TEST(a_directory_of_somebody_else_is_refused),
		TEST(what_is_no_directory_is_refused),
		TEST(paths_longer_than_an_address_work),
		TEST(names_longer_than_an_address_are_replaced_too),
		TEST(clearing_removes_its_own_file_only),
		TEST(clearing_leaves_a_descriptor_alone_that_was_handed_on),
		TEST(of_two_that_start_at_once_one_wins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
