/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Metrics as OpenMetrics 1.0 text, by appending to a buffer.  Pure.

	struct metrics m = { .to = &b };

	metrics_family(&m, METRICS_COUNTER, "gce_oidc_agent_requests", NULL,
		       "Requests answered.");
	metrics_value(&m, METRICS_LABELS({ "route", "/" }), 17);
	metrics_end(&m);

   Names, units and label names are ours and asserted to be well-formed; help and
   label values are UTF-8 and escaped.  Labels hold words of our own only: what
   comes from outside is somebody's secret, or without bound. */

#include "base/base.h"
#include "base/buf.h"

#define METRICS_CONTENT_TYPE \
	"application/openmetrics-text; version=1.0.0; charset=utf-8"

enum metrics_type {
	METRICS_COUNTER,	/* only grows; its values are named NAME_total */
	METRICS_GAUGE,
	METRICS_INFO		/* labels are all it says: NAME_info, always 1 */
};

struct metrics {
	struct buf *to;
	const char *family;	/* the one begun last */
	enum metrics_type type;
};

struct metrics_label {
	const char *name;	/* NULL ends the list */
	const char *value;
};

#define METRICS_NO_LABELS	NULL
#define METRICS_LABELS(...) \
	((const struct metrics_label[]){ __VA_ARGS__, { .name = NULL } })

/* A family of values; each stands once in a text, before its values.  name is
   kept; where there is a unit ("seconds", else NULL) the name ends in it. */
void metrics_family(struct metrics *m, enum metrics_type type, const char *name,
		    const char *unit, const char *help);
/* One value of the last family. */
void metrics_value(struct metrics *m, const struct metrics_label *labels,
		   uint64_t value);
/* Nothing comes behind this. */
void metrics_end(struct metrics *m);
