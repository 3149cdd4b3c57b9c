/* SPDX-License-Identifier: Apache-2.0 */

/* The request grammar against another one: llhttp, which is Node's (Debian:
   node-llhttp).  Built only where its sources are found.

   What we accept, llhttp reads to the same end, with the same method, target,
   version, length of body and values; what it accepts and we refuse is in the
   table below with a reason; and where it sees the end of a head, so do we.
   Each difference that is meant is listed where it is let pass. */

/* Names that both have. */
#define HTTP_GET	LLHTTP_GET
#define HTTP_HEAD	LLHTTP_HEAD
#define HTTP_POST	LLHTTP_POST
#include <llhttp.h>
#undef HTTP_GET
#undef HTTP_HEAD
#undef HTTP_POST

#include "fuzz-words.h"
#include "http/parse.h"

#define FIELDS_MAX	256

struct field {
	struct input name, value;
};

/* What llhttp made of it. */
struct other {
	llhttp_t parser;
	struct input method, url;
	struct field fields[FIELDS_MAX];
	unsigned n;
	bool begun, whole, in_value;
	size_t end;		/* of the head */
	llhttp_errno_t error;
};

/* Its callbacks may come several times for one span. */
static void
extend(struct input *s, const char *at, size_t len)
{
	if (!s->p)
		s->p = at;
	CHECK(s->p + s->len == at || len == 0);
	s->len += len;
}

static struct other *
other_of(llhttp_t *parser)
{
	return (struct other *)parser->data;
}

static int
on_begin(llhttp_t *parser)
{
	other_of(parser)->begun = true;
	return 0;
}

static int
on_url(llhttp_t *parser, const char *at, size_t len)
{
	extend(&other_of(parser)->url, at, len);
	return 0;
}

static int
on_name(llhttp_t *parser, const char *at, size_t len)
{
	struct other *o = other_of(parser);

	if (o->n == 0 || o->in_value)
		o->n++;
	o->in_value = false;
	if (o->n <= FIELDS_MAX)
		extend(&o->fields[o->n - 1].name, at, len);
	return 0;
}

/* Folded lines make it come in parts that do not touch; we refuse those. */
static int
on_value(llhttp_t *parser, const char *at, size_t len)
{
	struct other *o = other_of(parser);
	struct input *v;

	o->in_value = true;
	if (o->n == 0 || o->n > FIELDS_MAX)
		return 0;
	v = &o->fields[o->n - 1].value;
	if (v->p && v->p + v->len != at)
		return 0;
	extend(v, at, len);
	return 0;
}

static int
on_whole(llhttp_t *parser)
{
	other_of(parser)->whole = true;
	return HPE_PAUSED;
}

static void
other_parse(struct other *o, const char *p, size_t len)
{
	llhttp_settings_t settings;
	const char *stop;

	llhttp_settings_init(&settings);
	settings.on_message_begin = on_begin;
	settings.on_url = on_url;
	settings.on_header_field = on_name;
	settings.on_header_value = on_value;
	settings.on_headers_complete = on_whole;
	memset(o, 0, sizeof(*o));
	llhttp_init(&o->parser, HTTP_REQUEST, &settings);
	o->parser.data = o;
	o->error = llhttp_execute(&o->parser, p, len);
	stop = llhttp_get_error_pos(&o->parser);
	if (o->whole && stop)
		o->end = (size_t)(stop - p);
}

/* --- differences that are meant ------------------------------------------- */

/* What we refuse and llhttp takes: the first words of the refusal. */
static const struct {
	const char *words, *why;
} stricter[] = {
	{ "this is not the beginning",
	  "llhttp skips empty lines in front of a request" },
	{ "the request line does not begin",
	  "llhttp skips empty lines in front of a request" },
	{ "a line does not end in CR LF",
	  "llhttp takes a bare LF (RFC 9112 2.2 allows, does not ask for it)" },
	{ "the request line is not \"METHOD TARGET HTTP/1.1\"",
	  "llhttp takes several blanks, HTTP/0.9 and other protocols' names" },
	{ "the request target is empty",
	  "llhttp takes control characters, #fragments and bytes over 0x7f" },
	{ "the request target does not begin",
	  "absolute, authority and asterisk form: no proxy, nothing to connect" },
	{ "only HTTP/1.1 and HTTP/1.0",
	  "llhttp takes 0.9 and 2.0" },
	{ "a header line is not \"Name: value\"",
	  "continued lines, and blanks inside names" },
	{ "a header line holds a control character",
	  "llhttp takes what it does not look at" },
	{ "Transfer-Encoding is not supported",
	  "no chunked bodies: 501" },
	{ "Expect is not supported", "no 100 Continue" },
	{ "header ", "repeated or missing; llhttp looks only at lengths" },
	{ "a POST needs Content-Length", "411, llhttp reads on as if it was 0" },
	{ "Content-Length is not a number", "llhttp takes blanks behind digits" },
	{ "only a POST may have a body", "a GET with a body smuggles" },
	{ "the body is longer", "64 KiB" },
	{ "the request line is longer", "8 KiB" },
	{ "the head is longer", "16 KiB" },
	{ "there are more than", "64 fields" },
};

