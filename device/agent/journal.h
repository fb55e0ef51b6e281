/* What the device does, as log events. */
#ifndef DEVICE_AGENT_JOURNAL_H
#define DEVICE_AGENT_JOURNAL_H

#include "device/lib/device.h"

void journal_device_event(const struct device_event *event);

#endif
