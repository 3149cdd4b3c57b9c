/* SPDX-License-Identifier: Apache-2.0 */

/* One try of a request: libcurl's easy interface, what it is told and how it ends.
   want_x() is what libcurl asks of us.  Tries, pauses and deadlines are
   http/call.c's business. */

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "http/transfer.h"

#ifndef HAVE_DECL_CURLOPT_CA_CACHE_TIMEOUT
#define HAVE_DECL_CURLOPT_CA_CACHE_TIMEOUT (LIBCURL_VERSION_NUM >= 0x075700)
#endif
#ifndef HAVE_DECL_CURLOPT_PROTOCOLS_STR
#define HAVE_DECL_CURLOPT_PROTOCOLS_STR (LIBCURL_VERSION_NUM >= 0x075500)
#endif

#define HEAD_MAX	(16 * 1024)	/* bytes, 1xx answers included */
#define CA_CACHE_SEC	(24 * 60 * 60L)	/* parsing the bundle takes 20 ms */

struct transfer {
	struct http_client *client;
	const struct http_request *q;
	struct transfer_end *end;
	transfer_done_fn *done;
	void *userdata;

	CURL *easy;
	struct curl_slist fields[HTTP_REQUEST_FIELDS_MAX + 2];
	char words[CURL_ERROR_SIZE];	/* libcurl's */
	bool running;
	size_t head_len;
	bool head_done;
};

/* Nothing leads there, or nothing comes back.  Refusing is an answer, and what a
   rule forbids is not to be had by another way. */
static bool
is_unreachable(const struct transfer *t, CURLcode rc, long errnum)
{
	if (rc == CURLE_OPERATION_TIMEDOUT)
		return !transfer_reached(t);
	if (rc != CURLE_COULDNT_CONNECT)
		return false;
	switch (errnum) {
	case ENETDOWN:
	case ENETUNREACH:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case ETIMEDOUT:
	case EADDRNOTAVAIL:
	case EAFNOSUPPORT:
		return true;
	default:
		return false;
	}
}

/* Of libcurl's own words only those on TLS are taken over: others may quote what
   came in.  They are those of its first connection; where the server had just
   closed that one, only another try tells an expired certificate from others. */
static void
transfer_failed(struct transfer *t, CURLcode rc)
{
	struct transfer_end *end = t->end;
	const char *words = curl_easy_strerror(rc), *detail = "";
	char shown[TEXT_SHOW_SIZE];
	long errnum = 0;

	end->for_good = true;
	switch (rc) {
	case CURLE_WRITE_ERROR:		/* want_write() or want_header() said so */
	case CURLE_FILESIZE_EXCEEDED:
		words = "the answer is too large";
		break;
	case CURLE_UNSUPPORTED_PROTOCOL:
		words = "what answers does not speak HTTP/1.1";
		break;
	case CURLE_SSL_CACERT_BADFILE:
		words = "ca-file cannot be read";
		break;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CONNECT_ERROR:
		words = "no trusted TLS connection";
		detail = text_show_str(shown, t->words);
		end->for_good = rc == CURLE_PEER_FAILED_VERIFICATION &&
			!strstr(t->words, "Connection reset") &&
			!strstr(t->words, "Broken pipe");
		break;
	default:
		end->for_good = false;
		curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &errnum);
		if (errnum > 0)
			detail = strerror((int)errnum);
		end->unreachable = is_unreachable(t, rc, errnum);
	}
	snprintf(end->failed, sizeof(end->failed), "%s%s%s", words,
		 detail[0] ? ": " : "", detail);
}

void
transfer_ended(struct transfer *t, int curl_code)
{
	CURLcode rc = curl_code;
	long status = 0;

	/* For libcurl a head may end with the connection. */
	if (rc == CURLE_OK && !t->head_done)
		rc = CURLE_PARTIAL_FILE;
	if (rc == CURLE_OK)
		curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	else
		transfer_failed(t, rc);
	t->end->re.status = (unsigned)status;
	transfer_stop(t);
	t->done(t->userdata);
}

static size_t
want_write(char *p, size_t size, size_t n, void *userdata)
{
	struct transfer *t = userdata;

	return buf_add(&t->end->body, p, size * n) < 0 ? 0 : size * n;
}

/* One line of a head, of an interim head before it, or of a trailer. */
static size_t
want_header(char *line, size_t size, size_t n, void *userdata)
{
	struct transfer *t = userdata;
	size_t len = size * n;

	t->head_len += len;
	if (t->head_len > HEAD_MAX)
		return 0;

	if (len >= 5 && memcmp(line, "HTTP/", 5) == 0) {
		t->end->re = HTTP_RESPONSE_INIT;
		t->end->re.tls = strncmp(t->q->url, "https:", 6) == 0;
		t->head_done = false;
	} else if (len == 0 || line[0] == '\r' || line[0] == '\n') {
		t->head_done = true;
	} else if (!t->head_done) {
		http_response_line(&t->end->re, line, len);
	}
	return len;
}

/* --- setting up ------------------------------------------------------------- */

#define SET(option, value) \
	do { \
		if (rc == CURLE_OK) \
			rc = curl_easy_setopt(easy, option, value); \
	} while (0)

static CURLcode
set_schemes(CURL *easy, bool http, bool https)
{
#if HAVE_DECL_CURLOPT_PROTOCOLS_STR
	return curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR,
				!https ? "http" : !http ? "https" : "http,https");
#else
	return curl_easy_setopt(easy, CURLOPT_PROTOCOLS,
				(http ? (long)CURLPROTO_HTTP : 0L) |
				(https ? (long)CURLPROTO_HTTPS : 0L));
#endif
}

