/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "api/peer.h"
#include "fake-proc.h"

/* --- the judge ------------------------------------------------------------ */

#define ST(ns)	"Name:\tx\nUid:\t0\t0\t0\t0\nNSpid:\t" ns "\nVmSize:\t1 kB\n"
#define MAP	"         0          0 4294967295\n"
#define V2(p)	"0::" p "\n"
#define OURS	"/system.slice/gce-oidc-agent.service"

/* On the same host as the agent but for its pids and its cgroup. */
#define P(status, cgroup, verdict)	{ { status, MAP, cgroup }, verdict }

static const struct peer_proc agent = { ST("77"), MAP, V2(OURS) };

static const struct {
	struct peer_proc peer;
	enum tri expected;
} judgements[] = {
	/* on the host */
	P(ST("4242"), V2("/"), TRI_YES),
	P(ST("4242"), V2("/system.slice/web.service"), TRI_YES),
	P(ST("4242"), V2("/user.slice/user-0.slice/session-1.scope"), TRI_YES),
	P(ST("4242"), V2("/system.slice/docker.service"), TRI_YES),
	P(ST("4242"), V2("/system.slice/docker-prune.service"), TRI_YES),
	P(ST("4242"), V2("/system.slice/dockerd/x"), TRI_YES),
	/* deeper in pid namespaces, or in another user namespace */
	P(ST("4242\t1"), V2("/"), TRI_NO),
	P(ST("4242\t17\t1"), V2(OURS), TRI_NO),
	{ { ST("4242"), "         0     100000      65536\n", V2("/") }, TRI_NO },
	/* --pid=host and no user namespace: the cgroup tells */
	P(ST("4242"), V2("/system.slice/docker-0123abcd.scope"), TRI_NO),
	P(ST("4242"), V2("/docker/0123abcd"), TRI_NO),
	P(ST("4242"), V2("/machine.slice/libpod-01.scope"), TRI_NO),
	P(ST("4242"), V2("/user.slice/libpod-01.scope/container"), TRI_NO),
	P(ST("4242"), V2("/system.slice/web.service/libpod-payload-01"), TRI_NO),
	P(ST("4242"), V2("/machine.slice/systemd-nspawn@c.service"), TRI_NO),
	P(ST("4242"), V2("/kubepods.slice/kubepods-pod1.slice/"
			"cri-containerd-01.scope"), TRI_NO),
	P(ST("4242"), V2("/kubepods/besteffort/pod1/01"), TRI_NO),
	P(ST("4242"), V2("/x/crio-01.scope"), TRI_NO),
	P(ST("4242"), V2("/lxc.payload.c1/system.slice/a.service"), TRI_NO),
	P(ST("4242"), V2("/../../system.slice/docker-01.scope"), TRI_NO),
	P(ST("4242"), V2("/system.slice/docker-01.scope (deleted)"), TRI_NO),
	/* v1 and hybrid: any line will do */
	P(ST("4242"), "9:name=systemd:/\n4:memory:/docker/01\n0::/\n", TRI_NO),
	P(ST("4242"), "9:name=systemd:/docker/01\n0::/\n", TRI_NO),
	P(ST("4242"), "9:name=systemd:/a.slice\n1:cpu,cpuacct:/\n0::/\n",
	  TRI_YES),
	/* what cannot be read is unknown, but a no stays one */
	P(NULL, V2("/"), TRI_UNKNOWN),
	{ { ST("4242"), NULL, V2("/") }, TRI_UNKNOWN },
	{ { ST("4242"), MAP, NULL }, TRI_UNKNOWN },
	{ { ST("4242"), MAP, "" }, TRI_UNKNOWN },
	{ { ST("4242"), MAP, "0:" }, TRI_UNKNOWN },
	{ { ST("4242"), MAP, "0::nowhere\n" }, TRI_UNKNOWN },
	{ { ST("4242"), "", V2("/") }, TRI_UNKNOWN },
	P("Name:\tx\n", V2("/"), TRI_UNKNOWN),
	P(ST(""), V2("/"), TRI_UNKNOWN),
	{ { NULL, NULL, V2("/docker/01") }, TRI_NO },
	{ { ST("4242\t1"), NULL, NULL }, TRI_NO },
};

