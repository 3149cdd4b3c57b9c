/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A server on a Unix socket of its own, with a handler that answers by path:

	/now	at once, "hello\n"
	/later	when the test says so, with later()
	/big	at once, BIG bytes
	/echo	at once, with the request's body
	/close	at once, closing
	/timer	at once, and a millisecond later it has fired
	/note	at once, with what was noted of the same request before; ahead of
		sd-event while that is at_hand

   Clients are plain non-blocking sockets; whoever waits turns the loop. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <cmocka.h>

#include "http/server.h"

#define BIG		(1024 * 1024)
#define DEADLINE_SEC	60

#define EVERY		"Metadata-Flavor: Google\r\n"
#define HELLO_LINES	"Date: DATE\r\nContent-Length: 6\r\n" \
			"Content-Type: text/plain\r\n" EVERY
#define HELLO		"HTTP/1.1 200 OK\r\n" HELLO_LINES "\r\nhello\n"
#define HELLO_CLOSE	"HTTP/1.1 200 OK\r\n" HELLO_LINES \
			"Connection: close\r\n\r\nhello\n"
#define ASK(path)	"GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"
#define POST(len)	"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: " \
			len "\r\n\r\n"

struct fixture {
	sd_event *event;
	struct http_server *server;
	time_t end;			/* no test lasts longer */
	char dir[32];
	struct sockaddr_un sun;
	unsigned admitted, forgotten, requests, refused, gone, drained;
	unsigned kept, dropped;		/* notes */
	bool at_hand;
	unsigned asked_again;		/* at hand or not */
	uint64_t turn;			/* sd_event_now() when last called */
	bool fired;			/* a timer has */
	struct err *admit_error;	/* set: nobody is admitted */
	bool strangers;			/* who is admitted is one */
	bool privileged;		/* whoever asks */
	int fd;				/* of who was admitted last */
	size_t charged, charge_max;	/* by all; 0: any */
	struct http_exchange *waiting[8];
	unsigned n_waiting;
};

static struct fixture *fixture;		/* gone() has no other way to it */

static int
on_admit(void *userdata, int fd, int tag, void **ret_ctx, struct err *e)
{
	struct fixture *f = userdata;

	assert_true(fd >= 0);
	assert_int_equal(tag, 7);
	if (f->admit_error) {
		*e = *f->admit_error;
		return err_kind_errno(e->kind);
	}
	f->admitted++;
	f->fd = fd;
	*ret_ctx = &f->forgotten;
	return f->strangers ? HTTP_STRANGER : 0;
}

static bool
on_privileged(void *userdata, void *ctx)
{
	struct fixture *f = userdata;

	assert_ptr_equal(ctx, &f->forgotten);
	return f->privileged;
}

static bool
on_charge(void *userdata, void *ctx, size_t old, size_t new)
{
	struct fixture *f = userdata;

	assert_ptr_equal(ctx, &f->forgotten);
	assert_true(old <= f->charged);
	if (f->charge_max > 0 && new > old &&
	    f->charged - old + new > f->charge_max)
		return false;
	f->charged = f->charged - old + new;
	return true;
}

static void
on_forget(void *userdata, void *ctx)
{
	struct fixture *f = userdata;

	assert_ptr_equal(ctx, &f->forgotten);
	f->forgotten++;
}

static void
on_gone(void *userdata)
{
	assert_ptr_equal(userdata, fixture);
	fixture->gone++;
	assert_true(sd_event_now(fixture->event, CLOCK_BOOTTIME,
				 &fixture->turn) >= 0);
}

static void
hello(struct http_exchange *x, bool close)
{
	http_exchange_reply(x, &(struct http_reply){
		.status = 200, .content_type = "text/plain",
		.body = "hello\n", .body_len = 6, .close = close,
	});
}

/* Answers with the note, "-\n" where there is none yet; the note is the query. */
static void
answer_note(struct fixture *f, struct http_exchange *x)
{
	struct http_span query = http_exchange_head(x)->query;
	const char *note = http_exchange_note(x);

	http_exchange_reply(x, &(struct http_reply){
		.status = 200, .body = note ? note : "-",
		.body_len = note ? strlen(note) : 1,
	});
	if (note || !http_exchange_keeps(x))
		return;
	f->kept++;
	http_exchange_keep(x, xstrndup(query.p, query.len));
}

