/* SPDX-License-Identifier: Apache-2.0 */

/* usage: limit ADDRESS ANSWER-FILE REQUEST-LENGTH

   What no server on this machine can be faster than: it reads nothing of what it
   gets, and says the same bytes to each REQUEST-LENGTH bytes that come.  One
   epoll instance, 64 events a look; a request is epoll_wait (shared by all that
   came at once), recv, send.  The measure of the agent, see run. */

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bench.h"

#define BATCH		64
#define FDS		65536

struct limit {
	int epoll_fd, listen_fd;
	char *answer;
	size_t answer_len, request_len;
	size_t seen[FDS];	/* bytes of a request that is not whole */
	char in[16 * 1024];
};

static void
limit_watch(struct limit *l, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = fd };

	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		die("epoll_ctl");
}

static void
limit_accept(struct limit *l)
{
	int fd = accept4(l->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0 || fd >= FDS)
		die("accept4");
	l->seen[fd] = 0;
	limit_watch(l, fd);
}

static void
limit_answer(struct limit *l, int fd)
{
	ssize_t n = recv(fd, l->in, sizeof(l->in), MSG_DONTWAIT);

	if (n <= 0) {
		close(fd);
		return;
	}
	l->seen[fd] += (size_t)n;
	for (; l->seen[fd] >= l->request_len; l->seen[fd] -= l->request_len) {
		n = send(fd, l->answer, l->answer_len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n != (ssize_t)l->answer_len) {
			close(fd);
			return;
		}
	}
}

static void
limit_look(struct limit *l)
{
	struct epoll_event events[BATCH];
	int n = epoll_wait(l->epoll_fd, events, BATCH, -1);

	if (n < 0 && errno != EINTR)
		die("epoll_wait");
	for (int i = 0; i < n; i++) {
		int fd = events[i].data.fd;

		if (fd == l->listen_fd)
			limit_accept(l);
		else if (events[i].events & (EPOLLHUP | EPOLLERR))
			close(fd);
		else
			limit_answer(l, fd);
	}
}

int
main(int argc, char **argv)
{
	static struct limit l;
	struct address at;

	errno = 0;
	if (argc != 4)
		die("usage: limit ADDRESS ANSWER-FILE REQUEST-LENGTH");
	/* Whoever started us may end without a word. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);

	at = to_address(argv[1]);
	l.answer = file_read(argv[2], &l.answer_len);
	l.request_len = to_number(argv[3], sizeof(l.in));
	if (l.request_len == 0)
		die("a request has at least one byte");
	l.listen_fd = address_open(&at, true);
	l.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l.epoll_fd < 0)
		die("epoll_create1");
	limit_watch(&l, l.listen_fd);
	for (;;)
		limit_look(&l);
}
