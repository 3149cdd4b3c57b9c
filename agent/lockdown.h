/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Is the metadata server closed to those whom the policy judges?  As long as it
   is open to all, the policy is advice.

   The packet filter's rules are for root alone to see.  What tells us is that
   gce-oidc-agent-lockdown.service is up: it has a directory in /run while it is. */

#include <systemd/sd-event.h>

#include "base/base.h"

bool lockdown_in_force(void);

/* Says in the log and in the service's status how it is, now and whenever that
   changes.  *ret, the caller's, is what looks out for that; NULL if it cannot. */
void lockdown_watch(sd_event *event, sd_event_source **ret);