static void
the_table_of_hosts_and_containers(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_SIZE(judgements); i++)
		if (peer_host_judge(&agent, &judgements[i].peer) !=
		    judgements[i].expected)
			fail_msg("judgement %zu", i);
}

/* An agent inside a container takes its neighbours for the host's. */
static void
what_we_share_with_the_peer_does_not_count(void **state _unused_)
{
	const struct peer_proc inside = { ST("77\t7"), MAP,
		"1:memory:/docker/01\n0::/system.slice/docker-01.scope/agent\n" };
	const struct {
		struct peer_proc peer;
		enum tri expected;
	} cases[] = {
		{ { ST("80\t8"), MAP, "1:memory:/docker/01\n"
		    "0::/system.slice/docker-01.scope/web\n" }, TRI_YES },
		{ { ST("80\t8"), MAP, "1:memory:/docker/02\n"
		    "0::/system.slice/docker-01.scope/web\n" }, TRI_YES },
		{ { ST("80\t8"), MAP, "1:memory:/docker/01\n"
		    "0::/system.slice/docker-02.scope/web\n" }, TRI_NO },
		{ { ST("80\t8"), MAP, "1:memory:/docker/01\n"
		    "0::/system.slice/docker-01.scope/docker-02.scope\n" },
		  TRI_NO },
		/* the same in another order, and by another number */
		{ { ST("80\t8"), MAP, "0::/system.slice/docker-01.scope/web\n"
		    "1:memory:/docker/01\n" }, TRI_YES },
		{ { ST("80\t8"), MAP, "7:cpu:/\n2:memory:/docker/01\n"
		    "0::/system.slice/docker-01.scope/web\n" }, TRI_YES },
		{ { ST("80\t8"), MAP, "0::/system.slice/docker-02.scope/web\n"
		    "1:memory:/docker/01\n" }, TRI_NO },
		/* no such hierarchy for us: nothing is shared */
		{ { ST("80\t8"), MAP, "1:cpu:/docker/01\n" }, TRI_NO },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (peer_host_judge(&inside, &cases[i].peer) != cases[i].expected)
			fail_msg("case %zu", i);
}

/* --- the kernel ----------------------------------------------------------- */

static void
uid_gid_pid_and_groups_of_a_socket_pair(void **state _unused_)
{
	gid_t own[1024];
	int n_own = getgroups(1024, own), pair[2];
	size_t n = 0;
	struct peer p;

	assert_true(n_own >= 0);
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), errno);
	peer_init(&p, pair[0], false);
	assert_true(p.known);
	assert_int_equal(p.uid, geteuid());
	assert_int_equal(p.gid, getegid());
	assert_int_equal(p.pid, getpid());
	assert_int_equal(p.loaded, 0);

	peer_need(&p, NULL, PEER_GROUPS);
	assert_true(p.groups_known);
	for (int i = 0; i < n_own; i++)
		n += own[i] != getegid();
	assert_int_equal(p.n_groups, n);
	assert_int_equal(p.loaded, PEER_GROUPS);

	/* Nothing to judge by. */
	peer_need(&p, NULL, PEER_HOST);
	assert_int_equal(p.host, TRI_UNKNOWN);
	peer_clear(&p);
	close(pair[0]);
	close(pair[1]);
}

static void
what_is_no_unix_socket_is_unknown(void **state _unused_)
{
	char show[PEER_SHOW_SIZE];
	struct peer p;
	int fds[2];

	assert_return_code(pipe(fds), errno);
	peer_init(&p, fds[0], true);
	assert_false(p.known);
	assert_string_equal(peer_show(&p, show), "a peer of unknown uid");
	peer_need(&p, NULL, PEER_GROUPS | PEER_HOST);
	assert_false(p.groups_known);
	assert_int_equal(p.host, TRI_UNKNOWN);
	peer_clear(&p);
	close(fds[0]);
	close(fds[1]);
}

