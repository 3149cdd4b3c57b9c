/* SPDX-License-Identifier: MIT */
#pragma once

/* Just enough JSON for a command line: judge a text, find a field, show it.

   json_parse() judges the whole text (RFC 8259, UTF-8, bounded depth); the rest
   walks what has been judged and cannot fail on it.  A struct json is a span of
   the text, which has to outlive it; nothing is allocated. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { JSON_DEPTH_MAX = 32 };

struct json {
	const char *s, *end;
};

/* The one value of a text, which need not be NUL-terminated. */
bool json_parse(const char *text, size_t len, struct json *ret);

/* '{' object, '[' array, '"' string, '0' number, 't' 'f' 'n' as they begin. */
char json_type(const struct json *v);

/* Walk an object or array: start with a copy of it, whose value is then what is
   left.  name is a string, or empty in an array; it may be NULL. */
struct json json_begin(const struct json *v);
bool json_next(struct json *iter, struct json *name, struct json *value);

/* The first member of that name. */
bool json_member(const struct json *object, const char *name, struct json *ret);

/* A string's text, as UTF-8 and NUL-terminated.  False where it is no string,
   does not fit, or holds a NUL. */
bool json_string(const struct json *v, char *buf, size_t size);

bool json_integer(const struct json *v, int64_t *ret);

/* Pretty, in printable ASCII whatever is in it: terminals obey the rest. */
void json_print(FILE *f, const struct json *v, int indent);
