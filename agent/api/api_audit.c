/* SPDX-License-Identifier: Apache-2.0 */

/* The audit's lines: who was granted or denied what.  [agent] audit says which are
   written, and log-level has no say in it.  Never a token. */

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "api/requests.h"
#include "base/log.h"
#include "base/text.h"

#define FIELDS_MAX	12	/* of log.h */
#define WHO_SIZE	(TEXT_SHOW_SIZE + 64)

static const struct {
	const char *event, *message_id;
	int level;
} lines[] = {
	[AUDIT_GRANT] = { "grant", "8ad351c416ea4bf4881612f69bc2af04", LOG_INFO },
	[AUDIT_DENY] = { "deny", "aad8904aef1447aaaa7aa6617a5fd7cc", LOG_NOTICE },
	[AUDIT_WOULD_DENY] = { "would-deny", "aa543cc41e424562b71143865a28c786",
			       LOG_NOTICE },
	[AUDIT_SUM] = { "sum", "0fa8a18f7be3467f988d853335dcad2b", LOG_NOTICE },
};

struct fields {
	struct log_field at[FIELDS_MAX + 1];
	size_t n;
};

static void
fields_add(struct fields *f, const char *name, const char *value)
{
	if (value && f->n < FIELDS_MAX)
		f->at[f->n++] = log_field(name, "%s", value);
}

static void
fields_add_number(struct fields *f, const char *name, uint64_t value)
{
	if (f->n < FIELDS_MAX)
		f->at[f->n++] = log_field(name, "%" PRIu64, value);
}

static void
fields_add_who(struct fields *f, const struct audit_who *who)
{
	char show[TEXT_SHOW_SIZE];

	if (who->uid != (uid_t)-1)
		fields_add_number(f, "PEER_UID", who->uid);
	if (who->gid != (gid_t)-1)
		fields_add_number(f, "PEER_GID", who->gid);
	if (who->pid > 0)
		fields_add_number(f, "PEER_PID", (uint64_t)who->pid);
	if (who->unit)
		fields_add(f, "PEER_UNIT", text_show_str(show, who->unit));
}

/* "unit web.service uid 33 pid 4242", "uid 33 over TCP" */
static const char *
who_show(const struct audit_who *who, char ret[static WHO_SIZE])
{
	char show[TEXT_SHOW_SIZE], uid[24] = "unknown", pid[24] = "";

	if (who->uid != (uid_t)-1)
		(void)snprintf(uid, sizeof(uid), "%u", (unsigned)who->uid);
	if (who->pid != 0)
		(void)snprintf(pid, sizeof(pid), who->pid < 0 ? " over TCP"
			       : " pid %d", (int)who->pid);
	(void)snprintf(ret, WHO_SIZE, "%s%s%suid %s%s", who->unit ? "unit " : "",
		       who->unit ? text_show_str(show, who->unit) : "",
		       who->unit ? " " : "", uid, pid);
	return ret;
}

/* "id for https://x of default" */
static void
add_question(struct buf *b, const struct audit_event *event)
{
	buf_adds(b, policy_kind_name(event->kind));
	if (event->audience)
		buf_addf(b, " for %s", event->audience);
	buf_addf(b, " of %s", event->account);
}

static void
add_words(struct buf *b, const struct audit_line *l)
{
	const struct audit_event *event = &l->event;
	char who[WHO_SIZE], rule[TEXT_SHOW_SIZE];

	(void)who_show(&event->who, who);
	switch (l->what) {
	case AUDIT_GRANT:
		buf_adds(b, "granted ");
		add_question(b, event);
		buf_addf(b, " to %s", who);
		if (event->rule)
			buf_addf(b, " by rule %s",
				 text_show_str(rule, event->rule));
		if (l->count > 1)
			buf_addf(b, ", %" PRIu64 " times since it was last said",
				 l->count);
		break;
	case AUDIT_DENY:
		buf_adds(b, "denied ");
		add_question(b, event);
		buf_addf(b, " to %s: %s", who, l->words);
		break;
	case AUDIT_WOULD_DENY:
		buf_adds(b, "would be denied, but is served "
			 "(policy = permissive): ");
		add_question(b, event);
		buf_addf(b, " to %s: %s", who, l->words);
		break;
	case AUDIT_SUM:
		buf_addf(b, "the audit of %s ends",
			 event->owner == AUDIT_STRANGERS ? "strangers" : who);
		break;
	}
	if (audit_left_sum(&l->left) == 0)
		return;
	buf_addf(b, "; left out before this: %" PRIu64 " grants, %" PRIu64
		 " denials", l->left.grants, l->left.denials);
	if (l->left.would_be > 0)
		buf_addf(b, ", %" PRIu64 " that would be denied",
			 l->left.would_be);
}

