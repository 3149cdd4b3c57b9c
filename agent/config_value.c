/* SPDX-License-Identifier: Apache-2.0 */

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "config_value.h"

#define DIGITS	"0123456789"

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit durations[] = {	/* the largest first */
	{ "h",		60 * USEC_PER_MIN },
	{ "min",	USEC_PER_MIN },
	{ "s",		USEC_PER_SEC },
	{ "ms",		USEC_PER_MSEC },
	{ "us",		1 },
};

static const struct unit sizes[] = {
	{ "M",		1024 * 1024 },
	{ "K",		1024 },
	{ "",		1 },
};

/* A number and a unit, with or without a blank between them; empty stands for a
   unit that is not written. */
static bool
scaled(const char *s, const struct unit *units, size_t n_units, const char *empty,
       uint64_t *ret)
{
	size_t digits = strspn(s, DIGITS);
	const char *unit = s + digits;
	uint64_t v;

	unit += strspn(unit, " ");
	if (!*unit)
		unit = empty;
	for (size_t i = 0; i < n_units; i++) {
		if (strcmp(unit, units[i].name) != 0)
			continue;
		if (!text_to_u64(s, digits, UINT64_MAX / units[i].factor, &v))
			return false;
		*ret = v * units[i].factor;
		return true;
	}
	return false;
}

/* As one would write it. */
static const char *
show(char ret[static 32], uint64_t v, const struct unit *units, size_t n_units)
{
	for (size_t i = 0; i < n_units; i++)
		if (i == n_units - 1 || (v > 0 && v % units[i].factor == 0)) {
			(void)snprintf(ret, 32, "%llu%s",
				       (unsigned long long)(v / units[i].factor),
				       units[i].name);
			break;
		}
	return ret;
}

static int
in_range(const char *s, uint64_t v, uint64_t min, uint64_t max,
	 const struct unit *units, size_t n_units, struct err *e)
{
	char low[32], high[32], text[TEXT_SHOW_SIZE];

	if (v >= min && v <= max)
		return 0;
	return err_set(e, ERR_REQUEST, "%s is out of range: %s to %s",
		       text_show_str(text, s), show(low, min, units, n_units),
		       show(high, max, units, n_units));
}

static int
bad_value(const char *s, const char *expected, struct err *e)
{
	char text[TEXT_SHOW_SIZE];

	return err_set(e, ERR_REQUEST, "bad value \"%s\": expected %s",
		       text_show_str(text, s), expected);
}

int
config_value_duration(const char *s, uint64_t min_usec, uint64_t max_usec,
		      uint64_t *ret_usec, struct err *e)
{
	uint64_t v;
	int r;

	if (!scaled(s, durations, ARRAY_SIZE(durations), "s", &v))
		return bad_value(s, "a time such as 500ms, 5s, 10min or 1h", e);
	r = in_range(s, v, min_usec, max_usec, durations, ARRAY_SIZE(durations), e);
	if (r < 0)
		return r;
	*ret_usec = v;
	return 0;
}

int
config_value_number(const char *s, uint64_t min, uint64_t max, uint64_t *ret,
		    struct err *e)
{
	uint64_t v;
	int r;

	if (!scaled(s, sizes, ARRAY_SIZE(sizes), "", &v))
		return bad_value(s, "a number such as 512 or 4K", e);
	r = in_range(s, v, min, max, &sizes[2], 1, e);
	if (r < 0)
		return r;
	*ret = v;
	return 0;
}

int
config_value_percent(const char *s, unsigned min, unsigned max, unsigned *ret,
		     struct err *e)
{
	size_t digits = strspn(s, DIGITS);
	char text[TEXT_SHOW_SIZE];
	uint64_t v;

	if (strcmp(s + digits, "%") != 0 || !text_to_u64(s, digits, UINT32_MAX, &v))
		return bad_value(s, "a part such as 25%", e);
	if (v < min || v > max)
		return err_set(e, ERR_REQUEST, "%s is out of range: %u%% to %u%%",
			       text_show_str(text, s), min, max);
	*ret = (unsigned)v;
	return 0;
}

int
config_value_rate(const char *s, double min, double max, double *ret,
		  struct err *e)
{
	size_t whole = strspn(s, DIGITS), part = 0;
	uint64_t v, decimals = 0, scale = 1;
	char text[TEXT_SHOW_SIZE];
	double rate;

	if (s[whole] == '.') {
		part = strspn(s + whole + 1, DIGITS);
		for (size_t i = 0; i < part && i < 3; i++)
			scale *= 10;
		if (part > 3 || !text_to_u64(s + whole + 1, part, 999, &decimals))
			return bad_value(s, "a number such as 2 or 0.5", e);
		part++;
	}
	if (s[whole + part] || !text_to_u64(s, whole, UINT32_MAX, &v))
		return bad_value(s, "a number such as 2 or 0.5", e);

	rate = (double)v + (double)decimals / (double)scale;
	if (rate < min || rate > max)
		return err_set(e, ERR_REQUEST, "%s is out of range: %g to %g",
			       text_show_str(text, s), min, max);
	*ret = rate;
	return 0;
}

int
config_value_bool(const char *s, bool *ret, struct err *e)
{
	static const char *const words[][2] = {
		{ "no", "yes" }, { "false", "true" }, { "off", "on" }, { "0", "1" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		for (int j = 0; j < 2; j++)
			if (strcmp(s, words[i][j]) == 0) {
				*ret = j == 1;
				return 0;
			}
	return bad_value(s, "yes or no", e);
}

char *
config_value_word(const char **s)
{
	const char *p = *s + strspn(*s, " \t");
	char *word = xstrdup(p), *out = word;

	for (; *p && *p != ' ' && *p != '\t'; p++) {
		if (p[0] == '\\' && p[1])
			p++;
		*out++ = *p;
	}
	*out = '\0';
	*s = p;
	if (out > word)
		return word;
	free(word);
	return NULL;
}

int
config_value_audience(const char *s, size_t max, struct err *e)
{
	size_t len = strlen(s);

	if (len > 0 && len <= max && text_is_utf8(s, len) && text_is_plain(s, len))
		return 0;
	return err_set(e, ERR_REQUEST, "an audience has 1 to %zu bytes of UTF-8 "
		       "without control characters", max);
}

int
config_value_proxy(const char *s, struct err *e)
{
	static const char *const schemes[] = {
		"http://", "https://", "socks5://", "socks5h://",
	};
	const char *host = NULL, *port;
	uint64_t number;
	size_t len;

	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
		if (strncmp(s, schemes[i], strlen(schemes[i])) == 0)
			host = s + strlen(schemes[i]);
	/* The value itself is not shown from here on: it may have a password. */
	if (!host || strpbrk(host, " /?#\\"))
		goto bad;

	if (strrchr(host, '@'))
		host = strrchr(host, '@') + 1;
	len = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
	if (len == 0 || len > strlen(host))
		goto bad;
	port = host + len;
	if (*port && (*port != ':' ||
		      !text_to_u64(port + 1, strlen(port + 1), 65535, &number)))
		goto bad;
	return 0;

bad:
	return err_set(e, ERR_REQUEST, "bad value: expected environment, or a URL "
		       "such as http://proxy.example.com:3128");
}