/* Where it may go, and whom to believe there. */
static CURLcode
set_route(CURL *easy, const struct http_client_options *o, enum http_lane lane)
{
	bool google = lane == HTTP_LANE_GOOGLE, proxy = google && o->proxy;
	CURLcode rc = set_schemes(easy, o->plain_http || !google,
				  o->plain_http || google);

	/* Where nothing is set, libcurl asks the environment. */
	if (proxy || !google || !o->proxy_environment) {
		SET(CURLOPT_PROXY, proxy ? o->proxy : "");
		SET(CURLOPT_NOPROXY, proxy ? "" : "*");
	}
	SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);	/* the proxy's */
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);

	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	/* A directory of certificates defeats libcurl's cache of them. */
	SET(CURLOPT_CAPATH, NULL);
	if (o->ca_file)
		SET(CURLOPT_CAINFO, o->ca_file);
#if HAVE_DECL_CURLOPT_CA_CACHE_TIMEOUT
	SET(CURLOPT_CA_CACHE_TIMEOUT, CA_CACHE_SEC);
#endif
	return rc;
}

/* The list that libcurl reads is made of our strings: no copy to wipe. */
static void
add_field(struct transfer *t, size_t i, const char *field)
{
	assert(i < ARRAY_SIZE(t->fields));
	t->fields[i] = (struct curl_slist){ .data = (char *)field };
	if (i > 0)
		t->fields[i - 1].next = &t->fields[i];
}

static CURLcode
set_request(CURL *easy, struct transfer *t)
{
	const struct http_request *q = t->q;
	bool post = strcmp(q->method, "POST") == 0, accept = false;
	CURLcode rc = CURLE_OK;
	size_t n = 0;

	assert(post || strcmp(q->method, "GET") == 0);

	for (; n < q->n_fields; n++) {
		add_field(t, n, q->fields[n]);
		accept |= strncasecmp(q->fields[n], "Accept:", 7) == 0;
	}
	/* A name without a value takes away what libcurl adds by itself. */
	add_field(t, n++, "Expect:");
	if (!accept)
		add_field(t, n, "Accept:");
	SET(CURLOPT_HTTPHEADER, t->fields);
	SET(CURLOPT_URL, q->url);
	if (post) {
		SET(CURLOPT_POST, 1L);
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body_len);
		SET(CURLOPT_POSTFIELDS, q->body ? q->body : "");
	}
	return rc;
}

static CURLcode
set_all(CURL *easy, struct transfer *t)
{
	const struct http_client_options *o = &t->client->opt;
	uint64_t ms = o->lane[t->q->lane].connect_usec / USEC_PER_MSEC;
	CURLcode rc = set_route(easy, o, t->q->lane);

	if (rc == CURLE_OK)
		rc = set_request(easy, t);
	SET(CURLOPT_CONNECTTIMEOUT_MS, ms < 1 ? 1L : (long)ms);
	SET(CURLOPT_PRIVATE, t);
	SET(CURLOPT_ERRORBUFFER, t->words);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_HTTP09_ALLOWED, 0L);
	SET(CURLOPT_USERAGENT, o->user_agent);
	SET(CURLOPT_HEADERFUNCTION, want_header);
	SET(CURLOPT_HEADERDATA, t);
	SET(CURLOPT_WRITEFUNCTION, want_write);
	SET(CURLOPT_WRITEDATA, t);
	SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)o->max_body);
	return rc;
}

/* --- transfers -------------------------------------------------------------- */

int
transfer_new(struct http_client *c, const struct http_request *q,
	     struct transfer_end *end, transfer_done_fn *done,
	     void *userdata, struct transfer **ret, struct err *e)
{
	struct transfer *t;
	CURLcode rc = CURLE_OUT_OF_MEMORY;
	int r = client_open(c, e);

	if (r < 0)
		return r;

	t = xcalloc(1, sizeof(*t));
	t->client = c;
	t->q = q;
	t->end = end;
	t->done = done;
	t->userdata = userdata;
	c->n_transfers++;

	t->easy = curl_easy_init();
	if (t->easy)
		rc = set_all(t->easy, t);
	if (rc != CURLE_OK) {
		transfer_free(t);
		return err_set(e, ERR_INTERNAL, "cannot set up libcurl: %s",
			       curl_easy_strerror(rc));
	}
	*ret = t;
	return 0;
}

struct transfer *
transfer_free(struct transfer *t)
{
	if (!t)
		return NULL;

	transfer_stop(t);
	curl_easy_cleanup(t->easy);
	t->client->n_transfers--;
	free(t);
	return NULL;
}

int
transfer_run(struct transfer *t, struct err *e)
{
	CURLMcode rc;

	t->end->re = HTTP_RESPONSE_INIT;
	t->end->failed[0] = '\0';
	t->end->for_good = false;
	t->end->unreachable = false;
	buf_reset(&t->end->body);
	t->head_len = 0;
	t->head_done = false;
	t->words[0] = '\0';

	rc = curl_multi_add_handle(t->client->multi, t->easy);
	if (rc != CURLM_OK)
		return err_set(e, ERR_INTERNAL, "%s", curl_multi_strerror(rc));
	t->running = true;
	t->client->sent++;
	return 0;
}

void
transfer_stop(struct transfer *t)
{
	if (t->running)
		curl_multi_remove_handle(t->client->multi, t->easy);
	t->running = false;
}

bool
transfer_reached(const struct transfer *t)
{
	long sent = 0;

	curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &sent);
	return sent > 0 || t->head_len > 0;
}

const char *
transfer_stage(const struct transfer *t)
{
	if (t->head_len > 0)
		return "the rest of its answer";
	return transfer_reached(t) ? "its answer" : "a connection";
}
