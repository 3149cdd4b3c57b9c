/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "api/client.h"
#include "fake-proc.h"

#define SHARE	3
#define BUFFERS	1000
#define RECHECK	(60 * USEC_PER_SEC)
#define NOW	(1000 * USEC_PER_SEC)
#define UID	1000		/* of whom the rules speak */

static const struct policy_names no_names;
static struct policy *everyone;	/* admits anybody */

/* A policy with one rule, about whom one key tells. */
static struct policy *
policy_of(const char *key, const char *value, const char *audiences,
	  const char *host)
{
	struct policy *p = policy_new(&no_names);
	const char *origin;
	struct policy_rule *r;
	unsigned line;
	struct err e;

	assert_int_equal(policy_rule(p, "ours", "test", 1, &r, &e), 0);
	assert_int_equal(policy_rule_set(r, key, value, &e), 0);
	assert_int_equal(policy_rule_set(r, "host", host, &e), 0);
	assert_int_equal(policy_rule_set(r, "account", "*", &e), 0);
	assert_int_equal(policy_rule_set(r, "kind", "id jwt", &e), 0);
	assert_int_equal(policy_rule_set(r, "audience", audiences, &e), 0);
	assert_int_equal(policy_seal(p, NULL, NULL, &origin, &line, &e), 0);
	return p;
}

/* A connection of ours, as somebody else if need be. */
struct connection {
	int pair[2];
	struct client *c;
};

static void
connect_as(struct connection *x, uid_t uid)
{
	uid_t me = geteuid();

	x->c = NULL;
	assert_int_equal(seteuid(uid), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, x->pair), 0);
	assert_int_equal(seteuid(me), 0);
}

static int
come(struct clients *all, struct connection *x, uid_t uid, struct err *e)
{
	connect_as(x, uid);
	return client_new(all, x->pair[0], everyone, NULL, &x->c, e);
}

/* Whom no rule admits. */
static int
come_stranger(struct clients *all, struct connection *x, uid_t uid, struct err *e)
{
	_cleanup_(policy_freep) struct policy *p = policy_of("user", "4242", "**",
							     "any");
	int r;

	connect_as(x, uid);
	r = client_new(all, x->pair[0], p, NULL, &x->c, e);
	if (r >= 0)
		assert_true(x->c->stranger);
	return r;
}

/* One that the rules know. */
static void
come_known(struct clients *all, struct connection *x)
{
	struct err e;

	assert_int_equal(come(all, x, geteuid(), &e), 0);
	x->c->peer.uid = UID;
}

static void
leave(struct clients *all, struct connection *x)
{
	if (x->c)
		client_free(all, x->c);
	close(x->pair[0]);
	close(x->pair[1]);
}

/* UID, or anyone on the host, may have these audiences. */
static struct policy *
policy(const char *audiences, const char *host)
{
	bool anyone = strcmp(host, "any") != 0;

	return policy_of(anyone ? "peer" : "user", anyone ? "anyone" : "1000",
			 audiences, host);
}

static const struct clients_options options = {
	.max_per_peer = SHARE, .share = SHARE + 1,
	.peer_buffers = BUFFERS, .recheck_usec = RECHECK,
};

static int
setup(void **state)
{
	everyone = policy_of("peer", "anyone", "**", "any");
	*state = clients_new(&options);
	return 0;
}

static int
teardown(void **state)
{
	clients_free(*state);
	everyone = policy_free(everyone);
	return 0;
}

static const struct policy_query question = {
	.kind = POLICY_ID,
	.account = "default",
	.audience = "https://a",
};

/* A client that has been judged at NOW and admitted, and whose facts have changed
   since: whoever judges it anew says no. */
static void
judged(struct clients *all, struct connection *x, const struct policy *p)
{
	struct err e;

	come_known(all, x);
	assert_int_equal(client_check(all, x->c, p, NULL, &question, NOW, false,
				      &e), 0);
	x->c->peer.uid += 1;
}

static int
ask(struct clients *all, struct connection *x, const struct policy *p,
    struct policy_query q)
{
	struct err e;
	int r = client_check(all, x->c, p, NULL, &q, NOW + 1, false, &e);

	if (r < 0)
		assert_int_equal(e.kind, ERR_POLICY);
	return r;
}

