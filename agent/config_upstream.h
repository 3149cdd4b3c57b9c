/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* [upstream]: where Google is, and the way there. */

#include "config.h"

/* Everything is read: put in what was not written, and judge the section as a
   whole.  e says FILE:LINE as all of config.h's errors do. */
int config_upstream_check(struct config *c, struct err *e);
