/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "agent_parts.h"
#include "config_credentials.h"
#include "base/log.h"
#include "lockdown.h"
#include "service.h"

#define KEPT_FDS	64	/* not for clients but root */

/* Whether tokens can be had: a line in the status where it has changed. */

static char *
health_text(const struct agent *agent)
{
	const struct account *own;
	const char *email;
	struct err e;
	int r;

	if (agent->broken)
		return xstrdup(agent->broken->msg);
	own = accounts_default(agent->up.accounts)->account;
	email = account_email(own);
	r = broker_health(agent->up.broker, &e);
	if (r > 0)
		return xasprintf("serving %s", email);
	if (r == 0)
		return xasprintf("serving %s from the cache only: %s", email,
				 e.msg);
	if (account_state(own) == ACCOUNT_SOUGHT)
		return xstrdup("looking for the service account");
	if (account_state(own) == ACCOUNT_NONE)
		return xstrdup("this VM has no service account");
	return xasprintf("no token can be had: %s", e.msg);
}

static char *
status_text(const struct agent *agent)
{
	_cleanup_(freep) char *text = health_text(agent);

	if (agent->broken || !agent->config->permissive)
		return TAKE_PTR(text);
	return xasprintf("PERMISSIVE, rules are not enforced: %s", text);
}

void
agent_say_status(struct agent *agent)
{
	_cleanup_(freep) char *text = NULL;

	if (!agent->up.broker && !agent->broken)	/* still being made */
		return;
	text = status_text(agent);
	if (agent->status && strcmp(agent->status, text) == 0)
		return;
	service_status("%s", text);
	free(agent->status);
	agent->status = TAKE_PTR(text);
}

static void
on_health(void *userdata)
{
	agent_say_status(userdata);
}

static int
on_admit_flight(void *userdata, uint64_t owner, struct err *e)
{
	struct agent *agent = userdata;

	return agent->api ? api_admit_flight(agent->api, owner, e) : 0;
}

/* The end. */

static void
on_drained(void *userdata)
{
	struct agent *agent = userdata;

	sd_event_exit(agent->event, 0);
}

static int
on_drain_deadline(_unused_ sd_event_source *s, _unused_ uint64_t usec,
		  void *userdata)
{
	struct agent *agent = userdata;

	log_warning(LOG_NO_FIELDS, "stopping with requests unanswered");
	return sd_event_exit(agent->event, 0);
}

static int
on_stop(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
	struct agent *agent = userdata;

	/* Told twice; or in the middle of --fetch, which then has failed. */
	if (agent->drain || !agent->server)
		return sd_event_exit(sd_event_source_get_event(s), !agent->server);

	log_info(LOG_NO_FIELDS, "stopping on signal %u", si->ssi_signo);
	service_stopping();
	if (sd_event_add_time_relative(agent->event, &agent->drain, CLOCK_BOOTTIME,
				       agent->config->drain_usec, 0,
				       on_drain_deadline, agent) < 0)
		return sd_event_exit(agent->event, 0);
	http_server_drain(agent->server, on_drained, agent);
	api_stop(agent->api);
	return 0;
}

/* Birth and death. */

void
agent_upstream_clear(struct agent_upstream *up)
{
	broker_free(up->broker);
	accounts_free(up->accounts);
	account_free(up->source);
	keyring_free(up->keyring);
	clock_free(up->clock);
	values_free(up->values);
	http_client_free(up->http);
	memset(up, 0, sizeof(*up));
}

struct agent *
agent_free(struct agent *agent)
{
	if (!agent)
		return NULL;

	/* The server tells those who wait that their clients are gone, and so
	   frees what they hold of everything below. */
	http_server_free(agent->server);
	api_free(agent->api);
	agent_free_retired(agent);
	agent_upstream_clear(&agent->up);
	peer_host_free(agent->host);
	http_listen_clear(&agent->own);
	sd_event_source_unref(agent->detect);
	sd_event_source_unref(agent->drain);
	sd_event_source_unref(agent->lockdown);
	sd_event_unref(agent->event);
	config_free(agent->config);
	for (size_t i = 0; i < agent->n_tcp; i++)
		free(agent->tcp[i]);
	free(agent->tcp);
	free(agent->broken);
	free(agent->status);
	free(agent);
	return NULL;
}

