/* SPDX-License-Identifier: Apache-2.0 */

/* A program of somebody else's, in C89: links the library, asks for tokens in
   both ways.  usage: consumer-c89 AUDIENCE...; the socket is $GCE_OIDC_SOCKET.
   One line each: WAY RESULT TOKEN-OR-WORDS SECONDS-LEFT-OR-RETRY-AFTER */

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "gce-oidc.h"

static void
print_result(const char *way, int r, struct gce_oidc *c, struct gce_oidc_token *t)
{
	if (r < 0)
		printf("%s %d \"%s\" %d\n", way, r, c ? gce_oidc_error(c) : "",
		       c ? gce_oidc_retry_after(c) : 0);
	else
		printf("%s %d %s %ld\n", way, r, gce_oidc_token_string(t),
		       (long)gce_oidc_token_expires(t) - (long)time(NULL));
}

static int
wait_for(struct gce_oidc *c, struct gce_oidc_token **ret)
{
	struct pollfd p;
	int r;

	while ((r = gce_oidc_step(c, ret)) == 0) {
		p.fd = gce_oidc_fd(c);
		p.events = (short)gce_oidc_events(c);
		p.revents = 0;
		if (poll(&p, 1, gce_oidc_timeout(c)) < 0)
			return -1;
	}
	return r;
}

int
main(int argc, char **argv)
{
	struct gce_oidc *c;
	struct gce_oidc_token *t;
	int i, r;

	if (gce_oidc_new(&c) < 0)
		return 1;
	gce_oidc_set_timeout(c, 2000);
	for (i = 1; i < argc; i++) {
		t = NULL;
		r = gce_oidc_token(c, argv[i], &t);
		print_result("blocking", r, c, t);
		t = gce_oidc_token_free(t);

		r = gce_oidc_start(c, argv[i]);
		if (r == 0)
			r = wait_for(c, &t);
		print_result("stepping", r, c, t);
		t = gce_oidc_token_free(t);
		if (gce_oidc_fd(c) != -1 || gce_oidc_events(c) != 0)
			printf("not finished\n");
	}
	if (argc > 1) {
		/* Given up in the middle; then the shortest way. */
		gce_oidc_start(c, argv[1]);
		gce_oidc_start(c, argv[1]);
		r = gce_oidc_get_token(argv[1], &t);
		print_result("at-once", r, NULL, t);
		gce_oidc_token_free(t);
	}
	c = gce_oidc_free(c);
	gce_oidc_free(c);
	return 0;
}
