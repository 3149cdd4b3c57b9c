/* SPDX-License-Identifier: Apache-2.0 */

/* sd_journal_send() waits while journald does not read, so the journal's native
   protocol is spoken here: one datagram a line, of NAME=VALUE lines.
   https://systemd.io/JOURNAL_NATIVE_PROTOCOL */

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/buf.h"
#include "base/log.h"

#define IDENTIFIER	"gce-oidc-agent"
#define JOURNAL_SOCKET	"/run/systemd/journal/socket"
#define MESSAGE_MAX	2048		/* bytes, with the NUL */
#define FIELDS_MAX	12
#define ENTRY_MAX	(8 * 1024)	/* all of an entry; fits a datagram */

static struct {
	enum log_target target;
	int level;
	int fd;			/* datagram socket to the journal, or -1 */
	struct sockaddr_un addr;
	uint64_t dropped;	/* since the start */
	uint64_t announced;	/* of these */
} state = { .level = LOG_INFO, .fd = -1 };

static const struct {
	const char *name;
	int level;
} levels[] = {
	{ "err",	LOG_ERR },
	{ "warning",	LOG_WARNING },
	{ "notice",	LOG_NOTICE },
	{ "info",	LOG_INFO },
	{ "debug",	LOG_DEBUG },
};

/* Does $JOURNAL_STREAM, "DEVICE:INODE", name the file behind standard error? */
static bool
stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char here[64];
	struct stat st;

	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return false;
	snprintf(here, sizeof(here), "%ju:%ju", (uintmax_t)st.st_dev,
		 (uintmax_t)st.st_ino);
	return strcmp(stream, here) == 0;
}

void
log_open_at(enum log_target target, const char *journal)
{
	closep(&state.fd);
	state.fd = -1;
	state.target = target;
	if (target != LOG_TARGET_JOURNAL)
		return;

	state.addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(state.addr.sun_path, sizeof(state.addr.sun_path), "%s", journal);
	/* Without a socket every line counts as lost. */
	state.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

enum log_target
log_open(void)
{
	log_open_at(stderr_is_journal() ? LOG_TARGET_JOURNAL : LOG_TARGET_STDERR,
		    JOURNAL_SOCKET);
	return state.target;
}

void
log_set_level(int level)
{
	state.level = level;
}

int
log_level(void)
{
	return state.level;
}

int
log_level_from_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		if (strcmp(levels[i].name, name) == 0)
			return levels[i].level;
	return -EINVAL;
}

uint64_t
log_dropped(void)
{
	return state.dropped;
}

static void
entry_add(struct buf *b, const char *name, const char *value)
{
	uint64_t len = strlen(value), le = htole64(len);

	buf_adds(b, name);
	if (memchr(value, '\n', len)) {
		buf_addc(b, '\n');
		buf_add(b, &le, sizeof(le));
	} else {
		buf_addc(b, '=');
	}
	buf_add(b, value, len);
	buf_addc(b, '\n');
}

static bool
journal_send(int level, const struct log_field *fields, const char *text)
{
	struct buf b = BUF_INIT(ENTRY_MAX);
	char priority[12];
	ssize_t n;

	snprintf(priority, sizeof(priority), "%d", level);
	entry_add(&b, "MESSAGE", text);
	entry_add(&b, "PRIORITY", priority);
	entry_add(&b, "SYSLOG_IDENTIFIER", IDENTIFIER);
	for (int i = 0; fields && i < FIELDS_MAX && fields[i].name; i++)
		entry_add(&b, fields[i].name, fields[i].value);

	/* Addressed anew each time: journald may have been restarted. */
	n = sendto(state.fd, b.data, b.len, MSG_DONTWAIT | MSG_NOSIGNAL,
		   (const struct sockaddr *)&state.addr, sizeof(state.addr));
	buf_free(&b);
	return n >= 0;
}

/* Never O_NONBLOCK, which would hold for everybody who shares the terminal.
   What poll() calls writable takes a line of less than PIPE_BUF bytes at once. */
static bool
stderr_send(int level, const char *text)
{
	struct pollfd pfd = { .fd = STDERR_FILENO, .events = POLLOUT };
	char line[MESSAGE_MAX + 64];
	ssize_t n;
	int len;

	len = snprintf(line, sizeof(line), IDENTIFIER ": %s%s\n",
		       level <= LOG_ERR ? "error: " :
		       level == LOG_WARNING ? "warning: " : "", text);
	for (int i = 0; i < len - 1; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = ' ';

	n = send(STDERR_FILENO, line, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno == ENOTSOCK) {
		if (poll(&pfd, 1, 0) != 1 || !(pfd.revents & POLLOUT))
			return false;
		n = write(STDERR_FILENO, line, (size_t)len);
	}
	return n == len;
}

static bool
emit(int level, const struct log_field *fields, const char *text)
{
	if (state.target == LOG_TARGET_JOURNAL)
		return journal_send(level, fields, text);
	return stderr_send(level, text);
}

/* The lines lost since the last such announcement. */
static bool
announce(void)
{
	uint64_t lost = state.dropped - state.announced;
	char text[80];

	if (lost == 0)
		return true;
	snprintf(text, sizeof(text), "log lines lost because nobody read them: %ju",
		 (uintmax_t)lost);
	if (!emit(LOG_WARNING, LOG_NO_FIELDS, text))
		return false;
	state.announced = state.dropped;
	return true;
}

void
log_line(int level, const struct log_field *fields, const char *fmt, ...)
{
	int saved_errno = errno;
	char text[MESSAGE_MAX];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof(text))
		memcpy(text + sizeof(text) - 4, "...", 4);

	if (!announce() || !emit(level, fields, text))
		state.dropped++;
	errno = saved_errno;
}

struct log_field
log_field(const char *name, const char *fmt, ...)
{
	struct log_field f = { .name = name };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f.value, sizeof(f.value), fmt, ap);
	va_end(ap);
	return f;
}
