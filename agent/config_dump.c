/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "config.h"
#include "config_table.h"

/* The setting that a key of [timing] follows; NULL: it keeps its default. */
static const struct config_setting *
pair_written(const struct config *c, const char *key)
{
	const char *base = (const char *)c;

	for (size_t i = 0; i < config_pairs_len; i++) {
		const struct config_pair *p = &config_pairs[i];
		bool first = strcmp(key, p->first) == 0;
		const struct config_option *a, *b;

		if (!first && strcmp(key, p->max) != 0)
			continue;
		a = &config_options[config_option_find("timing", p->first)];
		b = &config_options[config_option_find("timing", p->max)];
		if (*(const uint64_t *)(base + a->offset) ==
		    *(const uint64_t *)(base + b->offset))
			return config_record_find(&c->record, "timing", NULL,
						  first ? p->max : p->first);
	}
	return NULL;
}

static bool
is_rule(const struct config_setting *s)
{
	return strcmp(s->section, "rule") == 0;
}

/* One of those that stand in no table. */
static bool
is_account(const struct config_setting *s)
{
	return strcmp(s->section, "account") == 0 &&
		strcmp(s->name, "default") != 0;
}

static char *
flows_text(const struct flow_ops *const *flows)
{
	struct buf b = BUF_INIT(1024);

	for (size_t i = 0; flows[i]; i++)
		buf_addf(&b, "%s%s", i ? " " : "", flows[i]->name);
	return buf_steal(&b);
}

static void
dump_account(const struct config *c, const struct config_account *a,
	     struct config_record *all)
{
	_cleanup_(freep) char *flows = flows_text(a->flows);

	for (size_t i = 0; i < c->record.n; i++) {
		const struct config_setting *s = &c->record.v[i];

		if (is_account(s) && strcmp(s->name, a->name) == 0)
			config_record_set(all, s, true);
	}
	if (!a->flows_given)
		config_record_set(all, &(struct config_setting){
			.section = (char *)"account",
			.name = a->name,
			.key = (char *)"flows",
			.value = flows,
			.origin = (char *)"default",
		}, true);
}

/* What holds where nothing was written. */
static void
dump_default(const struct config *c, const struct config_option *o,
	     struct config_record *all)
{
	struct config_setting s = {
		.section = (char *)o->section,
		.name = (char *)config_section_name(o->section),
		.key = (char *)o->key,
		.value = (char *)(o->value ?: ""),
		.origin = (char *)"default",
	};
	_cleanup_(freep) char *flows = NULL;
	const struct config_setting *as;

	/* Which ones the credentials and the universe say. */
	if (o->offset == offsetof(struct config, flows))
		s.value = flows = flows_text(c->flows);
	/* These follow the universe. */
	if (o->offset == offsetof(struct config, at.iam))
		s.value = c->at.iam;
	if (o->offset == offsetof(struct config, at.token))
		s.value = c->at.token;
	if (o->offset == offsetof(struct config, at.certs))
		s.value = c->at.certs;
	if (o->offset == offsetof(struct config, at.metadata)) {
		s.value = c->at.metadata;
		if (c->metadata_configured)
			s.origin = (char *)"GCE_METADATA_HOST";
	}
	as = pair_written(c, o->key);
	if (as) {
		s.value = as->value;
		s.origin = as->origin;
		s.line = as->line;
	}
	config_record_set(all, &s, false);
}


void
config_dump(const struct config *c, FILE *out)
{
	struct config_record all = { 0 };

	for (size_t i = 0; i < config_options_len; i++) {
		const struct config_option *o = &config_options[i];
		bool written = false;

		for (size_t j = 0; j < c->record.n; j++) {
			const struct config_setting *s = &c->record.v[j];

			if (strcmp(s->section, o->section) != 0 ||
			    strcmp(s->key, o->key) != 0 || is_account(s))
				continue;
			config_record_set(&all, s, true);
			written = true;
		}
		if (!written)
			dump_default(c, o, &all);
	}
	for (size_t i = 0; i < c->accounts.n; i++)
		dump_account(c, c->accounts.v[i], &all);
	for (size_t i = 0; i < c->record.n; i++)
		if (is_rule(&c->record.v[i]))
			config_record_set(&all, &c->record.v[i], true);
	config_record_print(&all, out);
	config_record_clear(&all);
}