static int
on_fired(_unused_ sd_event_source *s, _unused_ uint64_t usec, void *userdata)
{
	*(bool *)userdata = true;
	return 0;
}

static void
on_drop(void *userdata, void *note)
{
	struct fixture *f = userdata;

	f->dropped++;
	free(note);
}

static void
on_request(void *userdata, struct http_exchange *x)
{
	const struct http_head *h = http_exchange_head(x);
	struct http_span body = http_exchange_body(x);
	struct fixture *f = userdata;

	f->requests++;
	assert_true(sd_event_now(f->event, CLOCK_BOOTTIME, &f->turn) >= 0);
	assert_int_equal(f->turn, http_exchange_now(x));
	assert_ptr_equal(http_exchange_ctx(x), &f->forgotten);
	assert_int_equal(http_exchange_tag(x), 7);
	if (http_span_is(h->path, "/now")) {
		hello(x, false);
	} else if (http_span_is(h->path, "/close")) {
		hello(x, true);
	} else if (http_span_is(h->path, "/timer")) {
		assert_true(sd_event_add_time_relative(f->event, NULL,
			    CLOCK_BOOTTIME, USEC_PER_MSEC, 1, on_fired,
			    &f->fired) >= 0);
		hello(x, false);
	} else if (http_span_is(h->path, "/note")) {
		answer_note(f, x);
	} else if (http_span_is(h->path, "/echo")) {
		http_exchange_reply(x, &(struct http_reply){
			.status = 200, .body = body.p, .body_len = body.len,
		});
	} else if (http_span_is(h->path, "/big")) {
		_cleanup_(freep) char *big = xcalloc(BIG, 1);

		memset(big, 'b', BIG);
		http_exchange_reply(x, &(struct http_reply){
			.status = 200, .body = big, .body_len = BIG,
		});
	} else {
		assert_true(http_span_is(h->path, "/later"));
		http_exchange_on_gone(x, on_gone, f);
		f->waiting[f->n_waiting++] = x;
	}
}

static bool
on_again(void *userdata, struct http_exchange *x)
{
	struct fixture *f = userdata;

	f->asked_again++;
	assert_non_null(http_exchange_note(x));
	if (f->at_hand)
		answer_note(f, x);
	return f->at_hand;
}

static void
on_refuse(void *userdata, struct http_exchange *x, const struct err *e)
{
	struct fixture *f = userdata;

	f->refused++;
	assert_null(http_exchange_head(x)->path.p);
	http_exchange_reply(x, &(struct http_reply){
		.status = err_http_status(e), .body = e->msg,
		.body_len = strlen(e->msg), .close = true,
	});
}

static _unused_ void
on_drained(void *userdata)
{
	struct fixture *f = userdata;

	f->drained++;
}

static _unused_ void
later(struct fixture *f, unsigned i)
{
	hello(f->waiting[i], false);
}

/* Options that never get into the way. */
static struct http_server_options
roomy(void)
{
	return (struct http_server_options){
		.max_connections = 100,
		.max_strangers = 100,
		.stranger_body = HTTP_MAX_BODY,
		.head_usec = 60 * USEC_PER_SEC,
		.body_usec = 60 * USEC_PER_SEC,
		.idle_usec = 60 * USEC_PER_SEC,
		.write_usec = 60 * USEC_PER_SEC,
		.lifetime_usec = 900 * USEC_PER_SEC,
		.max_buffers = 16 * 1024 * 1024,
		.every_answer = EVERY,
	};
}

static void
server_start(struct fixture *f, const struct http_server_options *o)
{
	static const struct http_server_ops ops = {
		.admit = on_admit, .forget = on_forget,
		.privileged = on_privileged, .charge = on_charge,
		.request = on_request, .again = on_again,
		.refuse = on_refuse, .drop = on_drop,
	};
	int fd;

	*f = (struct fixture){ .dir = "/tmp/test-server-XXXXXX" };
	f->end = time(NULL) + DEADLINE_SEC;
	fixture = f;
	assert_non_null(mkdtemp(f->dir));
	f->sun.sun_family = AF_UNIX;
	snprintf(f->sun.sun_path, sizeof(f->sun.sun_path), "%s/sock", f->dir);

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&f->sun, sizeof(f->sun)), 0);
	assert_int_equal(listen(fd, 128), 0);

	assert_true(sd_event_new(&f->event) >= 0);
	assert_int_equal(http_server_new(f->event, o, &ops, f, &f->server, NULL),
			 0);
	assert_int_equal(http_server_listen(f->server, fd, 7, NULL), 0);
}

