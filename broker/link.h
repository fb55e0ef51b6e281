/* The thread that learns from the hubs: the whole table where the broker has none, then changes as
 * they happen, and rules. It goes to the next hub where one does not answer, ever more slowly, and
 * never at the same moment as other brokers. */
#ifndef BROKER_LINK_H
#define BROKER_LINK_H

#include "broker/broker.h"

void *link_run(void *broker);

/* A client for one of the hubs, as link and reporter use it. ERR_IO and what http_client_new() has,
 * explained. */
struct http_client;
MUST_USE enum err link_dial(const struct broker *b, unsigned hub, size_t response_max,
                            int64_t timeout_ms, struct http_client **ret_client, char explain[256]);
/* Before the n-th attempt in a row: 0.25 s, doubling up to 30 s, each half random. */
int64_t link_backoff_ms(unsigned attempt);

#endif
