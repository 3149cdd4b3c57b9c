/* SPDX-License-Identifier: Apache-2.0 */

/* /v1/whoami: what the kernel says of the caller, and what the policy answers. */

#include <string.h>

#include "api/peer_tcp.h"
#include "api/requests.h"
#include "base/json.h"
#include "base/text.h"

static void
write_member(struct buf *b, const char *name, const char *value)
{
	buf_addf(b, ",\"%s\":", name);
	if (value)
		json_write_string(b, value);
	else
		buf_adds(b, "null");
}

/* The slice told is the innermost, as the service manager has it. */
static void
whoami_cgroup(struct buf *b, const struct peer *p)
{
	char unit[CGROUP_NAME_SIZE], slice[CGROUP_NAME_SIZE] = "";
	char part[CGROUP_NAME_SIZE], show[TEXT_SHOW_SIZE];
	bool known = peer_unit(p, unit);
	const char *path = p->cgroup;

	while (known && cgroup_slice(&path, part))
		memcpy(slice, part, sizeof(slice));
	write_member(b, "unit", known ? unit : NULL);
	write_member(b, "slice", slice[0] ? slice : NULL);
	write_member(b, "cgroup",
		     p->cgroup ? text_show_str(show, p->cgroup) : NULL);
}

static void
whoami_tcp(struct buf *b, const struct peer *p)
{
	buf_adds(b, "\"pid\":null,\"uid\":");
	if (p->known)
		buf_addf(b, "%u", (unsigned)p->uid);
	else
		buf_adds(b, "null");
	buf_adds(b, ",\"gid\":null,\"groups\":");
}

static void
whoami_facts(struct buf *b, const struct peer *p)
{
	static const char *const words[] = {
		[TRI_NO] = "no", [TRI_YES] = "yes", [TRI_UNKNOWN] = NULL,
	};

	if (p->tcp)
		whoami_tcp(b, p);
	else
		buf_addf(b, "\"pid\":%d,\"uid\":%u,\"gid\":%u,\"groups\":",
			 (int)p->pid, (unsigned)p->uid, (unsigned)p->gid);
	if (p->groups_known) {
		buf_addc(b, '[');
		for (size_t i = 0; i < p->n_groups; i++)
			buf_addf(b, "%s%u", i ? "," : "", (unsigned)p->groups[i]);
		buf_addc(b, ']');
	} else {
		buf_adds(b, "null");
	}
	whoami_cgroup(b, p);
	write_member(b, "host", words[p->host]);
}

/* Rules that would admit but for one key. */
static void
whoami_near(struct buf *b, const struct policy *policy, const struct peer *p,
	    const struct policy_query *q)
{
	struct policy_near near[16];
	size_t n = policy_near(policy, p, q, near, ARRAY_SIZE(near));

	buf_adds(b, ",\"nearly\":[");
	for (size_t i = 0; i < n; i++) {
		buf_adds(b, i ? ",{\"rule\":" : "{\"rule\":");
		json_write_string(b, near[i].rule);
		write_member(b, "but_for", near[i].key);
		buf_addc(b, '}');
	}
	buf_addc(b, ']');
}

static void
whoami_verdict(struct buf *b, const struct api *a, struct peer *p,
	       const struct policy_query *q)
{
	const char *rule = NULL;
	struct err e;
	int r;

	write_member(b, "kind", policy_kind_name(q->kind));
	write_member(b, "account", q->account);
	if (q->audience)
		write_member(b, "audience", q->audience);
	r = policy_check(a->ctx.policy, p, a->ctx.host, q, &rule, &e);
	write_member(b, "verdict", r < 0 ? "deny" : r > 0 ? "would be denied"
							  : "allow");
	if (r == 0)
		return write_member(b, "rule", rule);
	write_member(b, "reason", e.msg);
	whoami_near(b, a->ctx.policy, p, q);
}

/* The question asked along with whoami: 1 and *ret, 0 if there is none. */
static int
whoami_question(struct api *a, const struct http_exchange *x,
		struct policy_query *ret, struct err *e)
{
	const struct flow_context *ctx = accounts_default(a->ctx.accounts);
	_cleanup_(freep) char *kind = NULL, *account = NULL;
	int r, has;

	has = request_param(x, "kind", &kind, e);
	if (has < 0)
		return has;
	ret->kind = POLICY_ID;
	if (has) {
		r = policy_kind_from_name(kind, strlen(kind));
		if (r < 0)
			return err_set(e, ERR_REQUEST, "no such kind; there are "
				       "id, jwt, access, sign, sign-any, monitor, "
				       "admin");
		ret->kind = (enum policy_kind)r;
	}

	r = request_param(x, "account", &account, e);
	if (r >= 0 && account)
		r = request_account(a, account, &ctx, e);
	if (r < 0)
		return r;
	ret->account = context_name(ctx);

	if (request_has(x, "audience") || (has && ret->kind <= POLICY_JWT)) {
		ret->audience = request_audience(a, x, e);
		if (!ret->audience)
			return err_kind_errno(ERR_REQUEST);
	}
	return has || ret->audience;
}

void
v1_whoami(struct api *a, struct http_exchange *x)
{
	struct buf b = BUF_INIT(1024 * 1024);
	struct peer *p = &request_client(x)->peer;
	struct policy_query q = { 0 };
	struct err e;
	int r;

	r = whoami_question(a, x, &q, &e);
	if (r < 0)
		return reply_error(x, &e);

	peer_recheck(p);
	if (p->tcp)
		peer_tcp_recheck(p, peer_host_diag(a->ctx.host));
	peer_need(p, a->ctx.host, PEER_GROUPS | PEER_PROCESS);
	buf_addc(&b, '{');
	whoami_facts(&b, p);
	if (r > 0)
		whoami_verdict(&b, a, p, &q);
	peer_trim(p);
	buf_adds(&b, "}\n");
	reply_ok(x, "application/json", NULL, buf_str(&b), b.len);
	buf_free(&b);
}