static void
a_peer_holds_its_share_of_connections_and_no_more(void **state)
{
	struct connection x[SHARE], more;
	struct err e;

	for (size_t i = 0; i < SHARE; i++)
		assert_int_equal(come(*state, &x[i], geteuid(), &e), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(come(*state, &more, geteuid(), &e), -EAGAIN);
		assert_int_equal(e.kind, ERR_BUSY);
		assert_non_null(strstr(e.msg, "holds 3 connections already"));
		assert_non_null(strstr(e.msg, "connections-per-peer"));
		leave(*state, &more);
	}
	leave(*state, &x[1]);
	assert_int_equal(come(*state, &x[1], geteuid(), &e), 0);
	assert_int_equal(come(*state, &more, geteuid(), &e), -EAGAIN);
	leave(*state, &more);
	for (size_t i = 0; i < SHARE; i++)
		leave(*state, &x[i]);
}

static void
a_share_is_counted_by_uid(void **state)
{
	/* The last two stand in one bucket. */
	static const uid_t uids[] = { 0, 1000, 1001, 1000 + 256 };
	struct connection x[ARRAY_SIZE(uids)][SHARE], more;
	struct err e;

	if (geteuid() != 0)
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(uids); i++)
		for (size_t k = 0; k < SHARE; k++) {
			assert_int_equal(come(*state, &x[i][k], uids[i], &e), 0);
			assert_int_equal(x[i][k].c->owner, uids[i]);
			assert_int_equal(x[i][k].c->peer.uid, uids[i]);
		}
	for (size_t i = 0; i < ARRAY_SIZE(uids); i++) {
		assert_int_equal(come(*state, &more, uids[i], &e), -EAGAIN);
		leave(*state, &more);
	}
	for (size_t i = 0; i < ARRAY_SIZE(uids); i++)
		for (size_t k = 0; k < SHARE; k++)
			leave(*state, &x[i][k]);
}

/* --- by unit ------------------------------------------------------------------ */

/* One allow rule with these keys. */
static struct policy *
policy_naming(const char *const keys[][2])
{
	struct policy *p = policy_new(&no_names);
	struct policy_rule *r;
	const char *origin;
	unsigned line;
	struct err e;

	assert_int_equal(policy_rule(p, "ours", "test", 1, &r, &e), 0);
	for (size_t i = 0; keys[i][0]; i++)
		assert_int_equal(policy_rule_set(r, keys[i][0], keys[i][1], &e), 0);
	assert_int_equal(policy_rule_set(r, "audience", "**", &e), 0);
	assert_int_equal(policy_seal(p, NULL, NULL, &origin, &line, &e), 0);
	return p;
}

/* A machine that is faked, and the rules there. */
struct units {
	struct fake_proc proc;
	struct peer_host *host;
	struct policy *policy;
};

static void
units_begin(struct units *u, const char *const keys[][2])
{
	fake_proc_begin(&u->proc);
	u->host = fake_proc_host(&u->proc, CGROUP_V2, true);
	u->policy = policy_naming(keys);
}

static void
units_end(struct units *u)
{
	peer_host_free(u->host);
	policy_free(u->policy);
	fake_proc_end(&u->proc);
}

/* From a process in this cgroup. */
static int
come_from(struct clients *all, const struct units *u, struct connection *x,
	  const char *cgroup, struct err *e)
{
	if (!peer_kernel_keeps_process())
		skip();
	fake_proc_we(&u->proc, cgroup);
	connect_as(x, UID);
	return client_new(all, x->pair[0], u->policy, u->host, &x->c, e);
}

