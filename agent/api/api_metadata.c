/* SPDX-License-Identifier: Apache-2.0 */

/* The metadata server's own paths, for clients that speak nothing else: the
   service account's corner of the tree, and a few plain values.

   A question is read from the request once (question_read()), waits for what the
   metadata server has not told us yet, and is answered (question_answer()). */

#include <stdio.h>
#include <string.h>

#include "api/metadata_render.h"
#include "api/metadata_tree.h"
#include "api/requests.h"
#include "base/hash.h"
#include "base/text.h"

struct question {
	struct api *api;
	struct http_exchange *x;
	struct place at;
	const struct flow_context *ctx;	/* of its account, once that is known */
	enum metadata_alt alt;
	bool recursive;
	uint64_t hold_usec;		/* wait_for_change: answer after; 0: now */
	char *last_etag;
	uint64_t deadline;
	struct account_wait *account_wait;
	struct value_wait *value_wait;
	const char *values[VALUES];	/* those it needs, as far as they are known;
					   and a bit for each that was asked for */
	unsigned told;
	sd_event_source *timer;		/* while it is held */
	LIST_ENTRY(question) link;
};

static void question_answer(struct question *q);

static void
question_free(struct question *q)
{
	account_wait_free(q->account_wait);
	value_wait_free(q->value_wait);
	if (q->timer)
		LIST_REMOVE(q, link);
	sd_event_source_disable_unref(q->timer);
	free(q->at.account);
	free(q->last_etag);
	free(q);
}

static void
on_gone(void *userdata)
{
	question_free(userdata);
}

static void
question_fail(struct question *q, const struct err *e)
{
	if (e->kind == ERR_NOT_FOUND && q->at.node >= NODE_ACCOUNT)
		reply_no_account(q->x);
	else
		reply_error(q->x, e);
	question_free(q);
}

static void
question_release(struct question *q)
{
	LIST_REMOVE(q, link);
	q->timer = sd_event_source_disable_unref(q->timer);
	question_answer(q);
}

static int
on_held(_unused_ sd_event_source *s, _unused_ uint64_t usec, void *userdata)
{
	question_release(userdata);
	return 0;
}

void
metadata_release(struct api *a)
{
	struct question *q;

	while ((q = LIST_FIRST(&a->held)))
		question_release(q);
}

/* wait_for_change: hold the answer.  What we serve does not change while the VM
   runs, so the end of the wait is the end of its time, or ours. */
static bool
question_hold(struct question *q, const char *etag)
{
	uint64_t usec = q->hold_usec;

	if (usec == 0 || q->api->stopping ||
	    (q->last_etag && strcmp(q->last_etag, etag) != 0))
		return false;

	q->hold_usec = 0;
	if (sd_event_add_time_relative(q->api->ctx.event, &q->timer,
				       CLOCK_BOOTTIME, usec, 1, on_held, q) < 0)
		return false;
	LIST_INSERT_HEAD(&q->api->held, q, link);
	return true;
}

static void
question_send(struct question *q)
{
	static const struct hash_key etag_key = { 0x6f696463, 0x65746167 };
	struct buf b = BUF_INIT(256 * 1024);
	struct metadata_named *listed = NULL;
	char fields[48], etag[17];
	bool json;

	if (q->at.node == NODE_ACCOUNTS || q->at.node == NODE_DIR)
		listed = accounts_listed(q->api, q->x);
	json = metadata_render(&(struct metadata_form){
		.at = &q->at, .recursive = q->recursive, .alt = q->alt,
		.account = q->ctx ? q->ctx->account : NULL,
		.listed = listed,
		.values = q->values,
	}, &b);
	snprintf(etag, sizeof(etag), "%016llx", (unsigned long long)
		 hash_bytes(&etag_key, buf_str(&b), b.len));
	if (!question_hold(q, etag)) {
		snprintf(fields, sizeof(fields), "ETag: %s\r\n", etag);
		reply_ok(q->x, json ? "application/json" : "application/text",
			 fields, buf_str(&b), b.len);
		question_free(q);
	}
	free(listed);
	buf_free(&b);
}