static void
server_stop(struct fixture *f)
{
	f->server = http_server_free(f->server);
	assert_int_equal(f->admitted, f->forgotten);
	assert_int_equal(f->charged, 0);
	assert_int_equal(f->kept, f->dropped);
	sd_event_unref(f->event);
	unlink(f->sun.sun_path);
	rmdir(f->dir);
}

/* Of a group of tests whose server never gets into the way. */
static _unused_ int
setup_roomy(void **state)
{
	static struct fixture f;
	struct http_server_options o = roomy();

	server_start(&f, &o);
	*state = &f;
	return 0;
}

static _unused_ int
teardown(void **state)
{
	server_stop(*state);
	return 0;
}

static void
turn(struct fixture *f)
{
	assert_true(time(NULL) <= f->end);
	assert_true(http_server_run(f->server, 2000) >= 0);
}

#define UNTIL(f, condition) \
	do { while (!(condition)) turn(f); } while (0)

/* Whatever the loop has to do without waiting. */
static void
settle(struct fixture *f)
{
	for (int i = 0; i < 3; i++)
		while (http_server_run(f->server, 0) > 0)
			;
}

static int
client_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	return fd;
}

static int
client(struct fixture *f)
{
	int fd = client_socket();

	assert_int_equal(connect(fd, (struct sockaddr *)&f->sun,
				 sizeof(f->sun)), 0);
	return fd;
}

static void
say_bytes(struct fixture *f, int fd, const char *p, size_t len)
{
	ssize_t n;

	for (; len > 0; p += n, len -= (size_t)n) {
		n = send(fd, p, len, MSG_NOSIGNAL);
		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			n = 0;
			turn(f);
		}
	}
}

static void
say(struct fixture *f, int fd, const char *text)
{
	say_bytes(f, fd, text, strlen(text));
}

/* Read len bytes, or up to the end; returns their number. */
static size_t
hear(struct fixture *f, int fd, char *p, size_t len)
{
	size_t got = 0;
	ssize_t n;

	while (got < len) {
		n = recv(fd, p + got, len - got, 0);
		if (n == 0)
			break;
		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			n = 0;
			turn(f);
		}
		got += (size_t)n;
	}
	return got;
}

/* Exactly these bytes come; "DATE" stands for any date. */
static void
expect(struct fixture *f, int fd, const char *text)
{
	const char *date = strstr(text, "DATE");
	char got[1024] = "", now[30];
	size_t len;

	if (!date) {
		len = hear(f, fd, got, strlen(text));
		got[len] = '\0';
		assert_string_equal(got, text);
		return;
	}
	len = hear(f, fd, got, (size_t)(date - text));
	assert_memory_equal(got, text, date - text);
	assert_int_equal(hear(f, fd, now, 29), 29);
	assert_memory_equal(now + 25, " GMT", 4);
	expect(f, fd, date + 4);
}

static void
expect_end(struct fixture *f, int fd)
{
	char c;

	assert_int_equal(hear(f, fd, &c, 1), 0);
	close(fd);
}

/* An error answer with that status, then the end and no reset. */
static void
hear_refusal(struct fixture *f, int fd, unsigned status)
{
	char got[2048], line[32];
	size_t len = hear(f, fd, got, sizeof(got) - 1);

	got[len] = '\0';
	snprintf(line, sizeof(line), "HTTP/1.1 %u ", status);
	assert_memory_equal(got, line, strlen(line));
	assert_non_null(strstr(got, "\r\nConnection: close\r\n\r\n"));
}

static _unused_ void
expect_refusal(struct fixture *f, int fd, unsigned status)
{
	hear_refusal(f, fd, status);
	close(fd);
}
