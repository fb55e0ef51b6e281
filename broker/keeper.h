/* What the broker knows, taken from the hub, kept on disk and read again: device table, position,
 * rules, what devices left behind. The journal's frames and their meaning stand together here:
 *
 *   PAGE       a feed (core/device_feed.h) of changes: position becomes its `at`
 *   ANEW       at{64}: pages of a whole table follow
 *   PART       a feed that is part of it
 *   WHOLE      at{64}: it is complete, and the position
 *   CONTACT    broker/contact.h
 *   TRACE      kind{8} remembered{8} text8 tenant, text8 device, text16 client id or topic
 *   SETTLED    text8 tenant, text8 device: the hub has taken the report of its cut
 *   SEEN       sha256{32B}: the first connect with that certificate was reported */
#ifndef BROKER_KEEPER_H
#define BROKER_KEEPER_H

#include "broker/broker.h"

/* Reads what is kept, and writes it anew where that is worth it. Before the threads start.
 * Explained. */
MUST_USE enum err keeper_open(struct broker *b, char explain[256]);

/* A page of changes or of a whole table, from the hub: checked as a whole, then taken. *ret_feed:
 * its head. By the link's thread alone, as are the next three. ERR_SYNTAX, ERR_LIMIT,
 * ERR_NO_MEMORY. */
MUST_USE enum err keeper_take_changes(struct broker *b, struct slice feed,
                                      struct device_feed *ret_feed);
MUST_USE enum err keeper_begin_anew(struct broker *b);
MUST_USE enum err keeper_take_part(struct broker *b, struct slice feed,
                                   struct device_feed *ret_feed, char ret_last[RULES_NAME_MAX + 1]);
MUST_USE enum err keeper_end_anew(struct broker *b, uint64_t at);
/* Rules, signed; the old ones stay where these are not good, not newer, or of another fleet.
 * Explained. */
MUST_USE enum err keeper_take_rules(struct broker *b, struct slice file, char explain[256]);
/* A hub answered, or failed to. */
void keeper_answered(struct broker *b);
void keeper_lost(struct broker *b, const char *why);

/* A cut that has come: to be carried out from the start. Under the lock. */
void keeper_take_cut(struct broker *b, uint32_t device, uint64_t at, bool is_news);
/* Cuts that found no room when they came are looked for again. */
void keeper_look_for_cuts(struct broker *b);

/* What is due on disk since the last call: traces and, where asked for, how long ago a hub
 * answered. */
void keeper_flush(struct broker *b, bool contact_too);
/* The hub has taken the report of a cut, or of a certificate's first connect. */
void keeper_settled(struct broker *b, uint32_t device);
void keeper_seen(struct broker *b, const uint8_t certificate[SHA256_SIZE]);

#endif