/* Waiting for what is not known yet. */

static void
on_account(void *userdata, _unused_ struct account *a, const struct err *failed)
{
	if (failed)
		question_fail(userdata, failed);
	else
		question_answer(userdata);
}

static void
question_tell(struct question *q, enum value which, const char *text)
{
	q->values[which] = text;
	q->told |= 1u << which;
}

/* Is the value part of the answer? */
static bool
question_needs(const struct question *q, enum value which)
{
	if (q->at.node == NODE_VALUE)
		return q->at.value == which;
	return q->at.node == NODE_DIR && q->recursive &&
		tree_holds_value(q->at.dir, which);
}

/* The first value that is needed and not known; VALUES: none is. */
static enum value
question_lacks(const struct question *q)
{
	unsigned i = 0;

	while (i < VALUES && ((q->told & 1u << i) || !question_needs(q, i)))
		i++;
	return i;
}

/* In a directory there may be no such value. */
static bool
question_spares(const struct question *q, const struct err *e)
{
	return q->at.node == NODE_DIR && e->kind == ERR_NOT_FOUND;
}

static void
on_value(void *userdata, const char *text, const struct err *failed)
{
	struct question *q = userdata;

	if (failed && !question_spares(q, failed))
		return question_fail(q, failed);
	question_tell(q, question_lacks(q), text);
	question_answer(q);
}

/* All values it needs: 1 they are there, 0 one is waited for, negative. */
static int
question_ask_values(struct question *q, struct err *e)
{
	const char *text = NULL;
	enum value which;
	int r;

	while ((which = question_lacks(q)) < VALUES) {
		r = values_get(q->api->ctx.values, which,
			       request_client(q->x)->stranger, on_value, q, &text,
			       &q->value_wait, e);
		if (r == 0 || (r < 0 && !question_spares(q, e)))
			return r;
		question_tell(q, which, r > 0 ? text : NULL);
	}
	return 1;
}

static bool
question_needs_account(const struct question *q)
{
	if (q->at.node == NODE_DIR)
		return q->recursive && tree_holds_accounts(q->at.dir);
	return q->at.node != NODE_VALUE;
}

/* What is no configured account may be default's email, once that is known. */
static int
question_wait(struct question *q, struct err *e)
{
	const struct flow_context *own = accounts_default(q->api->ctx.accounts);

	if (q->at.account)
		q->ctx = accounts_find(q->api->ctx.accounts, q->at.account);
	if (q->ctx && q->ctx != own)
		return 1;
	return account_when_found(own->account, &q->deadline, on_account, q,
				  &q->account_wait, e);
}

static void
question_answer(struct question *q)
{
	struct err e;
	int r;

	http_exchange_on_gone(q->x, on_gone, q);
	r = question_ask_values(q, &e);
	if (r > 0 && question_needs_account(q))
		r = question_wait(q, &e);
	if (r == 0)
		return;
	/* A listing without default is the answer where there is no account. */
	if (r < 0 && !(e.kind == ERR_NOT_FOUND && (q->at.node == NODE_ACCOUNTS ||
						   q->at.node == NODE_DIR)))
		return question_fail(q, &e);
	if (q->at.account &&
	    request_account(q->api, q->at.account, &q->ctx, &e) < 0) {
		reply_error(q->x, &e);
		return question_free(q);
	}
	question_send(q);
}

/* Reading. */

static int
read_alt(struct question *q, struct err *e)
{
	_cleanup_(freep) char *alt = NULL;
	int r;

	r = request_param(q->x, "alt", &alt, e);
	if (r <= 0)
		return r;
	if (strcasecmp(alt, "json") == 0)
		q->alt = METADATA_ALT_JSON;
	else if (strcasecmp(alt, "text") == 0)
		q->alt = METADATA_ALT_TEXT;
	else
		return err_set(e, ERR_REQUEST, "alt is json or text");
	return 0;
}

