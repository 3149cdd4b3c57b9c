/* SPDX-License-Identifier: Apache-2.0 */

/* The library where memory is gone: each of its allocations fails in turn, and
   what comes of it is -ENOMEM with words, or the token.

   The address space is limited to what it is and then filled up, but for some
   blocks that are given back: of so many, the first few allocations succeed and the
   next one does not. */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "gce-oidc.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

#define BLOCKS_MAX	24
#define TOKEN_LEN	20000	/* larger than the first buffer for a body */

struct hoard {
	struct hoard *next;
};

static struct {
	char dir[32], path[64];
	pid_t server;
	struct hoard *hoard;
	struct rlimit old;
} fix;

/* --- an agent that never runs out ------------------------------------------- */

/* Without a length the library's buffer has to grow. */
static size_t
answer_to(const char *request, char answer[static TOKEN_LEN + 200])
{
	int len = snprintf(answer, 200, "HTTP/1.1 200 OK\r\n"
			   "Cache-Control: max-age=600\r\n");

	if (!strstr(request, "no-length"))
		len += snprintf(answer + len, 100, "Content-Length: %d\r\n",
				TOKEN_LEN);
	len += snprintf(answer + len, 3, "\r\n");
	memset(answer + len, 'a', TOKEN_LEN);
	return (size_t)len + TOKEN_LEN;
}

static void
serve(int fd)
{
	static char answer[TOKEN_LEN + 200], request[4096];
	ssize_t n;
	int peer;

	for (;;) {
		peer = accept(fd, NULL, NULL);
		if (peer < 0)
			_exit(1);
		n = read(peer, request, sizeof(request) - 1);
		if (n > 0) {
			request[n] = '\0';
			n = send(peer, answer, answer_to(request, answer),
				 MSG_NOSIGNAL);
		}
		close(peer);
	}
}

static int
setup(void **state)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	(void)snprintf(fix.dir, sizeof(fix.dir), "/tmp/goa-XXXXXX");
	assert_non_null(mkdtemp(fix.dir));
	(void)snprintf(fix.path, sizeof(fix.path), "%s/s", fix.dir);
	(void)snprintf(at.sun_path, sizeof(at.sun_path), "%s", fix.path);
	assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
	assert_int_equal(listen(fd, 8), 0);
	fix.server = fork();
	assert_true(fix.server >= 0);
	if (fix.server == 0)
		serve(fd);
	close(fd);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	kill(fix.server, SIGKILL);
	waitpid(fix.server, NULL, 0);
	unlink(fix.path);
	rmdir(fix.dir);
	return 0;
}

/* --- memory ----------------------------------------------------------------- */

