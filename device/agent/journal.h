/* What the device does, as log events. */
#ifndef DEVICE_AGENT_JOURNAL_H
#define DEVICE_AGENT_JOURNAL_H

#include "device/lib/device.h"
#include "device/lib/publisher.h"

void journal_device_event(const struct device_event *event);
/* Of the connection to `broker`, for the device `serial`. */
void journal_publisher_event(const struct publisher_event *event, const char *broker,
                             const char *serial);

#endif
