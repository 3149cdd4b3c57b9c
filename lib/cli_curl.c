/* SPDX-License-Identifier: MIT */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli_curl.h"

#define ARGS_MAX (CURLOPT_ARGS_MAX + 32)

/* Pipes to and from curl, as we hold them; -1 where there is none. */
struct curl {
	pid_t pid;
	int secret[2], head[2], body[2];	/* [0] is for reading */
	char secret_name[32], head_name[32];
	const char *args[ARGS_MAX];
	size_t n;
	bool head_done;
};

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void
add(struct curl *c, const char *arg)
{
	if (c->n + 1 < ARGS_MAX)
		c->args[c->n++] = arg;
}

static void
add2(struct curl *c, const char *name, const char *value)
{
	add(c, name);
	add(c, value);
}

/* Ours first, so that nothing of the user's comes before -q; one URL, last. */
static void
format_args(struct curl *c, const struct curl_job *job)
{
	bool tls = strncmp(job->url, "https:", 6) == 0;

	snprintf(c->secret_name, sizeof(c->secret_name), "@/dev/fd/%d",
		 c->secret[0]);
	snprintf(c->head_name, sizeof(c->head_name), "/dev/fd/%d", c->head[1]);

	add(c, "curl");
	add(c, "-q");
	add(c, "--globoff");
	add2(c, "--proto", tls ? "=https" : "=http");
	add2(c, "--max-redirs", "0");
	add2(c, "--noproxy", job->proxy ? "" : "*");
	add(c, "--disallow-username-in-url");
	add(c, "--silent");
	add(c, "--show-error");
	add(c, "--no-buffer");
	add(c, "--suppress-connect-headers");
	add2(c, "--dump-header", c->head_name);
	if (job->proxy)
		add2(c, "--proxy", job->proxy);
	if (job->cacert)
		add2(c, "--cacert", job->cacert);
	if (job->secret)
		add2(c, "-H", c->secret_name);
	if (job->field)
		add2(c, "-H", job->field);
	for (size_t i = 0; job->user && i < job->user->n; i++)
		add(c, job->user->args[i]);
	add2(c, "--url", job->url);
	c->args[c->n] = NULL;
}

static const char *
find_curl(void)
{
	static const char *const places[] = { "/usr/bin/curl", "/bin/curl",
					      "/usr/local/bin/curl" };

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (access(places[i], X_OK) == 0)
			return places[i];
	return NULL;
}

/* The child's side.  Nothing of our environment goes with it: proxies, key logs,
   other certificates and libraries are all named there. */
static void
exec_curl(const struct curl *c, const char *program)
{
	static char path[] = "PATH=/usr/bin:/bin", *env[] = { path, NULL };
	union {
		const char *const *in;
		char *const *out;
	} args = { .in = c->args };

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (dup2(c->body[1], STDOUT_FILENO) < 0 ||
	    fcntl(c->head[1], F_SETFD, 0) < 0 ||
	    (c->secret[0] >= 0 && fcntl(c->secret[0], F_SETFD, 0) < 0))
		_exit(127);
	execve(program, args.out, env);
	_exit(127);
}

static int
start(struct curl *c, const struct curl_job *job)
{
	const char *program = find_curl();

	if (!program)
		return cli_fail(CLI_INTERNAL, "there is no curl on this machine:"
				" apt-get install curl");
	if (pipe2(c->head, O_CLOEXEC) < 0 || pipe2(c->body, O_CLOEXEC) < 0 ||
	    (job->secret && pipe2(c->secret, O_CLOEXEC) < 0))
		return cli_fail(CLI_INTERNAL, "cannot make a pipe: %s",
				strerror(errno));
	format_args(c, job);
	fflush(NULL);
	c->pid = fork();
	if (c->pid < 0)
		return cli_fail(CLI_INTERNAL, "cannot start curl: %s",
				strerror(errno));
	if (c->pid == 0)
		exec_curl(c, program);
	close_fd(&c->head[1]);
	close_fd(&c->body[1]);
	close_fd(&c->secret[0]);
	return CLI_OK;
}

/* A curl that ends before it has read this has said why. */
static void
write_secret(struct curl *c, const char *secret)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN }, old;

	sigaction(SIGPIPE, &ignore, &old);
	if (cli_write(c->secret[1], secret, strlen(secret)))
		cli_write(c->secret[1], "\n", 1);
	sigaction(SIGPIPE, &old, NULL);
	close_fd(&c->secret[1]);
}

/* "HTTP/1.1 200 OK", "HTTP/2 200". */
static int
parse_status(const char *head)
{
	const char *s = strchr(head, ' ');

	if (!s || strncmp(head, "HTTP/", 5) != 0 ||
	    strspn(s + 1, "0123456789") != 3)
		return 0;
	return (s[1] - '0') * 100 + (s[2] - '0') * 10 + (s[3] - '0');
}

/* Heads come one behind the other: 1xx, then the one that counts, then trailers
   that nobody asked for. */