static bool
is_stricter(const struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(stricter); i++)
		if (strncmp(e->msg, stricter[i].words,
			    strlen(stricter[i].words)) == 0)
			return true;
	return false;
}

/* What we take and llhttp refuses.  Methods, which it has a list of: we take any
   token and answer 405 or 501.  A tab behind Content-Length's digits, where it
   takes blanks: to RFC 9110 (5.6.3) both are space around a value. */
static void
check_laxer(const struct other *o, const struct http_head *h)
{
	const char *at = llhttp_get_error_pos(&o->parser);

	if (h->method == HTTP_OTHER)
		return;
	if (o->error == HPE_INVALID_CONTENT_LENGTH && at && *at == '\t')
		return;
	fprintf(stderr, "llhttp: %s: %s\n", llhttp_errno_name(o->error),
		llhttp_get_error_reason(&o->parser));
	CHECK(false);
}

/* llhttp takes a CR for the end of a line whatever stands behind it
   (CVE-2023-30589).  We judge a line when it is whole, and refuse it then. */
static bool
has_bare_cr(const char *p, size_t len)
{
	for (size_t i = 0; i + 1 < len; i++)
		if (p[i] == '\r' && p[i + 1] != '\n')
			return true;
	return false;
}

/* --- comparing ------------------------------------------------------------ */

static bool
is_same(struct http_span a, struct input b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

/* llhttp leaves blanks behind a value. */
static struct input
trimmed(struct input v)
{
	while (v.len > 0 && (v.p[v.len - 1] == ' ' || v.p[v.len - 1] == '\t'))
		v.len--;
	return v;
}

static void
check_fields(const struct http_head *h, const struct other *o)
{
	static const char *const names[HTTP_FIELDS] = {
		[HTTP_FIELD_HOST] = "host",
		[HTTP_FIELD_METADATA_FLAVOR] = "metadata-flavor",
		[HTTP_FIELD_CONNECTION] = "connection",
		[HTTP_FIELD_CONTENT_LENGTH] = "content-length",
		[HTTP_FIELD_CONTENT_TYPE] = "content-type",
		[HTTP_FIELD_CACHE_CONTROL] = "cache-control",
		[HTTP_FIELD_PREFER] = "prefer",
		[HTTP_FIELD_ACCEPT] = "accept",
		[HTTP_FIELD_FORWARDED] = "x-forwarded-for",
	};

	for (int f = 0; f < HTTP_FIELDS; f++) {
		const struct field *found = NULL;

		for (unsigned i = 0; names[f] && !found && i < o->n; i++)
			if (o->fields[i].name.len == strlen(names[f]) &&
			    strncasecmp(o->fields[i].name.p, names[f],
					strlen(names[f])) == 0)
				found = &o->fields[i];
		if (!names[f])
			continue;
		CHECK(!found == !h->field[f].p);
		CHECK(!found || is_same(h->field[f], trimmed(found->value)));
	}
}

static void
check_both_accept(const struct http_head *h, ssize_t end, const struct other *o)
{
	const char *method = llhttp_method_name((llhttp_method_t)o->parser.method);
	struct http_span target = h->path;

	if (h->query.p)
		target.len += 1 + h->query.len;
	CHECK(o->end == (size_t)end);
	CHECK(http_span_is(h->method_name, method));
	CHECK(is_same(target, o->url));
	CHECK(o->parser.http_major == 1 && o->parser.http_minor == h->minor);
	CHECK(o->parser.content_length == h->body_len);
	CHECK(o->n <= HTTP_MAX_FIELDS);
	check_fields(h, o);
	/* RFC 9112 lets a server close whenever it likes: we do after 1.0. */
	CHECK(!h->keep_alive || llhttp_should_keep_alive(&o->parser));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data;
	struct http_head head;
	struct other o;
	size_t scanned = 0;
	struct err e;
	ssize_t r;

	other_parse(&o, p, size);
	r = http_parse(p, size, &scanned, &head, &e);

	if (r > 0 && o.whole)
		check_both_accept(&head, r, &o);
	else if (r > 0)
		check_laxer(&o, &head);
	else if (r < 0 && o.whole)
		CHECK(is_stricter(&e));
	else if (r == 0)
		CHECK(!o.whole || has_bare_cr(p, size));
	return 0;
}
