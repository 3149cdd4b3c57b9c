/* SPDX-License-Identifier: Apache-2.0 */

/* The request grammar (http/parse.h).  The input is a request as it comes in.

   - The verdict, its words and every span are the same whether the bytes come
     whole or in pieces of any size.
   - What is accepted keeps the promises of struct http_head.
   - A query parameter is what a second, naive reading finds.
   - A directive is present where it has a value. */

#include <errno.h>

#include "fuzz-words.h"
#include "http/parse.h"

struct verdict {
	ssize_t r;
	struct http_head head;
	struct err e;
	const char *base;	/* what the spans point into */
	char *copy;
};

static void
check_same_span(const struct verdict *a, const struct verdict *b,
		struct http_span x, struct http_span y)
{
	CHECK(!x.p == !y.p && x.len == y.len);
	CHECK(!x.p || x.p - a->base == y.p - b->base);
}

static void
check_same(const struct verdict *a, const struct verdict *b)
{
	const struct http_head *x = &a->head, *y = &b->head;

	CHECK(a->r == b->r);
	if (a->r < 0) {
		CHECK(a->e.kind == b->e.kind && a->e.status == b->e.status);
		CHECK(strcmp(a->e.msg, b->e.msg) == 0);
	}
	if (a->r <= 0)
		return;
	CHECK(x->method == y->method && x->minor == y->minor);
	CHECK(x->keep_alive == y->keep_alive && x->body_len == y->body_len);
	check_same_span(a, b, x->method_name, y->method_name);
	check_same_span(a, b, x->path, y->path);
	check_same_span(a, b, x->query, y->query);
	for (int i = 0; i < HTTP_FIELDS; i++)
		check_same_span(a, b, x->field[i], y->field[i]);
}

/* The bytes in pieces of at most so many, each time in memory of its own. */
static void
parse_pieces(const char *p, size_t len, size_t most, uint64_t seed,
	     struct verdict *v)
{
	size_t scanned = 0, have = 0;

	*v = (struct verdict){ .r = 0 };
	do {
		free(v->copy);
		have += MIN(len - have, 1 + seed_below(&seed, most));
		v->copy = copy_exact(p, have);
		v->base = v->copy;
		v->r = http_parse(v->copy, have, &scanned, &v->head, &v->e);
		CHECK(v->r != 0 || scanned == have);
	} while (v->r == 0 && have < len);
}

static void
check_inside(const struct verdict *v, struct http_span s, bool target)
{
	if (!s.p)
		return;
	CHECK(s.p >= v->base && s.p + s.len <= v->base + v->r);
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		CHECK(c != 0x7f && (c >= ' ' || (c == '\t' && !target)));
		CHECK(!target || (c > ' ' && c < 0x7f));
	}
}

static void
check_head(const struct verdict *v)
{
	const struct http_head *h = &v->head;

	CHECK(v->r <= HTTP_MAX_HEAD);
	CHECK(memcmp(v->base + v->r - 4, "\r\n\r\n", 4) == 0);
	check_inside(v, h->method_name, true);
	check_inside(v, h->path, true);
	check_inside(v, h->query, true);
	CHECK(h->method_name.len > 0 && h->path.len > 0 && *h->path.p == '/');
	for (int i = 0; i < HTTP_FIELDS; i++)
		check_inside(v, h->field[i], false);
	CHECK(h->minor == 1 || (h->minor == 0 && !h->keep_alive));
	CHECK(h->minor == 0 || h->field[HTTP_FIELD_HOST].p);
	CHECK(h->body_len <= HTTP_MAX_BODY);
	CHECK(h->body_len == 0 || h->method == HTTP_POST);
	CHECK(h->method != HTTP_POST || h->field[HTTP_FIELD_CONTENT_LENGTH].p);
}

static void
check_refusal(const struct verdict *v)
{
	static const unsigned statuses[] = { 400, 411, 413, 414, 431, 501, 505 };
	bool known = false;

	check_err(&v->e, (int)v->r);
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
		known = known || v->e.status == statuses[i];
	CHECK(v->e.kind == ERR_REQUEST && known);
}

static int
hex(char c)
{
	const char *digits = "0123456789abcdef0123456789ABCDEF";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) % 16 : -1;
}