/* Run in a child; what it returns is the test's result: 0 is good. */
static int
in_child(int (*body)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(body());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int
with_300_groups(void)
{
	gid_t groups[300];
	int pair[2], bad;
	struct peer p;

	for (gid_t i = 0; i < 300; i++)
		groups[i] = 70000 + i;
	if (setgroups(300, groups) < 0 || setgid(70007) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return 1;
	peer_init(&p, pair[0], false);
	peer_need(&p, NULL, PEER_GROUPS);
	bad = !p.groups_known || p.n_groups != 299 || p.groups[298] != 70299;
	for (size_t i = 0; i < p.n_groups; i++)
		bad |= p.groups[i] == 70007;

	/* Not kept, and there again when they are asked for. */
	peer_trim(&p);
	bad |= p.groups || p.n_groups > 0 || p.groups_known || p.loaded;
	peer_need(&p, NULL, PEER_GROUPS);
	bad |= !p.groups_known || p.n_groups != 299 || p.groups[298] != 70299;
	peer_clear(&p);
	return bad ? 2 : 0;
}

static void
more_groups_than_expected(void **state _unused_)
{
	if (geteuid() != 0) {
		print_message("# setgroups() needs root\n");
		skip();
	}
	assert_int_equal(in_child(with_300_groups), 0);
}

static int
with_kept_groups(void)
{
	gid_t groups[PEER_GROUPS_KEPT];
	int pair[2], bad;
	struct peer p;

	for (gid_t i = 0; i < PEER_GROUPS_KEPT; i++)
		groups[i] = 70000 + i;
	if (setgroups(PEER_GROUPS_KEPT, groups) < 0 || setgid(1) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return 1;
	peer_init(&p, pair[0], false);
	peer_need(&p, NULL, PEER_GROUPS);
	peer_trim(&p);
	bad = !p.groups_known || p.n_groups != PEER_GROUPS_KEPT ||
		p.groups[PEER_GROUPS_KEPT - 1] != 70000 + PEER_GROUPS_KEPT - 1;
	peer_clear(&p);
	return bad ? 2 : 0;
}

static void
a_few_groups_are_kept(void **state _unused_)
{
	if (geteuid() != 0) {
		print_message("# setgroups() needs root\n");
		skip();
	}
	assert_int_equal(in_child(with_kept_groups), 0);
}

/* A client process connected to us, which stays until it is killed. */
struct client {
	pid_t pid;
	int listener, fd;
};

static int
client_begin(struct client *c, int unshare_flags)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(sa);
	int go[2];

	c->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->listener < 0 || pipe(go) < 0 ||
	    bind(c->listener, (struct sockaddr *)&sa, sizeof(sa_family_t)) < 0 ||
	    listen(c->listener, 1) < 0 ||
	    getsockname(c->listener, (struct sockaddr *)&sa, &len) < 0)
		return -errno;

	c->pid = fork();
	if (c->pid == 0) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		pid_t inner;

		close(go[0]);
		if (unshare_flags && unshare(unshare_flags) < 0)
			_exit(1);
		inner = unshare_flags ? fork() : 0;
		if (inner > 0) {
			waitpid(inner, NULL, 0);
			_exit(0);
		}
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (connect(fd, (struct sockaddr *)&sa, len) < 0)
			_exit(1);
		for (;;)
			pause();
	}
	close(go[1]);
	/* Readable: the client could not. */
	c->fd = poll((struct pollfd[]){ { c->listener, POLLIN, 0 },
					{ go[0], POLLIN, 0 } }, 2, 10000) > 0 ?
		accept4(c->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK) : -1;
	close(go[0]);
	return c->fd < 0 ? -EPERM : 0;
}

static void
client_kill(struct client *c)
{
	kill(c->pid, SIGKILL);
	waitid(P_PID, (id_t)c->pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT);
}

static void
client_end(struct client *c)
{
	kill(c->pid, SIGKILL);
	waitpid(c->pid, NULL, 0);
	close(c->fd);
	close(c->listener);
}

