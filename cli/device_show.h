/* One device on the screen. */
#ifndef CLI_DEVICE_SHOW_H
#define CLI_DEVICE_SHOW_H

#include "cli/hub_link.h"
#include "cli/text.h"

/* Of a device's state, or of a certificate's. */
enum text_colour device_colour(const char *state);
/* All that the hub says of it. */
void device_show(const json_t *device);

#endif
