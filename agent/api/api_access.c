/* SPDX-License-Identifier: Apache-2.0 */

/* Tokens by the metadata server's paths: .../service-accounts/A/identity, and
   access tokens, .../token. */

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "api/requests.h"
#include "base/json.h"
#include "base/text.h"
#include "google/endpoints.h"

#define SCOPES_LEN_MAX	4096		/* bytes, decoded */
#define SCOPE_LEN_MAX	512
#define ANSWER_MAX	(64 * 1024)	/* a token has at most 16 KiB */

/* Nothing that would mean something in JSON. */
static bool
is_scope(const char *s)
{
	return text_is_graph(s, SCOPE_LEN_MAX) && !strpbrk(s, "\"\\");
}

static int
compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Into words, apart by commas or blanks; in order, each once. */
static int
scopes_split(struct scopes *s, struct err *e)
{
	char shown[TEXT_SHOW_SIZE], *rest = s->text, *word;
	size_t n = 0, kept = 0;

	while ((word = strsep(&rest, ", "))) {
		if (!*word)
			continue;
		if (!is_scope(word))
			return err_set(e, ERR_REQUEST, "%s is no scope",
				       text_show_str(shown, word));
		if (n == FETCH_SCOPES_MAX)
			return err_set(e, ERR_REQUEST, "more than %d scopes",
				       FETCH_SCOPES_MAX);
		s->v[n++] = word;
	}
	qsort(s->v, n, sizeof(*s->v), compare);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || strcmp(s->v[i], s->v[kept - 1]) != 0)
			s->v[kept++] = s->v[i];
	s->v[kept] = NULL;
	return 0;
}

static char *
scopes_join(const struct scopes *s)
{
	struct buf b = BUF_INIT(SCOPES_LEN_MAX + FETCH_SCOPES_MAX);

	for (size_t i = 0; s->v[i]; i++)
		buf_addf(&b, "%s%s", i ? " " : "", s->v[i]);
	return buf_steal(&b);
}

struct scopes *
scopes_free(struct scopes *s)
{
	if (!s)
		return NULL;
	free(s->text);
	free(s->key);
	free(s);
	return NULL;
}

int
request_scopes(const struct http_exchange *x, struct scopes **ret, struct err *e)
{
	_cleanup_(scopes_freep) struct scopes *s = xcalloc(1, sizeof(*s));
	struct buf b = BUF_INIT(SCOPES_LEN_MAX);
	int r = http_query_get(http_exchange_head(x)->query, "scopes", &b, e);

	if (r < 0 && b.overflow)
		err_set(e, ERR_REQUEST, "the scopes are longer than %d bytes",
			SCOPES_LEN_MAX);
	if (r > 0 && memchr(buf_str(&b), 0, b.len))
		r = err_set(e, ERR_REQUEST, "scopes holds a NUL byte");
	s->text = buf_steal(&b);
	if (r >= 0)
		r = scopes_split(s, e);
	if (r < 0)
		return r;
	if (!s->v[0]) {
		free(s->text);
		s->v[0] = s->text = xstrdup(SCOPE_CLOUD_PLATFORM);
	}
	s->key = scopes_join(s);
	*ret = TAKE_PTR(s);
	return 0;
}

/* Never 0 seconds: clients take that for no token. */
void
reply_access(struct http_exchange *x, const struct token_question *q,
	     const struct token *t, const char *fields, uint64_t left)
{
	_cleanup_(buf_free) struct buf b = BUF_INIT(ANSWER_MAX);
	const char *text = token_reveal(t, NULL);
	uint64_t seconds = MAX(left, UINT64_C(1));

	if (q->as_text) {
		buf_addf(&b, "access_token %s\nexpires_in %" PRIu64
			 "\ntoken_type Bearer\n", text, seconds);
	} else {
		buf_adds(&b, "{\"access_token\":");
		json_write_string(&b, text);
		buf_addf(&b, ",\"expires_in\":%" PRIu64
			 ",\"token_type\":\"Bearer\"}", seconds);
	}
	reply_ok(x, q->content_type, fields, buf_str(&b), b.len);
}

void
metadata_token(struct api *a, struct http_exchange *x, const char *account)
{
	_cleanup_(scopes_freep) struct scopes *scopes = NULL;
	_cleanup_(freep) char *alt = NULL;
	bool as_text = false;
	struct err e;
	int r;

	r = request_scopes(x, &scopes, &e);
	if (r >= 0)
		r = request_param(x, "alt", &alt, &e);
	if (r > 0) {
		as_text = strcasecmp(alt, "text") == 0;
		if (!as_text && strcasecmp(alt, "json") != 0)
			r = err_set(&e, ERR_REQUEST, "alt is json or text");
	}
	if (r < 0)
		return reply_error(x, &e);
	reply_token(a, x, (struct token_question){
		.kind = POLICY_ACCESS,
		.audience = "",
		.scopes = TAKE_PTR(scopes),
		.as_text = as_text,
		.account = account,
		.content_type = as_text ? "application/text" : "application/json",
		.metadata_face = true,
	});
}

void
metadata_identity(struct api *a, struct http_exchange *x, const char *account)
{
	_cleanup_(freep) char *format = NULL;
	const char *audience = NULL;
	bool full, licenses;
	struct err e _unset_;
	int r;

	r = request_param(x, "format", &format, &e);
	full = format && strcmp(format, "full") == 0;
	if (r > 0 && !full && strcmp(format, "standard") != 0)
		r = err_set(&e, ERR_REQUEST, "format is standard or full");
	if (r >= 0)
		r = request_flag(x, "licenses", &licenses, &e);
	if (r >= 0)
		audience = request_audience(a, x, &e);
	if (!audience)
		return reply_error(x, &e);
	reply_token(a, x, (struct token_question){
		.audience = audience,
		.account = account,
		.content_type = "text/html",
		.format = full ? TOKEN_FULL : TOKEN_STANDARD,
		.licenses = licenses,
		.metadata_face = true,
	});
}
