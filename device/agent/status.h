/* What a device remembers, for a person or a script: read beside a running agent, nothing written.
 */
#ifndef DEVICE_AGENT_STATUS_H
#define DEVICE_AGENT_STATUS_H

#include "device/lib/state.h"

/* Lines of "name  value", or one JSON object, that end in LF. `telemetry` is what the running agent
 * says of it, in that form, too; empty: nothing. */
void status_write(struct writer *w, const char *serial, const struct state *state,
                  struct slice telemetry, bool json);

#endif
