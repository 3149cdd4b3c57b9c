/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <string.h>

#include "base/buf.h"
#include "base/hash.h"
#include "token/recipe.h"

uint64_t
recipe_now(const struct recipe *rc)
{
	uint64_t usec = 0;

	sd_event_now(rc->flows->ctx->event, CLOCK_BOOTTIME, &usec);
	return usec;
}

/* Denials. */

static struct flow_status
recipe_status(const struct recipe *rc)
{
	uint64_t now = recipe_now(rc);

	return (struct flow_status){
		.account = account_name(rc->flows->ctx->account),
		.name = rc->flow->name,
		.format = rc->format,
		.denied = rc->denied,
		.again_usec = rc->denied && rc->until > now ? rc->until - now : 0,
		.why = rc->denied ? &rc->why : NULL,
	};
}

static void
recipe_tell(const struct recipe *rc)
{
	struct flow_status s = recipe_status(rc);

	if (rc->flows->changed)
		rc->flows->changed(rc->flows->userdata, &s);
}

void
recipe_arm(struct recipe *rc, uint64_t when)
{
	sd_event_source_set_time(rc->timer, when);
	sd_event_source_set_enabled(rc->timer, SD_EVENT_ONESHOT);
}

void
recipe_settle(struct recipe *rc)
{
	if (TAILQ_EMPTY(&rc->held))
		return;
	rc->settled = true;
	recipe_arm(rc, 0);
}

void
recipe_deny(struct recipe *rc, const struct err *e)
{
	const struct flows_options *o = &rc->flows->opt;
	bool news = !rc->told || rc->tell_again ||
		strcmp(rc->why.msg, e->msg) != 0;

	rc->span = rc->denied ? MIN(2 * rc->span, o->again_max_usec)
			: o->again_usec;
	rc->until = recipe_now(rc) + rc->span;
	rc->denied = rc->told = true;
	rc->tell_again = false;
	rc->doubted = 0;
	rc->why = *e;
	rc->why.doubtful = false;
	recipe_settle(rc);
	if (news)
		recipe_tell(rc);
}

void
recipe_serves(struct recipe *rc)
{
	bool news = rc->told;

	rc->denied = rc->told = rc->tell_again = false;
	rc->doubted = 0;
	recipe_settle(rc);
	if (news)
		recipe_tell(rc);
}

bool
recipe_open(struct recipe *rc)
{
	struct err e;

	if (rc->denied && (rc->trial || recipe_now(rc) < rc->until))
		return false;
	if (flow_possible(rc->flow, rc->flows->ctx, &e) >= 0)
		return true;
	recipe_deny(rc, &e);
	return false;
}

/* The key. */

static void
set_variants(struct flows *fs)
{
	for (int format = 0; format < TOKEN_FORMATS; format++)
		for (int licenses = 0; licenses < 2; licenses++) {
			free(fs->variant[format][licenses]);
			fs->variant[format][licenses] = xasprintf("%s/%s/%u",
				flow_variant((enum token_format)format, licenses),
				fs->names, fs->generation);
		}
}

static bool
makes_full(const struct flows *fs)
{
	return fs->plan[TOKEN_FULL][0]->format == TOKEN_FULL;
}

const char *
flows_variant(const struct flows *fs, enum token_format format, bool licenses)
{
	if (!makes_full(fs))
		format = TOKEN_STANDARD;
	return fs->variant[format][licenses && format == TOKEN_FULL];
}

uint64_t
flows_generation(const struct flows *fs)
{
	return fs->generation;
}

enum token_format
flows_format(const struct flows *fs)
{
	return fs->recipe[0].format;
}

/* The account. */

uint64_t
flows_doubt_usec(const struct flows *fs)
{
	return fs->opt.doubt_usec;
}

static void
forget_denials(struct flows *fs)
{
	for (size_t i = 0; i < fs->len; i++) {
		struct recipe *rc = &fs->recipe[i];

		rc->denied = false;
		rc->doubted = 0;
		recipe_settle(rc);
	}
}

/* Whoever has it asked anew wants to be told what comes of it. */
void
flows_flush(struct flows *fs)
{
	forget_denials(fs);
	for (size_t i = 0; i < fs->len; i++)
		fs->recipe[i].tell_again = true;
}

static uint64_t
account_hash(const struct account *a)
{
	static const struct hash_key key = { 0x6f696463, 0x666c6f77 };
	_cleanup_(buf_free) struct buf b = BUF_INIT(256 * 1024);
	char *const *scopes = account_scopes(a);

	buf_adds(&b, account_email(a));
	for (; *scopes; scopes++)
		buf_addf(&b, "\n%s", *scopes);
	return hash_bytes(&key, buf_str(&b), b.len);
}

