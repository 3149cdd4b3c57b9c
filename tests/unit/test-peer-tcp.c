/* SPDX-License-Identifier: Apache-2.0 */

/* Whose socket is at the other end of a TCP connection, and when nobody knows. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "api/peer_tcp.h"

#define OTHER	1000

/* A connection of our own, both ends. */
struct tcp {
	int diag, listener, client, server;
	struct sockaddr_storage at, from;	/* where it listens; the client's */
	socklen_t len;
	struct peer p;
};

static socklen_t
loopback(int family, struct sockaddr_storage *ret)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
	struct sockaddr_in *in = (struct sockaddr_in *)ret;

	memset(ret, 0, sizeof(*ret));
	ret->ss_family = (sa_family_t)family;
	if (family == AF_INET) {
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		return sizeof(*in);
	}
	in6->sin6_addr = in6addr_loopback;
	return sizeof(*in6);
}

/* Its port may be bound again at once. */
static int
new_socket(int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	assert_true(fd >= 0);
	assert_return_code(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one,
				      sizeof(one)), errno);
	return fd;
}

static void
listen_on(struct tcp *t, int family)
{
	socklen_t len = sizeof(t->at);

	*t = (struct tcp){ .diag = peer_tcp_open(), .client = -1, .server = -1 };
	assert_true(t->diag >= 0);
	t->len = loopback(family, &t->at);
	t->listener = new_socket(family);
	assert_return_code(bind(t->listener, (struct sockaddr *)&t->at, t->len),
			   errno);
	assert_return_code(listen(t->listener, 8), errno);
	assert_return_code(getsockname(t->listener, (struct sockaddr *)&t->at,
				       &len), errno);
}

/* The client is connected by now: so the kernel has the other end, too. */
static void
take(struct tcp *t)
{
	socklen_t len = sizeof(t->from);

	t->server = accept4(t->listener, (struct sockaddr *)&t->from, &len,
			    SOCK_CLOEXEC);
	assert_true(t->server >= 0);
	peer_tcp_init(&t->p, t->server, t->diag);
}

static void
come(struct tcp *t, int family)
{
	listen_on(t, family);
	t->client = new_socket(family);
	assert_return_code(connect(t->client, (struct sockaddr *)&t->at, t->len),
			   errno);
	take(t);
}

static void
end(struct tcp *t)
{
	peer_clear(&t->p);
	closep(&t->client);
	closep(&t->server);
	closep(&t->listener);
	closep(&t->diag);
}

static bool
known(struct tcp *t)
{
	peer_tcp_recheck(&t->p, t->diag);
	return t->p.known;
}

static void
client_close(struct tcp *t)
{
	close(t->client);
	t->client = -1;
}

/* Resets the connection. */
static void
client_abort(struct tcp *t)
{
	const struct linger now = { .l_onoff = 1 };

	assert_return_code(setsockopt(t->client, SOL_SOCKET, SO_LINGER, &now,
				      sizeof(now)), errno);
	client_close(t);
}

/* Says nothing to the other end, where the kernel lets us. */
static void
client_vanish(struct tcp *t)
{
	int on = 1;

	if (setsockopt(t->client, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) < 0)
		client_abort(t);
	else
		client_close(t);
}

static int families[] = { AF_INET, AF_INET6 };

static void
the_uid_is_known_and_nothing_else(void **state _unused_)
{
	char show[PEER_SHOW_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct tcp t;

		come(&t, families[i]);
		assert_true(t.p.known && t.p.tcp);
		assert_int_equal(t.p.uid, geteuid());
		assert_int_equal(t.p.gid, (gid_t)-1);
		assert_int_equal(t.p.pid, -1);
		peer_need(&t.p, NULL, PEER_GROUPS | PEER_PROCESS);
		assert_false(t.p.groups_known);
		assert_null(t.p.cgroup);
		assert_int_equal(t.p.host, TRI_UNKNOWN);
		peer_recheck(&t.p);
		assert_true(known(&t));
		assert_int_equal(peer_tcp_port(&t.p), ntohs(((struct sockaddr_in *)
							     &t.at)->sin_port));
		assert_non_null(strstr(peer_show(&t.p, show), "over TCP, where"));
		end(&t);
	}
}

