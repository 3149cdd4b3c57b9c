/* SPDX-License-Identifier: Apache-2.0 */

#include <stdio.h>
#include <string.h>

#include "api/metadata_render.h"
#include "base/json.h"

static void
write_list(struct buf *b, char *const *list, bool json)
{
	if (json)
		buf_addc(b, '[');
	for (size_t i = 0; list[i]; i++) {
		if (!json) {
			buf_addf(b, "%s\n", list[i]);
			continue;
		}
		if (i > 0)
			buf_addc(b, ',');
		json_write_string(b, list[i]);
	}
	if (json)
		buf_addc(b, ']');
}

static void
write_account_json(struct buf *b, const struct account *a)
{
	buf_adds(b, "{\"aliases\":");
	write_list(b, account_aliases(a), true);
	buf_adds(b, ",\"email\":");
	json_write_string(b, account_email(a));
	buf_adds(b, ",\"scopes\":");
	write_list(b, account_scopes(a), true);
	buf_addc(b, '}');
}

static void
write_account_text(struct buf *b, const struct account *a, const char *prefix)
{
	char *const *list;

	for (list = account_aliases(a); *list; list++)
		buf_addf(b, "%saliases %s\n", prefix, *list);
	buf_addf(b, "%semail %s\n", prefix, account_email(a));
	for (list = account_scopes(a); *list; list++)
		buf_addf(b, "%sscopes %s\n", prefix, *list);
}

static void
write_accounts(struct buf *b, const struct metadata_named *listed,
	       const char *above, bool recursive, bool json)
{
	char prefix[400];

	if (json)
		buf_addc(b, '{');
	for (size_t i = 0; listed[i].name; i++) {
		snprintf(prefix, sizeof(prefix), "%s%s/", above, listed[i].name);
		if (!recursive) {
			buf_addf(b, "%s\n", prefix);
		} else if (!json) {
			write_account_text(b, listed[i].account, prefix);
		} else {
			if (i > 0)
				buf_addc(b, ',');
			json_write_string(b, listed[i].name);
			buf_addc(b, ':');
			write_account_json(b, listed[i].account);
		}
	}
	if (json)
		buf_addc(b, '}');
}

static void
write_string(struct buf *b, const char *s, bool json)
{
	if (json)
		json_write_string(b, s);
	else
		buf_adds(b, s);
}

/* Numbers are numbers in JSON, however large; but an instance's id is none on App
   Engine and Cloud Run. */
static void
write_value(struct buf *b, enum value which, const char *text, bool json)
{
	bool number = (which == VALUE_INSTANCE_ID ||
		       which == VALUE_NUMERIC_PROJECT_ID) &&
			*text && !text[strspn(text, "0123456789")];

	write_string(b, text, json && !number);
}

/* The name of a member: dashes become capitals. */
static void
write_member(struct buf *b, const char *name, size_t len, bool first)
{
	buf_adds(b, first ? "\"" : ",\"");
	for (size_t i = 0; i < len; i++) {
		if (name[i] == '-' && i + 1 < len)
			buf_addc(b, (char)(name[++i] - 'a' + 'A'));
		else
			buf_addc(b, name[i]);
	}
	buf_adds(b, "\":");
}

/* The value at this path; NULL: there is none. */
static const char *
value_at(const struct metadata_form *f, const char *path, enum value *ret)
{
	for (size_t i = 0; i < VALUES; i++)
		if (strncmp(path, "v1/", 3) == 0 &&
		    strcmp(value_path((enum value)i), path + 3) == 0) {
			*ret = (enum value)i;
			return f->values[i];
		}
	return NULL;
}

/* A directory and all that is below it; it is three deep.  above: its path as the
   answer's lines have it. */
static void
write_tree(struct buf *b, const struct metadata_form *f, const char *dir,
	   const char *above, bool json)
{
	const char *name = tree_listing(dir), *value, *end;
	char path[128], line[128];
	enum value which;
	bool first = true;

	if (!name)
		return write_accounts(b, f->listed, above, true, json);
	if (json)
		buf_addc(b, '{');
	for (; (end = strchr(name, '\n')); name = end + 1) {
		bool is_dir = end[-1] == '/';
		int len = (int)(end - name);

		snprintf(path, sizeof(path), "%s%.*s", dir, len, name);
		snprintf(line, sizeof(line), "%s%.*s", above, len, name);
		value = is_dir ? NULL : value_at(f, path, &which);
		if (!is_dir && !value)
			continue;
		if (json)
			write_member(b, name, (size_t)(len - is_dir), first);
		if (is_dir) {
			write_tree(b, f, path, line, json);
		} else if (json) {
			write_value(b, which, value, true);
		} else {
			buf_addf(b, "%s %s\n", line, value);
		}
		first = false;
	}
	if (json)
		buf_addc(b, '}');
}

bool
metadata_render(const struct metadata_form *f, struct buf *b)
{
	bool dir = node_is_dir(f->at->node);
	bool json = f->alt == METADATA_ALT_JSON ||
			(dir && f->recursive && f->alt != METADATA_ALT_TEXT);

	switch (f->at->node) {
	case NODE_DIR:
		if (f->recursive)
			write_tree(b, f, f->at->dir, "", json);
		else
			buf_adds(b, f->at->listing);
		break;
	case NODE_VALUE:
		write_value(b, f->at->value, f->values[f->at->value], json);
		break;
	case NODE_ACCOUNTS:
		write_accounts(b, f->listed, "", f->recursive, json);
		break;
	case NODE_ACCOUNT:
		if (!f->recursive)
			buf_adds(b, f->at->listing);
		else if (json)
			write_account_json(b, f->account);
		else
			write_account_text(b, f->account, "");
		break;
	case NODE_EMAIL:
		write_string(b, account_email(f->account), json);
		break;
	case NODE_SCOPES:
		write_list(b, account_scopes(f->account), json);
		break;
	case NODE_ALIASES:
		write_list(b, account_aliases(f->account), json);
		break;
	default:
		break;
	}
	return json;
}