void
api_audit_write(_unused_ void *userdata, const struct audit_line *l)
{
	_cleanup_(buf_free) struct buf words = BUF_INIT(4096);
	const struct audit_event *event = &l->event;
	struct fields f = { .n = 0 };
	char rule[TEXT_SHOW_SIZE];

	fields_add(&f, "MESSAGE_ID", lines[l->what].message_id);
	fields_add(&f, "GCE_OIDC_EVENT", lines[l->what].event);
	if (l->what != AUDIT_SUM) {
		fields_add(&f, "KIND", policy_kind_name(event->kind));
		fields_add(&f, "ACCOUNT", event->account);
		fields_add(&f, "AUDIENCE", event->audience);
		if (event->rule)
			fields_add(&f, "RULE", text_show_str(rule, event->rule));
		fields_add_number(&f, "COUNT", l->count);
	}
	fields_add_who(&f, &event->who);
	if (audit_left_sum(&l->left) > 0)
		fields_add_number(&f, "LEFT_OUT", audit_left_sum(&l->left));
	add_words(&words, l);
	log_line(lines[l->what].level, f.at, "%s", buf_str(&words));
}

/* What is known of it by now: nothing is read for the audit. */
static struct audit_who
who_of(const struct client *c, char unit[static CGROUP_NAME_SIZE])
{
	return (struct audit_who){
		.uid = c->peer.uid,
		.gid = c->peer.gid,
		.pid = c->peer.pid,
		.unit = peer_unit(&c->peer, unit) ? unit : NULL,
	};
}

static void
say_denied(struct api *a, struct http_exchange *x, const struct policy_query *q,
	   uint64_t now, bool served, const char *words)
{
	const struct client *c = request_client(x);
	char unit[CGROUP_NAME_SIZE];

	audit_denied(a->audit, &(struct audit_event){
		.kind = q->kind,
		.account = q->account,
		.audience = q->audience,
		.owner = c->stranger ? AUDIT_STRANGERS : c->owner,
		.who = who_of(c, unit),
	}, served, words, now);
}

void
request_granted(struct api *a, struct http_exchange *x,
		const struct policy_query *q, uint64_t now)
{
	struct client *c = request_client(x);
	struct audit_seen **note = client_note(c);
	char unit[CGROUP_NAME_SIZE] _unset_;

	if (client_why(c))
		return say_denied(a, x, q, now, true, client_why(c));
	if (audit_again(*note, now))
		return;
	audit_granted(a->audit, &(struct audit_event){
		.kind = q->kind,
		.account = q->account,
		.audience = q->audience,
		.rule = client_rule(c),
		.owner = c->stranger ? AUDIT_STRANGERS : c->owner,
		.who = who_of(c, unit),
	}, now, note);
}

void
request_denied(struct api *a, struct http_exchange *x,
	       const struct policy_query *q, uint64_t now, const struct err *e)
{
	say_denied(a, x, q, now, false, e->msg);
}

void
request_did(struct http_exchange *x, const char *fmt, ...)
{
	_cleanup_(buf_free) struct buf words = BUF_INIT(1024);
	char unit[CGROUP_NAME_SIZE], who[WHO_SIZE];
	const struct client *c = request_client(x);
	struct audit_who is = who_of(c, unit);
	struct fields f = { .n = 0 };
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fields_add(&f, "MESSAGE_ID", "f0540d23b4534db385b312b64b7a9c3c");
	fields_add(&f, "GCE_OIDC_EVENT", "admin");
	fields_add(&f, "KIND", policy_kind_name(POLICY_ADMIN));
	if (client_rule(c))
		fields_add(&f, "RULE", text_show_str(who, client_rule(c)));
	fields_add_who(&f, &is);
	buf_addf(&words, "%s, as told by %s", text, who_show(&is, who));
	log_line(LOG_NOTICE, f.at, "%s", buf_str(&words));
}
