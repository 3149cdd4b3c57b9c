/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "answer.h"
#include "conn.h"

#define HEAD "HTTP/1.1 200 OK\r\n"

/* Feed text in pieces, then close.  1 or a negative errno. */
static int
feed(struct answer *a, const char *text, size_t len, size_t piece)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < len; i += piece)
		r = answer_feed(a, text + i, len - i < piece ? len - i : piece);
	return r == 0 ? answer_end(a) : r;
}

static int
try(const char *text, size_t len, size_t piece)
{
	struct answer a = { 0 };
	int r = feed(&a, text, len, piece);

	answer_clear(&a);
	assert_null(a.body);
	return r;
}

static const struct {
	const char *text;
	int status;
	const char *body;
} good[] = {
	{ HEAD "Content-Length: 3\r\n\r\nabc", 200, "abc" },
	{ HEAD "content-length:3\r\n\r\nabc", 200, "abc" },
	{ HEAD "Content-Length: \t3 \t\r\n\r\nabc", 200, "abc" },
	{ HEAD "\r\nabc", 200, "abc" },
	{ HEAD "\r\n", 200, "" },
	{ HEAD "Content-Length: 0\r\n\r\n", 200, "" },
	{ HEAD "Empty:\r\nX: caf\303\251\r\n\r\nabc", 200, "abc" },
	{ "HTTP/1.1 204 No Content\r\n\r\n", 204, "" },
	{ "HTTP/1.1 404 \r\nContent-Length: 2\r\n\r\nno", 404, "no" },
};

static void
good_answers_are_read_in_pieces_of_any_size(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		size_t len = strlen(good[i].text);

		for (size_t piece = 1; piece <= len; piece++) {
			struct answer a = { 0 };

			assert_int_equal(feed(&a, good[i].text, len, piece), 1);
			assert_int_equal(a.status, good[i].status);
			assert_string_equal(a.body, good[i].body);
			answer_clear(&a);
		}
	}
}

static const char *const bad[] = {
	"",
	"HTTP/1.1 200",
	"SSH-2.0-OpenSSH_9.2\r\n",
	"HTTP/1.0 200 OK\r\n\r\n",
	"HTTP/2 200 OK\r\n\r\n",
	"HTTP/1.1  200 OK\r\n\r\n",
	"HTTP/1.1 20 OK\r\n\r\n",
	"HTTP/1.1 2000 OK\r\n\r\n",
	"HTTP/1.1 200\r\n\r\n",
	"HTTP/1.1 100 Continue\r\n\r\n",
	"HTTP/1.1 600 Odd\r\n\r\n",
	"HTTP/1.1 -20 Odd\r\n\r\n",
	"HTTP/1.1 200 OK\n\n",
	HEAD "A: b\n\r\n",
	HEAD "A: b\rc\r\n\r\n",
	HEAD "A: \001\r\n\r\n",
	HEAD "A: \177\r\n\r\n",
	HEAD "A b\r\n\r\n",
	HEAD "A : b\r\n\r\n",
	HEAD ": b\r\n\r\n",
	HEAD "A: b\r\n folded\r\n\r\n",
	HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	HEAD "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
	HEAD "Content-Length: 3\r\n\r\nab",
	HEAD "Content-Length: +3\r\n\r\nabc",
	HEAD "Content-Length: -3\r\n\r\nabc",
	HEAD "Content-Length: 0x3\r\n\r\nabc",
	HEAD "Content-Length: 3, 3\r\n\r\nabc",
	HEAD "Content-Length:\r\n\r\n",
	HEAD "Content-Length: 65537\r\n\r\n",
	HEAD "Content-Length: 18446744073709551619\r\n\r\nabc",
	"HTTP/1.1 204 No\r\nContent-Length: 1\r\n\r\nx",
};

static void
bad_answers_are_eproto_in_pieces_of_any_size(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		size_t len = strlen(bad[i]);

		for (size_t piece = 1; piece <= len + 1; piece++)
			if (try(bad[i], len, piece) != -EPROTO)
				fail_msg("%zu: %s", piece, bad[i]);
	}
}