static void
peers_whose_unit_a_rule_names_are_counted_by_unit(void **state)
{
	static const char *const keys[][2] = { { "unit", "web*.service" },
					       { NULL } };
	struct connection one[SHARE], other[SHARE], rest, more;
	char who[CLIENT_OWNER_SIZE];
	struct units u;
	struct err e;

	if (geteuid() != 0)
		skip();
	units_begin(&u, keys);
	for (size_t i = 0; i < SHARE; i++) {
		assert_int_equal(come_from(*state, &u, &one[i],
					   "0::/a.slice/web.service\n", &e), 0);
		assert_int_equal(come_from(*state, &u, &other[i],
					   "0::/b.slice/web@2.service/x\n", &e), 0);
		assert_true(one[i].c->owner == one[0].c->owner);
		assert_true(other[i].c->owner == other[0].c->owner);
	}
	/* Neither is anybody's uid, and one is not the other. */
	assert_true(one[0].c->owner != other[0].c->owner);
	assert_true(one[0].c->owner > UINT32_MAX && other[0].c->owner > UINT32_MAX);
	assert_string_equal(client_owner_show(*state, one[0].c->owner, who),
			    "unit web.service");

	assert_int_equal(come_from(*state, &u, &more, "0::/a.slice/web.service\n",
				   &e), -EAGAIN);
	assert_string_equal(e.msg, "unit web.service holds 3 connections already, "
			    "which is the limit (connections-per-peer)");
	leave(*state, &more);

	/* A unit that no rule names does not count, nor does an unknown one; and
	   nothing admits these. */
	assert_int_equal(come_from(*state, &u, &rest, "0::/a.slice/x.service\n",
				   &e), 0);
	assert_true(rest.c->stranger);
	assert_string_equal(client_owner_show(*state, rest.c->owner, who),
			    "uid 1000");
	leave(*state, &rest);
	assert_int_equal(come_from(*state, &u, &rest, "0::/x/web.service\n",
				   &e), 0);
	assert_true(rest.c->stranger);
	assert_string_equal(client_owner_show(*state, rest.c->owner, who),
			    "uid 1000");
	leave(*state, &rest);

	for (size_t i = 0; i < SHARE; i++) {
		leave(*state, &one[i]);
		leave(*state, &other[i]);
	}
	units_end(&u);
}

static void
a_unit_is_read_only_where_a_rule_names_one(void **state)
{
	static const char *const by_user[][2] = { { "user", "1000" },
		{ "host", "any" }, { NULL } };
	static const char *const other_user[][2] = { { "user", "1001" },
		{ "unit", "web.service" }, { "host", "any" }, { NULL } };
	static const char *const this_user[][2] = { { "user", "1000" },
		{ "unit", "web.service" }, { "host", "any" }, { NULL } };
	const struct {
		const char *const (*keys)[2];
		unsigned loaded;
	} cases[] = {
		{ by_user, 0 }, { other_user, 0 }, { this_user, PEER_UNIT },
	};

	if (geteuid() != 0)
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct connection x;
		struct units u;
		struct err e;

		units_begin(&u, cases[i].keys);
		assert_int_equal(come_from(*state, &u, &x,
					   "0::/a.slice/web.service\n", &e), 0);
		assert_int_equal(x.c->peer.loaded, cases[i].loaded);
		leave(*state, &x);
		units_end(&u);
	}
}

static void
a_share_of_nothing_admits_nobody(void **state _unused_)
{
	const struct clients_options none = { .share = 1 };
	_cleanup_(clients_freep) struct clients *all = clients_new(&none);
	struct connection x;
	struct err e;

	assert_int_equal(come(all, &x, geteuid(), &e), -EAGAIN);
	leave(all, &x);
}

static void
the_smaller_of_both_shares_holds(void **state _unused_)
{
	const struct clients_options tight = { .max_per_peer = 3, .share = 1 };
	_cleanup_(clients_freep) struct clients *all = clients_new(&tight);
	struct connection x, more;
	struct err e;

	assert_int_equal(come(all, &x, geteuid(), &e), 0);
	assert_int_equal(come(all, &more, geteuid(), &e), -EAGAIN);
	assert_non_null(strstr(e.msg, "holds 1 connections already"));
	assert_non_null(strstr(e.msg, "peer-share"));
	leave(all, &more);
	leave(all, &x);
}

static void
a_stranger_takes_nothing_from_its_uid(void **state)
{
	struct connection known[SHARE], strange[SHARE], more;
	struct err e;

	for (size_t i = 0; i < SHARE; i++) {
		assert_int_equal(come_stranger(*state, &strange[i], geteuid(), &e),
				 0);
		assert_int_equal(strange[i].c->peer.uid, geteuid());
	}
	assert_int_equal(come_stranger(*state, &more, geteuid(), &e), -EAGAIN);
	leave(*state, &more);
	for (size_t i = 0; i < SHARE; i++) {
		assert_int_equal(come(*state, &known[i], geteuid(), &e), 0);
		assert_false(known[i].c->stranger);
		assert_int_equal(known[i].c->owner, geteuid());
		assert_true(strange[i].c->owner != known[i].c->owner);
	}
	assert_int_equal(come(*state, &more, geteuid(), &e), -EAGAIN);
	leave(*state, &more);
	for (size_t i = 0; i < SHARE; i++) {
		leave(*state, &known[i]);
		leave(*state, &strange[i]);
	}
}