static void
a_neighbour_is_on_the_host_until_it_exits(void **state _unused_)
{
	_cleanup_(peer_host_freep) struct peer_host *h = NULL;
	char show[PEER_SHOW_SIZE];
	struct client c;
	struct peer p;

	assert_int_equal(peer_host_new(&h), 0);
	assert_int_equal(client_begin(&c, 0), 0);
	peer_init(&p, c.fd, false);
	assert_int_equal(p.pid, c.pid);
	peer_need(&p, h, PEER_HOST);
	assert_int_equal(p.host, TRI_YES);
	assert_non_null(strstr(peer_show(&p, show), ", on the host"));
	peer_recheck(&p);
	assert_int_equal(p.host, TRI_YES);

	/* Not reaped yet: a zombie has exited all the same. */
	client_kill(&c);
	peer_recheck(&p);
	assert_int_equal(p.host, TRI_UNKNOWN);
	peer_need(&p, h, PEER_HOST);
	assert_int_equal(p.host, TRI_UNKNOWN);
	peer_clear(&p);
	client_end(&c);
}

static void
who_is_dead_when_asked_about_is_unknown(void **state _unused_)
{
	_cleanup_(peer_host_freep) struct peer_host *h = NULL;
	struct client c;
	struct peer p;

	assert_int_equal(peer_host_new(&h), 0);
	assert_int_equal(client_begin(&c, 0), 0);
	peer_init(&p, c.fd, false);
	client_kill(&c);
	peer_need(&p, h, PEER_HOST);
	assert_true(p.known);
	assert_int_equal(p.host, TRI_UNKNOWN);
	peer_clear(&p);
	client_end(&c);
}

static void
another_pid_namespace_is_a_container(void **state _unused_)
{
	_cleanup_(peer_host_freep) struct peer_host *h = NULL;
	struct client c;
	struct peer p;

	assert_int_equal(peer_host_new(&h), 0);
	if (client_begin(&c, CLONE_NEWPID | (geteuid() ? CLONE_NEWUSER : 0)) < 0) {
		client_end(&c);
		print_message("# no pid namespaces here\n");
		skip();
	}
	peer_init(&p, c.fd, false);
	assert_true(p.pid > 0 && p.pid != c.pid);
	peer_need(&p, h, PEER_HOST);
	assert_int_equal(p.host, TRI_NO);
	peer_clear(&p);
	client_end(&c);
}

static void
pid_0_is_unknown(void **state _unused_)
{
	_cleanup_(peer_host_freep) struct peer_host *h = NULL;
	struct client c;
	struct peer p;

	assert_int_equal(peer_host_new(&h), 0);
	assert_int_equal(client_begin(&c, 0), 0);
	peer_init(&p, c.fd, false);
	p.pid = 0;
	peer_need(&p, h, PEER_HOST);
	assert_int_equal(p.host, TRI_UNKNOWN);
	peer_clear(&p);
	client_end(&c);
}

/* A kernel before 6.5: getsockopt(SO_PEERPIDFD) fails with ENOPROTOOPT. */
static int
forget_peerpidfd(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getsockopt, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 77, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOPROTOOPT),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { ARRAY_SIZE(code), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		return -errno;
	return 0;
}

/* Who host is where peer_init() pins, after change() has had its way. */
static enum tri
host_on_old_kernel(const struct peer_host *h, const struct client *c, bool pin,
		   void (*change)(struct peer *))
{
	struct peer p;
	enum tri host;

	peer_init(&p, c->fd, pin);
	if (change)
		change(&p);
	peer_need(&p, h, PEER_HOST);
	host = p.host;
	peer_clear(&p);
	return host;
}

static void
other_uid(struct peer *p)
{
	p->uid++;
}

static void
other_gid(struct peer *p)
{
	p->gid++;
}

static void
taken_before_it_was_born(struct peer *p)
{
	p->taken_usec = 1;
}

