/* SPDX-License-Identifier: Apache-2.0 */

/* https://github.com/prometheus/OpenMetrics, specification 1.0.0. */

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/metrics.h"

static const struct {
	const char *name, *suffix;
} types[] = {
	[METRICS_COUNTER] = { "counter", "_total" },
	[METRICS_GAUGE] = { "gauge", "" },
	[METRICS_INFO] = { "info", "_info" },
};

static bool
ends_with(const char *s, const char *end)
{
	size_t len = strlen(s), n = strlen(end);

	return len >= n && strcmp(s + len - n, end) == 0;
}

static bool
is_name(const char *s)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz_0123456789"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

	return *s && !(*s >= '0' && *s <= '9') && !s[strspn(s, letters)];
}

static void
add_escaped(struct buf *b, const char *s)
{
	for (; *s; s++) {
		if (*s == '\n')
			buf_adds(b, "\\n");
		else if (*s == '\\' || *s == '"')
			buf_addf(b, "\\%c", *s);
		else
			buf_addc(b, *s);
	}
}

void
metrics_family(struct metrics *m, enum metrics_type type, const char *name,
	       const char *unit, const char *help)
{
	assert(is_name(name));
	/* The suffixes are for us to add, and a unit is part of the name. */
	assert(!ends_with(name, "_total") && !ends_with(name, "_info"));
	assert(!unit || (type != METRICS_INFO && ends_with(name, unit)));

	m->family = name;
	m->type = type;
	buf_addf(m->to, "# TYPE %s %s\n", name, types[type].name);
	if (unit)
		buf_addf(m->to, "# UNIT %s %s\n", name, unit);
	buf_addf(m->to, "# HELP %s ", name);
	add_escaped(m->to, help);
	buf_addc(m->to, '\n');
}

void
metrics_value(struct metrics *m, const struct metrics_label *labels,
	      uint64_t value)
{
	struct buf *b = m->to;
	bool any = labels && labels->name;

	assert(m->family && (m->type != METRICS_INFO || value == 1));

	buf_addf(b, "%s%s", m->family, types[m->type].suffix);
	for (const struct metrics_label *l = labels; l && l->name; l++) {
		assert(is_name(l->name));
		buf_addf(b, "%c%s=\"", l == labels ? '{' : ',', l->name);
		add_escaped(b, l->value);
		buf_addc(b, '"');
	}
	buf_addf(b, "%s %" PRIu64 "\n", any ? "}" : "", value);
}

void
metrics_end(struct metrics *m)
{
	buf_adds(m->to, "# EOF\n");
	m->family = NULL;
}
