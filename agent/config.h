/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Configuration: the sum of the modules' options, read from files (config_file.h
   says which, and their grammar).  Lists add up, an empty value clears a list; of
   single values the last wins.

   This is an access policy: whatever is not understood is an error with file and
   line, never a warning. */

#include "api/api.h"
#include "api/policy.h"
#include "api/values.h"
#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"
#include "config_account.h"
#include "config_file.h"
#include "config_record.h"
#include "google/endpoints.h"
#include "http/client.h"
#include "http/server.h"
#include "token/account.h"
#include "token/broker.h"
#include "token/clock.h"
#include "token/credential.h"
#include "token/flows.h"

struct config {
	int log_level;
	bool permissive;		/* until rules are complete */
	struct endpoints at;
	bool metadata_configured;	/* by file or GCE_METADATA_HOST */
	char *ca_file, *proxy;
	struct http_client_options client;	/* strings point into this struct */
	struct http_server_options server;
	struct account_options account;
	struct flow_options flow;
	struct flows_options flows_opt;
	struct keyring_options keyring;
	struct clock_options clock;
	struct broker_options broker;
	unsigned peer_share;		/* percent of whatever peers share */
	struct values_options values;
	struct api_options api;
	char *credentials;		/* of account default: a path, or adc */
	struct credential *credential;	/* what that holds; NULL: none */
	/* of account default; NULL ends */
	const struct flow_ops *flows[FLOWS_MAX + 1];
	struct config_accounts accounts;	/* but for default */
	char **warm;			/* audiences; NULL: none; NULL ends */
	uint64_t detect_usec;		/* is there a metadata server at all? */
	uint64_t drain_usec;		/* for exchanges in flight at the end */
	struct policy *policy;
	struct config_record record;	/* what was written, and where */
};

/* What a human should know and is no error; "FILE:LINE: WORDS". */
typedef void config_note_fn(void *userdata, const char *line);

/* What holds where there is no file at all: the text of units/50-default.conf. */
extern const char config_default_text[];

#define CONFIG_MAX_AUDIENCE	2048	/* bytes */

/* Read and judge everything.  by_hand: files may also belong to the user who
   runs this.  e->msg begins with "FILE:LINE: " or "FILE: "; for a bad variable of
   the environment with its name. */
int config_load(const struct config_paths *paths, bool by_hand,
		config_note_fn *note, void *userdata,
		struct config **ret, struct err *e);
/* In place of a configuration that is bad: defaults, and the rule that holds with
   no file at all.  Nothing can be asked upstream with it. */
struct config *config_stand_in(void);
/* What a reload has to change beside policy, api and server. */
enum config_change {
	CONFIG_SAME_UPSTREAM,
	CONFIG_OTHER_UPSTREAM,	/* what asks upstream is to be made anew */
	CONFIG_OTHER_IDENTITY	/* and what is cached may be another's */
};
enum config_change config_compare(const struct config *running,
				  const struct config *new);
/* What takes a restart stays what it is, and later gets a line for each such
   setting. */
void config_keep_fixed(struct config *new, const struct config *running,
		       struct buf *later);
/* With CONFIG_SAME_UPSTREAM: what else the new one says, and its policy; both stay
   whole. */
void config_adopt(struct config *running, struct config *new);
/* What is counted from others: shares of connections. */
void config_set_shares(struct config *c);
/* The whole configuration as a file that says the same, each setting under a
   comment with where it was written; defaults, too. */
void config_dump(const struct config *c, FILE *out);
struct config *config_free(struct config *c);
char **config_warm_free(char **list);
DEFINE_CLEANUP(struct config *, config_free)
