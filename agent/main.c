/* SPDX-License-Identifier: Apache-2.0 */

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "agent.h"
#include "base/log.h"
#include "service.h"

static const char usage[] =
	"Usage: gce-oidc-agent [OPTIONS]\n"
	"\n"
	"Serve Google ID tokens of this VM's service account to local processes.\n"
	"\n"
	"  --config=FILE      read this file instead of the installed ones\n"
	"  --socket=PATH      bind this Unix socket (else: those passed in, else\n"
	"                     " AGENT_SOCKET_DEFAULT ")\n"
	"  --check-config     judge the configuration and exit\n"
	"  --fetch=AUDIENCE   fetch one ID token, print it and exit\n"
	"  --help, --version\n";

struct options {
	const char *config, *socket, *fetch;
	bool check;
};

/* 0: go on.  1: done, exit 0.  Negative: told what is wrong. */
static int
parse_options(int argc, char **argv, struct options *o)
{
	enum {
		OPT_CONFIG = 256, OPT_SOCKET, OPT_CHECK, OPT_FETCH, OPT_HELP,
		OPT_VERSION
	};
	static const struct option table[] = {
		{ "config",	  required_argument, NULL, OPT_CONFIG },
		{ "socket",	  required_argument, NULL, OPT_SOCKET },
		{ "check-config", no_argument,	     NULL, OPT_CHECK },
		{ "fetch",	  required_argument, NULL, OPT_FETCH },
		{ "help",	  no_argument,	     NULL, OPT_HELP },
		{ "version",	  no_argument,	     NULL, OPT_VERSION },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", table, NULL)) >= 0) {
		switch (c) {
		case OPT_CONFIG:
			o->config = optarg;
			break;
		case OPT_SOCKET:
			o->socket = optarg;
			break;
		case OPT_CHECK:
			o->check = true;
			break;
		case OPT_FETCH:
			o->fetch = optarg;
			break;
		case OPT_HELP:
			fputs(usage, stdout);
			return 1;
		case OPT_VERSION:
			puts("gce-oidc-agent " PACKAGE_VERSION);
			return 1;
		default:
			fputs(usage, stderr);
			return -1;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "gce-oidc-agent: unexpected argument %s\n%s",
			argv[optind], usage);
		return -1;
	}
	return 0;
}

static void
on_note(_unused_ void *userdata, const char *line)
{
	fprintf(stderr, "%s\n", line);
}

/* Nothing of this process is for others to read: no core, no ptrace by its own
   user, no /proc/PID/mem. */
static void
close_to_others(void)
{
	prctl(PR_SET_DUMPABLE, 0);
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
}

int
main(int argc, char **argv)
{
	struct config_paths paths = config_paths_installed;
	struct options o = { 0 };
	struct config *config;
	struct err e;
	int r;

	close_to_others();
	signal(SIGPIPE, SIG_IGN);	/* whoever read us may have gone */
	log_open();
	r = parse_options(argc, argv, &o);
	if (r != 0)
		return r > 0 ? 0 : AGENT_EXIT_USAGE;

	paths.single = o.config;
	r = config_load(&paths, service_by_hand() || o.check,
			o.check ? on_note : NULL, NULL, &config, &e);
	if (r < 0) {
		log_error(LOG_NO_FIELDS, "configuration: %s", e.msg);
		return AGENT_EXIT_CONFIG;
	}
	if (o.check) {
		puts("configuration: good");
		config_free(config);
		return 0;
	}
	log_set_level(config->log_level);
	r = o.fetch ? agent_fetch(config, o.fetch) : agent_run(config, o.socket);

	/* Every secret is wiped: a leak checker may look now. */
	prctl(PR_SET_DUMPABLE, 1);
	return r;
}
