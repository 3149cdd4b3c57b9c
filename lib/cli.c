/* SPDX-License-Identifier: MIT */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static const struct cli_command *const commands[] = {
	&cli_token,
	&cli_request,
	&cli_audience,
	&cli_decode,
	&cli_whoami,
	&cli_status,
	&cli_wait,
	&cli_jwt,
	&cli_sign,
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct {
	int errnum;
	enum cli_exit code;
} exit_codes[] = {
	{ EINVAL,	CLI_USAGE },
	{ EACCES,	CLI_DENIED },
	{ ENOENT,	CLI_NOT_FOUND },
	{ EAGAIN,	CLI_BUSY },
	{ EREMOTEIO,	CLI_REFUSED },
	{ EHOSTUNREACH,	CLI_UNAVAILABLE },
	{ ETIMEDOUT,	CLI_TIMEOUT },
	{ ENOTCONN,	CLI_NO_AGENT },
	{ EPROTO,	CLI_PROTOCOL },
};

static int
print_version(void)
{
	printf("gce-oidc %s\n", PACKAGE_VERSION);
	return cli_flush();
}

static int
print_help(void)
{
	printf("usage: gce-oidc [--socket=PATH] COMMAND ...\n\n"
	       "ID tokens signed by Google, from the local gce-oidc-agent.\n\n");
	for (size_t i = 0; i < N_COMMANDS; i++)
		printf("  %-10s%s\n", commands[i]->name, commands[i]->what);
	printf("\n"
	       "  --socket=PATH  the agent's socket; else $GCE_OIDC_SOCKET, else\n"
	       "                 %s\n"
	       "  --help         also of each command: gce-oidc COMMAND --help\n"
	       "  --version\n"
	       "\n"
	       "Exit codes: 0 well, 1 internal, 2 usage or a request that makes no"
	       " sense,\n3 denied by policy, 4 no such account, 5 busy, 6 denied by"
	       " Google or by the\napplication (401, 403), 7 unavailable, 8"
	       " timeout, 9 no agent, 10 not this\nprotocol, 11 any other bad"
	       " answer of the application.\n", GCE_OIDC_DEFAULT_SOCKET);
	return cli_flush();
}

static int
print_command_help(const struct cli_command *cmd)
{
	printf("usage: gce-oidc %s %s\n\n%s.\n\n%s"
	       "  --socket=PATH        the agent's socket\n"
	       "  --help, --version\n", cmd->name, cmd->args, cmd->what,
	       cmd->help ? cmd->help : "");
	return cli_flush();
}

static void vsay(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

static void
vsay(const char *fmt, va_list ap)
{
	fflush(stdout);
	fputs("gce-oidc: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

int
cli_fail(int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsay(fmt, ap);
	va_end(ap);
	return code;
}

int
cli_usage(const struct cli *cli, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsay(fmt, ap);
	va_end(ap);
	fprintf(stderr, "try: gce-oidc %s%s--help\n",
		cli->command ? cli->command->name : "", cli->command ? " " : "");
	return CLI_USAGE;
}

int
cli_option(struct cli *cli, int argc, char **argv, const struct option *options)
{
	int opt = getopt_long(argc, argv, cli->command ? ":" : "+:", options, NULL);

	switch (opt) {
	case CLI_OPT_SOCKET:
		cli->socket = optarg;
		return cli_option(cli, argc, argv, options);
	case CLI_OPT_HELP:
		exit(cli->command ? print_command_help(cli->command)
				  : print_help());
	case CLI_OPT_VERSION:
		exit(print_version());
	case ':':
		cli_usage(cli, "%s needs a value", argv[optind - 1]);
		return '?';
	case '?':
		/* A short option may stand in the middle of its word. */
		if (optopt && optopt < CLI_OPT_SOCKET)
			cli_usage(cli, "no option -%c", optopt);
		else
			cli_usage(cli, "no such option, or not with a value: %s",
				  argv[optind - 1]);
		return '?';
	}
	return opt;
}

int
cli_exit_code(int r)
{
	for (size_t i = 0; i < sizeof(exit_codes) / sizeof(exit_codes[0]); i++)
		if (exit_codes[i].errnum == -r)
			return exit_codes[i].code;
	return CLI_INTERNAL;
}

void
cli_secret_free(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

int
cli_flush(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return CLI_OK;
	return cli_fail(CLI_INTERNAL, "cannot write the output: %s",
			strerror(errno));
}

bool
cli_write(int fd, const char *s, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, s, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		s += n;
		len -= (size_t)n;
	}
	return true;
}

bool
cli_number(const char *s, int max, int *ret)
{
	int n = 0;

	if (!*s || strlen(s) > 9)
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return false;
		n = n * 10 + (*s - '0');
	}
	if (n > max)
		return false;
	*ret = n;
	return true;
}

bool
cli_timeout(const struct cli *cli, const char *s, int *ret_ms)
{
	int n;

	if (!cli_number(s, 86400, &n) || n == 0) {
		cli_usage(cli, "--timeout: 1 to 86400 seconds, not '%s'", s);
		return false;
	}
	*ret_ms = n * 1000;
	return true;
}

static int
explain_token(struct gce_oidc *c, int r)
{
	const char *words = gce_oidc_error(c);
	int later = gce_oidc_retry_after(c);

	if (later > 0)
		return cli_fail(cli_exit_code(r), "%s (try again in %d s)",
				words, later);
	return cli_fail(cli_exit_code(r), "%s", *words ? words : strerror(-r));
}

int
cli_get_token(const struct cli *cli, const char *audience,
	      const struct cli_token_options *o, struct gce_oidc_token **ret)
{
	struct gce_oidc *c;
	int r, code = CLI_OK;

	r = gce_oidc_new(&c);
	if (r < 0)
		return cli_fail(CLI_INTERNAL, "memory is gone");
	if (gce_oidc_set_socket(c, cli->socket) < 0)
		code = cli_fail(CLI_USAGE, "not a socket's path: '%s'",
				cli->socket);
	else if (gce_oidc_set_account(c, o->account) < 0)
		code = cli_fail(CLI_USAGE, "not an account: '%s'", o->account);
	if (code == CLI_OK) {
		if (o->timeout_ms > 0)
			gce_oidc_set_timeout(c, o->timeout_ms);
		gce_oidc_set_min_fresh(c, o->min_fresh);
		gce_oidc_set_fresh(c, o->fresh);
		r = gce_oidc_token(c, audience, ret);
		if (r < 0)
			code = explain_token(c, r);
	}
	gce_oidc_free(c);
	return code;
}

/* r: of a request that was started. */
static int
wait_answer(const struct cli *cli, struct conn *c, const char *target, int r,
	    bool may_lack)
{
	char text[640];

	if (r == 0)
		r = conn_run(c);
	if (r < 0)
		return cli_fail(cli_exit_code(r), "%s", c->words);
	r = answer_verdict(&c->answer);
	if (r == 0)
		return CLI_OK;
	if (r == -ENOENT && may_lack)
		return CLI_NOT_FOUND;
	answer_text(&c->answer, text, sizeof(text));
	if (r == -EPROTO)
		return cli_fail(CLI_PROTOCOL, "%s answered %d to %s: not an agent,"
				" or one of another version", cli->socket,
				c->answer.status, target);
	return cli_fail(cli_exit_code(r), "%s", text);
}

int
cli_get(const struct cli *cli, struct conn *c, const char *target, int timeout_ms)
{
	conn_init(c);
	return wait_answer(cli, c, target, conn_start(c, cli->socket, target, "",
						      timeout_ms), false);
}

int
cli_find(const struct cli *cli, struct conn *c, const char *target, int timeout_ms)
{
	conn_init(c);
	return wait_answer(cli, c, target, conn_start(c, cli->socket, target, "",
						      timeout_ms), true);
}

int
cli_post(const struct cli *cli, struct conn *c, const char *target,
	 const char *type, const void *body, size_t len, int timeout_ms)
{
	int seconds = timeout_ms / 1000;
	char fields[160];

	snprintf(fields, sizeof(fields), "Content-Type: %s\r\nPrefer: wait=%d\r\n",
		 type, seconds < 1 ? 1 : seconds > 120 ? 120 : seconds);
	conn_init(c);
	return wait_answer(cli, c, target,
			   conn_start_post(c, cli->socket, target, fields, body,
					   len, timeout_ms), false);
}

int
cli_main(int argc, char **argv)
{
	static const struct option options[] = { CLI_COMMON_OPTIONS };
	struct cli cli = { .socket = conn_default_path() };

	/* Whoever is started without the standard three must not find a socket or
	   a pipe in their place. */
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return CLI_INTERNAL;
	/* Several callers may share one log: a line goes out as a whole. */
	setvbuf(stderr, NULL, _IOLBF, BUFSIZ);

	if (cli_option(&cli, argc, argv, options) != -1)
		return CLI_USAGE;
	if (optind == argc)
		return cli_usage(&cli, "which command?");
	argc -= optind;
	argv += optind;
	for (size_t i = 0; i < N_COMMANDS; i++) {
		if (strcmp(commands[i]->name, argv[0]) != 0)
			continue;
		cli.command = commands[i];
		optind = 0;
		return cli.command->run(&cli, argc, argv);
	}
	return cli_usage(&cli, "no command '%s'", argv[0]);
}
