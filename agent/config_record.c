/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "base/text.h"
#include "config_record.h"

static bool
setting_is(const struct config_setting *s, const char *section, const char *name,
	   const char *key)
{
	return text_same(s->section, section) && text_same(s->name, name) &&
		text_same(s->key, key);
}

static void
setting_clear(struct config_setting *s)
{
	free(s->section);
	free(s->name);
	free(s->key);
	secret_free(s->value);
	free(s->origin);
}

void
config_record_clear(struct config_record *r)
{
	for (size_t i = 0; i < r->n; i++)
		setting_clear(&r->v[i]);
	free(r->v);
	for (size_t i = 0; i < r->n_files; i++)
		free(r->files[i]);
	free(r->files);
	*r = (struct config_record){ 0 };
}

static void
record_drop(struct config_record *r, const struct config_setting *what)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->n; i++) {
		if (setting_is(&r->v[i], what->section, what->name, what->key))
			setting_clear(&r->v[i]);
		else
			r->v[kept++] = r->v[i];
	}
	r->n = kept;
}

void
config_record_set(struct config_record *r, const struct config_setting *s,
		  bool list)
{
	const struct config_setting *last =
		config_record_find(r, s->section, s->name, s->key);

	if (!list || !*s->value || (last && !*last->value))
		record_drop(r, s);
	r->v = xrealloc(r->v, r->n + 1, sizeof(*r->v));
	r->v[r->n++] = (struct config_setting){
		.section = xstrdup(s->section),
		.name = s->name ? xstrdup(s->name) : NULL,
		.key = xstrdup(s->key),
		.value = xstrdup(s->value),
		.origin = xstrdup(s->origin),
		.line = s->line,
	};
}

void
config_record_file(struct config_record *r, const char *words)
{
	r->files = xrealloc(r->files, r->n_files + 1, sizeof(*r->files));
	r->files[r->n_files++] = xstrdup(words);
}

const struct config_setting *
config_record_find(const struct config_record *r, const char *section,
		   const char *name, const char *key)
{
	for (size_t i = r->n; i > 0; i--)
		if (setting_is(&r->v[i - 1], section, name, key))
			return &r->v[i - 1];
	return NULL;
}

/* Printing. */

/* The password of user:password@host. */
static void
print_proxy(const char *value, FILE *out)
{
	const char *user = strstr(value, "://"), *at = strrchr(value, '@');
	const char *colon;

	user = user ? user + 3 : value;
	colon = at ? memchr(user, ':', (size_t)(at - user)) : NULL;
	if (colon)
		fprintf(out, "%.*s:***%s", (int)(colon - value), value, at);
	else
		fputs(value, out);
}

/* In quotes where it would be read differently without. */
static void
print_value(const struct config_setting *s, FILE *out)
{
	const char *v = s->value;
	size_t len = strlen(v);
	const char *quote = "";

	if (strcmp(s->key, "proxy") == 0) {
		print_proxy(v, out);
		return;
	}
	if (len > 0 && (strchr("\"' ", v[0]) || v[len - 1] == ' ' ||
			strstr(v, " #")))
		quote = strchr(v, '"') ? "'" : "\"";
	fprintf(out, "%s%s%s", quote, v, quote);
}

static void
print_origin(const struct config_setting *s, FILE *out)
{
	if (s->line > 0)
		fprintf(out, "# %s:%u\n", s->origin, s->line);
	else
		fprintf(out, "# %s\n", s->origin);
}

/* One section: what is before i belongs to others, or has been printed. */
static void
print_section(const struct config_record *r, size_t i, FILE *out)
{
	const struct config_setting *first = &r->v[i], *before = NULL;

	fprintf(out, "%s[%s%s%s]\n", i > 0 ? "\n" : "", first->section,
		first->name ? " " : "", first->name ? first->name : "");
	for (; i < r->n; i++) {
		const struct config_setting *s = &r->v[i];

		if (!text_same(s->section, first->section) ||
		    !text_same(s->name, first->name))
			continue;
		if (!before || before->line != s->line ||
		    !text_same(before->origin, s->origin))
			print_origin(s, out);
		fprintf(out, *s->value ? "%s = " : "%s =", s->key);
		print_value(s, out);
		fputc('\n', out);
		before = s;
	}
}

static bool
section_is_new(const struct config_record *r, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (text_same(r->v[j].section, r->v[i].section) &&
		    text_same(r->v[j].name, r->v[i].name))
			return false;
	return true;
}

void
config_record_print(const struct config_record *r, FILE *out)
{
	for (size_t i = 0; i < r->n; i++)
		if (section_is_new(r, i))
			print_section(r, i, out);
}
