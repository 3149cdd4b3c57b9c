/* SPDX-License-Identifier: Apache-2.0 */

/* gce-oidc-agent reload: asks the agent that runs, and waits for its verdict. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "agent.h"
#include "base/buf.h"

#define ANSWER_MAX	(64 * 1024)

static const char request[] =
	"POST /v1/reload HTTP/1.1\r\n"
	"Host: localhost\r\n"
	"Metadata-Flavor: Google\r\n"
	"Content-Type: application/x-www-form-urlencoded\r\n"
	"Content-Length: 0\r\n"
	"Connection: close\r\n"
	"\r\n";

static int
say(int code, const char *path, const char *words)
{
	fprintf(stderr, "gce-oidc-agent: %s: %s\n", path, words);
	return code;
}

/* The whole answer; no time-out of ours: the agent is quick, and who started us
   knows how long to wait. */
static int
ask(int fd, struct buf *answer)
{
	ssize_t n;
	char *p;

	if (send(fd, request, strlen(request), MSG_NOSIGNAL) !=
	    (ssize_t)strlen(request))
		return -1;
	for (;;) {
		p = buf_reserve(answer, 4096);
		if (!p) {
			errno = EMSGSIZE;
			return -1;
		}
		n = read(fd, p, 4096);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return (int)n;
		answer->len += (size_t)n;
	}
}

/* "HTTP/1.1 204 No Content\r\n...\r\n\r\nBODY" */
static int
tell(const char *path, const struct buf *answer)
{
	const char *text = buf_str(answer), *body = strstr(text, "\r\n\r\n");
	unsigned status;

	if (!body || sscanf(text, "HTTP/1.%*1u %3u", &status) != 1)
		return say(1, path, "no answer, or none of an agent's; its journal "
			   "may tell");
	body += strlen("\r\n\r\n");
	if (status == 200 || status == 204) {
		fputs(body, stdout);
		return fflush(stdout) == 0 ? 0 : 1;
	}
	fprintf(stderr, "gce-oidc-agent: %s", *body ? body : "refused\n");
	return status == 400 ? AGENT_EXIT_CONFIG : status == 403 ? 3 : 1;
}

int
agent_ask_reload(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct buf answer = BUF_INIT(ANSWER_MAX);
	int fd, r;

	if (strlen(path) >= sizeof(to.sun_path))
		return say(AGENT_EXIT_USAGE, path, "too long for a socket's path");
	memcpy(to.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return say(1, path, strerror(errno));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		r = say(AGENT_EXIT_UNAVAILABLE, path, errno == ECONNREFUSED ||
			errno == ENOENT ? "no agent there" : strerror(errno));
	else if (ask(fd, &answer) < 0)
		r = say(1, path, strerror(errno));
	else
		r = tell(path, &answer);
	close(fd);
	buf_free(&answer);
	return r;
}
