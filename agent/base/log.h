/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Log lines with fields, to the journal or, started by hand, to standard error.

   Logging never blocks: a journal that does not read costs lines, and the next
   line that gets through says how many.  Nothing that grants access is ever
   passed here, at any level; text from outside goes through text_show() first.

	log_info(LOG_FIELDS(log_field("ACCOUNT", "%s", email)),
		 "account %s found", email);
*/

#include <syslog.h>

#include "base/base.h"

struct log_field {
	const char *name;	/* NULL ends the list */
	char value[256];
};

/* At most 12 fields; names are the journal's: A-Z, 0-9 and underscore. */
#define LOG_NO_FIELDS	NULL

enum log_target { LOG_TARGET_STDERR, LOG_TARGET_JOURNAL };

/* Where to, and up to which level (LOG_ERR .. LOG_DEBUG).  The journal is used
   where standard error is connected to it ($JOURNAL_STREAM names that socket);
   returns which it is. */
enum log_target log_open(void);
/* The same with the choice made, and the path of the journal's socket. */
void log_open_at(enum log_target target, const char *journal);
void log_set_level(int level);
int log_level(void);

/* "debug", "info", "notice", "warning", "err" -> level, or -EINVAL. */
int log_level_from_name(const char *name);

/* Lines lost so far because nobody read them. */
uint64_t log_dropped(void);

void log_line(int level, const struct log_field *fields, const char *fmt, ...)
	_printf_(3, 4);
/* One field, for building the array passed to log_line(). */
struct log_field log_field(const char *name, const char *fmt, ...) _printf_(2, 3);

#define LOG_FIELDS(...) \
	((const struct log_field[]){ __VA_ARGS__, { .name = NULL } })

#define log_at(level, fields, ...) \
	do { \
		if ((level) <= log_level()) \
			log_line(level, fields, __VA_ARGS__); \
	} while (0)
#define log_debug(fields, ...)		log_at(LOG_DEBUG, fields, __VA_ARGS__)
#define log_info(fields, ...)		log_at(LOG_INFO, fields, __VA_ARGS__)
#define log_notice(fields, ...)		log_at(LOG_NOTICE, fields, __VA_ARGS__)
#define log_warning(fields, ...)	log_at(LOG_WARNING, fields, __VA_ARGS__)
#define log_error(fields, ...)		log_at(LOG_ERR, fields, __VA_ARGS__)