static size_t
address_space(void)
{
	char text[64] = "";
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	assert_true(n > 0);
	return strtoul(text, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

/* From here on nothing can be had but what those blocks leave. */
static void
take_all_but(unsigned blocks, size_t size)
{
	struct rlimit tight;
	struct hoard *h;
	void *kept[BLOCKS_MAX];

	for (unsigned i = 0; i < blocks; i++)
		kept[i] = malloc(size);
	assert_int_equal(getrlimit(RLIMIT_AS, &fix.old), 0);
	tight = fix.old;
	tight.rlim_cur = address_space();
	assert_int_equal(setrlimit(RLIMIT_AS, &tight), 0);
	for (size_t some = 1 << 20; some >= sizeof(*h); some /= 2) {
		while ((h = malloc(some))) {
			h->next = fix.hoard;
			fix.hoard = h;
		}
	}
	for (unsigned i = 0; i < blocks; i++)
		free(kept[i]);
}

static void
give_back(void)
{
	struct hoard *h;

	setrlimit(RLIMIT_AS, &fix.old);
	while ((h = fix.hoard)) {
		fix.hoard = h->next;
		free(h);
	}
}

static unsigned
open_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 64; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* --- what callers do -------------------------------------------------------- */

static int
blocking(struct gce_oidc *c, struct gce_oidc_token **ret)
{
	return gce_oidc_token(c, "https://no-length.example/\303\274", ret);
}

static int
stepping(struct gce_oidc *c, struct gce_oidc_token **ret)
{
	int r = gce_oidc_start(c, "https://a.example");

	while (r == 0)
		r = gce_oidc_step(c, ret);
	return r < 0 ? r : 0;
}

/* A handle of its own. */
static int
at_once(struct gce_oidc *c, struct gce_oidc_token **ret)
{
	struct gce_oidc *own = NULL;
	int r;

	(void)c;
	r = gce_oidc_new(&own);
	if (r == 0)
		r = gce_oidc_set_socket(own, fix.path);
	if (r == 0)
		r = gce_oidc_set_account(own, "someone@p.iam.gserviceaccount.com");
	if (r == 0)
		r = gce_oidc_token(own, "https://a.example", ret);
	gce_oidc_free(own);
	return r;
}

static const struct {
	const char *name;
	int (*get)(struct gce_oidc *c, struct gce_oidc_token **ret);
} ways[] = {
	{ "blocking", blocking }, { "stepping", stepping }, { "at once", at_once },
};

static void
each_allocation_that_fails_is_an_error_and_no_end(void **state)
{
	static const size_t sizes[] = { 40, 120, 600, 2000, 9000, 20000 };
	unsigned failed[sizeof(ways) / sizeof(ways[0])] = { 0 };
	unsigned fds = open_fds(), good = 0;
	struct gce_oidc_token *t;
	struct gce_oidc *c;
	bool words;
	int r;

	(void)state;
	assert_int_equal(gce_oidc_new(&c), 0);
	assert_int_equal(gce_oidc_set_socket(c, fix.path), 0);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		for (unsigned n = 0; n < BLOCKS_MAX * 6; n++) {
			t = NULL;
			take_all_but(n / 6, sizes[n % 6]);
			r = ways[i].get(c, &t);
			words = strcmp(gce_oidc_error(c), "memory is gone") == 0;
			give_back();

			if (r == 0) {
				assert_int_equal(strlen(gce_oidc_token_string(t)),
						 TOKEN_LEN);
				good++;
			} else {
				assert_int_equal(r, -ENOMEM);
				assert_null(t);
				assert_true(words || ways[i].get == at_once);
				failed[i]++;
			}
			gce_oidc_token_free(t);
			assert_int_equal(gce_oidc_fd(c), -1);
			assert_int_equal(open_fds(), fds);
		}
		/* And the handle is as good as ever. */
		assert_int_equal(blocking(c, &t), 0);
		gce_oidc_token_free(t);
		assert_true(failed[i] >= 6);
	}
	assert_true(good > 0);
	gce_oidc_free(c);
}

static void
a_setting_that_fails_leaves_the_old_one(void **state)
{
	struct gce_oidc_token *t;
	struct gce_oidc *c;
	int path, account, r;

	(void)state;
	assert_int_equal(gce_oidc_new(&c), 0);
	assert_int_equal(gce_oidc_set_socket(c, fix.path), 0);
	take_all_but(0, 0);
	path = gce_oidc_set_socket(c, "/nowhere/at/all");
	account = gce_oidc_set_account(c, "someone@p.iam.gserviceaccount.com");
	give_back();
	assert_int_equal(path, -ENOMEM);
	assert_int_equal(account, -ENOMEM);
	r = gce_oidc_token(c, "https://a.example", &t);
	assert_int_equal(r, 0);
	gce_oidc_token_free(t);
	gce_oidc_free(c);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(each_allocation_that_fails_is_an_error_and_no_end),
		TEST(a_setting_that_fails_leaves_the_old_one),
	};

#ifdef SANITIZED
	puts("1..0 # SKIP sanitizers want terabytes of address space");
	return 0;
#endif
	if (getenv("UNDER_VALGRIND")) {
		puts("1..0 # SKIP valgrind has an allocator of its own");
		return 0;
	}
	return cmocka_run_group_tests_name("tests", tests, NULL, NULL);
}
