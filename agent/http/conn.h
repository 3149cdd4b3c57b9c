/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The inside of server.h, for its seven files and nobody else:

	server.c	settings, listening, stopping
	loop.c		the event loop's sources, and who is looked at when
	accept.c	new connections: who gets in, who is turned away
	conn.c		one connection: reading, taking turns, time-outs, closing
	held.c		what it holds while it is not idle, and the budget for that
	exchange.c	one request: what its handler sees, and the answer's bytes
	recent.c	requests that are asked again

   Nothing but the event loop (and http_server_free()) calls out to the handler:
   http_exchange_reply() never does, so it may be called from anywhere.  What an
   answer from outside leads to is queued and done by the loop. */

#include <sys/epoll.h>
#include <sys/queue.h>

#include "http/parse.h"
#include "http/server.h"

#define SERVER_BATCH		64	/* events per look at the clients */
#define SERVER_LISTENERS	16
#define SERVER_SCRATCH		(16 * 1024)
#define SERVER_RECENTS		64
#define SERVER_RECENT_SIZE	512	/* bytes */
#define SERVER_TURNED_AWAY	64	/* held above the limit, to be told so */
#define SERVER_LINGER_USEC	(1 * USEC_PER_SEC)
#define SERVER_PAUSE_USEC	(100 * USEC_PER_MSEC)

enum conn_state {
	CONN_IDLE,	/* between requests */
	CONN_PARTIAL,	/* part of a request is here */
	CONN_ASKED,	/* in request() or refuse() just now */
	CONN_WAIT,	/* the answer comes later; not reading */
	CONN_READY,	/* looked at when the loop next comes by; not reading */
	CONN_FLUSH,	/* part of the answer is unsent; not reading */
	CONN_LINGER,	/* all is said; what still comes is thrown away, so that
			   the peer reads the answer and not a reset */
	CONN_CLOSED	/* freed when the batch of events is through */
};

/* Every connection is in one queue.  The time-out of a queue is the same for
   all in it, so that the first is the first to expire. */
enum conn_queue {
	QUEUE_IDLE,
	QUEUE_STRANGERS,	/* those of them that are idle */
	QUEUE_HEAD,
	QUEUE_BODY,
	QUEUE_WRITE,
	QUEUE_LINGER,
	QUEUES_TIMED,
	QUEUE_WAIT = QUEUES_TIMED,	/* a handler has them */
	QUEUE_READY,
	QUEUE_CLOSED,
	QUEUES
};

/* What an idle connection does without. */
struct held {
	char *in;		/* input not used yet */
	size_t in_len, in_size;
	size_t scanned;		/* http_parse()'s */
	size_t need;		/* the length of head and body, once known; or 0 */
	char *out;		/* unsent output */
	size_t out_len, out_sent;
	void (*gone)(void *userdata);
	void *gone_userdata;
	unsigned era;		/* while gone is set */
	struct err *refused;	/* why it was not admitted; or NULL */
};

struct http_exchange {
	struct http_server *server;
};

struct conn {
	struct http_exchange x;	/* a connection has one at a time */
	TAILQ_ENTRY(conn) link;
	uint64_t deadline;	/* of its queue */
	uint64_t expires;	/* end of its lifetime */
	struct held *held;	/* NULL while idle */
	void *ctx;
	int fd;
	int tag;
	uint8_t state;		/* enum conn_state */
	uint8_t queue;		/* enum conn_queue */
	uint8_t armed;		/* EPOLLIN, EPOLLOUT or 0 */
	uint16_t lingered;	/* reads thrown away */
	bool admitted : 1;	/* ctx is to be forgotten */
	bool stranger : 1;
	bool asked : 1;		/* a first request has come */
	bool head_only : 1;	/* the request is a HEAD */
	bool minor_0 : 1;	/* the request is HTTP/1.0 */
	bool closing : 1;	/* close behind the answer */
	bool linger : 1;	/* and linger: the peer may still be sending */
};

TAILQ_HEAD(conn_list, conn);

struct listener {
	int fd, tag;
};

/* A request that was asked lately, if it is short and without a body: callers ask
   the same again and again, and the same bytes at the same place are the same
   request. */
struct recent {
	size_t len;		/* 0: none */
	struct http_head head;	/* its spans are in server->in */
	void *note;		/* the handler's; or NULL */
	char bytes[SERVER_RECENT_SIZE];
};

struct http_server {
	sd_event *event;
	struct http_server_options opt;
	size_t every_len;
	struct http_server_ops ops;
	void *userdata;

