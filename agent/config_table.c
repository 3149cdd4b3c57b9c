/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "config_table.h"
#include "config_value.h"

static int
parse_time(const struct config_option *o, const char *value, void *ret,
	   struct err *e)
{
	return config_value_duration(value, o->min, o->max, (uint64_t *)ret, e);
}

static int
parse_unsigned(const struct config_option *o, const char *value, void *ret,
	       struct err *e)
{
	uint64_t v;
	int r = config_value_number(value, o->min, o->max, &v, e);

	if (r >= 0)
		*(unsigned *)ret = (unsigned)v;
	return r;
}

static int
parse_size(const struct config_option *o, const char *value, void *ret,
	   struct err *e)
{
	uint64_t v;
	int r = config_value_number(value, o->min, o->max, &v, e);

	if (r >= 0)
		*(size_t *)ret = (size_t)v;
	return r;
}

static int
parse_rate(const struct config_option *o, const char *value, void *ret,
	   struct err *e)
{
	return config_value_rate(value, (double)o->min / 1000, (double)o->max,
				 (double *)ret, e);
}

static int
parse_percent(const struct config_option *o, const char *value, void *ret,
	      struct err *e)
{
	return config_value_percent(value, (unsigned)o->min, (unsigned)o->max,
				    (unsigned *)ret, e);
}

static int
parse_bool(const struct config_option *o _unused_, const char *value,
	   void *ret, struct err *e)
{
	return config_value_bool(value, (bool *)ret, e);
}

static int
parse_string(const struct config_option *o _unused_, const char *value,
	     void *ret, struct err *e _unused_)
{
	char **s = ret;

	free(*s);
	*s = *value ? xstrdup(value) : NULL;
	return 0;
}

/* It goes into a header: what a project's id or number may hold. */
static int
parse_project(const struct config_option *o, const char *value, void *ret,
	      struct err *e)
{
	char show[TEXT_SHOW_SIZE];
	size_t len = strlen(value);

	if (len <= 63 && strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789-.:")
	    == len)
		return parse_string(o, value, ret, e);
	return err_set(e, ERR_REQUEST, "bad value \"%s\": expected a project's id "
		       "or number", text_show_str(show, value));
}

static int
parse_universe(const struct config_option *o, const char *value, void *ret,
	       struct err *e)
{
	char show[TEXT_SHOW_SIZE];

	if (endpoint_is_universe(value))
		return parse_string(o, value, ret, e);
	return err_set(e, ERR_REQUEST, "bad value \"%s\": expected a domain in "
		       "small letters, such as " ENDPOINT_UNIVERSE,
		       text_show_str(show, value));
}

static int
parse_level(const struct config_option *o _unused_, const char *value,
	    void *ret, struct err *e)
{
	char show[TEXT_SHOW_SIZE];
	int level = log_level_from_name(value);

	if (level < 0)
		return err_set(e, ERR_REQUEST, "bad value \"%s\": expected debug, "
			       "info, notice, warning or err",
			       text_show_str(show, value));
	*(int *)ret = level;
	return 0;
}

static int
parse_verify(const struct config_option *o _unused_, const char *value,
	     void *ret, struct err *e)
{
	static const char *const names[] = {
		[FLOW_VERIFY_AUTO] = "auto",
		[FLOW_VERIFY_CLAIMS] = "claims",
		[FLOW_VERIFY_REQUIRED] = "required",
	};
	char show[TEXT_SHOW_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(value, names[i]) == 0) {
			*(enum flow_verify *)ret = (enum flow_verify)i;
			return 0;
		}
	return err_set(e, ERR_REQUEST, "bad value \"%s\": expected auto, claims "
		       "or required", text_show_str(show, value));
}

static int
parse_policy(const struct config_option *o _unused_, const char *value, void *ret,
	     struct err *e)
{
	char show[TEXT_SHOW_SIZE];

	*(bool *)ret = strcmp(value, "permissive") == 0;
	if (*(bool *)ret || strcmp(value, "enforce") == 0)
		return 0;
	return err_set(e, ERR_REQUEST, "bad value \"%s\": expected enforce or "
		       "permissive", text_show_str(show, value));
}

static int
parse_audit(const struct config_option *o _unused_, const char *value, void *ret,
	    struct err *e)
{
	static const char *const names[] = {
		[AUDIT_NONE] = "none",
		[AUDIT_DENIED] = "denied",
		[AUDIT_NEW] = "new",
		[AUDIT_ALL] = "all",
	};
	char show[TEXT_SHOW_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(value, names[i]) == 0) {
			*(enum audit_mode *)ret = (enum audit_mode)i;
			return 0;
		}
	return err_set(e, ERR_REQUEST, "bad value \"%s\": expected none, denied, "
		       "new or all", text_show_str(show, value));
}

