/* SPDX-License-Identifier: MIT */
#pragma once

/* One request to the world, by the system's curl: the one thing of this program
   that speaks TLS.  What curl is told, and what it may not be told, keeps a
   token from every server but the URL's; see cli_curlopt.h. */

#include "cli.h"
#include "cli_curlopt.h"

enum { CURL_HEAD_MAX = 64 * 1024, CURL_BODY_MAX = 64 * 1024 };

struct curl_answer {
	int status;		/* 0: there was none */
	char *head;		/* status line and fields, NUL-terminated */
	size_t head_len;
	char *body;		/* of what no sink wanted */
	size_t body_len;
	bool cut;		/* there was more of it */
};

/* Takes a 2xx answer's body piece by piece; called first, and maybe only, with
   nothing once the head is there.  Returns CLI_OK or an exit code that ends it. */
typedef int curl_sink_fn(void *userdata, const struct curl_answer *a,
			 const char *data, size_t len);

struct curl_job {
	const char *url;		/* has passed curlopt_url() */
	const char *secret;		/* a header line for a pipe, or NULL */
	const char *field;		/* one for the command line, or NULL */
	const char *cacert, *proxy;	/* or NULL */
	const struct curlopt *user;	/* or NULL */
	curl_sink_fn *sink;		/* or NULL */
	void *userdata;
};

/* CLI_OK: there is an answer, whatever its status; else an exit code that has
   been explained.  Clear ret in any case. */
int curl_run(const struct curl_job *job, struct curl_answer *ret);
void curl_clear(struct curl_answer *a);

/* The first field of that name; borrowed, not NUL-terminated. */
bool curl_field(const struct curl_answer *a, const char *name, const char **ret,
		size_t *ret_len);