/* A rule that asks for more is asked only where what is cheap already matches. */
static void
nothing_is_read_that_no_rule_asks_for(void **state)
{
	_cleanup_(policy_freep) struct policy *host = policy_of("user", "4242",
								"**", "yes");
	struct connection x, y;
	struct err e;

	assert_int_equal(come(*state, &x, geteuid(), &e), 0);
	assert_int_equal(x.c->peer.loaded, 0);
	connect_as(&y, geteuid());
	assert_int_equal(client_new(*state, y.pair[0], host, NULL, &y.c, &e), 0);
	assert_true(y.c->stranger);
	assert_int_equal(y.c->peer.loaded, 0);
	leave(*state, &x);
	leave(*state, &y);
}

static void
who_is_in_doubt_is_a_stranger(void **state)
{
	_cleanup_(policy_freep) struct policy *p = policy_of("peer", "anyone",
							     "**", "yes");
	struct connection x;
	struct err e;

	/* Without our own entries there is no telling host from container. */
	connect_as(&x, geteuid());
	assert_int_equal(client_new(*state, x.pair[0], p, NULL, &x.c, &e), 0);
	assert_true(x.c->stranger);
	assert_int_equal(client_check(*state, x.c, p, NULL, &question, NOW, false,
				      &e), -EACCES);
	leave(*state, &x);
}

static void
a_peer_s_buffers_have_a_limit(void **state)
{
	struct connection a, b, strange;
	struct err e;

	assert_int_equal(come(*state, &a, geteuid(), &e), 0);
	assert_int_equal(come(*state, &b, geteuid(), &e), 0);
	assert_int_equal(come_stranger(*state, &strange, geteuid(), &e), 0);
	assert_true(client_charge(*state, a.c, 0, BUFFERS / 2));
	assert_true(client_charge(*state, b.c, 0, BUFFERS / 2));
	assert_false(client_charge(*state, b.c, 0, 1));
	assert_false(client_charge(*state, a.c, BUFFERS / 2, BUFFERS / 2 + 1));
	/* Nothing was counted, and what shrinks makes room. */
	assert_true(client_charge(*state, a.c, BUFFERS / 2, BUFFERS / 2 - 1));
	assert_true(client_charge(*state, b.c, 0, 1));
	assert_false(client_charge(*state, b.c, 0, 1));

	assert_true(client_charge(*state, strange.c, 0, BUFFERS));
	assert_false(client_charge(*state, strange.c, BUFFERS, BUFFERS + 1));
	assert_true(client_charge(*state, strange.c, BUFFERS, 0));

	assert_true(client_charge(*state, a.c, BUFFERS / 2 - 1, 0));
	assert_true(client_charge(*state, b.c, BUFFERS / 2 + 1, 0));
	leave(*state, &a);
	leave(*state, &b);
	leave(*state, &strange);
}

static void
all_strangers_together_have_one_peer_s_buffers(void **state)
{
	struct connection known, a, b;
	struct err e;

	if (geteuid() != 0)
		skip();
	assert_int_equal(come(*state, &known, 1000, &e), 0);
	assert_int_equal(come_stranger(*state, &a, 1001, &e), 0);
	assert_int_equal(come_stranger(*state, &b, 1002, &e), 0);
	assert_true(client_charge(*state, a.c, 0, BUFFERS - 1));
	assert_true(client_charge(*state, b.c, 0, 1));
	assert_false(client_charge(*state, b.c, 1, 2));
	assert_true(client_charge(*state, known.c, 0, BUFFERS));

	assert_true(client_charge(*state, known.c, BUFFERS, 0));
	assert_true(client_charge(*state, a.c, BUFFERS - 1, 0));
	assert_true(client_charge(*state, b.c, 1, 0));
	leave(*state, &known);
	leave(*state, &a);
	leave(*state, &b);
}