static int
old_kernel(void)
{
	_cleanup_(peer_host_freep) struct peer_host *h = NULL;
	struct client c;
	int bad = 0;

	if (forget_peerpidfd() < 0)
		return 77;
	if (peer_host_new(&h) < 0 || client_begin(&c, 0) < 0)
		return 1;
	if (peer_host_keeps_process(h) || peer_kernel_keeps_process())
		bad = 8;
	else if (host_on_old_kernel(h, &c, true, NULL) != TRI_YES)
		bad = 2;
	else if (host_on_old_kernel(h, &c, false, NULL) != TRI_UNKNOWN)
		bad = 3;
	else if (host_on_old_kernel(h, &c, true, other_uid) != TRI_UNKNOWN)
		bad = 4;
	else if (host_on_old_kernel(h, &c, true, other_gid) != TRI_UNKNOWN)
		bad = 5;
	else if (host_on_old_kernel(h, &c, true, taken_before_it_was_born) !=
		 TRI_UNKNOWN)
		bad = 6;
	client_kill(&c);
	if (!bad && host_on_old_kernel(h, &c, true, NULL) != TRI_UNKNOWN)
		bad = 7;
	client_end(&c);
	return bad;
}

static void
before_linux_6_5_the_process_is_pinned_at_accept(void **state _unused_)
{
	int r = in_child(old_kernel);

	if (r == 77) {
		print_message("# no seccomp here\n");
		skip();
	}
	assert_int_equal(r, 0);
}

/* --- a number that is used again --------------------------------------------- */

/* A process of this id, which stays until it is killed. */
static pid_t
process_as(pid_t pid, uid_t uid)
{
	struct {
		uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack,
			 stack_size, tls, set_tid, set_tid_size, cgroup;
	} args = { .exit_signal = SIGCHLD, .set_tid = (uintptr_t)&pid,
		   .set_tid_size = 1 };
	pid_t child = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
			_exit(1);
		for (;;)
			pause();
	}
	return child;
}

/* Has it become who it is to be? */
static void
wait_for_uid(pid_t pid, uid_t uid)
{
	struct stat st = { 0 };
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	for (unsigned i = 0; i < 10000; i++) {
		if (stat(path, &st) == 0 && st.st_uid == uid && st.st_gid == uid)
			return;
		sched_yield();
	}
	fail_msg("%s belongs to %u", path, st.st_uid);
}

#define ATTACKER	1000

struct recycled {
	struct sockaddr_un sa;
	socklen_t len;
	int listener, fd;
	pid_t pid;
};

static void
attack_begin(struct recycled *a)
{
	a->sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	a->len = sizeof(a->sa);
	a->fd = -1;
	a->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_return_code(bind(a->listener, (struct sockaddr *)&a->sa,
				sizeof(sa_family_t)), errno);
	assert_return_code(listen(a->listener, 1), errno);
	assert_return_code(getsockname(a->listener, (struct sockaddr *)&a->sa,
				       &a->len), errno);
}

/* Connects as somebody, and is there no more when this returns. */
static void
attack_connect(struct recycled *a)
{
	int status;

	a->pid = fork();
	assert_true(a->pid >= 0);
	if (a->pid == 0) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		_exit(setresgid(ATTACKER, ATTACKER, ATTACKER) < 0 ||
		      setresuid(ATTACKER, ATTACKER, ATTACKER) < 0 ||
		      connect(fd, (struct sockaddr *)&a->sa, a->len) < 0);
	}
	assert_int_equal(waitpid(a->pid, &status, 0), a->pid);
	assert_int_equal(status, 0);
}

static void
attack_end(struct recycled *a, pid_t victim)
{
	if (victim > 0) {
		kill(victim, SIGKILL);
		waitpid(victim, NULL, 0);
	}
	if (a->fd >= 0)
		close(a->fd);
	close(a->listener);
}

/* Whoever connected is gone, and another process has its number before the
   connection is accepted. */