bool
flows_account_changed(struct flows *fs)
{
	const struct account *a = fs->ctx->account;
	uint64_t account;
	bool same;

	forget_denials(fs);
	if (account_state(a) != ACCOUNT_FOUND)
		return true;
	/* The first one is found under the keys of those who wait for it. */
	account = account_hash(a);
	if (fs->account != 0 && fs->account != account) {
		fs->generation++;
		set_variants(fs);
	}
	same = fs->account == account;
	fs->account = account;
	for (size_t i = 0; i < fs->len; i++)
		(void)recipe_open(&fs->recipe[i]);
	return !same;
}

void
flows_inherit(struct flows *fs, const struct flows *from)
{
	fs->account = from->account;
	fs->generation = from->generation;
	set_variants(fs);
}

/* Birth, death, and looking. */

static int
recipe_add(struct flows *fs, const struct flow_ops *flow, enum token_format format,
	   struct err *e)
{
	struct recipe *rc = &fs->recipe[fs->len];
	int r;

	if (!flow->makes[format])
		return 0;
	fs->len++;
	rc->flows = fs;
	rc->flow = flow;
	rc->format = format;
	TAILQ_INIT(&rc->held);
	r = sd_event_add_time(fs->ctx->event, &rc->timer, CLOCK_BOOTTIME,
			      UINT64_MAX, 1, recipe_on_due, rc);
	return r < 0 ? err_sys(e, -r, "cannot make a timer") : 0;
}

/* Those that make the format come first; where none is left of them, a standard
   token is better than none. */
static void
plan_make(struct flows *fs, enum token_format format)
{
	size_t n = 0;

	for (size_t i = 0; i < fs->len; i++)
		if (fs->recipe[i].format == format)
			fs->plan[format][n++] = &fs->recipe[i];
	for (size_t i = 0; i < fs->len && format == TOKEN_FULL; i++)
		if (fs->recipe[i].format == TOKEN_STANDARD)
			fs->plan[format][n++] = &fs->recipe[i];
	assert(n > 0);
}

int
flows_new(const struct flow_context *ctx, const struct flow_ops *const *list,
	  const struct flows_options *o, flows_changed_fn *changed, void *userdata,
	  struct flows **ret, struct err *e)
{
	_cleanup_(flows_freep) struct flows *fs = xcalloc(1, sizeof(*fs));
	_cleanup_(buf_free) struct buf names = BUF_INIT(1024);
	int r = 0;

	fs->ctx = ctx;
	fs->opt = *o;
	fs->changed = changed;
	fs->userdata = userdata;
	for (size_t i = 0; r >= 0 && list[i]; i++) {
		assert(i < FLOWS_MAX);
		buf_addf(&names, "%s%s", i ? "," : "", list[i]->name);
		r = recipe_add(fs, list[i], TOKEN_FULL, e);
		if (r >= 0)
			r = recipe_add(fs, list[i], TOKEN_STANDARD, e);
	}
	if (r < 0)
		return r;

	plan_make(fs, TOKEN_STANDARD);
	plan_make(fs, TOKEN_FULL);
	fs->names = buf_steal(&names);
	set_variants(fs);
	*ret = TAKE_PTR(fs);
	return 0;
}

struct flows *
flows_free(struct flows *fs)
{
	if (!fs)
		return NULL;

	for (size_t i = 0; i < fs->len; i++) {
		assert(TAILQ_EMPTY(&fs->recipe[i].held));
		sd_event_source_disable_unref(fs->recipe[i].timer);
	}
	for (int format = 0; format < TOKEN_FORMATS; format++)
		for (int licenses = 0; licenses < 2; licenses++)
			free(fs->variant[format][licenses]);
	free(fs->names);
	free(fs);
	return NULL;
}

int
flows_error(const struct flows *fs, struct err *e)
{
	const struct flow_context *ctx = fs->ctx;

	for (size_t i = fs->len; i-- > 0;) {
		const struct recipe *rc = &fs->recipe[i];

		if (rc->denied && recipe_now(rc) < rc->until)
			*e = rc->why;
		else if (flow_possible(rc->flow, ctx, e) >= 0)
			return 0;
	}
	return err_kind_errno(e->kind);
}

size_t
flows_status(const struct flows *fs,
	     struct flow_status ret[static FLOWS_MAX * TOKEN_FORMATS])
{
	for (size_t i = 0; i < fs->len; i++)
		ret[i] = recipe_status(&fs->recipe[i]);
	return fs->len;
}
