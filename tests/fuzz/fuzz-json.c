/* SPDX-License-Identifier: Apache-2.0 */

/* JSON in and out (base/json.h).  The input is a JSON text, and a string.

   - What is accepted is UTF-8, is accepted with space around it and at every
     greater depth, and not with anything else behind it.
   - Getters find what is there whatever its type.
   - A string that was written is read as it was. */

#include "base/json.h"
#include "base/text.h"
#include "fuzz.h"

static void
walk(const struct json *j, int depth)
{
	static const char *const keys[] = { "", "a", "b", "error", "scopes" };
	const char *s = json_string(j);
	int64_t v = INT64_MIN;
	bool b;

	CHECK(depth <= JSON_DEPTH);
	CHECK(!s || text_is_utf8(s, strlen(s)));
	CHECK(!(json_is_object(j) && json_is_array(j)));
	CHECK(json_int(j, &v) == (v != INT64_MIN));
	CHECK(json_array_len(j) == 0 || json_is_array(j));
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const struct json *k = json_get(j, keys[i]);

		CHECK(!k || json_is_object(j));
		CHECK(!json_get_string(j, keys[i]) ||
		      !json_get_bool(j, keys[i], &b));
		if (k)
			walk(k, depth + 1);
	}
	for (size_t i = 0; i < json_array_len(j) && i < 8; i++)
		walk(json_array_at(j, i), depth + 1);
	CHECK(!json_array_at(j, json_array_len(j)));
}

static bool
accepts(const char *text, size_t len, int depth)
{
	struct json *j = json_parse(text, len, depth);
	bool ok = j;

	json_free(j);
	return ok;
}

static void
check_text(const char *text, size_t len)
{
	char *around = malloc(len + 3);
	struct json *j = json_parse(text, len, JSON_DEPTH);
	bool ok = j;

	CHECK(around);
	if (ok)
		walk(j, 0);
	json_free(j);
	CHECK(!ok || text_is_utf8(text, len));

	around[0] = ' ';
	if (len > 0)
		memcpy(around + 1, text, len);
	around[len + 1] = '\n';
	around[len + 2] = 'x';
	CHECK(accepts(around, len + 2, JSON_DEPTH) == ok);
	CHECK(!accepts(around, len + 3, JSON_DEPTH));
	around[len + 2] = '\0';
	CHECK(!accepts(around, len + 3, JSON_DEPTH));
	free(around);

	for (int depth = 0; depth < JSON_DEPTH; depth++)
		if (accepts(text, len, depth)) {
			CHECK(ok);
			CHECK(accepts(text, len, depth + 1));
		}
}

static void
check_string(const char *s)
{
	struct buf b = BUF_INIT(64 * 1024);
	struct json *j;

	CHECK(json_write_string(&b, s) == 0);
	j = json_parse(b.data, b.len, 0);
	CHECK(j && json_string(j));
	CHECK(!text_is_utf8(s, strlen(s)) || strcmp(json_string(j), s) == 0);
	json_free(j);
	buf_free(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *s = copy_string((const char *)data, size);

	check_text((const char *)data, size);
	check_string(s);
	free(s);
	return 0;
}