static void
another_users_socket_is_that_users(void **state _unused_)
{
	struct tcp t;

	if (geteuid() != 0) {
		print_message("# seteuid() needs root\n");
		skip();
	}
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		listen_on(&t, families[i]);
		assert_return_code(seteuid(OTHER), errno);
		t.client = new_socket(families[i]);
		assert_return_code(seteuid(0), errno);
		assert_return_code(connect(t.client, (struct sockaddr *)&t.at,
					   t.len), errno);
		take(&t);
		assert_true(known(&t));
		assert_int_equal(t.p.uid, OTHER);
		end(&t);
	}
}

static void
an_ipv4_connection_of_an_ipv6_socket_is_known(void **state _unused_)
{
	struct sockaddr_in6 mapped = { .sin6_family = AF_INET6 };
	struct tcp t;

	listen_on(&t, AF_INET);
	mapped.sin6_port = ((struct sockaddr_in *)&t.at)->sin_port;
	assert_int_equal(inet_pton(AF_INET6, "::ffff:127.0.0.1", &mapped.sin6_addr),
			 1);
	t.client = new_socket(AF_INET6);
	assert_return_code(connect(t.client, (struct sockaddr *)&mapped,
				   sizeof(mapped)), errno);
	take(&t);
	assert_true(known(&t));
	assert_int_equal(t.p.uid, geteuid());
	end(&t);
}

static void
whoever_has_half_closed_is_known(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct tcp t;

		come(&t, families[i]);
		assert_return_code(shutdown(t.client, SHUT_WR), errno);
		assert_true(known(&t));
		end(&t);
	}
}

/* The kernel says uid 0 of each of these, which is not root. */
static void
whoever_has_closed_is_unknown_for_good(void **state _unused_)
{
	static void (*const ways[])(struct tcp *) = { client_close, client_abort };

	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		for (size_t w = 0; w < ARRAY_SIZE(ways); w++) {
			struct peer late;
			struct tcp t;

			come(&t, families[i]);
			ways[w](&t);
			assert_false(known(&t));
			assert_int_equal(t.p.uid, (uid_t)-1);
			assert_false(known(&t));
			/* Before anybody had looked, too. */
			peer_tcp_init(&late, t.server, t.diag);
			assert_false(late.known);
			peer_clear(&late);
			end(&t);
		}
}

static void
a_socket_given_to_another_user_is_unknown(void **state _unused_)
{
	struct tcp t;

	come(&t, AF_INET);
	if (fchown(t.client, OTHER, (gid_t)-1) < 0) {
		end(&t);
		print_message("# fchown() needs root\n");
		skip();
	}
	assert_false(known(&t));
	end(&t);
}

/* Both have closed: the client's is in TIME_WAIT. */
static void
time_wait_is_unknown(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct tcp t;

		come(&t, families[i]);
		client_close(&t);
		assert_return_code(shutdown(t.server, SHUT_WR), errno);
		assert_false(known(&t));
		end(&t);
	}
}

static void
a_socket_handed_on_is_known_until_the_last_has_closed_it(void **state _unused_)
{
	struct tcp t;
	int status;
	pid_t pid;

	come(&t, AF_INET);
	pid = fork();
	if (pid == 0)
		for (;;)
			pause();
	client_close(&t);
	assert_true(known(&t));
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_false(known(&t));
	end(&t);
}