static bool
facts_of_recycled(bool keeps_process, uid_t victim_uid)
{
	_cleanup_(peer_host_freep) struct peer_host *h = NULL;
	struct recycled a;
	struct peer p;
	pid_t victim;
	bool known;

	assert_int_equal(peer_host_new_at(&(struct peer_host_options){
		.proc = "/proc", .keeps_process = keeps_process,
		.hierarchy = cgroup_hierarchy("/sys/fs/cgroup") }, &h), 0);
	attack_begin(&a);
	attack_connect(&a);
	victim = process_as(a.pid, victim_uid);
	if (victim != a.pid) {
		attack_end(&a, victim);
		print_message("# cannot choose a process number here\n");
		skip();
	}
	wait_for_uid(victim, victim_uid);
	a.fd = accept4(a.listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(a.fd >= 0);
	peer_init(&p, a.fd, !keeps_process);
	assert_int_equal(p.uid, ATTACKER);
	assert_int_equal(p.pid, victim);
	peer_need(&p, h, PEER_PROCESS);
	known = p.cgroup || p.host != TRI_UNKNOWN;
	peer_clear(&p);
	attack_end(&a, victim);
	return known;
}

static void
a_recycled_number_is_nobody_where_the_process_is_kept(void **state _unused_)
{
	if (geteuid() != 0 || !peer_kernel_keeps_process()) {
		print_message("# needs root, and Linux 6.5\n");
		skip();
	}
	assert_false(facts_of_recycled(true, 0));
	assert_false(facts_of_recycled(true, ATTACKER));
}

static void
a_recycled_number_of_another_user_is_nobody_on_old_kernels(void **state _unused_)
{
	if (geteuid() != 0) {
		print_message("# needs root\n");
		skip();
	}
	assert_false(facts_of_recycled(false, 0));
	assert_false(facts_of_recycled(false, ATTACKER + 1));
	/* What remains, and is said in the documentation. */
	assert_true(facts_of_recycled(false, ATTACKER));
}

/* Pinned while it lived, and its number has gone to another one since. */
static void
a_number_recycled_after_accept_is_nobody_on_old_kernels(void **state _unused_)
{
	_cleanup_(peer_host_freep) struct peer_host *h = NULL;
	struct client c;
	struct peer p, later;
	pid_t victim;

	if (geteuid() != 0) {
		print_message("# needs root\n");
		skip();
	}
	assert_int_equal(peer_host_new_at(&(struct peer_host_options){
		.proc = "/proc", .hierarchy = CGROUP_V2 }, &h), 0);
	assert_int_equal(client_begin(&c, 0), 0);
	peer_init(&p, c.fd, true);
	peer_init(&later, c.fd, true);
	peer_need(&p, h, PEER_PROCESS);
	assert_int_equal(p.host, TRI_YES);

	kill(c.pid, SIGKILL);
	waitpid(c.pid, NULL, 0);
	victim = process_as(c.pid, 0);
	peer_need(&later, h, PEER_PROCESS);
	peer_recheck(&p);
	assert_int_equal(later.host, TRI_UNKNOWN);
	assert_null(later.cgroup);
	assert_int_equal(p.host, TRI_UNKNOWN);
	assert_null(p.cgroup);
	if (victim > 0) {
		kill(victim, SIGKILL);
		waitpid(victim, NULL, 0);
	}
	peer_clear(&p);
	peer_clear(&later);
	close(c.fd);
	close(c.listener);
}

/* --- hierarchies that are not here ------------------------------------------- */

static const struct {
	enum cgroup_hierarchy hierarchy;
	const char *cgroup, *unit;	/* NULL: cannot be read; unknown */
	enum tri host;
} fakes[] = {
	{ CGROUP_V2, "0::/a.slice/web.service\n", "web.service", TRI_YES },
	{ CGROUP_V2, "9:name=systemd:/\n4:memory:/x\n0::/a.slice/web.service\n",
	  "web.service", TRI_YES },
	{ CGROUP_V1, "9:name=systemd:/a.slice/web.service\n4:memory:/x\n0::/\n",
	  "web.service", TRI_YES },
	/* the other line says something else */
	{ CGROUP_V2, "9:name=systemd:/a.slice/payroll.service\n0::/\n", NULL,
	  TRI_YES },
	{ CGROUP_V1, "9:name=systemd:/\n0::/a.slice/payroll.service\n", NULL,
	  TRI_YES },
	{ CGROUP_NONE, "9:name=systemd:/a.slice/web.service\n"
	  "0::/a.slice/web.service\n", NULL, TRI_YES },
	{ CGROUP_V2, "0::/a.slice/docker-1.scope\n", "docker-1.scope", TRI_NO },
	{ CGROUP_V2, "4:memory:/docker/1\n0::/a.slice/web.service\n", "web.service",
	  TRI_NO },
	{ CGROUP_V2, "0::/a.slice/web.service (deleted)\n", NULL, TRI_YES },
	{ CGROUP_V2, "", NULL, TRI_UNKNOWN },
	{ CGROUP_V2, NULL, NULL, TRI_UNKNOWN },
};

/* Ourselves, as h sees us. */
static void
look_at_us(struct peer *p, int pair[2], const struct peer_host *h, unsigned facts)
{
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), errno);
	peer_init(p, pair[0], false);
	peer_need(p, h, facts);
}

