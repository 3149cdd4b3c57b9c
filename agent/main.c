/* SPDX-License-Identifier: Apache-2.0 */

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "agent.h"
#include "base/log.h"
#include "explain.h"
#include "service.h"

static const char usage[] =
	"Usage: gce-oidc-agent [OPTIONS]\n"
	"       gce-oidc-agent reload [--socket=PATH]\n"
	"\n"
	"Serve Google ID tokens of this VM's service account to local processes.\n"
	"\n"
	"  --config=FILE      read this file instead of the installed ones\n"
	"  --socket=PATH      bind this Unix socket (else: those passed in, else\n"
	"                     " AGENT_SOCKET_DEFAULT ")\n"
	"  --listen=ADDRESS   listen on 127.0.0.1:PORT or [::1]:PORT besides\n"
	"  --check-config     judge the configuration and exit\n"
	"  --dump-config      print what is in force, and where it was written\n"
	"  --explain FACTS... what the policy says to a peer, from files alone:\n"
	"                     user=web [group=www] audience=https://a.example\n"
	"  reload             have the running agent read its files anew, and\n"
	"                     tell its verdict\n"
	"  --fetch=AUDIENCE   fetch one ID token, print it and exit\n"
	"  --help, --version\n";

struct options {
	const char *config, *fetch;
	struct agent_listen at;
	size_t n_tcp;
	bool check, dump, explain, reload;
	char **facts;		/* of --explain, n_facts of them */
	size_t n_facts;
};

/* What is no option: facts, or a command. */
static int
parse_words(char **words, size_t n, struct options *o)
{
	if (o->explain) {
		o->facts = words;
		o->n_facts = n;
		return 0;
	}
	o->reload = n > 0 && strcmp(words[0], "reload") == 0;
	if (n <= (o->reload ? 1 : 0))
		return 0;
	fprintf(stderr, "gce-oidc-agent: unexpected argument %s\n%s",
		words[o->reload ? 1 : 0], usage);
	return -1;
}

static int
add_listen(struct options *o, const char *at)
{
	if (o->n_tcp == AGENT_LISTEN_MAX) {
		fprintf(stderr, "gce-oidc-agent: at most %d times --listen\n",
			AGENT_LISTEN_MAX);
		return -1;
	}
	o->at.tcp[o->n_tcp++] = at;
	return 0;
}

/* 0: go on.  1: done, exit 0.  Negative: told what is wrong. */
static int
parse_options(int argc, char **argv, struct options *o)
{
	enum {
		OPT_CONFIG = 256, OPT_SOCKET, OPT_CHECK, OPT_DUMP, OPT_EXPLAIN,
		OPT_FETCH, OPT_LISTEN, OPT_HELP, OPT_VERSION
	};
	static const struct option table[] = {
		{ "config",	  required_argument, NULL, OPT_CONFIG },
		{ "socket",	  required_argument, NULL, OPT_SOCKET },
		{ "listen",	  required_argument, NULL, OPT_LISTEN },
		{ "check-config", no_argument,	     NULL, OPT_CHECK },
		{ "dump-config",  no_argument,	     NULL, OPT_DUMP },
		{ "explain",	  no_argument,	     NULL, OPT_EXPLAIN },
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
			o->at.path = optarg;
			break;
		case OPT_LISTEN:
			if (add_listen(o, optarg) < 0)
				return -1;
			break;
		case OPT_CHECK:
			o->check = true;
			break;
		case OPT_DUMP:
			o->dump = true;
			break;
		case OPT_EXPLAIN:
			o->explain = true;
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
	return parse_words(argv + optind, (size_t)(argc - optind), o);
}

static void
on_note(_unused_ void *userdata, const char *line)
{
	fprintf(stderr, "%s\n", line);
}

static void
say_checked(const struct config *c)
{
	for (size_t i = 0; i < c->record.n_files; i++)
		printf("read %s\n", c->record.files[i]);
	puts("configuration: good");
}

/* Nothing is served: the configuration itself is asked for. */
static bool
asks_config(const struct options *o)
{
	return o->check || o->dump || o->explain;
}

static int
answer_config(const struct options *o, struct config *config)
{
	struct err e;
	int r = 0;

	if (o->check)
		say_checked(config);
	if (o->dump)
		config_dump(config, stdout);
	if (o->explain)
		r = explain(config, o->facts, o->n_facts, stdout, &e);
	if (r < 0) {
		fprintf(stderr, "gce-oidc-agent: %s\n", e.msg);
		r = AGENT_EXIT_USAGE;
	}
	config_free(config);
	return fflush(stdout) == 0 ? r : 1;
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
	struct agent_source from = { .paths = config_paths_installed,
				     .by_hand = service_by_hand() };
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

	if (o.reload)
		return agent_ask_reload(o.at.path ?: AGENT_SOCKET_DEFAULT);
	from.paths.single = o.config;
	r = config_load(&from.paths, from.by_hand || asks_config(&o),
			o.check ? on_note : NULL, NULL, &config, &e);
	if (r < 0)
		(void)err_prefix(&e, r, "configuration");
	/* A service manager would start it again and again. */
	if (r < 0 && !from.by_hand && !asks_config(&o) && !o.fetch)
		return agent_run(NULL, &e, &from, &o.at);
	if (r < 0) {
		log_error(LOG_NO_FIELDS, "%s", e.msg);
		return AGENT_EXIT_CONFIG;
	}
	if (asks_config(&o))
		return answer_config(&o, config);
	log_set_level(config->log_level);
	if (o.fetch)
		r = agent_fetch(config, o.fetch);
	else
		r = agent_run(config, NULL, &from, &o.at);

	/* Every secret is wiped: a leak checker may look now. */
	prctl(PR_SET_DUMPABLE, 1);
	return r;
}