static void
more_than_announced_is_eproto(void **state)
{
	static const char text[] = HEAD "Content-Length: 3\r\n\r\nabcd";
	static const char none[] = "HTTP/1.1 204 No\r\n\r\nx";

	(void)state;
	assert_int_equal(try(text, sizeof(text) - 1, sizeof(text)), -EPROTO);
	assert_int_equal(try(none, sizeof(none) - 1, sizeof(none)), -EPROTO);
}

static void
nul_in_the_head_is_eproto(void **state)
{
	static const char text[] = HEAD "A: b\0c\r\n\r\n";

	(void)state;
	assert_int_equal(try(text, sizeof(text) - 1, 1), -EPROTO);
	assert_int_equal(try(text, sizeof(text) - 1, sizeof(text)), -EPROTO);
}

static void
a_stranger_is_known_by_its_first_byte(void **state)
{
	struct answer a = { 0 };

	(void)state;
	assert_int_equal(answer_feed(&a, "S", 1), -EPROTO);
	assert_non_null(a.why);
	assert_int_equal(answer_feed(&a, "H", 1), -EPROTO);
	answer_clear(&a);
}

/* A head of exactly so many bytes. */
static char *
head_of(size_t size)
{
	static const char begin[] = HEAD "A: ", end[] = "\r\n\r\n";
	char *text = malloc(size);

	assert_non_null(text);
	memset(text, 'x', size);
	memcpy(text, begin, sizeof(begin) - 1);
	memcpy(text + size - (sizeof(end) - 1), end, sizeof(end) - 1);
	return text;
}

static void
a_head_has_a_limit(void **state)
{
	char *text;

	(void)state;
	text = head_of(ANSWER_HEAD_MAX);
	assert_int_equal(try(text, ANSWER_HEAD_MAX, 4096), 1);
	free(text);
	text = head_of(ANSWER_HEAD_MAX + 1);
	assert_int_equal(try(text, ANSWER_HEAD_MAX + 1, 4096), -EPROTO);
	assert_int_equal(try(text, ANSWER_HEAD_MAX + 1, 1), -EPROTO);
	free(text);
}

static void
fields_have_a_limit(void **state)
{
	(void)state;
	for (int n = ANSWER_FIELDS_MAX; n <= ANSWER_FIELDS_MAX + 1; n++) {
		struct answer a = { 0 };

		assert_int_equal(answer_feed(&a, HEAD, strlen(HEAD)), 0);
		for (int i = 0; i < n; i++)
			assert_int_equal(answer_feed(&a, "A: b\r\n", 6), 0);
		assert_int_equal(answer_feed(&a, "\r\n", 2),
				 n == ANSWER_FIELDS_MAX ? 0 : -EPROTO);
		answer_clear(&a);
	}
}

static void
a_body_has_a_limit_with_and_without_a_length(void **state)
{
	char *body = calloc(1, ANSWER_BODY_MAX + 1), head[80];
	struct answer a = { 0 };

	(void)state;
	assert_non_null(body);
	memset(body, 'x', ANSWER_BODY_MAX);
	snprintf(head, sizeof(head), HEAD "Content-Length: %d\r\n\r\n",
		 ANSWER_BODY_MAX);
	assert_int_equal(answer_feed(&a, head, strlen(head)), 0);
	assert_int_equal(feed(&a, body, ANSWER_BODY_MAX, 1000), 1);
	assert_string_equal(a.body, body);
	assert_int_equal(answer_feed(&a, "", 0), 1);
	assert_int_equal(answer_feed(&a, "x", 1), -EPROTO);
	answer_clear(&a);

	assert_int_equal(answer_feed(&a, HEAD "\r\n", strlen(HEAD) + 2), 0);
	assert_int_equal(feed(&a, body, ANSWER_BODY_MAX, 1000), 1);
	assert_string_equal(a.body, body);
	answer_clear(&a);

	assert_int_equal(answer_feed(&a, HEAD "\r\n", strlen(HEAD) + 2), 0);
	assert_int_equal(answer_feed(&a, body, ANSWER_BODY_MAX), 0);
	assert_int_equal(answer_feed(&a, "x", 1), -EPROTO);
	answer_clear(&a);
	free(body);
}