static void
end_look(struct peer *p, int pair[2])
{
	peer_clear(p);
	close(pair[0]);
	close(pair[1]);
}

static void
every_hierarchy_has_its_units(void **state _unused_)
{
	struct fake_proc f;

	if (!peer_kernel_keeps_process())
		skip();
	fake_proc_begin(&f);
	for (size_t i = 0; i < ARRAY_SIZE(fakes); i++) {
		struct peer_host *h = fake_proc_host(&f, fakes[i].hierarchy, true);
		char unit[CGROUP_NAME_SIZE] = "";
		struct peer p;
		int pair[2];
		bool known;

		fake_proc_we(&f, fakes[i].cgroup);
		look_at_us(&p, pair, h, PEER_PROCESS);
		known = peer_unit(&p, unit);
		if (known != !!fakes[i].unit || p.host != fakes[i].host ||
		    (known && strcmp(unit, fakes[i].unit) != 0))
			fail_msg("fake %zu: unit %s, host %d", i, unit, p.host);
		end_look(&p, pair);
		peer_host_free(h);
	}
	fake_proc_end(&f);
}

/* The files are there or not: what is read shows in what is known. */
static void
no_more_is_read_than_is_asked_for(void **state _unused_)
{
	struct peer_host *h;
	struct fake_proc f;
	struct peer p;
	int pair[2];
	char pid[16];

	if (!peer_kernel_keeps_process())
		skip();
	(void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
	fake_proc_begin(&f);
	h = fake_proc_host(&f, CGROUP_V2, true);

	/* A unit needs the cgroup alone, and it is read once for both facts. */
	fake_proc_put(&f, pid, "cgroup", "0::/a.slice/web.service\n");
	look_at_us(&p, pair, h, PEER_UNIT);
	assert_string_equal(p.cgroup, "/a.slice/web.service");
	assert_int_equal(p.loaded, PEER_UNIT);
	assert_int_equal(p.host, TRI_UNKNOWN);
	fake_proc_process(&f, pid, "0::/a.slice/docker-1.scope\n");
	peer_need(&p, h, PEER_HOST);
	assert_string_equal(p.cgroup, "/a.slice/web.service");
	assert_int_equal(p.host, TRI_YES);
	end_look(&p, pair);

	/* A cgroup that says no settles it. */
	fake_proc_put(&f, pid, "status", NULL);
	fake_proc_put(&f, pid, "uid_map", NULL);
	look_at_us(&p, pair, h, PEER_HOST);
	assert_int_equal(p.host, TRI_NO);
	assert_int_equal(p.loaded, PEER_HOST);
	peer_need(&p, h, PEER_UNIT);
	assert_int_equal(p.loaded, PEER_PROCESS);
	assert_string_equal(p.cgroup, "/a.slice/docker-1.scope");
	end_look(&p, pair);

	/* Over TCP a pid says nothing. */
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), errno);
	peer_init(&p, pair[0], false);
	p.tcp = true;
	peer_need(&p, h, PEER_PROCESS);
	assert_null(p.cgroup);
	assert_int_equal(p.host, TRI_UNKNOWN);
	end_look(&p, pair);

	peer_host_free(h);
	fake_proc_end(&f);
}

static void
a_machine_without_our_own_entries_is_an_error(void **state _unused_)
{
	struct peer_host *h = NULL;
	struct fake_proc f;

	assert_int_equal(peer_host_new_at(&(struct peer_host_options){
		.proc = "/nonexistent" }, &h), -ENOENT);
	fake_proc_begin(&f);
	fake_proc_put(&f, "self", "uid_map", NULL);
	assert_int_equal(peer_host_new_at(&(struct peer_host_options){
		.proc = f.root }, &h), -EIO);
	assert_null(h);
	fake_proc_end(&f);
}

