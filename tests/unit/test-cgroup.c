/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "api/cgroup.h"

/* --- unit and slices ---------------------------------------------------------- */

#define LONG_64	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define LONG_55		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define LONG_247	LONG_64 LONG_64 LONG_64 LONG_55

static const struct {
	const char *path, *unit;	/* NULL: unknown */
	const char *slices;
} paths[] = {
	{ "/system.slice/web.service", "web.service", "system.slice" },
	{ "/init.scope", "init.scope", "" },
	{ "/system.slice/system-web.slice/web@10.0.0.1.service",
	  "web@10.0.0.1.service", "system.slice system-web.slice" },
	{ "/user.slice/user-1000.slice/session-3.scope", "session-3.scope",
	  "user.slice user-1000.slice" },
	{ "/system.slice/docker-0123abcd.scope", "docker-0123abcd.scope",
	  "system.slice" },
	/* what users, containers and services name themselves is hidden */
	{ "/user.slice/user-1000.slice/user@1000.service/app.slice/payroll.service",
	  "user@1000.service", "user.slice user-1000.slice" },
	{ "/user.slice/user-1000.slice/user@1000.service/init.scope",
	  "user@1000.service", "user.slice user-1000.slice" },
	{ "/system.slice/web.service/system.slice/payroll.service", "web.service",
	  "system.slice" },
	{ "/system.slice/nspawn.service/payload/system.slice/payroll.service",
	  "nspawn.service", "system.slice" },
	{ "/system.slice/web.service/a b/\xff", "web.service", "system.slice" },
	/* systemd's escape, once */
	{ "/system.slice/_cpu.service", "cpu.service", "system.slice" },
	{ "/system.slice/__x.service", "_x.service", "system.slice" },
	{ "/_cpu.slice/_memory.slice/_io.scope", "io.scope",
	  "cpu.slice memory.slice" },
	{ "/system.slice/a\\x2db.service", "a\\x2db.service", "system.slice" },
	{ "/a.slice/" LONG_247 ".service", LONG_247 ".service", "a.slice" },
	/* anything else on the way */
	{ "/", NULL, NULL },
	{ "", NULL, NULL },
	{ "/system.slice", NULL, NULL },
	{ "/lxc.payload.c1/system.slice/payroll.service", NULL, NULL },
	{ "/docker/0123abcd", NULL, NULL },
	{ "/docker/0123abcd/system.slice/payroll.service", NULL, NULL },
	{ "/kubepods/besteffort/pod1/payroll.service", NULL, NULL },
	{ "/system.slice/x/payroll.service", NULL, NULL },
	{ "/../../system.slice/payroll.service", NULL, NULL },
	{ "system.slice/payroll.service", NULL, NULL },
	{ "//system.slice/payroll.service", NULL, NULL },
	{ "/system.slice//payroll.service", NULL, NULL },
	{ "/system.slice/web.service (deleted)", NULL, NULL },
	{ "/system.slice/web.service/worker (deleted)", NULL, NULL },
	{ "/system.slice/web.socket", NULL, NULL },
	{ "/system.slice/.service", NULL, NULL },
	{ "/system.slice/_.service", NULL, NULL },
	{ "/.slice/web.service", NULL, NULL },
	{ "/system.slice/web.service\n", NULL, NULL },
	{ "/system.slice/w\xc3\xa9" "b.service", NULL, NULL },
	{ "/a b.slice/web.service", NULL, NULL },
	{ "/a.slice/a" LONG_247 ".service", NULL, NULL },
};

static void
the_table_of_paths(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		char unit[CGROUP_NAME_SIZE] = "", name[CGROUP_NAME_SIZE];
		char slices[1024] = "";
		const char *path = paths[i].path;
		bool known = cgroup_unit(path, unit);

		if (known != !!paths[i].unit ||
		    (known && strcmp(unit, paths[i].unit) != 0))
			fail_msg("%s: unit %s", path, known ? unit : "unknown");
		while (known && cgroup_slice(&path, name)) {
			size_t n = strlen(slices);

			(void)snprintf(slices + n, sizeof(slices) - n, "%s%s",
				       n ? " " : "", name);
		}
		if (known)
			assert_string_equal(slices, paths[i].slices);
	}
}

/* --- where units are kept ----------------------------------------------------- */