static int
parse_flows(const struct config_option *o _unused_, const char *value,
	    void *ret, struct err *e)
{
	return config_flows_add(ret, value, e);
}

char **
config_warm_free(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
	return NULL;
}

static int
warm_add(char ***list, char *audience, struct err *e)
{
	char show[TEXT_SHOW_SIZE];
	size_t n = 0;
	int r = config_value_audience(audience, CONFIG_MAX_AUDIENCE, e);

	for (; r >= 0 && *list && (*list)[n]; n++)
		if (strcmp((*list)[n], audience) == 0)
			r = err_set(e, ERR_REQUEST, "%s is named twice",
				    text_show_str(show, audience));
	if (r >= 0 && n == BROKER_WARM_MAX)
		r = err_set(e, ERR_REQUEST, "more than %d audiences",
			    BROKER_WARM_MAX);
	if (r < 0) {
		free(audience);
		return r;
	}
	*list = xrealloc(*list, n + 2, sizeof(**list));
	(*list)[n] = audience;
	(*list)[n + 1] = NULL;
	return 0;
}

static int
parse_warm(const struct config_option *o _unused_, const char *value,
	   void *ret, struct err *e)
{
	char ***list = ret, *word;
	int r = 0;

	if (!*value)
		*list = config_warm_free(*list);
	while (r >= 0 && (word = config_value_word(&value)))
		r = warm_add(list, word, e);
	return r;
}

#define AT(member)	offsetof(struct config, member)
#define LOCAL(member)	AT(client.lane[HTTP_LANE_LOCAL].member)
#define GOOGLE(member)	AT(client.lane[HTTP_LANE_GOOGLE].member)
#define TIMING(key, at, value, min, max) \
	{ "timing", key, parse_time, at, value, min, max }
#define MS	USEC_PER_MSEC
#define S	USEC_PER_SEC
#define M	USEC_PER_MIN
#define H	(60 * USEC_PER_MIN)