static void
words_for_people_are_cut(void **state _unused_)
{
	gid_t groups[64];
	struct peer p = { .fd = -1, .pidfd = -1, .known = true, .uid = 4294967294,
		.gid = 4294967294, .pid = 4194304, .groups = groups,
		.groups_known = true, .loaded = PEER_GROUPS | PEER_HOST,
		.host = TRI_UNKNOWN };
	char show[PEER_SHOW_SIZE];

	groups[0] = 4;
	groups[1] = 24;
	p.n_groups = 2;
	assert_string_equal(peer_show(&p, show), "uid 4294967294 gid 4294967294 "
			    "groups 4 24 (pid 4194304), host or container unknown");

	for (gid_t i = 0; i < 64; i++)
		groups[i] = 4294967000 + i;
	p.n_groups = 64;
	assert_non_null(strstr(peer_show(&p, show), " ... (pid 4194304), host or "
			       "container unknown"));
	p.groups_known = false;
	p.n_groups = 0;
	assert_non_null(strstr(peer_show(&p, show), "groups unknown (pid"));
}

static void
words_for_people_name_the_unit(void **state _unused_)
{
	char path[300], long_path[] = "/a.slice/web-\\x2d.service";
	char show[PEER_SHOW_SIZE];
	struct peer p = { .fd = -1, .pidfd = -1, .known = true, .uid = 1, .gid = 2,
		.pid = 3, .loaded = PEER_PROCESS, .host = TRI_YES,
		.cgroup = long_path };

	assert_string_equal(peer_show(&p, show), "uid 1 gid 2 (pid 3), on the "
			    "host, unit web-\\x5cx2d.service");
	p.cgroup = NULL;
	assert_string_equal(peer_show(&p, show), "uid 1 gid 2 (pid 3), on the "
			    "host, unit unknown");
	p.loaded = PEER_HOST;
	assert_string_equal(peer_show(&p, show), "uid 1 gid 2 (pid 3), on the "
			    "host");
	(void)snprintf(path, sizeof(path), "/%0240d.service", 7);
	memset(path + 1, 'x', 240);
	p.cgroup = path;
	assert_string_equal(peer_show(&p, show) + strlen(show) - 6, "xxx...");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(before_linux_6_5_the_process_is_pinned_at_accept),
		cmocka_unit_test(
			a_recycled_number_is_nobody_where_the_process_is_kept),
		cmocka_unit_test(
			a_recycled_number_of_another_user_is_nobody_on_old_kernels),
		cmocka_unit_test(
			a_number_recycled_after_accept_is_nobody_on_old_kernels),
		cmocka_unit_test(the_table_of_hosts_and_containers),
		cmocka_unit_test(what_we_share_with_the_peer_does_not_count),
		cmocka_unit_test(uid_gid_pid_and_groups_of_a_socket_pair),
		cmocka_unit_test(what_is_no_unix_socket_is_unknown),
		cmocka_unit_test(more_groups_than_expected),
		cmocka_unit_test(a_few_groups_are_kept),
		cmocka_unit_test(a_neighbour_is_on_the_host_until_it_exits),
		cmocka_unit_test(who_is_dead_when_asked_about_is_unknown),
		cmocka_unit_test(another_pid_namespace_is_a_container),
		cmocka_unit_test(pid_0_is_unknown),
		cmocka_unit_test(every_hierarchy_has_its_units),
		cmocka_unit_test(no_more_is_read_than_is_asked_for),
		cmocka_unit_test(a_machine_without_our_own_entries_is_an_error),
		cmocka_unit_test(words_for_people_are_cut),
		cmocka_unit_test(words_for_people_name_the_unit),
	};

	size_t first = 0;

	if (getenv("UNDER_VALGRIND")) {
		print_message("# not run: the first four, for valgrind knows no "
			      "pidfd_open(), and numbers its own processes\n");
		first = 4;
	}
	return _cmocka_run_group_tests("tests", tests + first,
				       ARRAY_SIZE(tests) - first, NULL, NULL);
}
