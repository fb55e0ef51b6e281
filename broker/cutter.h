/* What is left of a cut device in the broker: sessions that it keeps for clients that are away,
 * with their subscriptions and queued messages, and what is retained. A thread of its own discards
 * it over the plugin's own connection, and sees that it is gone; another wakes the broker's thread.
 */
#ifndef BROKER_CUTTER_H
#define BROKER_CUTTER_H

#include "broker/broker.h"

void *cutter_run(void *broker);
void *waker_run(void *broker);

#endif
