/* SPDX-License-Identifier: Apache-2.0 */

/* The client library's reader of answers (lib/answer.h).  The input is what the
   agent sends until it closes.

   - The verdict, its words and all that is read are the same whether the bytes
     come whole or in pieces of any size.
   - What is read keeps its bounds, and its fields lie in its head. */

#include <errno.h>
#include <strings.h>

#include "answer.h"
#include "fuzz.h"

/* In pieces of at most so many bytes, each in memory of its own. */
static int
feed(struct answer *a, const char *p, size_t len, size_t most, uint64_t seed)
{
	int r = 0;

	memset(a, 0, sizeof(*a));
	for (size_t n; len > 0 && r >= 0; p += n, len -= n) {
		char *copy;

		n = 1 + seed_below(&seed, most);
		n = n < len ? n : len;
		copy = copy_exact(p, n);
		r = answer_feed(a, copy, n);
		free(copy);
		CHECK(r == 0 || r == 1 || r == -EPROTO);
		CHECK((r == 1) == (a->state == ANSWER_DONE));
		if (r >= 0)
			CHECK(answer_feed(a, "", 0) == r);
	}
	return r < 0 ? r : answer_end(a);
}

static void
check_field(const struct answer *a, const char *name)
{
	const char *value = NULL;
	size_t len = 0;

	if (!answer_field(a, name, &value, &len))
		return;
	CHECK(a->state == ANSWER_DONE);
	CHECK(value >= a->head && value + len <= a->head + a->head_len);
	CHECK(!memchr(value, '\n', len) && !memchr(value, '\0', len));
	CHECK(len == 0 || (*value != ' ' && value[len - 1] != ' '));
}

/* Lines of that name in the head, by a naive look. */
static unsigned
lines_of(const struct answer *a, const char *name)
{
	struct input head = { a->head, a->head_len }, line;
	unsigned n = 0;

	while (head.len > 0) {
		line = input_until(&head, '\n');
		n += line.len > strlen(name) && line.p[strlen(name)] == ':' &&
		     strncasecmp(line.p, name, strlen(name)) == 0;
	}
	return n;
}

static void
check_answer(const struct answer *a)
{
	static const int verdicts[] = {
		0, -EIO, -EINVAL, -EACCES, -ENOENT, -EAGAIN, -EREMOTEIO,
		-EHOSTUNREACH, -ETIMEDOUT, -EPROTO,
	};
	char text[64];
	bool known = false;
	int v = answer_verdict(a);

	for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++)
		known = known || verdicts[i] == v;
	CHECK(known && (v == 0) == (a->status >= 200 && a->status < 300));
	CHECK(a->status >= 200 && a->status <= 599);
	CHECK(a->head_len <= ANSWER_HEAD_MAX && a->body_len <= ANSWER_BODY_MAX);
	CHECK(a->body && a->body[a->body_len] == '\0');
	CHECK(a->content_length < 0 ||
	      a->content_length == (int64_t)a->body_len);
	CHECK(answer_max_age(a) >= -1 && answer_retry_after(a) >= 0);
	CHECK(lines_of(a, "Content-Length") <= 1);
	CHECK(lines_of(a, "Transfer-Encoding") == 0);
	check_field(a, "Gce-Oidc-Error");
	check_field(a, "cache-control");
	check_field(a, "A");
	answer_text(a, text, sizeof(text));
	CHECK(strlen(text) < sizeof(text));
	for (const char *s = text; *s; s++)
		CHECK(*s >= ' ' && *s <= '~');
}

static void
check_same(const struct answer *a, int x, const struct answer *b, int y)
{
	CHECK(x == y && a->state == b->state);
	CHECK(!a->why == !b->why && (!a->why || strcmp(a->why, b->why) == 0));
	if (x != 1)
		return;
	CHECK(a->status == b->status && a->head_len == b->head_len);
	CHECK(memcmp(a->head, b->head, a->head_len) == 0);
	CHECK(a->body_len == b->body_len);
	CHECK(memcmp(a->body, b->body, a->body_len) == 0);
	CHECK(answer_verdict(a) == answer_verdict(b));
	CHECK(answer_max_age(a) == answer_max_age(b));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data;
	struct answer whole, pieces;
	int r = feed(&whole, p, size, SIZE_MAX, 1), s;

	CHECK(r == 1 || r == -EPROTO);
	CHECK((r == 1) == !whole.why);
	if (r == 1)
		check_answer(&whole);
	s = feed(&pieces, p, size, 1, 1);
	check_same(&whole, r, &pieces, s);
	answer_clear(&pieces);
	s = feed(&pieces, p, size, 1 + size / 2, seed_of(p, size));
	check_same(&whole, r, &pieces, s);
	answer_clear(&pieces);
	answer_clear(&whole);
	CHECK(!whole.head && !whole.body);
	return 0;
}
