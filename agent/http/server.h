/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* HTTP/1.1 on listening sockets: accepts, reads one request at a time, hands it
   up, writes the answer back.  Knows nothing of paths, peers or policy.

   One exchange is one request and its answer.  Whoever receives it must answer
   it once, now or later; if the client leaves first, the exchange says so and
   needs no answer any more.

   Handlers are called by the event loop and by http_server_free(), never by
   http_exchange_reply(), which may therefore be called from anywhere.

   All client connections live in one epoll instance of the server's own, which
   is a single source of the event loop: one sd-event source per connection costs
   several times the CPU of the whole request. */

#include <systemd/sd-event.h>

#include "base/base.h"
#include "base/err.h"
#include "http/parse.h"

struct http_server;
struct http_exchange;

struct http_server_options {
	unsigned max_connections;
	unsigned max_strangers;	/* of them */
	size_t stranger_body;	/* bytes of a body that a stranger may send */
	int client_fds;		/* clients have descriptors below this number, which
				   leaves the rest to those who are privileged, and
				   to the process; 0: any */
	uint64_t head_usec;	/* from a head's first byte to its last */
	uint64_t body_usec;	/* from there to the body's last */
	uint64_t idle_usec;	/* between requests */
	uint64_t write_usec;	/* unsent output */
	uint64_t lifetime_usec;	/* then the next answer closes the connection */
	uint64_t late_usec;	/* stopping: for requests that are on their way */
	size_t max_buffers;	/* bytes of all connections' own buffers together */
	const char *every_answer; /* lines of all answers, "Name: value\r\n..." */
};

/* A stranger is let in, and gets less: where a limit is reached, the one that has
   been idle for longest is closed to make room. */
#define HTTP_STRANGER	1

struct http_server_ops {
	/* A connection came in on a listener.  0 or HTTP_STRANGER, with *ret_ctx
	   belonging to the connection until forget(); negative: e is sent as the
	   answer to the first request, by way of refuse(), and the connection
	   closed, as soon as it is accepted where many are held for that.  The
	   kernel's view of the peer is asked here, once. */
	int (*admit)(void *userdata, int fd, int listener_tag, void **ret_ctx,
		     struct err *e);
	void (*forget)(void *userdata, void *ctx);
	/* There is no room: is this one let in all the same?  NULL: nobody is.
	   Who is not is forgotten, and answered ERR_BUSY. */
	bool (*privileged)(void *userdata, void *ctx);
	/* A buffer of new bytes is about to take the place of one of old bytes:
	   false if its peer holds too much then (never where it shrinks).  NULL:
	   nobody does. */
	bool (*charge)(void *userdata, void *ctx, size_t old, size_t new);
	/* A request is whole.  The spans of its head, and its body, live until
	   this returns: what a later answer needs has to be copied. */
	void (*request)(void *userdata, struct http_exchange *x);
	/* The same, for one that was kept with a note: answered from what is at
	   hand, or false, and it is a request like any other.  NULL: none is. */
	bool (*again)(void *userdata, struct http_exchange *x);
	/* Something came that is no request: to be answered from e; the
	   connection is closed behind the answer.  The head is empty, and so is
	   the context of a connection that was not admitted. */
	void (*refuse)(void *userdata, struct http_exchange *x,
		       const struct err *e);
	/* Frees what http_exchange_keep() was given. */
	void (*drop)(void *userdata, void *note);
};

/* again(), admit(), privileged(), charge() and forget() run ahead of sd-event:
   they leave its sources and sd_event_now() alone. */
int http_server_new(sd_event *event, const struct http_server_options *o,
		    const struct http_server_ops *ops, void *userdata,
		    struct http_server **ret, struct err *e);
/* Closes everything; exchanges in flight are told that their client is gone. */
struct http_server *http_server_free(struct http_server *s);
DEFINE_CLEANUP(struct http_server *, http_server_free)

/* Serve a listening socket; the server owns fd from here on, also on failure. */
int http_server_listen(struct http_server *s, int fd, int tag, struct err *e);

/* Other limits and times from now on, also for the connections that are there;
   every_answer stays what it was.  May be called from a handler. */
void http_server_configure(struct http_server *s,
			   const struct http_server_options *o);

