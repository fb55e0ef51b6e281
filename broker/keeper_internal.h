/* What keeper.c (from the hub) and keeper_disk.c (to and from disk) share. */
#ifndef BROKER_KEEPER_INTERNAL_H
#define BROKER_KEEPER_INTERNAL_H

#include "broker/keeper.h"

enum keeper_kind {
    KEEPER_PAGE = 1,
    KEEPER_ANEW,
    KEEPER_PART,
    KEEPER_WHOLE,
    KEEPER_CONTACT,
    KEEPER_TRACE,
    KEEPER_SETTLED,
    KEEPER_SEEN,
};

/* Every byte of a feed, before any of it is taken. */
MUST_USE enum err keeper_check_feed(struct slice bytes, struct device_feed *ret_feed);
/* `is_live`: it comes from the hub now, not from disk; `is_news`: as changes. */
MUST_USE enum err keeper_take_records(struct broker *b, const struct device_feed *feed,
                                      bool is_news, bool is_live,
                                      char ret_last[RULES_NAME_MAX + 1]);
/* Those that a whole table did not name are not known any more. */
void keeper_sweep(struct broker *b);
void keeper_renew(struct broker *b);
void keeper_note_disk(struct broker *b, enum err err);
MUST_USE enum err keeper_rules_path(const struct broker *b, char path[CONFIG_TEXT_MAX + 16]);
/* Rules that any of the hubs has signed; what rules_read() says. */
MUST_USE enum err keeper_read_rules(const struct broker *b, struct slice file,
                                    struct rules *ret_rules);
/* Takes over `bytes`, which the rules stand on. */
void keeper_adopt_rules(struct broker *b, const struct rules *rules, uint8_t *bytes);

#endif