/* Every key but the rules'. */
const struct config_option config_options[] = {
	{ "agent", "policy", parse_policy, AT(permissive), "enforce", 0, 0 },
	{ "agent", "audit", parse_audit, AT(api.audit.mode), "new", 0, 0 },
	{ "agent", "log-level", parse_level, AT(log_level), "info", 0, 0 },

	{ "upstream", "metadata", parse_string, AT(at.metadata), NULL, 0, 0 },
	{ "upstream", "universe", parse_universe, AT(at.universe),
	  ENDPOINT_UNIVERSE, 0, 0 },
	/* Their defaults are the universe's: config_upstream.c. */
	{ "upstream", "iam", parse_string, AT(at.iam), NULL, 0, 0 },
	{ "upstream", "token-endpoint", parse_string, AT(at.token), NULL, 0, 0 },
	{ "upstream", "certs", parse_string, AT(at.certs), NULL, 0, 0 },
	{ "upstream", "quota-project", parse_project, AT(at.quota_project), NULL,
	  0, 0 },
	{ "upstream", "test-endpoints", parse_bool, AT(at.test), "no", 0, 0 },
	{ "upstream", "ca-file", parse_string, AT(ca_file), NULL, 0, 0 },
	{ "upstream", "proxy", parse_string, AT(proxy), NULL, 0, 0 },
	/* Less than ten, and looking for the account would take it all. */
	{ "upstream", "requests-per-minute", parse_unsigned,
	  AT(client.budget.per_minute), "300", 10, 1000 * 1000 },

	{ "cache", "entries", parse_size, AT(broker.cache.entries), "4096",
	  1, 1024 * 1024 },
	{ "cache", "per-peer", parse_size, AT(broker.cache.per_owner), "256",
	  1, 1024 * 1024 },
	{ "cache", "verify", parse_verify, AT(flow.verify), "auto", 0, 0 },

	{ "cache", "refresh-ahead", parse_time, AT(broker.refresh.ahead_usec),
	  "10min", 0, 50 * M },
	{ "cache", "refresh-idle-limit", parse_unsigned,
	  AT(broker.refresh.idle_limit), "2", 0, 1000 },

	{ "cache", "warm", parse_warm, AT(warm), NULL, 0, 0 },

	{ "limits", "connections", parse_unsigned, AT(server.max_connections),
	  "8192", 1, 65536 },
	{ "limits", "connections-per-peer", parse_unsigned,
	  AT(api.connections_per_peer), "512", 1, 65536 },
	{ "limits", "flights", parse_unsigned, AT(broker.max_flights), "16",
	  1, 1024 },
	{ "limits", "waiters", parse_unsigned, AT(broker.max_waiters), "4096",
	  1, 65536 },
	{ "limits", "peer-share", parse_percent, AT(peer_share), "25%", 1, 100 },
	/* The least is in thousandths. */
	{ "limits", "requests-per-second", parse_rate, AT(api.limit.per_second),
	  "2", 1, 100000 },

	{ "account", "credentials", parse_string, AT(credentials), NULL, 0, 0 },
	{ "account", "flows", parse_flows, AT(flows), "signblob metadata", 0, 0 },

	TIMING("metadata-connect", LOCAL(connect_usec), "1s", MS, M),
	TIMING("metadata-try", LOCAL(try_usec), "5s", MS, 10 * M),
	TIMING("metadata-backoff", LOCAL(retry.first_usec), "100ms", 0, M),
	TIMING("metadata-backoff-max", LOCAL(retry.max_usec), "5s", 0, 10 * M),
	{ "timing", "metadata-tries", parse_unsigned, LOCAL(retry.tries), "5",
	  1, 20 },
	TIMING("google-connect", GOOGLE(connect_usec), "5s", MS, M),
	TIMING("google-try", GOOGLE(try_usec), "15s", MS, 10 * M),
	TIMING("google-backoff", GOOGLE(retry.first_usec), "1s", 0, M),
	TIMING("google-backoff-max", GOOGLE(retry.max_usec), "20s", 0, 10 * M),
	{ "timing", "google-tries", parse_unsigned, GOOGLE(retry.tries), "4",
	  1, 20 },
	/* Of both lanes. */
	TIMING("retry-after-max", GOOGLE(retry.retry_after_max_usec), "1min", 0, H),

	TIMING("head", AT(server.head_usec), "5s", MS, 10 * M),
	TIMING("body", AT(server.body_usec), "10s", MS, 10 * M),
	TIMING("idle", AT(server.idle_usec), "1min", MS, 24 * H),
	TIMING("write", AT(server.write_usec), "10s", MS, 10 * M),
	TIMING("connection-lifetime", AT(server.lifetime_usec), "15min",
	       MS, 24 * H),

	TIMING("discover", AT(account.discover_first_usec), "50ms", MS, M),
	TIMING("discover-max", AT(account.discover_max_usec), "1s", MS, H),
	TIMING("boot-grace", AT(account.boot_usec), "1min", 0, H),
	TIMING("no-account", AT(account.none_usec), "1min", MS, 24 * H),
	TIMING("access-token-margin", AT(account.access_margin_usec), "225s",
	       0, 50 * M),
	TIMING("access-token-fetch", AT(account.token_usec), "30s", MS, 10 * M),

	TIMING("assertion-life", AT(flow.assertion_life_usec), "1h", S, H),
	TIMING("assertion-backdate", AT(flow.assertion_backdate_usec), "10s",
	       0, 10 * M),
	TIMING("iat-skew", AT(flow.iat_skew_usec), "5min", 0, H),
	TIMING("token-life-max", AT(flow.token_life_max_usec), "24h", S, 24 * H),

	TIMING("clock-agree", AT(clock.agree_usec), "5s", S, M),
	TIMING("clock-correct", AT(clock.correct_usec), "10s", 0, 10 * M),
	TIMING("clock-limit", AT(clock.limit_usec), "10min", 10 * S,
	       10 * M),

	TIMING("denial-doubt", AT(flows_opt.doubt_usec), "5s", 0, M),
	TIMING("denied-flow", AT(flows_opt.again_usec), "1min", MS, 24 * H),
	TIMING("denied-flow-max", AT(flows_opt.again_max_usec), "1h", MS, 24 * H),

	TIMING("certs-early", AT(keyring.early_usec), "1min", 0, H),
	TIMING("certs-life-min", AT(keyring.min_usec), "1min", 0, 24 * H),
	TIMING("certs-life-max", AT(keyring.max_usec), "24h", 0, 24 * H),
	TIMING("certs-retry", AT(keyring.retry_usec), "1s", 0, H),
	TIMING("certs-refetch", AT(keyring.refetch_usec), "1min", 0, H),
	TIMING("certs-fetch", AT(keyring.fetch_usec), "30s", MS, 10 * M),

	TIMING("denied", AT(broker.failures.denied_usec), "1min", 0, H),
	TIMING("unavailable", AT(broker.failures.unavailable_first_usec), "1s",
	       0, 10 * M),
	TIMING("unavailable-max", AT(broker.failures.unavailable_max_usec), "30s",
	       0, H),
	TIMING("trouble", AT(broker.trouble_usec), "1min", MS, H),
	TIMING("linger", AT(broker.linger_usec), "2min", MS, H),
	TIMING("refresh-jitter", AT(broker.refresh.jitter_usec), "5min", 0, H),
	TIMING("refresh-pause", AT(broker.refresh.pause_usec), "1s", MS, H),
	TIMING("wish", AT(broker.want.wish_usec), "1min", 0, 50 * M),
	TIMING("brand-new", AT(broker.want.brand_new_usec), "1min", 0, H),

	TIMING("wait", AT(api.wait_usec), "30s", MS, H),
	TIMING("wait-max", AT(api.wait_max_usec), "2min", MS, H),
	TIMING("change-max", AT(api.change_max_usec), "1min", MS, H),
	TIMING("peer-recheck", AT(api.recheck_usec), "1min", 0, H),
	TIMING("audit-repeat", AT(api.audit.repeat_usec), "1h", 0, 24 * H),
	TIMING("value-fetch", AT(values.fetch_usec), "30s", MS, 10 * M),
	TIMING("value-retry", AT(values.retry_usec), "1min", 0, H),

	TIMING("detect", AT(detect_usec), "3s", MS, 10 * M),
	TIMING("drain", AT(drain_usec), "5s", 0, 10 * M),
	TIMING("drain-late", AT(server.late_usec), "200ms", 0, 10 * M),
};
const size_t config_options_len = ARRAY_SIZE(config_options);