static bool
head_bytes(struct curl *c, struct curl_answer *a, const char *data, size_t len)
{
	char *end;

	if (c->head_done)
		return true;
	if (len > CURL_HEAD_MAX - a->head_len)
		return false;
	memcpy(a->head + a->head_len, data, len);
	a->head_len += len;
	a->head[a->head_len] = '\0';
	while ((end = strstr(a->head, "\r\n\r\n"))) {
		end += 4;
		a->status = parse_status(a->head);
		if (a->status < 100)
			return false;
		if (a->status >= 200) {
			*end = '\0';
			a->head_len = (size_t)(end - a->head);
			c->head_done = true;
			return true;
		}
		a->status = 0;
		a->head_len -= (size_t)(end - a->head);
		memmove(a->head, end, a->head_len + 1);
	}
	return true;
}

static int
body_bytes(struct curl *c, const struct curl_job *job, struct curl_answer *a,
	   const char *data, size_t len)
{
	if (job->sink && a->status >= 200 && a->status < 300)
		return job->sink(job->userdata, a, data, len);
	if (len > CURL_BODY_MAX - a->body_len) {
		len = CURL_BODY_MAX - a->body_len;
		a->cut = true;
	}
	memcpy(a->body + a->body_len, data, len);
	a->body_len += len;
	a->body[a->body_len] = '\0';
	if (a->cut)
		close_fd(&c->body[0]);
	return CLI_OK;
}

/* One piece of a pipe.  Returns its length, 0 at the end, when it is closed. */
static size_t
read_piece(int *fd, char *buf, size_t size)
{
	ssize_t n;

	do
		n = read(*fd, buf, size);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		close_fd(fd);
	return n <= 0 ? 0 : (size_t)n;
}

/* curl flushes a head before it writes the body, so the head is read first and
   the body waits for it. */
static int
relay(struct curl *c, const struct curl_job *job, struct curl_answer *a)
{
	char buf[16384];
	bool begun = false;
	int code = CLI_OK;
	size_t n;

	while (code == CLI_OK && (c->head[0] >= 0 || c->body[0] >= 0)) {
		struct pollfd p[2] = {
			{ .fd = c->head[0], .events = POLLIN },
			{ .fd = c->head_done || c->head[0] < 0 ? c->body[0] : -1,
			  .events = POLLIN },
		};

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return cli_fail(CLI_INTERNAL, "cannot wait: %s",
					strerror(errno));
		if (p[0].revents) {
			n = read_piece(&c->head[0], buf, sizeof(buf));
			if (!head_bytes(c, a, buf, n))
				return cli_fail(CLI_BAD_RESPONSE, "the answer has"
						" no head, or one too large");
			if (c->head_done && !begun)
				code = body_bytes(c, job, a, buf, 0);
			begun = c->head_done;
		} else if (p[1].revents) {
			n = read_piece(&c->body[0], buf, sizeof(buf));
			if (n > 0 && c->head_done)
				code = body_bytes(c, job, a, buf, n);
		}
	}
	return code;
}

static int
curl_exit_code(int status, const struct curl_answer *a)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

	/* It had more to say than we wanted to hear. */
	if (a->cut)
		return CLI_OK;
	switch (code) {
	case 0:
		return a->status ? CLI_OK
			: cli_fail(CLI_BAD_RESPONSE, "there was no answer");
	case 2:		/* options */
	case 26:	/* a file to send */
	case 58:	/* a client certificate */
	case 77:	/* --cacert */
		return CLI_USAGE;
	case 28:
		return CLI_TIMEOUT;
	case 127:
		return cli_fail(CLI_INTERNAL, "cannot start curl");
	default:
		return code < 0 ? cli_fail(CLI_INTERNAL, "curl was killed")
				: CLI_UNAVAILABLE;
	}
}

int
curl_run(const struct curl_job *job, struct curl_answer *ret)
{
	struct curl c = { .pid = -1, .secret = { -1, -1 }, .head = { -1, -1 },
			  .body = { -1, -1 } };
	int code, status = 0;

	*ret = (struct curl_answer){ .head = calloc(1, CURL_HEAD_MAX + 1),
				     .body = calloc(1, CURL_BODY_MAX + 1) };
	if (!ret->head || !ret->body)
		return cli_fail(CLI_INTERNAL, "memory is gone");
	code = start(&c, job);
	if (code == CLI_OK) {
		if (job->secret)
			write_secret(&c, job->secret);
		code = relay(&c, job, ret);
	}
	for (int i = 0; i < 2; i++) {
		close_fd(&c.secret[i]);
		close_fd(&c.head[i]);
		close_fd(&c.body[i]);
	}
	if (c.pid > 0) {
		if (code != CLI_OK)
			kill(c.pid, SIGTERM);
		while (waitpid(c.pid, &status, 0) < 0 && errno == EINTR)
			;
		if (code == CLI_OK)
			code = curl_exit_code(status, ret);
	}
	return code;
}

void
curl_clear(struct curl_answer *a)
{
	free(a->head);
	free(a->body);
	*a = (struct curl_answer){ .status = 0 };
}

bool
curl_field(const struct curl_answer *a, const char *name, const char **ret,
	   size_t *ret_len)
{
	size_t len = strlen(name);

	for (const char *s = strstr(a->head, "\r\n"); s; s = strstr(s, "\r\n")) {
		s += 2;
		if (strncasecmp(s, name, len) != 0 || s[len] != ':')
			continue;
		s += len + 1;
		s += strspn(s, " \t");
		*ret = s;
		*ret_len = strcspn(s, "\r\n");
		return true;
	}
	return false;
}
