/* SPDX-License-Identifier: Apache-2.0 */

/* The configuration file: its grammar (config_file.h) and all that it means
   (config.h).  The input is the file.

   - What the grammar hands on is printable, and lines are read one by one: a
     comment in front changes nothing but the numbers of lines.
   - Loading the same file twice, and with an empty line at its end, has the same
     end; what is wrong is told with file and line.
   - What is loaded is inside the bounds of the table of options. */

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/text.h"
#include "config.h"
#include "config_table.h"
#include "fuzz-words.h"

/* What the grammar said, as one number. */
struct heard {
	uint64_t sum;
	unsigned lines_before;
	unsigned n;
	bool named;		/* something that looks like a token */
};

static void
hear(struct heard *h, const char *s)
{
	CHECK(text_is_utf8(s, strlen(s)) && text_is_plain(s, strlen(s)));
	h->sum = h->sum * 31 + seed_of(s, strlen(s));
}

static int
on_section(void *userdata, const char *file, unsigned line, const char *section,
	   const char *name, struct err *e)
{
	struct heard *h = userdata;

	(void)e;
	CHECK(strcmp(file, "fuzz") == 0 && line > h->lines_before);
	hear(h, section);
	hear(h, name ? name : "-");
	h->named = h->named || (name && words_look_secret(name));
	h->sum += line - h->lines_before;
	h->n++;
	return 0;
}

static int
on_setting(void *userdata, const char *file, unsigned line, const char *key,
	   const char *value, struct err *e)
{
	struct heard *h = userdata;

	CHECK(strcmp(file, "fuzz") == 0 && line > h->lines_before && h->n > 0);
	CHECK(*key && strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789-") ==
	      strlen(key));
	hear(h, key);
	hear(h, value);
	h->sum += line - h->lines_before;
	h->n++;
	return strcmp(key, "stop") == 0 ?
		err_set(e, ERR_REQUEST, "the end") : 0;
}

static const struct config_file_ops ops = { on_section, on_setting, NULL };

/* "WORD:LINE: words": the words and the number. */
static const char *
words_of(const struct err *e, size_t file_len, unsigned long *ret_line)
{
	char *end;

	CHECK(strlen(e->msg) > file_len && e->msg[file_len] == ':');
	*ret_line = strtoul(e->msg + file_len + 1, &end, 10);
	CHECK(*ret_line > 0 && strncmp(end, ": ", 2) == 0);
	return end + 2;
}

/* Is it fit to be loaded? */
static bool
check_grammar(const char *text, size_t len)
{
	struct heard a = { .sum = 0 }, b = { .lines_before = 1 };
	char *longer = calloc(len + 2, 1);
	unsigned long x, y;
	struct err e, f;
	int r, s;

	r = config_file_parse("fuzz", text, len, &ops, &a, &e);
	CHECK(longer);
	memcpy(longer, "#\n", 2);
	if (len > 0)
		memcpy(longer + 2, text, len);
	s = config_file_parse("fuzz", longer, len + 2, &ops, &b, &f);
	free(longer);
	CHECK(r == s && a.sum == b.sum && a.n == b.n);
	if (r < 0) {
		check_err(&e, r);
		CHECK(strcmp(words_of(&e, 4, &x), words_of(&f, 4, &y)) == 0);
		CHECK(y == x + 1);
	}
	return !a.named;
}

/* A file in memory, by a name that lasts. */
static const char *
file_name(int *ret_fd)
{
	static char name[64];
	static int fd = -1;

	if (fd < 0) {
		fd = memfd_create("fuzz", 0);
		CHECK(fd >= 0 && fchmod(fd, 0600) == 0);
		(void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
		unsetenv("GCE_METADATA_HOST");
	}
	*ret_fd = fd;
	return name;
}

static unsigned notes;

static void
on_note(void *userdata, const char *line)
{
	(void)userdata;
	check_words(line);
	notes++;
}

static int
load(const char *text, size_t len, struct config **ret, struct err *e)
{
	struct config_paths paths = { .single = NULL };
	int fd;

	paths.single = file_name(&fd);
	CHECK(ftruncate(fd, 0) == 0);
	CHECK(len == 0 || pwrite(fd, text, len, 0) == (ssize_t)len);
	notes = 0;
	return config_load(&paths, true, on_note, NULL, ret, e);
}

static void
check_config(const struct config *c)
{
	for (size_t i = 0; i < config_options_len; i++) {
		const struct config_option *o = &config_options[i];
		const char *at = (const char *)c + o->offset;

		if (strcmp(o->section, "timing") == 0 &&
		    !strstr(o->key, "-tries"))
			CHECK(*(const uint64_t *)at >= o->min &&
			      *(const uint64_t *)at <= o->max);
	}
	CHECK(c->flows[0] && c->policy);
	CHECK(c->at.metadata && c->at.iam && c->at.token);
	CHECK(endpoint_check(c->at.metadata, ENDPOINT_KIND_METADATA, c->at.test,
			     NULL) == 0);
	CHECK(endpoint_check(c->at.iam, ENDPOINT_KIND_GOOGLE, c->at.test,
			     NULL) == 0);
	CHECK(endpoint_check(c->at.token, ENDPOINT_KIND_GOOGLE, c->at.test,
			     NULL) == 0);
	CHECK(c->at.test || (strncmp(c->at.iam, "https://", 8) == 0 &&
			     strncmp(c->at.token, "https://", 8) == 0));
	CHECK(c->server.max_connections > 0 && c->broker.max_flights > 0);
	CHECK(c->api.wait_usec <= c->api.wait_max_usec);
}

static void
check_load(const char *text, size_t len)
{
	char *longer = malloc(len + 1);
	struct config *a = NULL, *b = NULL;
	struct err e, f;
	unsigned first;
	int r, s;

	CHECK(longer);
	if (len > 0)
		memcpy(longer, text, len);
	longer[len] = '\n';
	r = load(text, len, &a, &e);
	first = notes;
	s = load(longer, len + 1, &b, &f);
	free(longer);
	CHECK(r == s && (r < 0 || first == notes));
	if (r < 0) {
		CHECK(!a && !b);
		check_err(&e, r);
		CHECK(strcmp(e.msg, f.msg) == 0);
		return;
	}
	check_config(a);
	CHECK(policy_len(a->policy) == policy_len(b->policy));
	config_free(a);
	config_free(b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (check_grammar((const char *)data, size))
		check_load((const char *)data, size);
	return 0;
}
