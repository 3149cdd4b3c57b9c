/* SPDX-License-Identifier: MIT */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli_curlopt.h"
#include "cli_json.h"
#include "cli_signed.h"

#define TIMEOUT_MS 30000

/* --- what is to be signed ---------------------------------------------------- */

/* One byte more than the agent takes, so that too much is seen. */
static ssize_t
read_all(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size) {
		n = read(fd, buf + len, size - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

int
signed_read(const char *name, char **ret, size_t *ret_len)
{
	bool in = strcmp(name, "-") == 0;
	int fd = in ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
	char *buf = malloc(SIGNED_MAX + 2);
	int code = CLI_OK;
	ssize_t n = 0;

	if (!buf) {
		if (fd > STDERR_FILENO)
			close(fd);
		return cli_fail(CLI_INTERNAL, "memory is gone");
	}
	if (fd < 0 || (n = read_all(fd, buf, SIGNED_MAX + 1)) < 0)
		code = cli_fail(CLI_USAGE, "cannot read %s: %s",
				in ? "standard input" : name, strerror(errno));
	else if (n > SIGNED_MAX)
		code = cli_fail(CLI_USAGE, "%s: more than %d bytes, which is what"
				" the agent takes", in ? "standard input" : name,
				SIGNED_MAX);
	if (fd > STDERR_FILENO)
		close(fd);
	if (code != CLI_OK) {
		free(buf);
		return code;
	}
	buf[n] = '\0';
	*ret = buf;
	*ret_len = (size_t)n;
	return CLI_OK;
}

char *
signed_iap_claims(const char *url)
{
	char *claims = NULL;
	int r;

	/* Such an URL has no character that JSON would want escaped. */
	r = asprintf(&claims, "{\"aud\":\"%.*s/*\"}", (int)curlopt_origin(url),
		     url);
	return r < 0 ? NULL : claims;
}

/* --- asking ------------------------------------------------------------------ */

static char *
format_target(const char *before, const char *account, const char *behind)
{
	char *name = conn_encode(account ? account : ""), *target = NULL;

	if (name && asprintf(&target, "%s%s%s", before, name, behind) < 0)
		target = NULL;
	free(name);
	return target;
}

/* One member of the answer's object, of these characters alone. */
static int
take_member(const struct conn *c, const char *name, const char *alphabet,
	    char **ret)
{
	size_t size = c->answer.body_len + 1;
	char *text = malloc(size);
	struct json o, v;

	if (!text)
		return cli_fail(CLI_INTERNAL, "memory is gone");
	if (json_parse(c->answer.body, c->answer.body_len, &o) &&
	    json_type(&o) == '{' && json_member(&o, name, &v) &&
	    json_string(&v, text, size) && *text &&
	    strspn(text, alphabet) == strlen(text)) {
		*ret = text;
		return CLI_OK;
	}
	explicit_bzero(text, size);
	free(text);
	return cli_fail(CLI_PROTOCOL, "the agent's answer has no %s", name);
}

struct what {
	const char *path, *type, *member, *alphabet;
};

static int
timeout_of(const struct cli_token_options *o)
{
	return o->timeout_ms > 0 ? o->timeout_ms : TIMEOUT_MS;
}

static int
ask(const struct cli *cli, const struct cli_token_options *o, const struct what *w,
    const void *body, size_t len, char **ret)
{
	char *target = format_target(o->account ? "?account=" : "", o->account, "");
	char *whole = NULL;
	struct conn c;
	int code;

	if (!target || asprintf(&whole, "%s%s", w->path, target) < 0)
		whole = NULL;
	free(target);
	if (!whole)
		return cli_fail(CLI_INTERNAL, "memory is gone");
	code = cli_post(cli, &c, whole, w->type, body, len,
			timeout_of(o));
	if (code == CLI_OK)
		code = take_member(&c, w->member, w->alphabet, ret);
	conn_clear(&c);
	free(whole);
	return code;
}

#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

int
signed_jwt(const struct cli *cli, const struct cli_token_options *o,
	   const char *claims, size_t len, char **ret)
{
	static const struct what jwt = {
		"/v1/jwt", "application/json", "signedJwt", ALNUM "-_.",
	};

	return ask(cli, o, &jwt, claims, len, ret);
}

int
signed_blob(const struct cli *cli, const struct cli_token_options *o,
	    const void *bytes, size_t len, char **ret)
{
	static const struct what blob = {
		"/v1/sign", "application/octet-stream", "signedBlob", ALNUM "+/=",
	};

	return ask(cli, o, &blob, bytes, len, ret);
}

/* The answer's text, of these characters alone; false where it is none. */
static bool
take_text(const struct conn *c, const char *alphabet, char *buf, size_t size)
{
	size_t len = strspn(c->answer.body, alphabet);

	if (len == 0 || len >= size || len != c->answer.body_len)
		return false;
	memcpy(buf, c->answer.body, len);
	buf[len] = '\0';
	return true;
}

int
signed_email(const struct cli *cli, const struct cli_token_options *o, char *buf,
	     size_t size)
{
	char *target = format_target("/computeMetadata/v1/instance/"
				     "service-accounts/",
				     o->account ? o->account : "default", "/email");
	struct conn c;
	int code;

	if (!target)
		return cli_fail(CLI_INTERNAL, "memory is gone");
	code = cli_get(cli, &c, target, timeout_of(o));
	if (code == CLI_OK && !take_text(&c, ALNUM "@.-_+", buf, size))
		code = cli_fail(CLI_PROTOCOL, "the agent's answer is no account's"
				" address");
	conn_clear(&c);
	free(target);
	return code;
}

int
signed_universe(const struct cli *cli, const struct cli_token_options *o, char *buf,
		size_t size)
{
	struct conn c;
	int code = cli_find(cli, &c, "/computeMetadata/v1/universe/universe-domain",
			    timeout_of(o));

	/* As Google's libraries have it. */
	if (code == CLI_NOT_FOUND || (code == CLI_OK && c.answer.body_len == 0)) {
		snprintf(buf, size, "googleapis.com");
		code = CLI_OK;
	} else if (code == CLI_OK && !take_text(&c, ALNUM ".-", buf, size)) {
		code = cli_fail(CLI_PROTOCOL, "the agent's answer is no universe's"
				" domain");
	}
	conn_clear(&c);
	return code;
}
