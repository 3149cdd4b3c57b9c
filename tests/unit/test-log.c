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
#include <sys/stat.h>
#include <sys/un.h>

#include <cmocka.h>

#include "base/log.h"

#define assert_begins(entry, s)	assert_memory_equal(entry, s, sizeof(s) - 1)

/* A journald that only listens. */
struct journal {
	char dir[64];
	char path[128];
	int fd;
};

static int
journal_start(void **state)
{
	static struct journal j;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	snprintf(j.dir, sizeof(j.dir), "/tmp/test-log.XXXXXX");
	if (!mkdtemp(j.dir))
		return -1;
	snprintf(j.path, sizeof(j.path), "%s/socket", j.dir);
	memcpy(addr.sun_path, j.path, strlen(j.path) + 1);
	j.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (j.fd < 0 || bind(j.fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -1;
	*state = &j;
	log_open_at(LOG_TARGET_JOURNAL, j.path);
	log_set_level(LOG_INFO);
	return 0;
}

static int
journal_stop(void **state)
{
	struct journal *j = *state;

	log_open_at(LOG_TARGET_STDERR, NULL);
	close(j->fd);
	unlink(j->path);
	rmdir(j->dir);
	return 0;
}

/* The next entry, NUL-terminated; its length, or -1 if there is none. */
static ssize_t
journal_read(const struct journal *j, char *entry, size_t size)
{
	ssize_t n = recv(j->fd, entry, size - 1, 0);

	entry[n > 0 ? n : 0] = '\0';
	return n;
}

static void
an_entry_carries_message_priority_and_fields(void **state)
{
	char entry[4096];

	log_warning(LOG_FIELDS(log_field("ACCOUNT", "%s@%s", "a", "b"),
			       log_field("USEC", "%d", 12)),
		    "account %s found", "a@b");
	assert_true(journal_read(*state, entry, sizeof(entry)) > 0);
	assert_string_equal(entry,
			    "MESSAGE=account a@b found\n"
			    "PRIORITY=4\n"
			    "SYSLOG_IDENTIFIER=gce-oidc-agent\n"
			    "ACCOUNT=a@b\n"
			    "USEC=12\n");
}

static void
values_with_a_newline_carry_their_length(void **state)
{
	char entry[4096];

	log_info(LOG_FIELDS(log_field("X", "1\n2")), "a\nMESSAGE_ID=forged");
	assert_true(journal_read(*state, entry, sizeof(entry)) > 0);
	assert_begins(entry,
		      "MESSAGE\n\x13\0\0\0\0\0\0\0" "a\nMESSAGE_ID=forged\n"
		      "PRIORITY=6\n"
		      "SYSLOG_IDENTIFIER=gce-oidc-agent\n"
		      "X\n\x03\0\0\0\0\0\0\0" "1\n2\n");
}

static void
levels_below_the_chosen_one_cost_nothing(void **state)
{
	char entry[4096];
	int evaluated = 0;

	log_debug(LOG_NO_FIELDS, "%d", ++evaluated);
	assert_int_equal(evaluated, 0);
	assert_int_equal(journal_read(*state, entry, sizeof(entry)), -1);

	log_set_level(LOG_DEBUG);
	assert_int_equal(log_level(), LOG_DEBUG);
	log_debug(LOG_NO_FIELDS, "%d", ++evaluated);
	assert_int_equal(evaluated, 1);
	assert_true(journal_read(*state, entry, sizeof(entry)) > 0);

	log_set_level(LOG_ERR);
	log_warning(LOG_NO_FIELDS, "w");
	log_notice(LOG_NO_FIELDS, "n");
	log_info(LOG_NO_FIELDS, "i");
	assert_int_equal(journal_read(*state, entry, sizeof(entry)), -1);
	log_error(LOG_NO_FIELDS, "e");
	assert_true(journal_read(*state, entry, sizeof(entry)) > 0);
}

static void
lines_and_values_are_bounded(void **state)
{
	char longer[10000], entry[16384];
	struct log_field f;

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	f = log_field("A", "%s", longer);
	log_info(LOG_FIELDS(f, f, f, f, f, f, f, f, f, f, f,
			    log_field("L", "%s", longer),
			    log_field("M", "%s", longer)), "%s", longer);
	assert_true(journal_read(*state, entry, sizeof(entry)) > 0);
	assert_int_equal(strchr(entry, '\n') - entry, strlen("MESSAGE=") + 2047);
	assert_non_null(strstr(entry, "xxx...\nPRIORITY=6\n"));
	assert_int_equal(strlen(strstr(entry, "\nL=")), 1 + 2 + 255 + 1);
	assert_null(strstr(entry, "\nM="));
}

/* A journal that does not read neither stops us nor goes unnoticed. */
static void
lost_lines_are_counted_and_announced(void **state)
{
	uint64_t before = log_dropped();
	char entry[4096];
	int got = 0;

	for (int i = 0; log_dropped() - before < 5 && i < 100000; i++)
		log_info(LOG_NO_FIELDS, "line");
	assert_int_equal(log_dropped() - before, 5);

	while (journal_read(*state, entry, sizeof(entry)) > 0)
		got++;
	assert_true(got > 0);

	log_info(LOG_NO_FIELDS, "again");
	assert_int_equal(log_dropped() - before, 5);
	assert_true(journal_read(*state, entry, sizeof(entry)) > 0);
	assert_begins(entry, "MESSAGE=log lines lost because nobody read them: 5\n"
			     "PRIORITY=4\n");
	assert_true(journal_read(*state, entry, sizeof(entry)) > 0);
	assert_begins(entry, "MESSAGE=again\n");

	/* once */
	log_info(LOG_NO_FIELDS, "and again");
	assert_true(journal_read(*state, entry, sizeof(entry)) > 0);
	assert_begins(entry, "MESSAGE=and again\n");
}

static void
a_journal_that_comes_back_is_found(void **state)
{
	struct journal *j = *state;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	uint64_t before = log_dropped();
	char entry[4096];

	close(j->fd);
	unlink(j->path);
	errno = EBADF;
	log_info(LOG_NO_FIELDS, "into the void");
	assert_int_equal(errno, EBADF);
	assert_int_equal(log_dropped() - before, 1);

	memcpy(addr.sun_path, j->path, strlen(j->path) + 1);
	j->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(j->fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	log_info(LOG_NO_FIELDS, "back");
	assert_true(journal_read(j, entry, sizeof(entry)) > 0);
	assert_begins(entry,
		      "MESSAGE=log lines lost because nobody read them: 1\n");
	assert_true(journal_read(j, entry, sizeof(entry)) > 0);
	assert_begins(entry, "MESSAGE=back\n");
}

/* Put fd in the place of standard error; returns the true one. */
static int
stderr_swap(int fd)
{
	int saved = dup(STDERR_FILENO);

	dup2(fd, STDERR_FILENO);
	return saved;
}

static void
stderr_back(int saved)
{
	dup2(saved, STDERR_FILENO);
	close(saved);
}

static void
by_hand_lines_are_plain(void **state _unused_)
{
	char text[4096];
	int fds[2], saved;
	ssize_t n;

	assert_int_equal(pipe(fds), 0);
	saved = stderr_swap(fds[1]);
	log_open_at(LOG_TARGET_STDERR, NULL);
	log_info(LOG_FIELDS(log_field("A", "b")), "ready");
	log_notice(LOG_NO_FIELDS, "notice");
	log_warning(LOG_NO_FIELDS, "odd\nforged");
	log_error(LOG_NO_FIELDS, "bad \033[1m");
	stderr_back(saved);
	n = read(fds[0], text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = '\0';
	assert_string_equal(text,
			    "gce-oidc-agent: ready\n"
			    "gce-oidc-agent: notice\n"
			    "gce-oidc-agent: warning: odd forged\n"
			    "gce-oidc-agent: error: bad  [1m\n");
	close(fds[0]);
	close(fds[1]);
}

static void
a_full_stderr_loses_lines_and_never_waits(void **state _unused_)
{
	static char text[2 << 20];
	int fds[2], saved;
	uint64_t before = log_dropped();
	char filler[1800];
	ssize_t n, more;

	for (int kind = 0; kind < 2; kind++) {
		assert_int_equal(kind == 0 ? pipe(fds) :
				 socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		before = log_dropped();
		memset(filler, 'x', sizeof(filler) - 1);
		filler[sizeof(filler) - 1] = '\0';

		saved = stderr_swap(fds[1]);
		log_open_at(LOG_TARGET_STDERR, NULL);
		for (int i = 0; i < 2000; i++)
			log_info(LOG_NO_FIELDS, "%s", filler);
		assert_true(log_dropped() > before);
		assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);

		n = read(fds[0], text, sizeof(text));
		assert_true(n > 0);
		log_info(LOG_NO_FIELDS, "again");
		stderr_back(saved);
		fcntl(fds[0], F_SETFL, O_NONBLOCK);
		while ((more = read(fds[0], text, sizeof(text) - 1)) > 0)
			n = more;
		text[n] = '\0';
		assert_non_null(strstr(text, "lost because nobody read them: "));
		assert_non_null(strstr(text, "\ngce-oidc-agent: again\n"));
		close(fds[0]);
		close(fds[1]);
	}
}

static void
the_journal_is_used_where_stderr_leads_to_it(void **state _unused_)
{
	char here[64];
	struct stat st;
	int fds[2], saved;

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(fstat(fds[1], &st), 0);
	snprintf(here, sizeof(here), "%ju:%ju", (uintmax_t)st.st_dev,
		 (uintmax_t)st.st_ino);
	saved = stderr_swap(fds[1]);

	unsetenv("JOURNAL_STREAM");
	assert_int_equal(log_open(), LOG_TARGET_STDERR);
	setenv("JOURNAL_STREAM", "1:2", 1);
	assert_int_equal(log_open(), LOG_TARGET_STDERR);
	setenv("JOURNAL_STREAM", here, 1);
	assert_int_equal(log_open(), LOG_TARGET_JOURNAL);
	unsetenv("JOURNAL_STREAM");
	stderr_back(saved);
	log_open_at(LOG_TARGET_STDERR, NULL);
	close(fds[0]);
	close(fds[1]);
}

static void
levels_have_names(void **state _unused_)
{
	assert_int_equal(log_level_from_name("err"), LOG_ERR);
	assert_int_equal(log_level_from_name("warning"), LOG_WARNING);
	assert_int_equal(log_level_from_name("notice"), LOG_NOTICE);
	assert_int_equal(log_level_from_name("info"), LOG_INFO);
	assert_int_equal(log_level_from_name("debug"), LOG_DEBUG);
	assert_int_equal(log_level_from_name("error"), -EINVAL);
	assert_int_equal(log_level_from_name("Info"), -EINVAL);
	assert_int_equal(log_level_from_name(""), -EINVAL);
}

#define with_journal(f) \
	cmocka_unit_test_setup_teardown(f, journal_start, journal_stop)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_journal(an_entry_carries_message_priority_and_fields),
		with_journal(values_with_a_newline_carry_their_length),
		with_journal(levels_below_the_chosen_one_cost_nothing),
		with_journal(lines_and_values_are_bounded),
		with_journal(lost_lines_are_counted_and_announced),
		with_journal(a_journal_that_comes_back_is_found),
		cmocka_unit_test(by_hand_lines_are_plain),
		cmocka_unit_test(a_full_stderr_loses_lines_and_never_waits),
		cmocka_unit_test(the_journal_is_used_where_stderr_leads_to_it),
		cmocka_unit_test(levels_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
