/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* JSON in, by json-c and nobody else; JSON out, by appending to a buffer.

   A struct json is a value inside a document.  The document's root is freed
   with json_free(); everything got from it lives as long as the root. */

#include "base/base.h"
#include "base/buf.h"

struct json;

#define JSON_DEPTH	16

/* One complete value of RFC 8259 and valid UTF-8, nothing behind it but white
   space; arrays and objects at most depth deep in each other; no name holds a
   NUL.  Of names given twice the last counts.  NULL if it is anything else, or
   nothing but null. */
struct json *json_parse(const char *text, size_t len, int depth);
struct json *json_free(struct json *root);
DEFINE_CLEANUP(struct json *, json_free)

/* The same, for what others are to read as we do: no name stands twice in one
   object, however it is escaped, no string holds U+0000, and there are no more
   values than JSON_VALUES_MAX (an empty object of three bytes takes json-c nearly a
   kilobyte).  In *ret_why, on failure, what is wrong with it. */
#define JSON_VALUES_MAX	1024
struct json *json_parse_strict(const char *text, size_t len, int depth,
			       const char **ret_why);

bool json_is_object(const struct json *j);
bool json_is_array(const struct json *j);

/* All of these accept a NULL j, so that look-ups can be chained; NULL or false
   where there is no such member, or it is null or of another type. */
const struct json *json_get(const struct json *j, const char *key);
bool json_has(const struct json *j, const char *key);	/* also where it is null */
const char *json_string(const struct json *j);		/* NULL if it holds a NUL */
const char *json_get_string(const struct json *j, const char *key);
bool json_int(const struct json *j, int64_t *ret);	/* integers > INT64_MIN */
bool json_get_int(const struct json *j, const char *key, int64_t *ret);
bool json_get_bool(const struct json *j, const char *key, bool *ret);
size_t json_array_len(const struct json *j);
const struct json *json_array_at(const struct json *j, size_t i);
/* The members of an object in their order, until each() returns a negative value,
   which is passed on; a value of null is NULL.  0 where j is no object. */
typedef int json_each_fn(void *userdata, const char *name,
			 const struct json *value);
int json_each(const struct json *j, json_each_fn *each, void *userdata);

/* Append s as a JSON string, quotes included.  s is escaped as RFC 8259 asks;
   bytes that are not UTF-8 become U+FFFD.  The slash stays as it is. */
int json_write_string(struct buf *b, const char *s);

/* Append a value as JSON, without any space.  -EINVAL where it holds what would not
   come out as it went in: a string with a NUL, or a number that is not whole or
   beyond what all readers know exactly. */
#define JSON_INT_MAX	((INT64_C(1) << 53) - 1)
int json_write(struct buf *b, const struct json *j);