static const struct {
	enum cgroup_hierarchy hierarchy;
	const char *text, *path;	/* NULL: none */
} texts[] = {
	{ CGROUP_V2, "0::/a.slice/web.service\n", "/a.slice/web.service" },
	{ CGROUP_V2, "9:name=systemd:/a\n4:memory:/b\n0::/c\n", "/c" },
	{ CGROUP_V2, "0::/\n", "/" },
	{ CGROUP_V2, "0::/x y\n", "/x y" },
	{ CGROUP_V1, "9:name=systemd:/a\n4:memory:/b\n0::/c\n", "/a" },
	{ CGROUP_V1, "10:cpu,cpuacct:/b\n1:name=systemd:/a:b\n", "/a:b" },
	/* the line that is there is not the one that counts */
	{ CGROUP_V1, "4:memory:/b\n0::/system.slice/web.service\n", NULL },
	{ CGROUP_V1, "1:name=systemd2:/a\n1:name=sys:/a\n", NULL },
	{ CGROUP_V2, "1:name=systemd:/system.slice/web.service\n", NULL },
	{ CGROUP_NONE, "1:name=systemd:/a\n0::/c\n", NULL },
	{ CGROUP_V2, "", NULL },
	{ CGROUP_V2, "0::", NULL },
	{ CGROUP_V2, "0::nowhere\n", NULL },
};

static void
the_hierarchy_says_which_line_counts(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_(freep) char *path = NULL;

		path = cgroup_path(texts[i].hierarchy, texts[i].text);
		if (!path != !texts[i].path ||
		    (path && strcmp(path, texts[i].path) != 0))
			fail_msg("text %zu: %s", i, path ? path : "none");
	}
}

#define CANNOT	77

/* Mount a file system of that type below the tmpfs at root. */
static int
mount_below(const char *root, const char *name, const char *type, const char *data)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", root, name);
	if (mkdir(path, 0755) < 0 || mount("none", path, type, 0, data) < 0)
		return -errno;
	return 0;
}

/* What cgroup_hierarchy() finds in a mount namespace of its own, below a root of
   this type. */
static int
hierarchy_of_mounts(const char *type, const char *const mounts[][3])
{
	char root[] = "/tmp/goa-cgroup-XXXXXX";
	pid_t pid;
	int status;

	assert_non_null(mkdtemp(root));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (unshare(CLONE_NEWNS) < 0 ||
		    mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
		    mount("none", root, type, 0, NULL) < 0)
			_exit(CANNOT);
		for (size_t i = 0; mounts[i][0]; i++)
			if (mount_below(root, mounts[i][0], mounts[i][1],
					mounts[i][2]) < 0)
				_exit(CANNOT);
		_exit((int)cgroup_hierarchy(root));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	rmdir(root);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void
what_is_mounted_says_which_hierarchy(void **state _unused_)
{
	static const char *const v1[] = { "systemd", "cgroup",
					  "none,name=systemd" };
	static const char *const hybrid[] = { "unified", "cgroup2", NULL };
	static const char *const v232[] = { "systemd", "cgroup2", NULL };
	static const char *const other[] = { "unified", "tmpfs", NULL };
	const struct {
		const char *mounts[3][3];
		enum cgroup_hierarchy expected;
	} cases[] = {
		{ { { v1[0], v1[1], v1[2] } }, CGROUP_V1 },
		{ { { v1[0], v1[1], v1[2] }, { hybrid[0], hybrid[1], NULL } },
		  CGROUP_V2 },
		{ { { v232[0], v232[1], NULL } }, CGROUP_V2 },
		{ { { other[0], other[1], NULL } }, CGROUP_NONE },
		{ { { NULL } }, CGROUP_NONE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int found = hierarchy_of_mounts("tmpfs", cases[i].mounts);

		if (found == CANNOT) {
			print_message("# cannot mount cgroups here\n");
			skip();
		}
		if (found != (int)cases[i].expected)
			fail_msg("case %zu: %d", i, found);
	}
}

static void
version_2_alone_is_told_by_the_root(void **state _unused_)
{
	static const char *const nothing[][3] = { { NULL } };
	int found = hierarchy_of_mounts("cgroup2", nothing);

	if (found == CANNOT) {
		print_message("# cannot mount cgroups here\n");
		skip();
	}
	assert_int_equal(found, CGROUP_V2);
}

static void
no_cgroups_at_all(void **state _unused_)
{
	assert_int_equal(cgroup_hierarchy("/nonexistent"), CGROUP_NONE);
	assert_int_equal(cgroup_hierarchy("/proc/self"), CGROUP_NONE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_of_paths),
		cmocka_unit_test(the_hierarchy_says_which_line_counts),
		cmocka_unit_test(what_is_mounted_says_which_hierarchy),
		cmocka_unit_test(version_2_alone_is_told_by_the_root),
		cmocka_unit_test(no_cgroups_at_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
