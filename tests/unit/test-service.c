/* SPDX-License-Identifier: Apache-2.0 */

/* What the service manager hears, and what it tells by the environment. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "service.h"

static struct sockaddr_un at = { .sun_family = AF_UNIX };
static int manager = -1;

static const char *const variables[] = {
	"NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "SYSTEMD_EXEC_PID",
	"INVOCATION_ID",
};

static int
start(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
		unsetenv(variables[i]);
	snprintf(at.sun_path, sizeof(at.sun_path), "/tmp/test-service-%d",
		 (int)getpid());
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(manager >= 0);
	assert_int_equal(bind(manager, (struct sockaddr *)&at, sizeof(at)), 0);
	return 0;
}

static int
stop(void **state _unused_)
{
	close(manager);
	unlink(at.sun_path);
	return 0;
}

/* What was said next; "" is nothing. */
static const char *
heard(void)
{
	static char text[2048];
	ssize_t n = recv(manager, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void
reload_is_dated_when_it_begins(void **state _unused_)
{
	struct timespec now;
	long long before, usec;

	setenv("NOTIFY_SOCKET", at.sun_path, 1);
	clock_gettime(CLOCK_MONOTONIC, &now);
	before = now.tv_sec * 1000000LL + now.tv_nsec / 1000;
	service_reloading();
	assert_int_equal(sscanf(heard(), "RELOADING=1\nMONOTONIC_USEC=%lld", &usec),
			 1);
	clock_gettime(CLOCK_MONOTONIC, &now);
	assert_in_range(usec, before, now.tv_sec * 1000000LL + now.tv_nsec / 1000);
	service_ready();
	assert_string_equal(heard(), "READY=1");
	service_stopping();
	assert_string_equal(heard(), "STOPPING=1");
}

static void
remark_stands_behind_each_status(void **state _unused_)
{
	setenv("NOTIFY_SOCKET", at.sun_path, 1);
	service_status("serving %d", 1);
	assert_string_equal(heard(), "STATUS=serving 1");
	service_remark("; but");
	assert_string_equal(heard(), "STATUS=serving 1; but");
	service_status("serving %d", 2);
	assert_string_equal(heard(), "STATUS=serving 2; but");
	service_remark("");
	assert_string_equal(heard(), "STATUS=serving 2");
}

static void
long_status_is_cut(void **state _unused_)
{
	char text[5000];

	setenv("NOTIFY_SOCKET", at.sun_path, 1);
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	service_status("%s", text);
	assert_int_equal(strlen(heard()), strlen("STATUS=") + 599);
}

static void
nobody_is_told_where_nobody_listens(void **state _unused_)
{
	service_ready();
	service_reloading();
	service_status("serving");
	assert_string_equal(heard(), "");
}

static void
service_manager_is_known_by_what_it_sets_for_this_process(void **state _unused_)
{
	char pid[24];

	assert_true(service_by_hand());
	/* Both are in the environment of shells that a service started. */
	setenv("INVOCATION_ID", "0123456789abcdef0123456789abcdef", 1);
	setenv("SYSTEMD_EXEC_PID", "1", 1);
	assert_true(service_by_hand());

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("SYSTEMD_EXEC_PID", pid, 1);
	assert_false(service_by_hand());
	unsetenv("SYSTEMD_EXEC_PID");
	setenv("NOTIFY_SOCKET", at.sun_path, 1);
	assert_false(service_by_hand());
	unsetenv("NOTIFY_SOCKET");
	setenv("LISTEN_PID", pid, 1);
	assert_false(service_by_hand());
}

static void
sockets_of_another_process_are_refused(void **state _unused_)
{
	static const char *const others[] = { "1", "", "x", "99999999999", "-1" };
	struct err e;
	int *fds = NULL;

	assert_int_equal(service_sockets(&fds, &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		setenv("LISTEN_PID", others[i], 1);
		setenv("LISTEN_FDS", "1", 1);
		assert_true(service_sockets(&fds, &e) < 0);
		assert_int_equal(e.kind, ERR_REQUEST);
		assert_null(fds);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reload_is_dated_when_it_begins),
		TEST(remark_stands_behind_each_status),
		TEST(long_status_is_cut),
		TEST(nobody_is_told_where_nobody_listens),
		TEST(service_manager_is_known_by_what_it_sets_for_this_process),
		TEST(sockets_of_another_process_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
