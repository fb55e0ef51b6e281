/* The journal as a target of base/log.h. In a file of its own: whoever calls it links libsystemd.
 */
#ifndef BASE_LOG_JOURNAL_H
#define BASE_LOG_JOURNAL_H

/* Makes LOG_TARGET_JOURNAL work; call before log_open(). */
void log_journal_enable(void);

#endif