/* A first wait and what it grows to. */
const struct config_pair config_pairs[] = {
	{ "metadata-backoff", "metadata-backoff-max" },
	{ "google-backoff", "google-backoff-max" },
	{ "discover", "discover-max" },
	{ "denied-flow", "denied-flow-max" },
	{ "certs-life-min", "certs-life-max" },
	{ "certs-retry", "certs-refetch" },
	{ "clock-correct", "clock-limit" },
	{ "unavailable", "unavailable-max" },
	{ "wait", "wait-max" },
};
const size_t config_pairs_len = ARRAY_SIZE(config_pairs);

size_t
config_option_find(const char *section, const char *key)
{
	size_t i = 0;

	while (i < ARRAY_SIZE(config_options) &&
	       (strcmp(config_options[i].section, section) != 0 ||
		(key && strcmp(config_options[i].key, key) != 0)))
		i++;
	return i;
}

const char *
config_section_name(const char *section)
{
	return strcmp(section, "account") == 0 ? "default" : NULL;
}

bool
config_option_is_list(const struct config_option *o)
{
	return o->parse == parse_flows || o->parse == parse_warm;
}

static bool
same_list(char *const *a, char *const *b)
{
	if (!a || !b)
		return a == b;
	for (; *a && *b && strcmp(*a, *b) == 0; b++)
		a++;
	return !*a && !*b;
}

/* What a parser makes, by its size. */
static size_t
option_size(const struct config_option *o)
{
	if (o->parse == parse_time)
		return sizeof(uint64_t);
	if (o->parse == parse_size)
		return sizeof(size_t);
	if (o->parse == parse_rate)
		return sizeof(double);
	if (o->parse == parse_bool || o->parse == parse_policy)
		return sizeof(bool);
	if (o->parse == parse_level)
		return sizeof(int);
	if (o->parse == parse_verify)
		return sizeof(enum flow_verify);
	if (o->parse == parse_flows)
		return sizeof(((struct config *)NULL)->flows);
	assert(o->parse == parse_unsigned || o->parse == parse_percent);
	return sizeof(unsigned);
}

bool
config_option_same(const struct config_option *o, const struct config *a,
		   const struct config *b)
{
	const char *p = (const char *)a + o->offset;
	const char *q = (const char *)b + o->offset;

	if (o->parse == parse_string || o->parse == parse_project ||
	    o->parse == parse_universe)
		return text_same(*(char *const *)p, *(char *const *)q);
	if (o->parse == parse_warm)
		return same_list(*(char **const *)p, *(char **const *)q);
	return memcmp(p, q, option_size(o)) == 0;
}

int
config_option_set(struct config *c, const struct config_option *o,
		  const char *value, struct err *e)
{
	bool may_be_empty = o->parse == parse_flows || o->parse == parse_project ||
		o->parse == parse_string || o->parse == parse_warm;
	int r;

	if (!*value && !may_be_empty)
		return err_set(e, ERR_REQUEST, "%s: a value is missing", o->key);
	r = o->parse(o, value, (char *)c + o->offset, e);
	return r < 0 ? err_prefix(e, r, "%s", o->key) : 0;
}

const struct config_setting *
config_option_written(const struct config *c, const char *section, const char *key)
{
	return config_record_find(&c->record, section,
				  config_section_name(section), key);
}

int
config_option_error(const struct config *c, const char *section, const char *key,
		    int r, struct err *e)
{
	const struct config_setting *at = config_option_written(c, section, key);

	(void)err_prefix(e, r, "%s", key);
	return at ? err_prefix(e, r, "%s:%u", at->origin, at->line) : r;
}
