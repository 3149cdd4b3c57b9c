/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A /proc of plain files: hierarchies and containers that this machine has not. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/peer.h"

#define FAKE_STATUS	"Name:\tx\nNSpid:\t42\n"
#define FAKE_MAP	"         0          0 4294967295\n"

struct fake_proc {
	char root[32];
};

/* What /proc/NAME has there; NULL: there is no such file. */
static inline void
fake_proc_put(const struct fake_proc *f, const char *name, const char *file,
	      const char *text)
{
	char path[128];
	FILE *out;

	(void)snprintf(path, sizeof(path), "%s/%s", f->root, name);
	assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
	(void)snprintf(path, sizeof(path), "%s/%s/%s", f->root, name, file);
	if (!text) {
		assert_true(unlink(path) == 0 || errno == ENOENT);
		return;
	}
	out = fopen(path, "we");
	assert_non_null(out);
	assert_true(fputs(text, out) >= 0);
	assert_int_equal(fclose(out), 0);
}

/* A process of the host in this cgroup; NULL: it cannot be read. */
static inline void
fake_proc_process(const struct fake_proc *f, const char *name, const char *cgroup)
{
	fake_proc_put(f, name, "status", FAKE_STATUS);
	fake_proc_put(f, name, "uid_map", FAKE_MAP);
	fake_proc_put(f, name, "cgroup", cgroup);
}

/* The process we are ourselves, for whoever connects from here. */
static inline void
fake_proc_we(const struct fake_proc *f, const char *cgroup)
{
	char name[16];

	(void)snprintf(name, sizeof(name), "%d", (int)getpid());
	fake_proc_process(f, name, cgroup);
}

static inline void
fake_proc_begin(struct fake_proc *f)
{
	(void)snprintf(f->root, sizeof(f->root), "/tmp/goa-proc-XXXXXX");
	assert_non_null(mkdtemp(f->root));
	fake_proc_process(f, "self", "9:name=systemd:/a.slice/agent.service\n"
			  "0::/a.slice/agent.service\n");
}

static inline struct peer_host *
fake_proc_host(const struct fake_proc *f, enum cgroup_hierarchy hierarchy,
	       bool keeps_process)
{
	struct peer_host *h = NULL;

	assert_int_equal(peer_host_new_at(&(struct peer_host_options){
		.proc = f->root, .hierarchy = hierarchy,
		.keeps_process = keeps_process }, &h), 0);
	return h;
}

static inline void
fake_proc_end(struct fake_proc *f)
{
	static const char *const files[] = { "status", "uid_map", "cgroup" };
	char pid[16], path[64];

	(void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		fake_proc_put(f, "self", files[i], NULL);
		fake_proc_put(f, pid, files[i], NULL);
	}
	(void)snprintf(path, sizeof(path), "%s/self", f->root);
	(void)rmdir(path);
	(void)snprintf(path, sizeof(path), "%s/%s", f->root, pid);
	(void)rmdir(path);
	(void)rmdir(f->root);
}