	sd_event_source *timer, *work;
	int epoll_fd;		/* all of our sockets, and sd-event */
	bool waits;		/* sd-event has not looked yet at what came */
	bool stirred;		/* a source of ours is other than it has prepared */
	int pending;		/* what it said when it had looked */
	int spare_fd;		/* given up to turn somebody away */
	struct listener listeners[SERVER_LISTENERS];
	unsigned n_listeners;
	bool paused;		/* the kernel has no descriptors for us */
	uint64_t warned;	/* when that was last logged */

	struct conn_list queues[QUEUES];
	uint64_t timeouts[QUEUES_TIMED];
	uint64_t armed;		/* the timer's time; UINT64_MAX: off */
	uint64_t now;		/* CLOCK_BOOTTIME at the beginning of the batch */
	int64_t wall;		/* CLOCK_REALTIME, likewise */
	unsigned depth;		/* in a callback of ours */
	unsigned n_conns;
	unsigned n_strangers;	/* of them, and */
	unsigned n_refused;	/* those that are held to be told so */
	struct http_server_counts n;	/* those that only grow */
	size_t buffers;		/* bytes counted against opt.max_buffers */
	unsigned era;
	unsigned waiting[HTTP_ERAS]; /* exchanges, by the era of their gone() */
	void (*left)(void *userdata);
	void *left_userdata;
	void (*drained)(void *userdata);
	void *drained_userdata;
	bool draining;
	uint64_t late_until;	/* then nothing is waited for that is not asked */

	/* The request being handed up. */
	const struct http_head *head;
	struct http_head parsed;
	struct http_span body;
	struct recent *recent;	/* the request is this one; or NULL */
	struct recent *latest;	/* of those that came again */
	struct recent recents[SERVER_RECENTS];
	struct err err;		/* or refused; here, because it is large */

	int64_t date;		/* what date_line says, Unix seconds */
	char date_line[40];
	size_t date_len;
	struct epoll_event events[SERVER_BATCH];
	char in[HTTP_MAX_HEAD];
	char scratch[SERVER_SCRATCH];
	size_t scratch_len;	/* of it holds answers that have gone out */
};

/* server.c */
bool server_watch(struct http_server *s, int fd, void *what);	/* for input */

/* loop.c */
int loop_add_sources(struct http_server *s);
void loop_arm(struct http_server *s, uint64_t when);
void loop_wake(struct http_server *s);	/* look at the queues soon */
void loop_wipe(struct http_server *s);
void loop_read_clocks(struct http_server *s);
/* What comes next may touch sd-event's sources, and takes its time from it. */
void loop_turn(struct http_server *s);
void loop_reap(struct http_server *s);	/* free who has been closed */
bool loop_is_quiet(const struct http_server *s); /* nothing is waited for */

/* accept.c */
void accept_one(struct http_server *s, const struct listener *l);
void accept_again(struct http_server *s);	/* after a pause */

/* conn.c */
struct conn *conn_new(struct http_server *s, int fd, int tag);
void conn_free(struct conn *c);			/* closed and out of its queue */
void conn_close(struct conn *c);
void conn_admitted(struct conn *c, bool stranger);	/* c->ctx is set */
void conn_forget(struct conn *c);		/* what admit() gave */
void conn_enqueue(struct conn *c, enum conn_queue queue);
void conn_arm(struct conn *c, uint32_t events);
void conn_on_event(struct conn *c, uint32_t events);
void conn_on_timeout(struct conn *c);
void conn_resume(struct conn *c);		/* from QUEUE_READY */
void conn_refuse(struct conn *c, const struct err *e, bool linger);
void conn_sent(struct conn *c);			/* all output is out */

/* held.c */
struct held *held_get(struct conn *c);		/* what c holds, from now on */
void held_free(struct conn *c);
void held_drop_input(struct conn *c);
void held_drop_output(struct conn *c);
/* Count a buffer of new bytes in place of one of old bytes: 0, or nothing is
   counted: -ENOBUFS where all connections together hold too much, -EDQUOT where
   the peer's do. */
int held_charge(struct conn *c, size_t old, size_t new);
/* Room for size bytes of input; negative: held_charge()'s. */
int held_reserve(struct conn *c, size_t size);
/* Keep input that cannot be used yet, likewise; own: it is in the own buffer
   already. */
int held_keep(struct conn *c, const char *p, size_t len, bool own);

/* recent.c: http_parse(), but that what is there again is not read again. */
ssize_t recent_parse(struct conn *c, const char *p, size_t len, size_t *scanned,
		     struct err *e);
void recent_clear(struct http_server *s);

/* exchange.c */
void exchange_gone(struct conn *c);		/* its client is */
void exchange_flush(struct conn *c);		/* unsent output, some more */
