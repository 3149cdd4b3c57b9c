/* SPDX-License-Identifier: Apache-2.0 */

/* Header lines of upstream's answers, and dates (http/message.h).  The input is
   lines; each is also read as a date, and the whole as a moment.

   - Where each field is there once, their order changes nothing.
   - A date that is read is written and read the same; so is every moment. */

#include <strings.h>

#include "fuzz.h"
#include "http/message.h"

#define LINES_MAX	64
#define DATE_MAX	INT64_C(253402300799)

static struct input
name_of(struct input line)
{
	return input_until(&line, ':');
}

static bool
is_same_name(struct input a, struct input b)
{
	return a.len == b.len &&
	       (a.len == 0 || strncasecmp(a.p, b.p, a.len) == 0);
}

static void
take(struct http_response *re, struct input line)
{
	char *copy = copy_exact(line.p, line.len);

	http_response_line(re, copy, line.len);
	free(copy);
}

static void
check_response(const struct http_response *re)
{
	CHECK(strlen(re->content_type) < sizeof(re->content_type));
	for (const char *s = re->content_type; *s; s++)
		CHECK(*s >= ' ' && *s <= '~');
	CHECK(re->date >= 0 && re->date <= DATE_MAX + 1);
	CHECK(re->max_age == HTTP_MAX_AGE_UNKNOWN || re->max_age <= INT64_MAX);
}

static void
check_order(const struct input *lines, size_t n)
{
	struct http_response forth = HTTP_RESPONSE_INIT, back = forth;

	for (size_t i = 0; i < n; i++)
		take(&forth, lines[i]);
	check_response(&forth);

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < i; j++)
			if (is_same_name(name_of(lines[i]), name_of(lines[j])))
				return;
	for (size_t i = n; i-- > 0; )
		take(&back, lines[i]);
	CHECK(strcmp(forth.content_type, back.content_type) == 0);
	CHECK(forth.flavor_google == back.flavor_google);
	CHECK(forth.date == back.date && forth.max_age == back.max_age);
	CHECK(forth.retry_after_usec == back.retry_after_usec);
}

static void
check_date(struct input line)
{
	char *copy = copy_exact(line.p, line.len);
	int64_t t = http_date_parse(copy, line.len);
	char text[30];

	free(copy);
	CHECK(t >= 0 && t <= DATE_MAX + 1);
	if (t == 0 || t > DATE_MAX)
		return;
	http_date_format(t, text);
	CHECK(strlen(text) == 29 && http_date_parse(text, 29) == t);
}

static void
check_moment(const uint8_t *data, size_t size)
{
	int64_t t = 0;
	char text[30];

	memcpy(&t, data, size < sizeof(t) ? size : sizeof(t));
	http_date_format(t, text);
	t = t < 0 ? 0 : t > DATE_MAX ? DATE_MAX : t;
	CHECK(strlen(text) == 29 && http_date_parse(text, 29) == t);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = input_of(data, size), lines[LINES_MAX];
	size_t n = 0;

	while (in.len > 0 && n < LINES_MAX) {
		lines[n] = input_until(&in, '\n');
		check_date(lines[n++]);
	}
	check_order(lines, n);
	if (size > 0)
		check_moment(data, size);
	return 0;
}