static struct answer
answer_of(const char *text)
{
	struct answer a = { 0 };

	assert_int_equal(feed(&a, text, strlen(text), 7), 1);
	return a;
}

static void
every_code_has_its_errno(void **state)
{
	static const struct {
		const char *code;
		int r;
	} table[] = {
		{ "internal",		-EIO },
		{ "bad-request",	-EINVAL },
		{ "denied-by-policy",	-EACCES },
		{ "not-found",		-ENOENT },
		{ "busy",		-EAGAIN },
		{ "denied-by-google",	-EREMOTEIO },
		{ "unavailable",	-EHOSTUNREACH },
		{ "timeout",		-ETIMEDOUT },
		{ "Timeout",		-EPROTO },
		{ "of-next-year",	-EPROTO },
		{ "",			-EPROTO },
	};
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct answer a;

		snprintf(text, sizeof(text), "HTTP/1.1 499 No\r\n"
			 "Gce-Oidc-Error: %s\r\n\r\n", table[i].code);
		a = answer_of(text);
		assert_int_equal(answer_verdict(&a), table[i].r);
		answer_clear(&a);
	}
}

static void
a_refusal_without_a_code_is_not_this_protocol(void **state)
{
	struct answer a = answer_of("HTTP/1.1 404 Not Found\r\n\r\n");

	(void)state;
	assert_int_equal(answer_verdict(&a), -EPROTO);
	answer_clear(&a);
}

static void
freshness_is_found_among_directives(void **state)
{
	static const struct {
		const char *value;
		int64_t seconds;
	} table[] = {
		{ "private, max-age=3599", 3599 },
		{ "max-age=0", 0 },
		{ "private,MAX-AGE=7 ", 7 },
		{ "s-maxage=5, max-age=6", 6 },
		{ "private", -1 },
		{ "max-age=", -1 },
		{ "max-age=-1", -1 },
		{ "max-age=1.5", -1 },
		{ "max-age=99999999999999999999", -1 },
		{ "", -1 },
	};
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct answer a;

		snprintf(text, sizeof(text), HEAD "Cache-Control: %s\r\n\r\n",
			 table[i].value);
		a = answer_of(text);
		assert_int_equal(answer_max_age(&a), table[i].seconds);
		answer_clear(&a);
	}
}

static void
retry_after_is_seconds_or_nothing(void **state)
{
	struct answer a = answer_of(HEAD "retry-after: 12\r\n\r\n");

	(void)state;
	assert_int_equal(answer_retry_after(&a), 12);
	answer_clear(&a);
	a = answer_of(HEAD "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n\r\n");
	assert_int_equal(answer_retry_after(&a), 0);
	answer_clear(&a);
}

static void
words_are_one_printable_line(void **state)
{
	struct answer a = answer_of(HEAD "\r\nno\033[2J\r\nrule\303\251 \n");
	char text[64];

	(void)state;
	answer_text(&a, text, sizeof(text));
	assert_string_equal(text, "no?[2J  rule??");
	answer_text(&a, text, 5);
	assert_string_equal(text, "no?[");
	answer_clear(&a);
}

static void
query_values_are_encoded_byte_by_byte(void **state)
{
	char *s = conn_encode("https://a.b/c d+e%&\r\n\303\251~-_");

	(void)state;
	assert_string_equal(s, "https%3A%2F%2Fa.b%2Fc%20d%2Be%25%26%0D%0A"
			    "%C3%A9~-_");
	free(s);
}

