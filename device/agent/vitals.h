/* What the agent says of the device itself, where it is configured to: uptime, load and memory, and
 * nothing else. */
#ifndef DEVICE_AGENT_VITALS_H
#define DEVICE_AGENT_VITALS_H

#include "core/cursor.h"

#define VITALS_MAX 256

/* {"at":"2026-11-28T10:00:00Z","uptime_seconds":60,"load":0.12,"memory_kib":1048576,
 *  "memory_available_kib":524288}; what the system does not tell is left out. */
void vitals_write(struct writer *w, int64_t at, int64_t uptime_seconds);

#endif
