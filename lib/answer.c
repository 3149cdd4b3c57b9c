/* SPDX-License-Identifier: MIT */

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "answer.h"

static const char version[] = "HTTP/1.1 ";

static int
answer_fail(struct answer *a, const char *why)
{
	a->state = ANSWER_FAILED;
	a->why = why;
	return -EPROTO;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_token(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* A number of digits only.  -1: not one, or one that is absurd. */
static int64_t
number(const char *s, size_t len)
{
	int64_t n = 0;

	if (len == 0 || len > 15)
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (!is_digit(s[i]))
			return -1;
		n = n * 10 + (s[i] - '0');
	}
	return n;
}

/* One field line, without its CRLF, cut into name and value. */
static bool
split_field(const char *line, size_t len, size_t *ret_name_len,
	    const char **ret_value, size_t *ret_value_len)
{
	size_t n = 0;

	while (n < len && is_token(line[n]))
		n++;
	if (n == 0 || n == len || line[n] != ':')
		return false;

	*ret_name_len = n++;
	while (n < len && (line[n] == ' ' || line[n] == '\t'))
		n++;
	while (len > n && (line[len - 1] == ' ' || line[len - 1] == '\t'))
		len--;
	*ret_value = line + n;
	*ret_value_len = len - n;
	return true;
}

static bool
is_name(const char *line, size_t len, const char *name)
{
	return strlen(name) == len && strncasecmp(line, name, len) == 0;
}

/* "HTTP/1.1 200 OK": the version has been seen while it came in. */
static int
parse_status(struct answer *a, const char *line, size_t len)
{
	const char *s = line + sizeof(version) - 1;

	if (len < sizeof(version) - 1 + 4)
		return answer_fail(a, "a status line that is cut short");
	if (number(s, 3) < 200 || number(s, 3) > 599 || s[3] != ' ')
		return answer_fail(a, "a status line without a final status");
	a->status = (int)number(s, 3);
	return 0;
}

static int
parse_field(struct answer *a, const char *line, size_t len)
{
	const char *value;
	size_t name_len, value_len;

	if (!split_field(line, len, &name_len, &value, &value_len))
		return answer_fail(a, "a header line that is none");
	if (is_name(line, name_len, "Transfer-Encoding"))
		return answer_fail(a, "a transfer encoding");
	if (!is_name(line, name_len, "Content-Length"))
		return 0;
	if (a->content_length >= 0)
		return answer_fail(a, "two lengths");
	a->content_length = number(value, value_len);
	if (a->content_length < 0)
		return answer_fail(a, "a length that is no number");
	if (a->content_length > ANSWER_BODY_MAX)
		return answer_fail(a, "a body that is too large");
	return 0;
}

static int
parse_head(struct answer *a)
{
	const char *line = a->head, *end;
	unsigned fields = 0;
	int r;

	a->content_length = -1;
	end = strstr(line, "\r\n");
	r = parse_status(a, line, (size_t)(end - line));
	if (r < 0)
		return r;

	for (line = end + 2; *line != '\r'; line = end + 2) {
		end = strstr(line, "\r\n");
		if (++fields > ANSWER_FIELDS_MAX)
			return answer_fail(a, "too many header fields");
		r = parse_field(a, line, (size_t)(end - line));
		if (r < 0)
			return r;
	}

	if (a->status == 204 || a->status == 304) {
		if (a->content_length > 0)
			return answer_fail(a, "a body where there is none");
		a->content_length = 0;
	}
	return 0;
}

/* Each byte is judged when it comes, so that a stranger on the socket is known
   by its first word, not by our deadline. */
static int
head_byte(struct answer *a, char c)
{
	size_t n = a->head_len;

	if (n < sizeof(version) - 1 && c != version[n])
		return answer_fail(a, "something that is not HTTP/1.1");
	if (n + 1 > ANSWER_HEAD_MAX)
		return answer_fail(a, "a head that is too large");
	if (n > 0 && (a->head[n - 1] == '\r') != (c == '\n'))
		return answer_fail(a, "a line that does not end with CRLF");
	if (((unsigned char)c < ' ' && c != '\r' && c != '\n' && c != '\t') ||
	    c == 127)
		return answer_fail(a, "a control character in its head");

	a->head[n] = c;
	a->head_len = n + 1;
	a->head[a->head_len] = '\0';
	return 0;
}

static bool
head_whole(const struct answer *a)
{
	return a->head_len >= 4 &&
	       memcmp(a->head + a->head_len - 4, "\r\n\r\n", 4) == 0;
}

/* Never realloc(): it would leave a copy of a token behind. */
static int
body_grow(struct answer *a, size_t need)
{
	size_t size = a->body_size ? a->body_size : 4096;
	char *body;

	if (a->content_length >= 0)
		size = (size_t)a->content_length + 1;
	while (size < need)
		size *= 2;
	body = malloc(size);
	if (!body) {
		a->state = ANSWER_FAILED;
		a->why = "memory is gone";
		return -ENOMEM;
	}
	if (a->body) {
		memcpy(body, a->body, a->body_len);
		explicit_bzero(a->body, a->body_size);
		free(a->body);
	}
	a->body = body;
	a->body_size = size;
	a->body[a->body_len] = '\0';
	return 0;
}

static int
body_bytes(struct answer *a, const char *data, size_t len)
{
	size_t max = a->content_length >= 0 ? (size_t)a->content_length
					    : ANSWER_BODY_MAX;
	int r;

	if (len > max - a->body_len)
		return answer_fail(a, a->content_length >= 0
				   ? "more than it announced"
				   : "a body that is too large");
	if (a->body_len + len + 1 > a->body_size) {
		r = body_grow(a, a->body_len + len + 1);
		if (r < 0)
			return r;
	}
	if (len > 0)
		memcpy(a->body + a->body_len, data, len);
	a->body_len += len;
	a->body[a->body_len] = '\0';
	if (a->content_length >= 0 && a->body_len == max) {
		a->state = ANSWER_DONE;
		return 1;
	}
	return 0;
}

int
answer_feed(struct answer *a, const char *data, size_t len)
{
	size_t i = 0;
	int r;

	if (a->state == ANSWER_FAILED || (a->state == ANSWER_DONE && len > 0))
		return answer_fail(a, a->why ? a->why : "more than it announced");
	if (a->state == ANSWER_DONE)
		return 1;
	if (a->state == ANSWER_HEAD) {
		if (!a->head)
			a->head = malloc(ANSWER_HEAD_MAX + 1);
		if (!a->head)
			return -ENOMEM;
		while (i < len && !head_whole(a)) {
			r = head_byte(a, data[i++]);
			if (r < 0)
				return r;
		}
		if (!head_whole(a))
			return 0;
		r = parse_head(a);
		if (r < 0)
			return r;
		a->state = ANSWER_BODY;
	}
	return body_bytes(a, data + i, len - i);
}

int
answer_end(struct answer *a)
{
	if (a->state == ANSWER_DONE)
		return 1;
	if (a->state == ANSWER_BODY && a->content_length < 0) {
		a->state = ANSWER_DONE;
		return 1;
	}
	return answer_fail(a, a->why ? a->why : "an answer that is cut short");
}

void
answer_clear(struct answer *a)
{
	if (a->body)
		explicit_bzero(a->body, a->body_size);
	free(a->body);
	free(a->head);
	*a = (struct answer){ 0 };
}

bool
answer_field(const struct answer *a, const char *name, const char **ret,
	     size_t *ret_len)
{
	const char *line, *end, *value;
	size_t name_len, value_len;

	if (a->state != ANSWER_BODY && a->state != ANSWER_DONE)
		return false;
	for (line = strstr(a->head, "\r\n") + 2; *line != '\r'; line = end + 2) {
		end = strstr(line, "\r\n");
		if (!split_field(line, (size_t)(end - line), &name_len, &value,
				 &value_len))
			return false;
		if (is_name(line, name_len, name)) {
			*ret = value;
			*ret_len = value_len;
			return true;
		}
	}
	return false;
}

/* The one place in lib/ where the protocol's codes meet errno. */
static const struct {
	const char *code;
	int errnum;
} codes[] = {
	{ "internal",		EIO },
	{ "bad-request",	EINVAL },
	{ "denied-by-policy",	EACCES },
	{ "not-found",		ENOENT },
	{ "busy",		EAGAIN },
	{ "denied-by-google",	EREMOTEIO },
	{ "unavailable",	EHOSTUNREACH },
	{ "timeout",		ETIMEDOUT },
};

int
answer_verdict(const struct answer *a)
{
	const char *code;
	size_t len;

	if (a->status >= 200 && a->status < 300)
		return 0;
	if (!answer_field(a, "Gce-Oidc-Error", &code, &len))
		return -EPROTO;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (strlen(codes[i].code) == len &&
		    memcmp(codes[i].code, code, len) == 0)
			return -codes[i].errnum;
	return -EPROTO;
}

int64_t
answer_max_age(const struct answer *a)
{
	static const char name[] = "max-age=";
	const char *s, *end, *comma;
	size_t len;

	if (!answer_field(a, "Cache-Control", &s, &len))
		return -1;
	for (end = s + len; s < end; s = comma + 1) {
		while (s < end && (*s == ' ' || *s == '\t'))
			s++;
		comma = memchr(s, ',', (size_t)(end - s));
		if (!comma)
			comma = end;
		len = (size_t)(comma - s);
		if (len > sizeof(name) - 1 &&
		    strncasecmp(s, name, sizeof(name) - 1) == 0)
			return number(s + sizeof(name) - 1,
				      len - (sizeof(name) - 1));
	}
	return -1;
}

int
answer_retry_after(const struct answer *a)
{
	const char *s;
	size_t len;
	int64_t n;

	if (!answer_field(a, "Retry-After", &s, &len))
		return 0;
	n = number(s, len);
	return n < 0 ? 0 : n > INT_MAX ? INT_MAX : (int)n;
}

void
answer_text(const struct answer *a, char *buf, size_t size)
{
	size_t len = a->body_len, n = 0;

	while (len > 0 && strchr("\r\n ", a->body[len - 1]))
		len--;
	for (size_t i = 0; i < len && n + 1 < size; i++) {
		unsigned char c = (unsigned char)a->body[i];

		if (c == '\r' || c == '\n' || c == '\t')
			c = ' ';
		buf[n++] = c >= ' ' && c < 127 ? (char)c : '?';
	}
	if (size > 0)
		buf[n] = '\0';
}