/* One turn of the event loop, with clients ahead of whatever else sd-event has:
   sd_event_run(), which sees no clients, and returns the same. */
int http_server_run(struct http_server *s, uint64_t usec);
/* Turns until sd_event_exit(); its code, or negative.  Nobody frees the server
   meanwhile. */
int http_server_loop(struct http_server *s);

/* Stop: no new connections (closes the listeners), every answer closes its
   connection; idle ones are closed by the loop, after a look whether a request
   has come in on them; new ones, which have not asked yet, and requests that have
   come in part are waited for, late_usec: who has just connected cannot know.
   drained() runs once, when the last exchange has been answered and sent, and
   may free the server; from here if there is no connection and no exchange. */
void http_server_drain(struct http_server *s, void (*drained)(void *userdata),
		       void *userdata);

/* From now on it is another era: what those who wait by http_exchange_on_gone()
   already hold may be of the one that ends here, which is returned.  left() is told
   each time that an earlier era has nobody any more who waits: from inside of
   answers, so it frees nothing itself.  -EBUSY: so many eras have somebody. */
#define HTTP_ERAS	8
int http_server_begin_era(struct http_server *s, void (*left)(void *userdata),
			  void *userdata);
unsigned http_server_waiting(const struct http_server *s, int era);

unsigned http_server_connections(const struct http_server *s);

struct http_server_counts {
	unsigned connections;	/* open now ... */
	unsigned most;		/* ... of options.max_connections */
	unsigned strangers;	/* of those open now ... */
	unsigned most_strangers; /* ... of options.max_strangers */
	size_t buffers;		/* bytes, of options.max_buffers */
	uint64_t accepted;	/* so far, those turned away among them */
	uint64_t turned_away;	/* by max_connections or max_strangers, or for
				   lack of descriptors */
	uint64_t refused;	/* by admit() */
	uint64_t strangers_closed; /* to make room */
	uint64_t malformed;	/* what came and was no request */
};
void http_server_count(const struct http_server *s,
		       struct http_server_counts *ret);

const struct http_head *http_exchange_head(const struct http_exchange *x);
struct http_span http_exchange_body(const struct http_exchange *x);
void *http_exchange_ctx(const struct http_exchange *x);	/* from admit() */
/* http_server_now(), and cheap. */
uint64_t http_exchange_now(const struct http_exchange *x);
/* CLOCK_REALTIME of the same moment, in a handler. */
int64_t http_exchange_wall(const struct http_exchange *x);
void *http_exchange_userdata(const struct http_exchange *x); /* the server's */
int http_exchange_tag(const struct http_exchange *x);	/* the listener's */
const struct http_server *http_exchange_server(const struct http_exchange *x);

/* What a handler has made of a request that may come again, byte for byte: a note,
   kept with the request, to be found when it does.  Whatever does not follow from
   the head alone is the handler's to check again.  All only while request() runs.
   keep takes over note, and must not be called where keeps says no. */
void *http_exchange_note(const struct http_exchange *x);	/* or NULL */
bool http_exchange_keeps(const struct http_exchange *x);
void http_exchange_keep(struct http_exchange *x, void *note);

/* Something that a handler holds for the request counts as its connection's buffers
   do: new bytes in place of old ones.  -ENOBUFS where all have too many then,
   -EDQUOT where its peer has, and nothing is counted (never where it shrinks).  To
   be given back before the exchange is gone. */
int http_exchange_charge(struct http_exchange *x, size_t old, size_t new);

/* Called if the client leaves before the answer; the exchange is gone then, and
   whatever the answer would have needed is to be dropped. */
void http_exchange_on_gone(struct http_exchange *x, void (*gone)(void *userdata),
			   void *userdata);

struct http_reply {
	unsigned status;
	const char *content_type;	/* NULL: none */
	const char *fields;	/* further lines, each with its CRLF; or NULL */
	const void *body;	/* copied, or sent at once; wiped */
	size_t body_len;
	bool close;		/* close behind it, whatever the client asked */
};

/* Ends the exchange; x is gone after.  To HEAD the body is not sent. */
void http_exchange_reply(struct http_exchange *x, const struct http_reply *r);

/* CLOCK_BOOTTIME, microseconds, read once per turn of the event loop. */
uint64_t http_server_now(const struct http_server *s);
