/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Values as people write them in configuration files.  Pure.  On failure e says
   what was expected, and *ret is untouched. */

#include "base/base.h"
#include "base/err.h"

/* "500us", "20ms", "5s", "10min", "1h"; a bare number is seconds. */
int config_value_duration(const char *s, uint64_t min_usec, uint64_t max_usec,
			  uint64_t *ret_usec, struct err *e);
/* "4096", "4K", "1M" (powers of 1024). */
int config_value_number(const char *s, uint64_t min, uint64_t max, uint64_t *ret,
			struct err *e);
/* "2", "0.5": at most three decimals. */
int config_value_rate(const char *s, double min, double max, double *ret,
		      struct err *e);
/* "25%"; whole ones only. */
int config_value_percent(const char *s, unsigned min, unsigned max, unsigned *ret,
			 struct err *e);
/* yes no, true false, on off, 1 0 */
int config_value_bool(const char *s, bool *ret, struct err *e);

/* The next value of a list, newly allocated; values stand apart by blanks, and a
   backslash takes the next byte as it is.  NULL where there is none. */
char *config_value_word(const char **s);

/* 1 to max bytes of UTF-8 without control characters. */
int config_value_audience(const char *s, size_t max, struct err *e);

/* The URL of an HTTP or SOCKS proxy: scheme, host, optional port and user. */
int config_value_proxy(const char *s, struct err *e);