/* As doc/protocol.md says it: 1 and the value, 0, or -1. */
static int
query_naive(struct http_span query, const char *name, char *out, size_t *ret_len)
{
	struct input rest = { query.p, query.len }, value;
	int found = 0;

	*ret_len = 0;
	while (rest.len > 0) {
		struct input word, all = input_until(&rest, '&');

		value = all;
		word = input_until(&value, '=');
		if (word.len != strlen(name) || memcmp(word.p, name, word.len) != 0)
			continue;
		if (found)
			return -1;
		found = 1;
		for (size_t i = 0; i < value.len; i++) {
			char c = value.p[i] == '+' ? ' ' : value.p[i];

			if (c == '%') {
				if (value.len - i < 3 || hex(value.p[i + 1]) < 0 ||
				    hex(value.p[i + 2]) < 0)
					found = 2;	/* unless it is repeated */
				c = found == 2 ? 'x' : (char)(hex(value.p[i + 1]) *
							16 + hex(value.p[i + 2]));
				i += found == 2 ? 0 : 2;
				found = c ? found : 2;
			}
			out[(*ret_len)++] = c;
		}
	}
	return found == 2 ? -1 : found;
}

static void
check_query(struct http_span query)
{
	static const char *const names[] = {
		"audience", "account", "format", "scopes", "timeout_sec", "a", "",
	};
	char *expected = malloc(query.len + 1);
	size_t len;

	CHECK(expected);
	for (size_t i = 0; query.p && i < ARRAY_SIZE(names); i++) {
		struct buf roomy = BUF_INIT(HTTP_MAX_HEAD);
		struct buf tight = BUF_INIT(8);
		struct err e;
		int naive, r, t;

		naive = query_naive(query, names[i], expected, &len);
		r = http_query_get(query, names[i], &roomy, &e);
		CHECK((naive > 0) == (r > 0) && (naive == 0) == (r == 0));
		if (r < 0)
			check_err(&e, r);
		CHECK(roomy.len == (r > 0 ? len : 0));
		CHECK(r <= 0 || memcmp(buf_str(&roomy), expected, len) == 0);
		CHECK(strlen(buf_str(&roomy)) == roomy.len);

		t = http_query_get(query, names[i], &tight, NULL);
		CHECK(t == r || (t < 0 && len > 8));
		CHECK(t <= 0 || tight.len == len);
		buf_free(&roomy);
		buf_free(&tight);
	}
	free(expected);
}

static void
check_directives(struct http_span value)
{
	static const char *const names[] = {
		"min-fresh", "no-cache", "only-if-cached", "wait", "close", "a",
	};

	for (size_t i = 0; value.p && i < ARRAY_SIZE(names); i++) {
		uint64_t v = 0;
		int r = http_directive(value, names[i], &v);

		CHECK(r == 0 || r == 1 || r == -EINVAL);
		CHECK((r != 0) == http_directive_present(value, names[i]));
		CHECK(r == 1 || v == 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data;
	struct verdict whole = { .base = p }, pieces;
	size_t scanned = 0;

	whole.r = http_parse(p, size, &scanned, &whole.head, &whole.e);
	CHECK(whole.r <= (ssize_t)size);
	if (whole.r > 0)
		check_head(&whole);
	if (whole.r < 0)
		check_refusal(&whole);

	if (size <= 600) {
		parse_pieces(p, size, 1, 1, &pieces);
		check_same(&whole, &pieces);
		free(pieces.copy);
	}
	parse_pieces(p, size, 1 + size / 2, seed_of(p, size), &pieces);
	check_same(&whole, &pieces);
	free(pieces.copy);

	if (whole.r > 0) {
		check_query(whole.head.query);
		check_directives(whole.head.field[HTTP_FIELD_CACHE_CONTROL]);
		check_directives(whole.head.field[HTTP_FIELD_PREFER]);
		check_directives(whole.head.field[HTTP_FIELD_CONNECTION]);
	} else {
		/* No target holds a NUL. */
		if (size > 0 && !memchr(p, 0, size))
			check_query((struct http_span){ p, size });
		check_directives((struct http_span){ p, size });
	}
	return 0;
}
