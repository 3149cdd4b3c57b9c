/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One question to IAM as an account: the account is waited for, and then the access
   token that IAM is called with; one that IAM no longer takes is replaced, once.  A
   missing role, as which IAM may disguise that it is busy, is asked about once more
   after a while, unless whoever asks sees to it.

   Asynchronous contract: http/client.h. */

#include "google/iam.h"
#include "token/flow.h"

struct iam_call;

/* Build the request, of the account in s; more than once where the access token had
   to be replaced. */
typedef void iam_request_fn(void *userdata, const char *base_url,
			    const struct iam_subject *s, const char *access_token,
			    struct http_request *ret);

/* Exactly one of re and e is set.  re's status is 200; all else has become e.  s is
   NULL where nothing has been asked. */
typedef void iam_done_fn(void *userdata, const struct http_response *re,
			 const struct iam_subject *s, const struct err *e);

struct iam_question {
	enum iam_method method;
	iam_request_fn *request;
	iam_done_fn *done;
	void *userdata;
	const uint64_t *deadline;	/* as in http_client_start() */
	uint64_t payer;			/* the same */
	bool doubts;			/* ask about a missing role once more */
	uint64_t doubt_usec;		/* "a while" */
};

int iam_call_start(const struct flow_context *ctx, const struct iam_question *q,
		   struct iam_call **ret, struct err *e);
struct iam_call *iam_call_free(struct iam_call *c);

/* Negative: what is known already says that IAM would refuse.  The scopes are fixed
   while a VM runs: without the right one the API would say no before it looks at
   any role. */
int iam_call_possible(const struct flow_context *ctx, enum iam_method method,
		      struct err *e);
