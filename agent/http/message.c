/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/text.h"
#include "http/message.h"

#define DATE_LEN	29		/* of an IMF-fixdate */
#define DATE_MAX	INT64_C(253402300799)	/* the end of the year 9999 */

static const char days[7][4] = {
	"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"
};
static const char months[12][4] = {
	"Jan", "Feb", "Mar", "Apr", "May", "Jun",
	"Jul", "Aug", "Sep", "Oct", "Nov", "Dec"
};

void
http_request_field(struct http_request *q, const char *name, const char *value)
{
	assert(q->n_fields < HTTP_REQUEST_FIELDS_MAX);

	q->fields[q->n_fields++] = xasprintf("%s: %s", name, value);
}

void
http_request_clear(struct http_request *q)
{
	for (size_t i = 0; i < q->n_fields; i++)
		secret_free(q->fields[i]);
	if (q->body)
		explicit_bzero(q->body, q->body_len);
	free(q->body);
	secret_free(q->url);
	*q = (struct http_request){ .method = NULL };
}

/* A part of a line: not NUL-terminated, and it may hold anything. */
struct span {
	const char *p;
	size_t len;
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct span
span_trim(struct span s)
{
	while (s.len > 0 && is_blank(s.p[0])) {
		s.p++;
		s.len--;
	}
	while (s.len > 0 && (is_blank(s.p[s.len - 1]) ||
			     s.p[s.len - 1] == '\r' || s.p[s.len - 1] == '\n'))
		s.len--;
	return s;
}

static bool
span_is(struct span s, const char *word)
{
	return s.len == strlen(word) && strncasecmp(s.p, word, s.len) == 0;
}

static void
take_content_type(struct http_response *re, struct span v)
{
	size_t i;

	for (i = 0; i < v.len && i < sizeof(re->content_type) - 1; i++) {
		if (v.p[i] < ' ' || v.p[i] > '~')
			break;
		re->content_type[i] = v.p[i];
	}
	re->content_type[i] = '\0';
}

/* Seconds, or a date that means nothing without the server's own. */
static void
take_retry_after(struct http_response *re, struct span v)
{
	uint64_t seconds;

	re->retry_at = 0;
	re->retry_after_usec = 0;
	if (text_to_u64(v.p, v.len, UINT64_MAX / USEC_PER_SEC, &seconds))
		re->retry_after_usec = seconds * USEC_PER_SEC;
	else
		re->retry_at = http_date_parse(v.p, v.len);
}

static void
take_cache_control(struct http_response *re, struct span v)
{
	static const char name[] = "max-age=";
	const size_t name_len = sizeof(name) - 1;
	uint64_t seconds;

	while (v.len > 0) {
		const char *comma = memchr(v.p, ',', v.len);
		size_t len = comma ? (size_t)(comma - v.p) : v.len;
		struct span word = span_trim((struct span){ v.p, len });

		if (word.len > name_len &&
		    strncasecmp(word.p, name, name_len) == 0 &&
		    text_to_u64(word.p + name_len, word.len - name_len,
				INT64_MAX, &seconds))
			re->max_age = seconds > re->age ? seconds - re->age : 0;
		if (!comma)
			break;
		v.p += len + 1;
		v.len -= len + 1;
	}
}

/* Age may come before or after what it is subtracted from. */
static void
take_age(struct http_response *re, struct span v)
{
	uint64_t seconds;

	if (!text_to_u64(v.p, v.len, INT64_MAX, &seconds) || re->age > 0)
		return;
	re->age = seconds;
	if (re->max_age != HTTP_MAX_AGE_UNKNOWN)
		re->max_age = re->max_age > seconds ? re->max_age - seconds : 0;
}

void
http_response_line(struct http_response *re, const char *line, size_t len)
{
	const char *colon = memchr(line, ':', len);
	struct span name, value;

	if (!colon)
		return;
	name = (struct span){ line, (size_t)(colon - line) };
	value = span_trim((struct span){ colon + 1, len - name.len - 1 });

	if (span_is(name, "Content-Type"))
		take_content_type(re, value);
	else if (span_is(name, "Metadata-Flavor"))
		re->flavor_google = value.len == strlen("Google") &&
				    memcmp(value.p, "Google", value.len) == 0;
	else if (span_is(name, "Date"))
		re->date = http_date_parse(value.p, value.len);
	else if (span_is(name, "Retry-After"))
		take_retry_after(re, value);
	else if (span_is(name, "Cache-Control"))
		take_cache_control(re, value);
	else if (span_is(name, "Age"))
		take_age(re, value);
	else
		return;

	/* A date to retry at is as good as the clock that it was made with. */
	if (re->retry_at > 0 && re->date > 0)
		re->retry_after_usec = re->retry_at > re->date ?
			(uint64_t)(re->retry_at - re->date) * USEC_PER_SEC : 0;
}

/* The place of the three letters at s in a table of such, or -1. */
static int
find_name(const char *s, const char (*table)[4], int n)
{
	for (int i = 0; i < n; i++)
		if (memcmp(s, table[i], 3) == 0)
			return i;
	return -1;
}

/* n digits as a number, or -1. */
static int
digits(const char *s, size_t n)
{
	uint64_t v;

	return text_to_u64(s, n, 9999, &v) ? (int)v : -1;
}

int64_t
http_date_parse(const char *s, size_t len)
{
	/* By shape first: the places of digits and letters come after. */
	static const char shape[] = "***, ** *** **** **:**:** GMT";
	struct tm tm = { .tm_isdst = 0 };
	int mday, sec;
	time_t when;

	if (len != DATE_LEN)
		return 0;
	for (size_t i = 0; i < DATE_LEN; i++)
		if (shape[i] != '*' && shape[i] != s[i])
			return 0;

	mday = tm.tm_mday = digits(s + 5, 2);
	tm.tm_mon = find_name(s + 8, months, 12);
	tm.tm_year = digits(s + 12, 4) - 1900;
	tm.tm_hour = digits(s + 17, 2);
	tm.tm_min = digits(s + 20, 2);
	sec = digits(s + 23, 2);
	tm.tm_sec = sec == 60 ? 59 : sec;	/* a leap second */
	if (find_name(s, days, 7) < 0 || tm.tm_mon < 0 || tm.tm_year < 70 ||
	    mday < 1 || tm.tm_hour < 0 || tm.tm_hour > 23 ||
	    tm.tm_min < 0 || tm.tm_min > 59 || sec < 0 || sec > 60)
		return 0;

	/* timegm() makes 3 March of 31 February: then it was no date. */
	when = timegm(&tm);
	return tm.tm_mday == mday ? when + (sec == 60) : 0;
}

/* n as so many decimal digits. */
static void
put_digits(char *s, int n, size_t len)
{
	while (len > 0) {
		s[--len] = (char)('0' + n % 10);
		n /= 10;
	}
}

void
http_date_format(int64_t when, char ret[static 30])
{
	time_t t = when < 0 ? 0 : MIN(when, DATE_MAX);
	struct tm tm;

	gmtime_r(&t, &tm);
	memcpy(ret, "***, ** *** **** **:**:** GMT", DATE_LEN + 1);
	memcpy(ret, days[tm.tm_wday], 3);
	put_digits(ret + 5, tm.tm_mday, 2);
	memcpy(ret + 8, months[tm.tm_mon], 3);
	put_digits(ret + 12, tm.tm_year + 1900, 4);
	put_digits(ret + 17, tm.tm_hour, 2);
	put_digits(ret + 20, tm.tm_min, 2);
	put_digits(ret + 23, tm.tm_sec, 2);
}
