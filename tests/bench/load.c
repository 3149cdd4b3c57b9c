/* SPDX-License-Identifier: Apache-2.0 */

/* usage: load [OPTIONS] ADDRESS REQUEST-FILE ANSWER-LENGTH

   Closed loop: each connection asks, waits for the answer, and asks again.
   Prints one line of JSON.

	-m MODE		keep (default), connect (a new connection for each
			request), pipeline
	-d DEPTH	requests sent at once with -m pipeline; 16
	-c NUMBER	connections; 1
	-w MS		time to warm up, not counted; 300
	-t MS		time that is measured; 600
	-n NUMBER	instead of these two: so many requests, exactly
	-p PID		the server: its CPU clock is read
	-k CORE		run there
	-s		connect, say so, begin when standard input has a byte, and
			disconnect when it has another one or ends

   Any answer that has another length, or does not begin with 200, ends it. */

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define BATCH		64
#define MAX_SLOTS	16384
#define NSEC_PER_SEC	UINT64_C(1000000000)
#define NSEC_PER_MSEC	UINT64_C(1000000)

/* Latencies in ns, by their power of two and the seven highest bits: each bucket
   is at most 1/64 wide. */
#define FINE		64
#define BUCKETS		(59 * FINE)

static const char good[] = "HTTP/1.1 200 OK\r\n";

enum mode { KEEP, CONNECT, PIPELINE };

struct slot {
	int fd;
	unsigned flying;	/* answers to come */
	size_t got;		/* bytes of the next one */
	uint64_t began;
};

struct load {
	struct address at;
	enum mode mode;
	unsigned depth, n_slots;
	uint64_t warm_nsec, window_nsec;
	uint64_t exactly;		/* requests; 0: as there is time for */
	pid_t server;
	bool on_signal;

	char *request;			/* depth times */
	size_t request_len;
	size_t answer_len;
	char *in;
	size_t in_size;
	clockid_t server_clock;

	int epoll_fd;
	struct slot slots[MAX_SLOTS];
	uint64_t now, until;
	uint64_t asked, answered;
	uint32_t latencies[BUCKETS];
	uint64_t slowest;
};

static uint64_t
clock_nsec(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts) < 0)
		die("clock_gettime");
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* --- latencies -------------------------------------------------------------- */

static size_t
bucket_of(uint64_t nsec)
{
	unsigned shift;

	if (nsec < FINE)
		return nsec;
	shift = 57 - (unsigned)__builtin_clzll(nsec);
	return (shift + 1) * FINE + (nsec >> shift) - FINE;
}

/* The middle of a bucket. */
static double
bucket_usec(size_t i)
{
	unsigned shift = i < FINE ? 0 : (unsigned)(i / FINE) - 1;
	double low = i < FINE ? (double)i
		: (double)((uint64_t)(i % FINE + FINE) << shift);

	return (low + (double)(UINT64_C(1) << shift) / 2) / 1000;
}

static double
percentile(const struct load *l, double share)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < BUCKETS; i++) {
		sum += l->latencies[i];
		if ((double)sum >= share * (double)l->answered)
			return bucket_usec(i);
	}
	return 0;
}

/* --- asking ----------------------------------------------------------------- */

static void
slot_open(struct load *l, struct slot *s)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = s };

	s->fd = address_open(&l->at, false);
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, s->fd, &ev) < 0)
		die("epoll_ctl");
}

static void
slot_ask(struct load *l, struct slot *s)
{
	unsigned n = l->mode == PIPELINE ? l->depth : 1;
	size_t len;

	if (l->exactly > 0 && l->exactly - l->asked < n)
		n = (unsigned)(l->exactly - l->asked);
	if (n == 0)
		return;
	s->began = l->now;
	if (l->mode == CONNECT)
		slot_open(l, s);
	len = n * l->request_len;
	if (send(s->fd, l->request, len, MSG_NOSIGNAL) != (ssize_t)len)
		die("send");
	s->flying = n;
	l->asked += n;
}

static void
slot_answered(struct load *l, struct slot *s)
{
	uint64_t took = l->now - s->began;
	size_t i = bucket_of(took);

	l->latencies[i < BUCKETS ? i : BUCKETS - 1]++;
	l->slowest = took > l->slowest ? took : l->slowest;
	l->answered++;
	s->flying--;
}

static void
slot_on_event(struct load *l, struct slot *s)
{
	ssize_t n = recv(s->fd, l->in, l->in_size, MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		errno = n < 0 ? errno : 0;
		die("the server closed the connection");
	}
	errno = 0;
	if (s->got == 0 && ((size_t)n < strlen(good) ||
			    memcmp(l->in, good, strlen(good)) != 0))
		die("this is no answer: %.*s", (int)(n > 400 ? 400 : n), l->in);

	l->now = clock_nsec(CLOCK_MONOTONIC);
	s->got += (size_t)n;
	for (; s->got >= l->answer_len && s->flying > 0; s->got -= l->answer_len)
		slot_answered(l, s);
	if (s->flying > 0)
		return;
	if (s->got > 0)
		die("an answer is longer than %zu bytes", l->answer_len);
	if (l->mode == CONNECT)
		close(s->fd);
	slot_ask(l, s);
}

static bool
load_is_over(const struct load *l)
{
	return l->exactly > 0 ? l->answered >= l->exactly : l->now >= l->until;
}

