/* SPDX-License-Identifier: Apache-2.0 */

/* Patterns of the policy (api/pattern.h).  The first line is the pattern, the
   rest is what it is held against.

   - A second, naive matcher finds the same.
   - Where stars are to be escaped no more is matched than where they are not.
   - A pattern without wildcards matches itself only.
   - No pair takes long. */

#include <time.h>

#include "api/pattern.h"
#include "fuzz-words.h"

#define CPU_MAX_MS	250	/* with sanitizers; 1 ms without */

/* One piece of a pattern: a byte, or a wildcard. */
struct piece {
	bool wild, twice;
	char c;
};

static size_t
pieces_of(struct input text, struct piece *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < text.len; i++) {
		bool twice = i + 1 < text.len && text.p[i + 1] == '*';

		if (text.p[i] == '*') {
			ret[n++] = (struct piece){ true, twice, 0 };
			i += twice ? 1 : 0;
			continue;
		}
		i += text.p[i] == '\\' ? 1 : 0;
		ret[n++] = (struct piece){ false, false, text.p[i] };
	}
	return n;
}

/* Does the wildcard take this byte? */
static bool
takes(struct piece w, char c, enum pattern_class class, bool escaped)
{
	if (c == '*' && escaped)
		return false;
	return w.twice || class == PATTERN_NAME || !strchr("/.:@", c);
}

/* m[i][j]: the pattern from i on matches the string from j on. */
static bool
match_naive(const struct piece *p, size_t n, const char *s,
	    enum pattern_class class, bool escaped)
{
	size_t len = strlen(s), row = len + 1;
	bool *m = calloc((n + 1) * row, sizeof(*m)), ret;

	CHECK(m);
	m[n * row + len] = true;
	for (size_t i = n; i-- > 0; )
		for (size_t j = len + 1; j-- > 0; ) {
			bool *to = &m[i * row + j], more = j < len;

			if (!p[i].wild)
				*to = more && s[j] == p[i].c && to[row + 1];
			else
				*to = to[row] ||
				      (more && to[1] &&
				       takes(p[i], s[j], class, escaped));
		}
	ret = m[0];
	free(m);
	return ret;
}

static uint64_t
cpu_ms(void)
{
	struct timespec ts = { 0 };

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void
check_pattern(const struct pattern *p, struct input text, const char *s,
	      enum pattern_class class)
{
	struct piece *pieces = calloc(text.len + 1, sizeof(*pieces));
	uint64_t began = cpu_ms();
	bool match = pattern_match(p, s, false);
	bool strict = pattern_match(p, s, true);
	const char *plain = pattern_plain(p);
	size_t n;

	CHECK(cpu_ms() - began <= CPU_MAX_MS);
	CHECK(pieces);
	n = pieces_of(text, pieces);
	if ((n + 1) * (strlen(s) + 1) <= 64 * 1024) {
		CHECK(match == match_naive(pieces, n, s, class, false));
		CHECK(strict == match_naive(pieces, n, s, class, true));
	}
	free(pieces);

	CHECK(match || !strict);
	CHECK(!plain || match == (strcmp(plain, s) == 0));
	CHECK(!plain || pattern_match(p, plain, true));
	CHECK(!pattern_is_all(p) || match);
	(void)pattern_has_double(p);
	(void)pattern_host_is_open(p);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = input_of(data, size), text = input_until(&in, '\n');
	char *s = copy_string(in.p, in.len), *copy;

	/* Lines of the configuration hold no NUL. */
	if (text.len > 0 && memchr(text.p, 0, text.len)) {
		free(s);
		return 0;
	}
	copy = copy_exact(text.p, text.len);
	for (int class = PATTERN_AUDIENCE; class <= PATTERN_NAME; class++) {
		_cleanup_(pattern_freep) struct pattern *p = NULL;
		struct err e;
		int r = pattern_new(copy, text.len, (enum pattern_class)class, &p,
				    &e);

		if (r < 0) {
			CHECK(!p);
			check_err(&e, r);
			continue;
		}
		CHECK(strlen(pattern_text(p)) == text.len);
		check_pattern(p, text, s, (enum pattern_class)class);
	}
	free(copy);
	free(s);
	return 0;
}
