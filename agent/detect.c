/* SPDX-License-Identifier: Apache-2.0 */

/* Is there a metadata server at all?  Asked only where nobody said so, neither
   the configuration, nor the firmware, nor a service manager.  With credentials of
   our own nobody needs one. */

#include <stdio.h>
#include <string.h>

#include "agent_parts.h"
#include "base/log.h"
#include "service.h"

static bool
firmware_is_google(void)
{
	char name[64] = "";
	FILE *f = fopen("/sys/class/dmi/id/product_name", "re");

	if (!f)
		return false;
	if (!fgets(name, sizeof(name), f))
		name[0] = '\0';
	fclose(f);
	return strncmp(name, "Google", strlen("Google")) == 0;
}

static bool
said_to_be_there(const struct agent *agent)
{
	return agent->config->credential || agent->config->metadata_configured;
}

static int
on_detect_deadline(_unused_ sd_event_source *s, _unused_ uint64_t usec,
		   void *userdata)
{
	struct agent *agent = userdata;
	const struct account *a = accounts_default(agent->up.accounts)->account;
	const struct err *last = account_last_error(a);

	/* Also by a reload. */
	if (said_to_be_there(agent) || account_flavored(a))
		return 0;
	log_error(LOG_NO_FIELDS, "this is no Compute Engine VM: the firmware's "
		  "product name is not Google's, and %s gave no answer with "
		  "Metadata-Flavor: Google within %llu s (%s). Set metadata in "
		  "[upstream] or GCE_METADATA_HOST to run elsewhere",
		  agent->config->at.metadata,
		  (unsigned long long)(agent->detect_usec / USEC_PER_SEC),
		  last ? last->msg : "no answer at all");
	sd_event_exit(agent->event, AGENT_EXIT_UNAVAILABLE);
	return 0;
}

int
agent_detect(struct agent *agent, struct err *e)
{
	int r;

	if (said_to_be_there(agent) || !service_by_hand() || firmware_is_google())
		return 0;
	agent->detect_usec = agent->config->detect_usec;
	r = sd_event_add_time_relative(agent->event, &agent->detect, CLOCK_BOOTTIME,
				       agent->detect_usec, 0, on_detect_deadline,
				       agent);
	return r < 0 ? err_sys(e, -r, "cannot arm a timer") : 0;
}

void
agent_detected(struct agent *agent)
{
	const struct account *a = accounts_default(agent->up.accounts)->account;

	if (agent->detect && account_flavored(a))
		sd_event_source_set_enabled(agent->detect, SD_EVENT_OFF);
}
