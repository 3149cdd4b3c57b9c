/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Requests going out and responses coming in.  Plain data; no I/O. */

#include "base/base.h"

/* Two ways out.  What is local is asked directly by address: never through a
   proxy, never by DNS, with short waits. */
enum http_lane {
	HTTP_LANE_LOCAL,	/* the metadata server */
	HTTP_LANE_GOOGLE,	/* https endpoints */
	HTTP_LANES
};

#define HTTP_REQUEST_FIELDS_MAX	8
#define HTTP_UPSTREAMS		4

struct http_request {
	enum http_lane lane;
	unsigned upstream;	/* which one it is, for whoever counts them */
	const char *method;	/* a literal: "GET" or "POST" */
	char *url;
	char *fields[HTTP_REQUEST_FIELDS_MAX];	/* "Name: value" */
	size_t n_fields;
	char *body;		/* NULL: none */
	size_t body_len;
	bool once;		/* one try: the caller has a schedule of its own */
	uint64_t payer;		/* on whose share of the budget: see client.h */
};

/* Append "Name: value". */
void http_request_field(struct http_request *q, const char *name,
			const char *value);
/* Wipes and frees what it holds, not q itself. */
void http_request_clear(struct http_request *q);

#define HTTP_MAX_AGE_UNKNOWN	UINT64_MAX

/* The parts of a response anybody asks for.  body is borrowed, holds body_len
   bytes and a NUL behind them, and is wiped after the callback it was given to.
   Begin with HTTP_RESPONSE_INIT. */
struct http_response {
	unsigned status;
	const char *body;
	size_t body_len;
	char content_type[80];		/* "" if absent, cut if longer */
	bool flavor_google;		/* Metadata-Flavor: Google */
	bool tls;			/* came over a verified TLS connection */
	int64_t date;			/* Date, Unix seconds; 0 if absent or bad */
	uint64_t retry_after_usec;	/* 0 if absent; of a date: less date */
	uint64_t max_age;		/* Cache-Control's, less Age; seconds */

	/* Header lines come in any order: what waits for another one. */
	uint64_t age;
	int64_t retry_at;
};

#define HTTP_RESPONSE_INIT \
	((struct http_response){ .body = "", .max_age = HTTP_MAX_AGE_UNKNOWN })

/* Take one header line ("Name: value", with or without CRLF) into re; lines that
   nobody asks for are ignored.  Pure; tested by tables. */
void http_response_line(struct http_response *re, const char *line, size_t len);

/* IMF-fixdate ("Sun, 06 Nov 1994 08:49:37 GMT") to Unix seconds; 0 if it is not
   one. */
int64_t http_date_parse(const char *s, size_t len);
/* The same backwards; ret holds 30 bytes. */
void http_date_format(int64_t when, char ret[static 30]);