static int
add_signals(struct agent *agent, struct err *e)
{
	static const int stops[] = { SIGTERM, SIGINT };
	sigset_t set;
	int r = 0;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(stops); i++)
		sigaddset(&set, stops[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_sys(e, errno, "cannot block signals");
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(stops); i++)
		r = sd_event_add_signal(agent->event, NULL, stops[i], on_stop,
					agent);
	return r < 0 ? err_sys(e, -r, "cannot watch signals") : 0;
}

int
agent_new(struct config *config, struct agent **ret, struct err *e)
{
	_cleanup_(agent_freep) struct agent *agent = xcalloc(1, sizeof(*agent));
	int r;

	agent->config = config;
	agent->own = HTTP_LISTEN_INIT;
	r = sd_event_new(&agent->event);
	if (r < 0)
		return err_sys(e, -r, "cannot make an event loop");
	r = add_signals(agent, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(agent);
	return 0;
}

static int
agent_new_upstream(struct agent *agent, struct err *e)
{
	const struct config *c = agent->config;
	int r;

	r = http_client_new(agent->event, &c->client, &agent->up.http, e);
	if (r >= 0)
		r = clock_new(agent->event, &c->clock, NULL, NULL, &agent->up.clock,
			      e);
	if (r < 0)
		return r;
	agent->up.keyring = keyring_new(agent->event, agent->up.http, &c->at,
				     &c->keyring);
	r = agent_new_accounts(agent, e);
	if (r < 0)
		return r;

	agent->up.values = values_new(agent->event, agent->up.http, &c->at,
				      &c->values);
	/* There may be no metadata server to ask. */
	if (c->credential)
		values_know(agent->up.values, VALUE_UNIVERSE_DOMAIN,
			    c->at.universe);
	agent->up.broker = broker_new(agent->event, agent->up.accounts, &flow_any,
				   &c->broker, on_admit_flight, agent);
	broker_on_health(agent->up.broker, on_health, agent);
	return 0;
}

int
agent_reach_out(struct agent *agent, struct err *e)
{
	int r = agent_new_upstream(agent, e);

	if (r < 0)
		agent_upstream_clear(&agent->up);
	return r;
}

int
agent_keep_warm(struct agent *agent, struct err *e)
{
	char **warm = agent->config->warm;

	return warm ? broker_keep_warm(agent->up.broker, warm, e) : 0;
}

struct api_context
agent_context(struct agent *agent)
{
	return (struct api_context){
		.event = agent->event,
		.http = agent->up.http,
		.keyring = agent->up.keyring,
		.accounts = agent->up.accounts,
		.broker = agent->up.broker,
		.values = agent->up.values,
		.clock = agent->up.clock,
		.policy = agent->config->policy,
		.host = agent->host,
		.reload = agent_reload,
		.userdata = agent,
		.broken = agent->broken,
	};
}

/* All that is asked. */
static int
agent_serve(struct agent *agent, struct err *e)
{
	struct config *config = agent->config;
	struct api_context context;
	int r;

	r = peer_host_new(&agent->host);
	if (r < 0)
		return err_sys(e, -r, "cannot read our own /proc entries");
	context = agent_context(agent);
	agent->api = api_new(&context, &config->api);
	r = agent_reload_on_hangup(agent, e);
	if (r >= 0 && !agent->broken)
		r = agent_keep_warm(agent, e);
	if (r < 0)
		return r;
	return http_server_new(agent->event, &config->server, &api_server_ops,
			       agent->api, &agent->server, e);
}

/* One connection is one descriptor; the last ones are for upstream, for files, and
   for root. */
void
agent_raise_fd_limit(struct http_server_options *o)
{
	struct rlimit l;
	rlim_t kept;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return;
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
	if (l.rlim_cur < o->max_connections + KEPT_FDS)
		log_warning(LOG_NO_FIELDS, "only %llu files may be open, too few "
			    "for %u connections: raise LimitNOFILE=",
			    (unsigned long long)l.rlim_cur, o->max_connections);
	kept = MIN((rlim_t)KEPT_FDS, l.rlim_cur / 2);
	o->client_fds = (int)MIN(l.rlim_cur - kept, (rlim_t)INT_MAX);
}

void
agent_say_permissive(const struct agent *agent)
{
	if (agent->config->permissive)
		log_warning(LOG_FIELDS(log_field("MESSAGE_ID",
				"1a097c301c19447482ad9fae98b277f0")),
			    "POLICY IS PERMISSIVE ([agent] policy = permissive): "
			    "ID tokens are served where no rule admits, to any "
			    "process and for any audience; the audit calls these "
			    "would-deny. Once there are none left: policy = "
			    "enforce, and reload");
}

void
agent_say_rules(const struct agent *agent)
{
	const struct config *c = agent->config;
	const char *note = config_credentials_note(c);

	log_info(LOG_NO_FIELDS, "gce-oidc-agent %s serves %s, %zu rules",
		 PACKAGE_VERSION, agent->own.path ?: "the sockets passed in",
		 policy_len(c->policy));
	if (note)
		log_warning(LOG_NO_FIELDS, "%s", note);
	if (!endpoints_are_default(&c->at))
		log_info(LOG_NO_FIELDS, "universe %s ([upstream] universe)",
			 c->at.universe);
	if (c->at.test)
		log_warning(LOG_NO_FIELDS, "TEST ENDPOINTS ARE IN USE "
			    "(test-endpoints = yes): tokens come from %s, not from "
			    "Google", endpoints_are_default(&c->at) ?
			    c->at.token : c->at.iam);
	agent_say_permissive(agent);
}

/* The account of a file is not the metadata server's to give away. */
void
agent_watch_lockdown(struct agent *agent)
{
	bool concerned = !agent->config->credential;

	if (concerned == !!agent->lockdown)
		return;
	if (concerned) {
		lockdown_watch(agent->event, &agent->lockdown);
		return;
	}
	agent->lockdown = sd_event_source_disable_unref(agent->lockdown);
	service_remark("");
}

static void
say_broken(const struct agent *agent)
{
	log_error(LOG_NO_FIELDS, "%s; until a reload finds it mended every request "
		  "is answered 503", agent->broken->msg);
}

/* Only now it is known where we listen.  A service waits until it is mended. */
static int
check_listening(struct agent *agent, struct err *e)
{
	int r = agent_check_metadata(agent, agent->config, e);

	if (r < 0)
		(void)err_prefix(e, r, "configuration");
	if (r >= 0 || agent->from.by_hand)
		return r;
	agent_give_up(agent, e);
	return 0;
}

static int
agent_start(struct agent *agent, const struct err *bad,
	    const struct agent_listen *at, struct err *e)
{
	int r = 0;

	if (bad)
		agent_break(agent, bad);
	else
		r = agent_reach_out(agent, e);
	if (r >= 0)
		r = agent_serve(agent, e);
	if (r >= 0)
		r = agent_listen(agent, at, e);
	if (r >= 0 && !bad)
		r = check_listening(agent, e);
	if (r >= 0 && !agent->broken)
		r = agent_detect(agent, e);
	if (r >= 0)
		r = service_watchdog(agent->event, e);
	return r;
}

int
agent_run(struct config *config, const struct err *bad,
	  const struct agent_source *from, const struct agent_listen *at)
{
	_cleanup_(agent_freep) struct agent *agent = NULL;
	struct err e;
	int r;

	if (!config)
		config = config_stand_in();
	agent_raise_fd_limit(&config->server);
	r = agent_new(config, &agent, &e);
	if (r >= 0) {
		agent->from = *from;
		r = agent_start(agent, bad, at, &e);
	}
	if (r < 0) {
		log_error(LOG_NO_FIELDS, "cannot start: %s", e.msg);
		return e.kind == ERR_REQUEST ? AGENT_EXIT_CONFIG : 1;
	}

	service_ready();
	agent_say_status(agent);
	if (agent->broken)
		say_broken(agent);
	else
		agent_say_rules(agent);
	agent_watch_lockdown(agent);
	r = http_server_loop(agent->server);
	if (r < 0)
		log_error(LOG_NO_FIELDS, "the event loop failed: %s", strerror(-r));
	return r < 0 ? 1 : r;
}