static void
nobody_at_the_socket_is_said_with_the_path(void **state)
{
	struct conn c;

	(void)state;
	conn_init(&c);
	assert_int_equal(conn_start(&c, "/nonexistent/a.sock", "/", "", 100),
			 -ENOTCONN);
	assert_string_equal(c.words, "no agent at /nonexistent/a.sock (No such file"
			    " or directory): systemctl status"
			    " gce-oidc-agent.socket");
	assert_int_equal(conn_fd(&c), -1);
	assert_int_equal(conn_events(&c), 0);
	assert_int_equal(conn_step(&c), -EINVAL);
	conn_clear(&c);
}

/* A listener that never accepts, and a request to it. */
static int
start_request(struct conn *c, char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 1), 0);
	conn_init(c);
	assert_int_equal(conn_start(c, path, "/", "", 1000), 0);
	assert_int_equal(conn_step(c), 0);
	return fd;
}

static void
a_request_does_not_live_on_in_a_child(void **state)
{
	char dir[] = "/tmp/test-conn.XXXXXX", path[64];
	int fd, status = -1;
	struct conn c;
	pid_t pid;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/sock", dir);
	fd = start_request(&c, path);
	pid = fork();
	if (pid == 0)
		_exit(conn_step(&c) == -ENOTCONN && conn_fd(&c) == -1 ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);

	/* and is well in the parent */
	assert_int_equal(conn_step(&c), 0);
	assert_int_equal(fcntl(conn_fd(&c), F_GETFD), FD_CLOEXEC);
	conn_clear(&c);
	close(fd);
	unlink(path);
	rmdir(dir);
}

/* In a process of its own, which cannot change back. */
static int
ask_as_another(char *path)
{
	struct conn c;
	int fd = start_request(&c, path), as = seteuid(4711);
	bool ended = conn_step(&c) == -ENOTCONN && conn_fd(&c) == -1;

	close(fd);
	return as < 0 ? 77 : ended ? 0 : 1;
}

static void
a_request_does_not_live_on_as_another_user(void **state)
{
	char dir[] = "/tmp/test-conn.XXXXXX", path[64];
	int status = -1;
	pid_t pid;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/sock", dir);
	pid = fork();
	if (pid == 0)
		_exit(ask_as_another(path));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	unlink(path);
	rmdir(dir);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();		/* not root, who could be another */
	assert_int_equal(status, 0);
}

static void
a_path_that_does_not_fit_is_refused(void **state)
{
	char path[200] = "/";
	struct conn c;

	(void)state;
	memset(path + 1, 'x', 150);
	conn_init(&c);
	assert_int_equal(conn_start(&c, path, "/", "", 100), -EINVAL);
	assert_int_equal(conn_start(&c, "", "/", "", 100), -EINVAL);
	conn_clear(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_answers_are_read_in_pieces_of_any_size),
		cmocka_unit_test(bad_answers_are_eproto_in_pieces_of_any_size),
		cmocka_unit_test(more_than_announced_is_eproto),
		cmocka_unit_test(nul_in_the_head_is_eproto),
		cmocka_unit_test(a_stranger_is_known_by_its_first_byte),
		cmocka_unit_test(a_head_has_a_limit),
		cmocka_unit_test(fields_have_a_limit),
		cmocka_unit_test(a_body_has_a_limit_with_and_without_a_length),
		cmocka_unit_test(every_code_has_its_errno),
		cmocka_unit_test(a_refusal_without_a_code_is_not_this_protocol),
		cmocka_unit_test(freshness_is_found_among_directives),
		cmocka_unit_test(retry_after_is_seconds_or_nothing),
		cmocka_unit_test(words_are_one_printable_line),
		cmocka_unit_test(query_values_are_encoded_byte_by_byte),
		cmocka_unit_test(nobody_at_the_socket_is_said_with_the_path),
		cmocka_unit_test(a_request_does_not_live_on_in_a_child),
		cmocka_unit_test(a_request_does_not_live_on_as_another_user),
		cmocka_unit_test(a_path_that_does_not_fit_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
