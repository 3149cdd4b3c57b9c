/* SPDX-License-Identifier: MIT */
#pragma once

/* gce-oidc: the agent's command line.  One file a command, cli_<command>.c; the
   table of them is in cli.c.  A command's run() gets its own name as argv[0]
   and returns an exit code. */

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "conn.h"
#include "gce-oidc.h"

/* 1 to 10 are the errors of the protocol, 11 is the application's. */
enum cli_exit {
	CLI_OK = 0,
	CLI_INTERNAL = 1,
	CLI_USAGE = 2,
	CLI_DENIED = 3,
	CLI_NOT_FOUND = 4,
	CLI_BUSY = 5,
	CLI_REFUSED = 6,	/* by Google, or by an application behind it */
	CLI_UNAVAILABLE = 7,
	CLI_TIMEOUT = 8,
	CLI_NO_AGENT = 9,
	CLI_PROTOCOL = 10,
	CLI_BAD_RESPONSE = 11,
};

/* What cli_option() returns for long options; a command's own begin behind. */
enum cli_option {
	CLI_OPT_SOCKET = 256,
	CLI_OPT_HELP,
	CLI_OPT_VERSION,
	CLI_OPT_OWN,
};

/* Ends every command's table of long options. */
#define CLI_COMMON_OPTIONS \
	{ "socket",	required_argument,	NULL, CLI_OPT_SOCKET }, \
	{ "help",	no_argument,		NULL, CLI_OPT_HELP }, \
	{ "version",	no_argument,		NULL, CLI_OPT_VERSION }, \
	{ NULL, 0, NULL, 0 }

struct cli;

struct cli_command {
	const char *name;
	const char *args;	/* for the usage line */
	const char *what;	/* one line */
	const char *help;	/* the options, one line each, or NULL */
	int (*run)(struct cli *cli, int argc, char **argv);
};

struct cli {
	const struct cli_command *command;
	const char *socket;	/* never NULL */
};

extern const struct cli_command cli_audience, cli_decode, cli_jwt, cli_request,
	cli_sign, cli_status, cli_token, cli_wait, cli_whoami;

int cli_main(int argc, char **argv);

/* The next option of a command, as getopt_long() gives it; -1 where there are
   no more.  --socket, --help and --version are dealt with here, and so is what
   is none of its options: '?', upon which run() returns CLI_USAGE. */
int cli_option(struct cli *cli, int argc, char **argv,
	       const struct option *options);

/* Says "gce-oidc: WORDS" on stderr; returns code. */
int cli_fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same, with a pointer to the command's help: CLI_USAGE. */
int cli_usage(const struct cli *cli, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

int cli_exit_code(int r);	/* of a negative errno */

/* Wipes it, too; NULL is none. */
void cli_secret_free(char *text);

/* Everything on stdout has got there, or CLI_INTERNAL. */
int cli_flush(void);

/* All of it, to a descriptor; false with errno. */
bool cli_write(int fd, const char *s, size_t len);

/* A whole number of the command line, 0 to max. */
bool cli_number(const char *s, int max, int *ret);

/* The value of --timeout, as several commands take it; false: it has been said what
   is wrong. */
bool cli_timeout(const struct cli *cli, const char *s, int *ret_ms);

/* Options of a request for a token, as several commands take them. */
struct cli_token_options {
	const char *account;	/* NULL: the default */
	int min_fresh;		/* seconds, 0: none */
	bool fresh;
	int timeout_ms;		/* 0: the library's default */
};

/* A token, or an exit code that has been explained. */
int cli_get_token(const struct cli *cli, const char *audience,
		  const struct cli_token_options *o, struct gce_oidc_token **ret);

/* GET target.  CLI_OK: the answer is whole and 2xx; else an exit code that has
   been explained.  The caller clears the connection in any case. */
int cli_get(const struct cli *cli, struct conn *c, const char *target,
	    int timeout_ms);

/* The same, but that there is no such thing is not explained: CLI_NOT_FOUND. */
int cli_find(const struct cli *cli, struct conn *c, const char *target,
	     int timeout_ms);

/* As cli_get(), but POST, with a body of this type; the agent hears how long we
   wait. */
int cli_post(const struct cli *cli, struct conn *c, const char *target,
	     const char *type, const void *body, size_t len, int timeout_ms);
