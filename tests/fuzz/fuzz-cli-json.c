/* SPDX-License-Identifier: Apache-2.0 */

/* The command line's reader of JSON (lib/cli_json.h).

   - What is accepted can be walked and printed, in printable ASCII, and what is
     printed is accepted and prints the same. */

#include "cli_json.h"
#include "fuzz.h"

#define TEXT_MAX	(1024 * 1024)

static void
walk(const struct json *v, const char *text, size_t len, int depth)
{
	struct json iter, name, value;
	char buf[64];
	int64_t n;
	char type = json_type(v);

	CHECK(v->s >= text && v->s < v->end && v->end <= text + len);
	CHECK(depth <= JSON_DEPTH_MAX);
	CHECK(json_string(v, buf, sizeof(buf)) <= (type == '"'));
	CHECK(json_integer(v, &n) <= (type == '0'));
	if (type != '{' && type != '[')
		return;
	for (iter = json_begin(v); json_next(&iter, &name, &value); )
		walk(&value, text, len, depth + 1);
	if (type == '{')
		(void)json_member(v, "error", &value);
}

/* Newly allocated; *ret_len bytes. */
static char *
print(const struct json *v, size_t *ret_len)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, ret_len);

	CHECK(f);
	json_print(f, v, 0);
	CHECK(fclose(f) == 0 && *ret_len < TEXT_MAX);
	return text;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	size_t once_len, twice_len;
	struct json v, again;
	char *once, *twice;

	if (!json_parse(text, size, &v))
		return 0;
	walk(&v, text, size, 0);

	once = print(&v, &once_len);
	for (size_t i = 0; i < once_len; i++)
		CHECK(once[i] == '\n' || (once[i] >= ' ' && once[i] <= '~'));
	CHECK(json_parse(once, once_len, &again));
	twice = print(&again, &twice_len);
	CHECK(once_len == twice_len && memcmp(once, twice, once_len) == 0);
	free(once);
	free(twice);
	return 0;
}