static void
root_is_uid_0_on_the_host(void **state)
{
	static const struct {
		uid_t uid;
		enum tri host;
		bool root;
	} cases[] = {
		{ 0, TRI_YES, true }, { 0, TRI_NO, false },
		{ 0, TRI_UNKNOWN, false }, { 1000, TRI_YES, false },
	};
	struct connection x;
	struct err e;

	assert_int_equal(come(*state, &x, geteuid(), &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		x.c->peer.uid = cases[i].uid;
		x.c->peer.loaded = PEER_HOST;
		x.c->peer.host = cases[i].host;
		assert_int_equal(client_is_root(x.c, NULL), cases[i].root);
	}
	x.c->peer.uid = 0;
	x.c->peer.host = TRI_YES;
	x.c->peer.known = false;
	assert_false(client_is_root(x.c, NULL));
	leave(*state, &x);
}

static void
whom_the_kernel_does_not_know_is_no_client(void **state)
{
	_cleanup_(closep) int tcp = socket(AF_INET, SOCK_STREAM, 0);
	struct client *c = NULL;
	int pipes[2];
	struct err e;

	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(client_new(*state, pipes[0], everyone, NULL, &c,
				    &e), -EIO);
	assert_int_equal(e.kind, ERR_INTERNAL);
	assert_int_equal(client_new(*state, tcp, everyone, NULL, &c, &e), -EIO);
	assert_null(c);
	close(pipes[0]);
	close(pipes[1]);
}

static void
who_is_not_admitted_is_told_why(void **state)
{
	_cleanup_(policy_freep) struct policy *p = policy("https://b", "any");
	struct connection x;
	struct err e;

	come_known(*state, &x);
	assert_int_equal(client_check(*state, x.c, p, NULL, &question, NOW, false,
				      &e), -EACCES);
	assert_int_equal(e.kind, ERR_POLICY);
	assert_true(e.msg[0]);
	leave(*state, &x);
}

static void
a_verdict_is_kept_for_the_same_question(void **state)
{
	_cleanup_(policy_freep) struct policy *p = policy("**", "any");
	char account[] = "default", audience[] = "https://a";
	struct connection x;

	judged(*state, &x, p);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(ask(*state, &x, p, question), 0);
	/* The words count, not where they stand. */
	assert_int_equal(ask(*state, &x, p, (struct policy_query){
		.kind = POLICY_ID, .account = account, .audience = audience }), 0);
	leave(*state, &x);
}

static void
any_other_question_is_judged_anew(void **state)
{
	static const char *const scopes[] = { "https://scope", NULL };
	static const struct policy_query others[] = {
		{ POLICY_JWT, "default", "https://a", NULL },
		{ POLICY_ID, "Default", "https://a", NULL },
		{ POLICY_ID, "", "https://a", NULL },
		{ POLICY_ID, "default", "https://A", NULL },
		{ POLICY_ID, "default", "https://a/", NULL },
		{ POLICY_ID, "default", "https://", NULL },
		{ POLICY_ID, "default", "", NULL },
		{ POLICY_ID, "default", NULL, NULL },
		{ POLICY_ID, "default", "https://a", scopes },
	};
	_cleanup_(policy_freep) struct policy *p = policy("**", "any");

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		struct connection x;

		judged(*state, &x, p);
		assert_int_equal(ask(*state, &x, p, others[i]), -EACCES);
		leave(*state, &x);
	}
}

static void
a_verdict_for_some_scopes_is_none_for_all(void **state)
{
	static const char *const scopes[] = { "https://scope", NULL };
	_cleanup_(policy_freep) struct policy *p = policy("**", "any");
	struct policy_query narrow = question;
	struct connection x;

	narrow.scopes = scopes;
	judged(*state, &x, p);
	x.c->peer.uid -= 1;
	assert_int_equal(ask(*state, &x, p, narrow), 0);
	x.c->peer.uid += 1;
	assert_int_equal(ask(*state, &x, p, narrow), -EACCES);
	assert_int_equal(ask(*state, &x, p, question), -EACCES);
	leave(*state, &x);
}

