/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the handlers share: the api's insides, reading requests, and the forms of
   answers.  Included by api*.c and request.c only. */

#include <sys/queue.h>

#include "api/api.h"
#include "api/audit.h"
#include "api/client.h"

/* Requests are counted by route and by what they were answered: the kind of
   failure, or that there was none. */
#define API_ROUTES	12	/* routes[], and one for all that is none */
#define API_CODES	(ERR_KINDS + 1)
#define API_CODE_OK	ERR_KINDS

struct api {
	struct api_context ctx;
	struct api_options opt;
	struct limit *limit;
	struct clients *clients;
	struct audit *audit;
	struct buf audience;		/* of the request being handled */
	uint64_t answers[API_ROUTES][API_CODES];
	uint64_t rate_limited;		/* flights refused by limit */
	uint64_t started;		/* CLOCK_BOOTTIME */
	LIST_HEAD(, question) held;	/* by wait_for_change */
	bool stopping;			/* nothing is held any more */
};

/* As it stands in routes[]; "other". */
const char *api_route_name(size_t i);

typedef void handler_fn(struct api *a, struct http_exchange *x);

/* api_accounts.c: what the accounts are called that the client may use; ends with
   NULL, freed with free(). */
struct metadata_named *accounts_listed(struct api *a, struct http_exchange *x);
/* api_access.c: its tokens. */
void metadata_identity(struct api *a, struct http_exchange *x, const char *account);
void metadata_token(struct api *a, struct http_exchange *x, const char *account);
/* api_metadata.c: everything below /computeMetadata/, and "/" itself. */
handler_fn metadata_root, metadata_get;
/* Answers whatever is held. */
void metadata_release(struct api *a);
/* api_token.c */
handler_fn v1_token;
/* api_sign.c */
handler_fn v1_jwt, v1_sign;
/* api_v1.c */
handler_fn v1_whoami;
/* api_admin.c */
handler_fn healthz, v1_status, v1_flush, v1_reload;
/* api_metrics.c */
handler_fn metrics_get;

struct client *request_client(const struct http_exchange *x);

/* May this client see how the agent is (POLICY_MONITOR), or tell it what to do
   (POLICY_ADMIN)?  Where not it has been answered. */
bool request_admitted(struct api *a, struct http_exchange *x,
		      enum policy_kind kind);

/* What the policy says to the client, as client_check() does; its no is audited,
   too, and e is the answer. */
int request_check(struct api *a, struct http_exchange *x,
		  const struct policy_query *q, bool cold, struct err *e);

/* api_audit.c: what the policy said to the client just now, on its way to the log.
   now: CLOCK_BOOTTIME. */
void request_granted(struct api *a, struct http_exchange *x,
		     const struct policy_query *q, uint64_t now);
void request_denied(struct api *a, struct http_exchange *x,
		    const struct policy_query *q, uint64_t now,
		    const struct err *e);
/* An action that it was admitted to, and that is done: always logged, with who it
   was.  Words like "all tokens flushed"; text from outside shown already. */
void request_did(struct http_exchange *x, const char *fmt, ...) _printf_(2, 3);
audit_write_fn api_audit_write;

/* The one way out; code is what the answer is counted as. */
void reply_counted(struct http_exchange *x, int code, const struct http_reply *r);
/* Answer with a failure, in the form that the client accepts. */
void reply_error(struct http_exchange *x, const struct err *e);
/* 200 with a body.  fields may be NULL. */
void reply_ok(struct http_exchange *x, const char *content_type,
	      const char *fields, const void *body, size_t len);

/* A token for the client: policy, freshness, broker, and the answer, now or
   later. */
struct token_question {
	enum policy_kind kind;		/* id or access */
	const char *audience;		/* of an ID token; else "" */
	struct scopes *scopes;		/* of an access token; else NULL */
	bool as_text;			/* not as JSON, likewise */
	const char *account;		/* as asked for */
	const char *content_type;
	enum token_format format;
	bool licenses;			/* with TOKEN_FULL */
	bool any_format;		/* the other one is as good as none */
	bool metadata_face;		/* "no account" as the metadata server */
};
/* Takes q.scopes over. */
void reply_token(struct api *a, struct http_exchange *x, struct token_question q);

/* api_access.c: scopes, in order, each once; all that Google has where none are
   asked for. */
struct scopes {
	char *v[FETCH_SCOPES_MAX + 1];	/* NULL ends; they lie in text */
	char *text;
	char *key;			/* joined by blanks */
};
struct scopes *scopes_free(struct scopes *s);
DEFINE_CLEANUP(struct scopes *, scopes_free)
int request_scopes(const struct http_exchange *x, struct scopes **ret,
		   struct err *e);
/* The answer with an access token that is good for so many seconds. */
void reply_access(struct http_exchange *x, const struct token_question *q,
		  const struct token *t, const char *fields, uint64_t left);

/* The same question once more, as it was understood the first time: false where
   that is not enough for an answer. */
struct noted;
bool reply_noted(struct api *a, struct http_exchange *x, struct noted *n);
struct noted *noted_free(struct noted *n);

/* The parameter "audience": checked, good until the next request; or NULL and
   e. */
const char *request_audience(struct api *a, const struct http_exchange *x,
			     struct err *e);
bool request_has(const struct http_exchange *x, const char *name);
/* Any other parameter, at most 512 bytes: 1 and newly allocated, 0, negative. */
int request_param(const struct http_exchange *x, const char *name, char **ret,
		  struct err *e);
/* An account by what it was called; ERR_NOT_FOUND. */
int request_account(const struct api *a, const char *name,
		    const struct flow_context **ret, struct err *e);
/* A switch as the metadata server reads them: true, on, yes, 1; absent is no. */
int request_flag(const struct http_exchange *x, const char *name, bool *ret,
		 struct err *e);
/* CLOCK_BOOTTIME by which the caller wants to be answered. */
int request_deadline(const struct api *a, const struct http_exchange *x,
		     uint64_t *ret, struct err *e);

uint64_t api_now(const struct api *a);	/* CLOCK_BOOTTIME usec */

/* The one-line JSON of the metadata server for "no service account". */
void reply_no_account(struct http_exchange *x);
