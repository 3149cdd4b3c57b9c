/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include <json-c/json.h>

#include "base/json.h"
#include "base/json_scan.h"
#include "base/text.h"

/* A struct json is a struct json_object: same pointer, other name. */

static struct json_object *
inside(const struct json *j)
{
	return (struct json_object *)(uintptr_t)j;
}

static const struct json *
outside(const struct json_object *o)
{
	return (const struct json *)o;
}

/* --- in ------------------------------------------------------------------- */

static struct json *
build(const char *text, size_t len, int depth)
{
	struct json_tokener *tok;
	struct json_object *o;

	/* It counts a level for what stands inside the innermost brackets. */
	tok = json_tokener_new_ex(depth + 1);
	if (!tok)
		abort();
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	o = json_tokener_parse_ex(tok, text, (int)len);
	/* A number at the very end waits for more digits, until a NUL. */
	if (json_tokener_get_error(tok) == json_tokener_continue)
		o = json_tokener_parse_ex(tok, "", 1);
	if (json_tokener_get_error(tok) != json_tokener_success && o) {
		json_object_put(o);
		o = NULL;
	}
	json_tokener_free(tok);
	return (struct json *)o;
}

struct json *
json_parse(const char *text, size_t len, int depth)
{
	struct json_scan s;

	return json_scan(text, len, depth, &s) ? build(text, len, depth) : NULL;
}

/* Members of all objects in it: of a name that was given twice one is left. */
static size_t
count_members(struct json_object *o)
{
	size_t n = 0;

	if (json_object_is_type(o, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(o); i++)
			n += count_members(json_object_array_get_idx(o, i));
	} else if (json_object_is_type(o, json_type_object)) {
		json_object_object_foreach(o, name, value) {
			(void)name;
			n += 1 + count_members(value);
		}
	}
	return n;
}

struct json *
json_parse_strict(const char *text, size_t len, int depth, const char **ret_why)
{
	struct json *j = NULL;
	struct json_scan s;

	*ret_why = "not one JSON value in UTF-8, or nested too deep";
	if (!json_scan(text, len, depth, &s))
		return NULL;
	if (s.values > JSON_VALUES_MAX) {
		*ret_why = "more than 1,024 values";
		return NULL;
	}
	j = build(text, len, depth);
	if (j && s.nul) {
		*ret_why = "a string holds U+0000";
		return json_free(j);
	}
	if (j && s.names != count_members(inside(j))) {
		*ret_why = "a name stands twice in one object";
		return json_free(j);
	}
	return j;
}

struct json *
json_free(struct json *root)
{
	json_object_put(inside(root));
	return NULL;
}

bool
json_is_object(const struct json *j)
{
	return json_object_is_type(inside(j), json_type_object);
}

bool
json_is_array(const struct json *j)
{
	return json_object_is_type(inside(j), json_type_array);
}

const struct json *
json_get(const struct json *j, const char *key)
{
	struct json_object *o = NULL;

	if (!json_is_object(j) || !json_object_object_get_ex(inside(j), key, &o))
		return NULL;
	return outside(o);
}

bool
json_has(const struct json *j, const char *key)
{
	return json_is_object(j) && json_object_object_get_ex(inside(j), key, NULL);
}

const char *
json_string(const struct json *j)
{
	const char *s;

	if (!json_object_is_type(inside(j), json_type_string))
		return NULL;
	s = json_object_get_string(inside(j));
	if (!s || strlen(s) != (size_t)json_object_get_string_len(inside(j)))
		return NULL;
	return s;
}

const char *
json_get_string(const struct json *j, const char *key)
{
	return json_string(json_get(j, key));
}

bool
json_int(const struct json *j, int64_t *ret)
{
	int64_t v;

	if (!json_object_is_type(inside(j), json_type_int))
		return false;
	/* json-c clamps what is too large or too small: INT64_MIN cannot be
	   told from less, and INT64_MAX only by asking for the unsigned. */
	v = json_object_get_int64(inside(j));
	if (v == INT64_MIN)
		return false;
	if (v == INT64_MAX && json_object_get_uint64(inside(j)) != INT64_MAX)
		return false;
	*ret = v;
	return true;
}