static void
only_the_last_verdict_is_kept(void **state)
{
	_cleanup_(policy_freep) struct policy *p = policy("**", "any");
	struct policy_query other = question;
	struct connection x;

	other.audience = "https://b";
	judged(*state, &x, p);
	x.c->peer.uid -= 1;
	assert_int_equal(ask(*state, &x, p, other), 0);
	x.c->peer.uid += 1;
	assert_int_equal(ask(*state, &x, p, other), 0);
	assert_int_equal(ask(*state, &x, p, question), -EACCES);
	leave(*state, &x);
}

static void
a_refusal_forgets_what_was_admitted_before(void **state)
{
	_cleanup_(policy_freep) struct policy *p = policy("https://a", "any");
	struct policy_query other = question;
	struct connection x;

	other.audience = "https://b";
	judged(*state, &x, p);
	assert_int_equal(ask(*state, &x, p, other), -EACCES);
	assert_int_equal(ask(*state, &x, p, question), -EACCES);
	leave(*state, &x);
}

static void
a_refusal_is_not_kept(void **state)
{
	_cleanup_(policy_freep) struct policy *p = policy("**", "any");
	struct connection x;

	come_known(*state, &x);
	x.c->peer.uid += 1;
	assert_int_equal(ask(*state, &x, p, question), -EACCES);
	x.c->peer.uid -= 1;
	assert_int_equal(ask(*state, &x, p, question), 0);
	leave(*state, &x);
}

static void
another_policy_judges_anew(void **state)
{
	_cleanup_(policy_freep) struct policy *p = policy("**", "any");
	_cleanup_(policy_freep) struct policy *q = policy("**", "any");
	struct connection x;

	assert_true(policy_generation(p) != 0 && policy_generation(q) != 0);
	judged(*state, &x, p);
	assert_int_equal(ask(*state, &x, q, question), -EACCES);
	leave(*state, &x);
}

static void
a_verdict_without_an_audience_is_kept_for_such(void **state)
{
	_cleanup_(policy_freep) struct policy *p = policy_new(&no_names);
	const struct policy_query q = { .kind = POLICY_MONITOR,
					.account = "default" };
	struct policy_query other = q;
	struct connection x;
	const char *origin;
	struct policy_rule *r;
	unsigned line;
	struct err e;

	assert_int_equal(policy_rule(p, "all", "test", 1, &r, &e), 0);
	assert_int_equal(policy_rule_set(r, "peer", "anyone", &e), 0);
	assert_int_equal(policy_rule_set(r, "host", "any", &e), 0);
	assert_int_equal(policy_rule_set(r, "kind", "monitor", &e), 0);
	assert_int_equal(policy_seal(p, NULL, NULL, &origin, &line, &e), 0);

	assert_int_equal(come(*state, &x, geteuid(), &e), 0);
	assert_int_equal(ask(*state, &x, p, q), 0);
	assert_int_equal(ask(*state, &x, p, q), 0);
	assert_non_null(x.c->admitted);
	other.kind = POLICY_ADMIN;
	assert_int_equal(ask(*state, &x, p, other), -EACCES);
	leave(*state, &x);
}

static void
a_verdict_does_not_outlive_the_time_between_two_looks(void **state)
{
	_cleanup_(policy_freep) struct policy *p = policy("**", "any");
	struct connection x;
	struct err e;

	judged(*state, &x, p);
	assert_int_equal(client_check(*state, x.c, p, NULL, &question,
				      NOW + RECHECK - 1, false, &e), 0);
	/* Being asked for does not prolong it. */
	assert_int_equal(client_check(*state, x.c, p, NULL, &question,
				      NOW + RECHECK, false, &e), -EACCES);
	leave(*state, &x);
}

static void
a_cold_question_is_judged_anew(void **state)
{
	_cleanup_(policy_freep) struct policy *p = policy("**", "any");
	struct connection x;
	struct err e;

	judged(*state, &x, p);
	assert_int_equal(client_check(*state, x.c, p, NULL, &question, NOW + 1,
				      true, &e), -EACCES);
	leave(*state, &x);
}

/* A process that connects, and stays until it is killed. */
static int
stranger(pid_t *ret_pid)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(sa_family_t);
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), fd;

	/* A name without a file, of the kernel's choice. */
	assert_int_equal(bind(listener, (struct sockaddr *)&at, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	len = sizeof(at);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);

	*ret_pid = fork();
	if (*ret_pid == 0) {
		close(listener);
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (connect(fd, (struct sockaddr *)&at, len) == 0)
			pause();
		_exit(1);
	}
	fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0);
	close(listener);
	return fd;
}

