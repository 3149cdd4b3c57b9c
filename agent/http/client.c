/* SPDX-License-Identifier: Apache-2.0 */

/* libcurl's multi interface on sd-event: one half of the door to libcurl, of which
   http/transfer.c is the other.  want_x() is what libcurl asks of us, on_x() is
   what happened. */

#include <assert.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "http/transfer.h"

#define HOSTS		3L		/* metadata, IAM, token endpoint */

/* Report everything that has ended.  A callback may start and free calls, so
   libcurl is asked afresh each turn; it may even free the client, which then
   waits for the end of this. */
static void
client_drain(struct http_client *c)
{
	struct transfer *t;
	CURLMsg *msg;
	CURLcode rc;
	int left;

	c->busy = true;
	while ((msg = curl_multi_info_read(c->multi, &left))) {
		if (msg->msg != CURLMSG_DONE)
			continue;
		rc = msg->data.result;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &t);
		transfer_ended(t, rc);
	}
	client_rest(c);
}

static int
on_socket(sd_event_source *s _unused_, int fd, uint32_t revents, void *userdata)
{
	struct http_client *c = userdata;
	int what = (revents & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
		   (revents & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
		   (revents & EPOLLERR ? CURL_CSELECT_ERR : 0);
	int running;

	curl_multi_socket_action(c->multi, fd, what, &running);
	client_drain(c);
	return 0;
}

static int
on_time(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata)
{
	struct http_client *c = userdata;
	int running;

	curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	client_drain(c);
	return 0;
}

/* A source that cannot be had costs this transfer its time; an error returned
   from here would end all of them. */
static int
want_socket(CURL *easy _unused_, curl_socket_t fd, int what, void *userdata,
	    void *socketp)
{
	struct http_client *c = userdata;
	sd_event_source *s = socketp;
	uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0) |
			  (what & CURL_POLL_OUT ? EPOLLOUT : 0);

	if (what == CURL_POLL_REMOVE)
		sd_event_source_disable_unref(s);
	else if (s)
		sd_event_source_set_io_events(s, events);
	else if (sd_event_add_io(c->event, &s, fd, events, on_socket, c) >= 0)
		curl_multi_assign(c->multi, fd, s);
	return 0;
}

static int
want_timer(CURLM *multi _unused_, long ms, void *userdata)
{
	struct http_client *c = userdata;

	if (ms >= 0)
		sd_event_source_set_time_relative(c->timer,
						  (uint64_t)ms * USEC_PER_MSEC);
	sd_event_source_set_enabled(c->timer,
				    ms < 0 ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
	return 0;
}

int
client_open(struct http_client *c, struct err *e)
{
	if (c->multi)
		return 0;

	/* libcurl would write the keys of TLS sessions where this says. */
	unsetenv("SSLKEYLOGFILE");
	if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK) {
		c->multi = curl_multi_init();
		if (!c->multi)
			curl_global_cleanup();
	}
	if (!c->multi)
		return err_set(e, ERR_INTERNAL, "cannot initialise libcurl");

	curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, want_timer);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
	curl_multi_setopt(c->multi, CURLMOPT_MAX_HOST_CONNECTIONS,
			  (long)c->opt.host_connections);
	curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS,
			  (long)c->opt.host_connections * HOSTS);
	return 0;
}

int
http_client_new(sd_event *event, const struct http_client_options *o,
		struct http_client **ret, struct err *e)
{
	_cleanup_(http_client_freep) struct http_client *c = NULL;
	int r;

	assert(o->max_body > 0 && o->host_connections > 0);
	assert(!o->first == !o->second);

	c = xcalloc(1, sizeof(*c));
	c->event = sd_event_ref(event);
	c->opt = *o;
	c->opt.user_agent = o->user_agent ? xstrdup(o->user_agent) : NULL;
	c->opt.first = o->first ? xstrdup(o->first) : NULL;
	c->opt.second = o->second ? xstrdup(o->second) : NULL;
	c->opt.ca_file = o->ca_file ? xstrdup(o->ca_file) : NULL;
	c->opt.proxy = o->proxy ? xstrdup(o->proxy) : NULL;
	c->budget = budget_new(&o->budget);
	TAILQ_INIT(&c->tries);
	TAILQ_INIT(&c->turns);
	c->turn_at = UINT64_MAX;

	r = sd_event_add_time(event, &c->timer, CLOCK_MONOTONIC, UINT64_MAX, 1,
			      on_time, c);
	if (r >= 0)
		r = sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
	if (r < 0)
		return err_sys(e, -r, "cannot make a timer");

	*ret = TAKE_PTR(c);
	return 0;
}

struct http_client *
http_client_free(struct http_client *c)
{
	if (!c)
		return NULL;

	assert(c->n_transfers == 0);
	if (c->busy) {
		c->doomed = true;
		return NULL;
	}
	/* Before the timer and the event loop: it calls for them once more. */
	if (c->multi) {
		curl_multi_cleanup(c->multi);
		curl_global_cleanup();
	}
	sd_event_source_disable_unref(c->timer);
	sd_event_source_disable_unref(c->turn);
	sd_event_unref(c->event);
	budget_free(c->budget);
	free((char *)c->opt.user_agent);
	free((char *)c->opt.first);
	free((char *)c->opt.second);
	free((char *)c->opt.ca_file);
	secret_free((char *)c->opt.proxy);
	free(c);
	return NULL;
}
