/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <string.h>

#include "api/pattern.h"
#include "base/text.h"

enum wild { WILD_NONE, WILD_ONE, WILD_ALL };

/* A wildcard, and the literal bytes behind it. */
struct segment {
	enum wild wild;
	size_t at, len;		/* in literals */
};

struct pattern {
	enum pattern_class class;
	char *text;
	char *literals;		/* all of them, escapes undone */
	size_t n;
	struct segment seg[PATTERN_WILDCARDS_MAX + 1];
};

static int
pattern_error(const char *text, size_t len, const char *words, struct err *e)
{
	char show[TEXT_SHOW_SIZE];

	return err_set(e, ERR_REQUEST, "pattern %s: %s",
		       text_show(show, text, len), words);
}

/* Take the wildcard at text[i]; returns its length, or a negative errno. */
static ssize_t
pattern_wildcard(struct pattern *p, const char *text, size_t len, size_t i,
		 size_t at, struct err *e)
{
	size_t stars = 1;

	while (i + stars < len && text[i + stars] == '*')
		stars++;
	if (stars > 2)
		return pattern_error(text, len, "more than two * in a row", e);
	if (p->n > PATTERN_WILDCARDS_MAX)
		return pattern_error(text, len, "more than 8 wildcards", e);

	p->seg[p->n++] = (struct segment){
		.wild = stars == 2 || p->class == PATTERN_NAME ? WILD_ALL
							       : WILD_ONE,
		.at = at,
	};
	return (ssize_t)stars;
}

int
pattern_new(const char *text, size_t len, enum pattern_class class,
	    struct pattern **ret, struct err *e)
{
	_cleanup_(pattern_freep) struct pattern *p = NULL;
	size_t out = 0;

	if (len == 0)
		return err_set(e, ERR_REQUEST, "empty pattern");

	p = xcalloc(1, sizeof(*p));
	p->class = class;
	p->text = xstrndup(text, len);
	p->literals = xcalloc(1, len + 1);
	p->n = 1;

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '*') {
			ssize_t n = pattern_wildcard(p, text, len, i, out, e);

			if (n < 0)
				return (int)n;
			i += (size_t)n - 1;
			continue;
		}
		if (text[i] == '\\' && ++i == len)
			return pattern_error(text, len,
					     "nothing behind the last \\", e);
		p->literals[out++] = text[i];
		p->seg[p->n - 1].len++;
	}

	*ret = TAKE_PTR(p);
	return 0;
}

struct pattern *
pattern_free(struct pattern *p)
{
	if (!p)
		return NULL;

	free(p->text);
	free(p->literals);
	free(p);
	return NULL;
}

static bool
is_stop(char c, enum wild wild, bool stars_escaped)
{
	if (c == '*' && stars_escaped)
		return true;
	return wild == WILD_ONE && strchr("/.:@", c);
}

/* From the set of places in s that the pattern may have reached to those that it
   reaches behind one more segment; in place. */
static bool
segment_advance(const struct segment *seg, const char *literal, const char *s,
		size_t n, bool stars_escaped, unsigned char *reach)
{
	bool open = false, any = false;

	for (size_t i = 0; i <= n; i++) {
		open = open || reach[i];
		reach[i] = open;
		if (i < n && is_stop(s[i], seg->wild, stars_escaped))
			open = false;
	}
	if (seg->len == 0)
		return true;

	/* Backwards, so that each place is read before it is overwritten. */
	for (size_t i = n + 1; i-- > 0; ) {
		reach[i] = i >= seg->len && reach[i - seg->len] &&
			s[i - 1] == literal[seg->len - 1] &&
			memcmp(s + i - seg->len, literal, seg->len) == 0;
		any = any || reach[i];
	}
	return any;
}

bool
pattern_match(const struct pattern *p, const char *s, bool stars_escaped)
{
	size_t n = strlen(s);
	unsigned char *reach;
	bool match = true;

	if (n < p->seg[0].len || memcmp(s, p->literals, p->seg[0].len) != 0)
		return false;
	if (p->n == 1)
		return n == p->seg[0].len;

	/* Greedy matching would not do: where "*" stops, an earlier "**" may have
	   to reach further, so all ways are followed at once. */
	s += p->seg[0].len;
	n -= p->seg[0].len;
	reach = xcalloc(n + 1, 1);
	reach[0] = 1;
	for (size_t i = 1; match && i < p->n; i++)
		match = segment_advance(&p->seg[i], p->literals + p->seg[i].at,
					s, n, stars_escaped, reach);
	match = match && reach[n];
	free(reach);
	return match;
}

const char *
pattern_text(const struct pattern *p)
{
	return p->text;
}

const char *
pattern_plain(const struct pattern *p)
{
	return p->n == 1 ? p->literals : NULL;
}

bool
pattern_is_all(const struct pattern *p)
{
	return strcmp(p->text, "**") == 0;
}

bool
pattern_has_double(const struct pattern *p)
{
	for (size_t i = 1; i < p->n; i++)
		if (p->seg[i].wild == WILD_ALL)
			return true;
	return false;
}

bool
pattern_host_is_open(const struct pattern *p)
{
	const char *host = strstr(p->text, "://");
	const char *end, *wild;

	/* A wildcard in front covers scheme and host alike. */
	if (p->text[0] == '*')
		return !pattern_is_all(p);
	if (!host)
		return strncmp(p->text, "http", 4) == 0 && pattern_has_double(p);

	host += 3;
	end = host + strcspn(host, "/?#");
	wild = strstr(host, "**");
	return *host == '*' || (wild && wild < end);
}