static void
load_run(struct load *l, uint64_t nsec)
{
	struct epoll_event events[BATCH];
	int n;

	l->now = clock_nsec(CLOCK_MONOTONIC);
	l->until = l->now + nsec;
	while (!load_is_over(l)) {
		n = epoll_wait(l->epoll_fd, events, BATCH, 10000);
		errno = n < 0 ? errno : 0;
		if (n <= 0)
			die("no answer");
		for (int i = 0; i < n; i++)
			slot_on_event(l, events[i].data.ptr);
	}
}

/* --- the whole -------------------------------------------------------------- */

static void
wait_for_signal(void)
{
	char c;

	fflush(stdout);
	if (read(STDIN_FILENO, &c, 1) < 0)
		die("standard input");
}

static void
load_begin(struct load *l)
{
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0)
		die("epoll_create1");
	for (unsigned i = 0; i < l->n_slots && l->mode != CONNECT; i++)
		slot_open(l, &l->slots[i]);
	if (l->on_signal) {
		puts("connected");
		wait_for_signal();
	}

	l->now = clock_nsec(CLOCK_MONOTONIC);
	for (unsigned i = 0; i < l->n_slots; i++)
		slot_ask(l, &l->slots[i]);
	if (l->exactly > 0)
		return;
	load_run(l, l->warm_nsec);
	l->answered = l->slowest = 0;
	memset(l->latencies, 0, sizeof(l->latencies));
}

static void
load_measure(struct load *l)
{
	uint64_t began, cpu, mine, took;
	double n, server = 0;

	began = clock_nsec(CLOCK_MONOTONIC);
	mine = clock_nsec(CLOCK_PROCESS_CPUTIME_ID);
	cpu = l->server ? clock_nsec(l->server_clock) : 0;
	load_run(l, l->window_nsec);
	if (l->server)
		server = (double)(clock_nsec(l->server_clock) - cpu);
	mine = clock_nsec(CLOCK_PROCESS_CPUTIME_ID) - mine;
	took = clock_nsec(CLOCK_MONOTONIC) - began;

	n = (double)l->answered;
	printf("{\"requests\": %llu, \"seconds\": %.6f, \"per_second\": %.0f, "
	       "\"cpu_usec\": %.4f, \"busy\": %.3f, \"client_busy\": %.3f, "
	       "\"p50\": %.2f, \"p99\": %.2f, \"p999\": %.2f, \"max\": %.2f}\n",
	       (unsigned long long)l->answered, (double)took / 1e9,
	       n * 1e9 / (double)took, server / 1000 / n, server / (double)took,
	       (double)mine / (double)took, percentile(l, 0.5),
	       percentile(l, 0.99), percentile(l, 0.999),
	       (double)l->slowest / 1000);
}

static enum mode
to_mode(const char *text)
{
	static const char *const modes[] = { "keep", "connect", "pipeline" };

	for (unsigned i = 0; i < 3; i++)
		if (strcmp(text, modes[i]) == 0)
			return (enum mode)i;
	die("%s: not keep, connect or pipeline", text);
}

static void
run_on(unsigned long core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		die("core %lu", core);
}

static void
load_options(struct load *l, int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "m:d:c:w:t:n:p:k:s")) != -1) {
		switch (c) {
		case 'm': l->mode = to_mode(optarg); break;
		case 'd': l->depth = (unsigned)to_number(optarg, 64); break;
		case 'c': l->n_slots = (unsigned)to_number(optarg, MAX_SLOTS);
			  break;
		case 'w': l->warm_nsec = to_number(optarg, 60000) *
						NSEC_PER_MSEC;
			  break;
		case 't': l->window_nsec = to_number(optarg, 60000) *
						NSEC_PER_MSEC;
			  break;
		case 'n': l->exactly = to_number(optarg, 100000000); break;
		case 'p': l->server = (pid_t)to_number(optarg, INT32_MAX); break;
		case 'k': run_on(to_number(optarg, CPU_SETSIZE - 1)); break;
		case 's': l->on_signal = true; break;
		default:  exit(2);
		}
	}
	errno = 0;
	if (argc - optind != 3 || l->depth == 0 || l->n_slots == 0)
		die("usage: load [OPTIONS] ADDRESS REQUEST-FILE ANSWER-LENGTH");
}

int
main(int argc, char **argv)
{
	static struct load l = {
		.depth = 16, .n_slots = 1,
		.warm_nsec = 300 * NSEC_PER_MSEC,
		.window_nsec = 600 * NSEC_PER_MSEC,
	};
	char *one;

	load_options(&l, argc, argv);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	alarm(120);

	l.at = to_address(argv[optind]);
	one = file_read(argv[optind + 1], &l.request_len);
	l.answer_len = to_number(argv[optind + 2], 1024 * 1024);
	if (l.answer_len == 0)
		die("an answer has at least one byte");
	l.in_size = l.answer_len * l.depth + 1;
	l.in = malloc(l.in_size);
	l.request = malloc(l.request_len * l.depth);
	if (!l.in || !l.request)
		die("malloc");
	for (unsigned i = 0; i < l.depth; i++)
		memcpy(l.request + i * l.request_len, one, l.request_len);
	errno = l.server ? clock_getcpuclockid(l.server, &l.server_clock) : 0;
	if (errno)
		die("the clock of process %d", (int)l.server);

	load_begin(&l);
	load_measure(&l);
	if (l.on_signal)
		wait_for_signal();
	return 0;
}