static int
read_hold(struct question *q, struct err *e)
{
	_cleanup_(freep) char *timeout = NULL;
	uint64_t seconds = UINT32_MAX;
	bool hold;
	int r;

	r = request_flag(q->x, "wait_for_change", &hold, e);
	if (r < 0 || !hold)
		return r;
	if (node_is_dir(q->at.node) && !q->recursive)
		return err_set(e, ERR_REQUEST, "wait_for_change on a directory "
			       "needs recursive=true");
	r = request_param(q->x, "timeout_sec", &timeout, e);
	if (r > 0 && !text_to_u64(timeout, strlen(timeout), UINT32_MAX, &seconds))
		return err_set(e, ERR_REQUEST, "timeout_sec takes whole seconds");
	if (r >= 0)
		r = request_param(q->x, "last_etag", &q->last_etag, e);
	q->hold_usec = MIN(seconds * USEC_PER_SEC, q->api->opt.change_max_usec);
	return r;
}

static int
question_read(struct question *q, struct err *e)
{
	bool dir = node_is_dir(q->at.node);
	int r;

	r = request_deadline(q->api, q->x, &q->deadline, e);
	if (r >= 0)
		r = request_flag(q->x, "recursive", &q->recursive, e);
	if (r >= 0)
		r = read_alt(q, e);
	if (r >= 0)
		r = read_hold(q, e);
	if (r < 0)
		return r;

	if (dir && !q->recursive && q->alt != METADATA_ALT_NONE)
		return err_set(e, ERR_REQUEST,
			       "alt on a directory needs recursive=true");
	return 0;
}

static void
redirect_to_dir(struct http_exchange *x)
{
	const struct http_head *h = http_exchange_head(x);
	struct http_span host = h->field[HTTP_FIELD_HOST];
	_cleanup_(freep) char *fields = NULL, *body = NULL;

	body = xasprintf("%.*s/\n", (int)h->path.len, h->path.p);
	/* HTTP/1.0 knows clients that do not say whom they mean to ask. */
	fields = xasprintf("Location: %s%.*s%.*s/%s%.*s\r\n",
			   host.len > 0 ? "http://" : "", (int)host.len,
			   host.p ?: "", (int)h->path.len, h->path.p,
			   h->query.p ? "?" : "", (int)h->query.len,
			   h->query.p ?: "");
	reply_counted(x, API_CODE_OK, &(struct http_reply){
		.status = 301,
		.content_type = "text/html",
		.fields = fields,
		.body = body,
		.body_len = strlen(body),
	});
}

void
metadata_get(struct api *a, struct http_exchange *x)
{
	struct http_span raw = http_exchange_head(x)->path;
	char shown[TEXT_SHOW_SIZE] _unset_;
	struct question *q;
	struct place at = { 0 };
	struct err e _unset_;

	switch (tree_find(raw, &at)) {
	case TREE_SLASHLESS:
		return redirect_to_dir(x);
	case TREE_NOTHING:
		err_set(&e, ERR_NOT_FOUND, "no such path: %s",
			text_show(shown, raw.p, raw.len));
		return reply_error(x, &e);
	default:
		break;
	}

	q = xcalloc(1, sizeof(*q));
	q->api = a;
	q->x = x;
	q->at = at;
	if (q->at.node == NODE_IDENTITY) {
		metadata_identity(a, x, q->at.account);
		question_free(q);
	} else if (q->at.node == NODE_TOKEN) {
		metadata_token(a, x, q->at.account);
		question_free(q);
	} else if (question_read(q, &e) < 0) {
		reply_error(x, &e);
		question_free(q);
	} else {
		question_answer(q);
	}
}

/* What every SDK asks first: is there a metadata server? */
void
metadata_root(_unused_ struct api *a, struct http_exchange *x)
{
	static const char body[] = "computeMetadata/\n";

	reply_ok(x, "application/text", NULL, body, strlen(body));
}