static void
a_process_that_is_gone_loses_what_needs_its_facts(void **state)
{
	_cleanup_(policy_freep) struct policy *p = policy("**", "yes");
	_cleanup_(peer_host_freep) struct peer_host *host = NULL;
	_cleanup_(closep) int fd = -1;
	struct client *c;
	struct err e;
	pid_t pid;

	assert_int_equal(peer_host_new(&host), 0);
	fd = stranger(&pid);
	assert_int_equal(client_new(*state, fd, p, host, &c, &e), 0);
	assert_int_equal(client_check(*state, c, p, host, &question, NOW, false,
				      &e), 0);
	assert_int_equal(client_check(*state, c, p, host, &question, NOW + 1, true,
				      &e), 0);

	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(client_check(*state, c, p, host, &question, NOW + 2, false,
				      &e), 0);	/* not looked at again so soon */
	assert_int_equal(client_check(*state, c, p, host, &question, NOW + 2, true,
				      &e), -EACCES);
	assert_int_equal(client_check(*state, c, p, host, &question, NOW + 3, false,
				      &e), -EACCES);
	client_free(*state, c);
}

/* Somebody whom no rule names is admitted, and says each time why he would not be;
   nobody else is admitted along with him. */
static void
what_would_be_denied_is_nobody_else_s_verdict(void **state)
{
	_cleanup_(policy_freep) struct policy *p = policy("https://b", "any");
	struct connection x, same, strange;
	char who[CLIENT_OWNER_SIZE];
	struct err e;

	policy_permit(p);
	come_known(*state, &x);
	come_known(*state, &same);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(client_check(*state, x.c, p, NULL, &question,
					      NOW, false, &e), 1);
		assert_null(client_rule(x.c));
		assert_non_null(strstr(client_why(x.c), "no rule admits"));
	}
	x.c->peer.uid += 1;			/* kept, as other verdicts are */
	assert_int_equal(ask(*state, &x, p, question), 1);
	assert_non_null(strstr(client_why(x.c), "uid 1000"));
	same.c->peer.pid = 4242;
	assert_int_equal(ask(*state, &same, p, question), 1);
	assert_non_null(strstr(client_why(same.c), "pid 4242"));

	assert_true(client_payer(x.c) == x.c->owner);
	assert_int_equal(come_stranger(*state, &strange, geteuid(), &e), 0);
	assert_true(client_payer(strange.c) == CLIENT_STRANGERS);
	assert_string_equal(client_owner_show(*state, CLIENT_STRANGERS, who),
			    "strangers");
	leave(*state, &strange);
	leave(*state, &same);
	leave(*state, &x);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_peer_holds_its_share_of_connections_and_no_more),
		TEST(a_share_is_counted_by_uid),
		TEST(peers_whose_unit_a_rule_names_are_counted_by_unit),
		TEST(a_unit_is_read_only_where_a_rule_names_one),
		TEST(a_share_of_nothing_admits_nobody),
		TEST(the_smaller_of_both_shares_holds),
		TEST(a_stranger_takes_nothing_from_its_uid),
		TEST(nothing_is_read_that_no_rule_asks_for),
		TEST(who_is_in_doubt_is_a_stranger),
		TEST(a_peer_s_buffers_have_a_limit),
		TEST(all_strangers_together_have_one_peer_s_buffers),
		TEST(root_is_uid_0_on_the_host),
		TEST(whom_the_kernel_does_not_know_is_no_client),
		TEST(who_is_not_admitted_is_told_why),
		TEST(a_verdict_is_kept_for_the_same_question),
		TEST(any_other_question_is_judged_anew),
		TEST(a_verdict_for_some_scopes_is_none_for_all),
		TEST(only_the_last_verdict_is_kept),
		TEST(a_refusal_forgets_what_was_admitted_before),
		TEST(a_refusal_is_not_kept),
		TEST(another_policy_judges_anew),
		TEST(a_verdict_without_an_audience_is_kept_for_such),
		TEST(a_verdict_does_not_outlive_the_time_between_two_looks),
		TEST(a_cold_question_is_judged_anew),
		TEST(what_would_be_denied_is_nobody_else_s_verdict),
		TEST(a_process_that_is_gone_loses_what_needs_its_facts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