bool
json_get_int(const struct json *j, const char *key, int64_t *ret)
{
	return json_int(json_get(j, key), ret);
}

bool
json_get_bool(const struct json *j, const char *key, bool *ret)
{
	struct json_object *o = inside(json_get(j, key));

	if (!json_object_is_type(o, json_type_boolean))
		return false;
	*ret = json_object_get_boolean(o);
	return true;
}

size_t
json_array_len(const struct json *j)
{
	return json_is_array(j) ? json_object_array_length(inside(j)) : 0;
}

const struct json *
json_array_at(const struct json *j, size_t i)
{
	if (i >= json_array_len(j))
		return NULL;
	return outside(json_object_array_get_idx(inside(j), i));
}

int
json_each(const struct json *j, json_each_fn *each, void *userdata)
{
	int r = 0;

	if (!json_is_object(j))
		return 0;
	json_object_object_foreach(inside(j), name, value) {
		r = each(userdata, name, outside(value));
		if (r < 0)
			break;
	}
	return r;
}

/* --- out ------------------------------------------------------------------ */

/* How many bytes at s are one character of UTF-8; 0 if they are none. */
static size_t
utf8_len(const char *s, size_t len)
{
	for (size_t n = 1; n <= 4 && n <= len; n++)
		if (text_is_utf8(s, n))
			return n;
	return 0;
}

static void
write_ascii(struct buf *b, char c)
{
	static const char escaped[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
	const char *at = strchr(escaped, c);

	if (at)
		buf_addf(b, "\\%c", letter[at - escaped]);
	else if ((unsigned char)c < 0x20)
		buf_addf(b, "\\u%04x", (unsigned)c);
	else
		buf_addc(b, c);
}

int
json_write_string(struct buf *b, const char *s)
{
	size_t n;

	assert(s);
	buf_addc(b, '"');
	for (size_t left = strlen(s); left > 0; s += n, left -= n) {
		n = utf8_len(s, left);
		if (n == 0) {
			buf_adds(b, "\xef\xbf\xbd");
			n = 1;
		} else if (n == 1) {
			write_ascii(b, *s);
		} else {
			buf_add(b, s, n);
		}
	}
	/* Appends after an overflow fail all: the last one speaks for all. */
	return buf_addc(b, '"');
}

struct members {
	struct buf *to;
	bool more;
};

static int
write_member(void *userdata, const char *name, const struct json *value)
{
	struct members *m = userdata;

	if (m->more)
		buf_addc(m->to, ',');
	m->more = true;
	json_write_string(m->to, name);
	buf_addc(m->to, ':');
	return json_write(m->to, value);
}

static int
write_array(struct buf *b, const struct json *j)
{
	int r = 0;

	buf_addc(b, '[');
	for (size_t i = 0; r >= 0 && i < json_array_len(j); i++) {
		if (i > 0)
			buf_addc(b, ',');
		r = json_write(b, json_array_at(j, i));
	}
	return r < 0 ? r : buf_addc(b, ']');
}

int
json_write(struct buf *b, const struct json *j)
{
	struct members m = { .to = b };
	int64_t v;
	int r;

	if (!j)
		return buf_adds(b, "null");
	switch (json_object_get_type(inside(j))) {
	case json_type_boolean:
		return buf_adds(b, json_object_get_boolean(inside(j)) ? "true"
								      : "false");
	case json_type_string:
		return json_string(j) ? json_write_string(b, json_string(j))
				      : -EINVAL;
	case json_type_int:
		if (!json_int(j, &v) || v > JSON_INT_MAX || v < -JSON_INT_MAX)
			return -EINVAL;
		return buf_addf(b, "%" PRId64, v);
	case json_type_array:
		return write_array(b, j);
	case json_type_object:
		buf_addc(b, '{');
		r = json_each(j, write_member, &m);
		return r < 0 ? r : buf_addc(b, '}');
	default:
		return -EINVAL;
	}
}
