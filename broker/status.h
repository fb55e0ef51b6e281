/* The status file: JSON that says how the plugin is doing, for `holdfast broker show` and for
 * people. It is replaced as a whole, at most once a second, and only where it says something new.
 */
#ifndef BROKER_STATUS_H
#define BROKER_STATUS_H

#include "broker/broker.h"

void status_write(struct broker *b);

#endif
