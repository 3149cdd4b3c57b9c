/* SPDX-License-Identifier: MIT */

/* Waits until a token can be had, for what must not start before: ExecStartPre=
   of a unit.  What will pass is waited for; what will not ends it at once. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"

#define TIMEOUT_SEC	60
#define ASK_MS		30000	/* longest single question */
#define PAUSE_FIRST_MS	50	/* doubling up to ... */
#define PAUSE_MAX_MS	2000
#define SHORT_MS	1000	/* too little time to say that nobody answers */

enum { OPT_TIMEOUT = CLI_OPT_OWN };

static const struct option options[] = {
	{ "timeout",	required_argument,	NULL, OPT_TIMEOUT },
	CLI_COMMON_OPTIONS
};

/* How one question ended. */
struct result {
	int r;			/* 0, or a negative errno */
	int later_ms;		/* the agent asks for so much time; 0: for none */
	char words[640];
};

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* What it asks for may be more than milliseconds can say, and is cut later. */
static int
pause_ms(int seconds)
{
	return seconds > PAUSE_MAX_MS / 1000 ? PAUSE_MAX_MS : seconds * 1000;
}

static void
ask_health(const struct cli *cli, int timeout_ms, struct result *ret)
{
	struct conn c;

	conn_init(&c);
	ret->r = conn_start(&c, cli->socket, "/healthz", "", timeout_ms);
	if (ret->r == 0)
		ret->r = conn_run(&c);
	if (ret->r < 0) {
		snprintf(ret->words, sizeof(ret->words), "%s", c.words);
	} else {
		ret->r = answer_verdict(&c.answer);
		ret->later_ms = pause_ms(answer_retry_after(&c.answer));
		answer_text(&c.answer, ret->words, sizeof(ret->words));
	}
	conn_clear(&c);
}

static void
ask_token(const struct cli *cli, const char *audience, int timeout_ms,
	  struct result *ret)
{
	struct gce_oidc_token *t = NULL;
	struct gce_oidc *c;

	ret->r = gce_oidc_new(&c);
	if (ret->r < 0) {
		snprintf(ret->words, sizeof(ret->words), "memory is gone");
		return;
	}
	ret->r = gce_oidc_set_socket(c, cli->socket);
	if (ret->r == 0) {
		gce_oidc_set_timeout(c, timeout_ms);
		ret->r = gce_oidc_token(c, audience, &t);
		ret->later_ms = pause_ms(gce_oidc_retry_after(c));
	}
	snprintf(ret->words, sizeof(ret->words), "%s",
		 *gce_oidc_error(c) ? gce_oidc_error(c) : strerror(-ret->r));
	gce_oidc_token_free(t);
	gce_oidc_free(c);
}

static bool
may_pass(int r)
{
	return r == -EAGAIN || r == -EHOSTUNREACH || r == -ETIMEDOUT ||
	       r == -ENOTCONN;
}

static int
wait_for(const struct cli *cli, const char *audience, int seconds)
{
	int64_t end = now_ms() + (int64_t)seconds * 1000, left;
	int pause = PAUSE_FIRST_MS, ms;
	struct result last, before = { .r = 0 };

	for (;;) {
		left = end - now_ms();
		ms = left < 1 ? 1 : left < ASK_MS ? (int)left : ASK_MS;
		last = (struct result){ .later_ms = 0 };
		if (audience)
			ask_token(cli, audience, ms, &last);
		else
			ask_health(cli, ms, &last);
		if (last.r >= 0)
			return CLI_OK;
		/* Who has answered before has only had no time for another. */
		if (last.r == -ETIMEDOUT && ms < SHORT_MS && before.r < 0)
			last = before;
		before = last;
		if (!may_pass(last.r))
			return cli_fail(cli_exit_code(last.r), "%s", last.words);

		/* The agent's own pause is heard up to a point: what it waits
		   for may come sooner. */
		ms = last.later_ms > pause ? last.later_ms : pause;
		ms = ms > PAUSE_MAX_MS ? PAUSE_MAX_MS : ms;
		left = end - now_ms();
		if (left <= 0)
			return cli_fail(CLI_TIMEOUT, "not within %d s: %s", seconds,
					last.words);
		ms = left < ms ? (int)left : ms;
		nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000L },
			  NULL);
		pause = pause * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : pause * 2;
	}
}

static int
wait_run(struct cli *cli, int argc, char **argv)
{
	int opt, seconds = TIMEOUT_SEC;
	const char *audience;

	while ((opt = cli_option(cli, argc, argv, options)) != -1) {
		if (opt != OPT_TIMEOUT)
			return CLI_USAGE;
		if (!cli_number(optarg, 86400, &seconds))
			return cli_usage(cli, "--timeout: 0 to 86400 seconds, not"
					 " '%s'", optarg);
	}
	if (argc - optind > 1)
		return cli_usage(cli, "one audience, or none");
	audience = optind < argc ? argv[optind] : NULL;
	if (audience && (!*audience || strlen(audience) > 2048))
		return cli_usage(cli, "not an audience");
	return wait_for(cli, audience, seconds);
}

const struct cli_command cli_wait = {
	.name = "wait",
	.args = "[AUDIENCE] [--timeout=SECONDS]",
	.what = "wait until a token can be had",
	.help =
"  AUDIENCE             for this one, by asking for it; else for any, as the\n"
"                       agent judges\n"
"  --timeout=SECONDS    exit 8 if it takes longer (60); 0: ask once\n",
	.run = wait_run,
};
