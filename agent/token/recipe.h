/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What flows.c, which keeps the denials, and flow_any.c, which walks along the
   flows, have between them, and nobody else. */

#include <sys/queue.h>

#include "token/flows.h"

#define RECIPES_MAX	(FLOWS_MAX * TOKEN_FORMATS)

TAILQ_HEAD(held_list, any_fetch);

/* One flow, for one format: what is denied as one. */
struct recipe {
	struct flows *flows;
	const struct flow_ops *flow;
	enum token_format format;
	unsigned running;

	bool denied;
	struct err why;
	bool told;			/* this was the last word, ... */
	bool tell_again;		/* but it was asked for anew */
	uint64_t until;			/* CLOCK_BOOTTIME, as all times here */
	uint64_t span;			/* how long the last denial held */
	struct any_fetch *trial;	/* tries it though it is denied */

	uint64_t doubted;		/* since when; 0: it is not */
	struct held_list held;		/* those who wait to try again ... */
	uint64_t due;			/* ... then, */
	struct any_fetch *probe;	/* one of them first, */
	bool settled;			/* or at once, because all is known */
	unsigned round;			/* see recipe_release() */
	sd_event_source *timer;
};

struct flows {
	const struct flow_context *ctx;
	struct flows_options opt;
	flows_changed_fn *changed;
	void *userdata;
	struct recipe recipe[RECIPES_MAX];	/* in the order of configuration */
	size_t len;
	struct recipe *plan[TOKEN_FORMATS][RECIPES_MAX + 1];
	char *names;
	uint64_t account;			/* hash of email and scopes */
	unsigned generation;
	char *variant[TOKEN_FORMATS][2];
};

uint64_t recipe_now(const struct recipe *rc);
void recipe_arm(struct recipe *rc, uint64_t when);
/* Google denies it, or has served by it. */
void recipe_deny(struct recipe *rc, const struct err *e);
void recipe_serves(struct recipe *rc);
/* Nobody need wait any longer for a doubt to pass. */
void recipe_settle(struct recipe *rc);
/* Is it worth a try?  What can be known without asking Google is known here. */
bool recipe_open(struct recipe *rc);

/* flow_any.c: of recipe.timer. */
int recipe_on_due(sd_event_source *s, uint64_t usec, void *recipe);