/* Somebody else's, with the same addresses and ports. */
static void
a_squatter_on_the_same_port_is_another_one(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		socklen_t len = sizeof(struct sockaddr_storage);
		struct sockaddr_storage from;
		struct peer second;
		struct tcp t;
		int old;

		come(&t, families[i]);
		from = t.from;
		old = t.server;
		client_abort(&t);
		t.client = new_socket(families[i]);
		assert_return_code(bind(t.client, (struct sockaddr *)&from, t.len),
				   errno);
		assert_return_code(connect(t.client, (struct sockaddr *)&t.at,
					   t.len), errno);
		t.server = accept4(t.listener, (struct sockaddr *)&from, &len, 0);
		peer_tcp_init(&second, t.server, t.diag);
		assert_true(second.known);
		assert_memory_equal(&from, &t.from, t.len);
		assert_false(known(&t));
		peer_clear(&second);
		close(old);
		end(&t);
	}
}

/* The kernel looks for a listening socket where it finds no connection. */
static void
who_listens_on_the_clients_port_is_not_the_client(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct peer late;
		struct tcp t;
		int squatter;

		come(&t, families[i]);
		client_vanish(&t);
		squatter = new_socket(families[i]);
		assert_return_code(bind(squatter, (struct sockaddr *)&t.from,
					t.len), errno);
		assert_return_code(listen(squatter, 1), errno);
		assert_false(known(&t));
		peer_tcp_init(&late, t.server, t.diag);
		assert_false(late.known);
		peer_clear(&late);
		close(squatter);
		end(&t);
	}
}

static void
nobody_is_known_where_the_kernel_cannot_be_asked(void **state _unused_)
{
	struct peer p;
	struct tcp t;

	come(&t, AF_INET);
	peer_tcp_init(&p, t.server, -1);
	assert_true(p.tcp);
	assert_false(p.known);
	peer_clear(&p);
	close(t.diag);
	t.diag = -1;
	assert_false(known(&t));
	end(&t);
}

static void
what_is_no_tcp_connection_is_none(void **state _unused_)
{
	int diag = peer_tcp_open(), fd = socket(AF_INET, SOCK_STREAM, 0), pair[2];
	struct peer p;

	peer_tcp_init(&p, fd, diag);
	assert_false(p.tcp || p.known);
	peer_clear(&p);
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), errno);
	peer_tcp_init(&p, pair[0], diag);
	assert_false(p.tcp || p.known);
	assert_int_equal(peer_tcp_port(&p), 0);
	peer_clear(&p);
	close(pair[0]);
	close(pair[1]);
	close(fd);
	close(diag);
}

/* An answer that was never read is not taken for the next one's. */
static void
each_answer_is_its_questions(void **state _unused_)
{
	struct tcp gone, here;

	come(&gone, AF_INET);
	come(&here, AF_INET);
	client_close(&gone);
	for (int i = 0; i < 100; i++) {
		struct peer p;

		peer_tcp_init(&p, i % 2 ? here.server : gone.server, here.diag);
		assert_int_equal(p.known, i % 2);
		peer_clear(&p);
	}
	end(&gone);
	end(&here);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_uid_is_known_and_nothing_else),
		cmocka_unit_test(another_users_socket_is_that_users),
		cmocka_unit_test(an_ipv4_connection_of_an_ipv6_socket_is_known),
		cmocka_unit_test(whoever_has_half_closed_is_known),
		cmocka_unit_test(whoever_has_closed_is_unknown_for_good),
		cmocka_unit_test(a_socket_given_to_another_user_is_unknown),
		cmocka_unit_test(time_wait_is_unknown),
		cmocka_unit_test(
			a_socket_handed_on_is_known_until_the_last_has_closed_it),
		cmocka_unit_test(a_squatter_on_the_same_port_is_another_one),
		cmocka_unit_test(who_listens_on_the_clients_port_is_not_the_client),
		cmocka_unit_test(nobody_is_known_where_the_kernel_cannot_be_asked),
		cmocka_unit_test(what_is_no_tcp_connection_is_none),
		cmocka_unit_test(each_answer_is_its_questions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
