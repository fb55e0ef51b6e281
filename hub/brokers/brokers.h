/* Brokers: MQTT brokers as devices of the fleet. Each has an identity like any device, with its own
 * hosts in its certificate, and a row here for as long as it may ask who is to be admitted: the
 * whole table, then what changed since (core/device_feed.h). This is the domain's one public
 * header. */
#ifndef HUB_BROKERS_BROKERS_H
#define HUB_BROKERS_BROKERS_H

#include "core/device_feed.h"
#include "hub/identity/identity.h"

struct brokers;

#define BROKER_HOSTS               SERVER_NAMES_MAX /* of one broker */
#define BROKER_WAIT_MAX            25 /* seconds: below what proxies and NATs forget a connection in */
#define BROKER_REQUESTS_PER_MINUTE 12000 /* of one: a storm of changes is taken page by page */

MUST_USE enum err brokers_new(struct store *store, struct ledger *ledger, struct identity *identity,
                              struct brokers **ret_brokers);
void brokers_free(struct brokers *brokers); /* NULL is fine */

/* ---- which there are ---- */

struct broker_act {
    struct act act;
    bool removal;
    struct broker_row broker; /* id; hosts by broker_add_host(); all of it afterwards */
    int64_t claim_expires_at;
    char claim_code[IDENTITY_CLAIM_TEXT]; /* made here; shown once */

    struct brokers *brokers; /* private */
};
/* One more DNS name or address that it is reached by. ERR_SYNTAX: it is neither; ERR_EXISTS: it is
 * there already; ERR_LIMIT. */
MUST_USE enum err broker_add_host(struct broker_row *broker, struct slice host);
/* Adds it, and has its device expected in the same write; or takes its right to ask away. The
 * device of one that is removed is revoked by the caller, first. problems: device-exists,
 * model-differs; broker-not-found */
void brokers_change(struct brokers *brokers, const struct act_origin *origin, struct broker_act *b);

/* May this device ask what brokers ask? ERR_REFUSED with the problem broker-unknown. */
MUST_USE enum err brokers_check(struct store_reader *reader, struct arena *arena,
                                const char *tenant, const char *device, struct problem *problem);

/* ---- what they ask ---- */

struct broker_feed; /* one loop's */
MUST_USE enum err broker_feed_new(struct brokers *brokers, struct loop *loop,
                                  struct store_reader *reader, struct broker_feed **ret_feed);
/* After the loop has ended. NULL is fine. */
void broker_feed_free(struct broker_feed *feed);
/* On its loop, once a second: answers those that have waited for long enough. */
void broker_feed_turn(struct broker_feed *feed);
/* The hub is ending: whoever waits is answered now, and nobody waits any more. Any thread. */
void brokers_drain(struct brokers *brokers);

/* A page of the feed that is asked for; in memory that lives until then() has run, which it does on
 * the feed's loop, exactly once. */
struct broker_ask {
    char tenant[NAME_MAX_BYTES + 1], broker[NAME_MAX_BYTES + 1];
    char after_device[NAME_MAX_BYTES +
                      1]; /* the table: only those behind it; empty: from the start */
    uint64_t after;       /* changes: the first entry that it has not seen */
    uint64_t rules;       /* changes: the version of the rules that it has */
    int64_t wait;         /* changes: seconds until an empty answer */
    size_t limit;         /* records; at most DEVICE_FEED_RECORDS_MAX */
    struct arena *arena;  /* where the page will be */
    void (*then)(struct broker_ask *ask, enum err err);
    void *ctx;

    struct slice page; /* where err is ERR_NONE */
    struct problem problem;

    /* private to feed.c, table.c, changes.c */
    struct broker_feed *feed;
    struct loop_task task;
    int64_t until_ms;
    uint64_t at, rules_now;
    struct writer records;
    uint32_t count;
    struct broker_ask *next;
};
/* All devices that have a certificate or a password, or are cut off, in the order of their names. A
 * page without records is the end. */
void broker_table(struct broker_feed *feed, struct broker_ask *ask);
/* How those devices stand now that the ledger's entries from `after` on are about. Waits where
 * there are none; a second ask of a broker ends the wait of its first. problems: position-unknown,
 * brokers-waiting (503: too many) */
void broker_changes(struct broker_feed *feed, struct broker_ask *ask);

/* ---- what they tell ---- */

#define BROKER_REPORTED_MAX 256 /* of anything in one report */

struct broker_connect {
    const char *device; /* whatever name the broker says */
    int64_t at;
    bool first; /* with a certificate or password that it had not shown to that broker before */
    struct slice salt; /* of the password that it came by; empty: it has a certificate */
};
struct broker_connects_act {
    struct act act;
    char broker[NAME_MAX_BYTES + 1];
    struct broker_connect *connects; /* at most BROKER_REPORTED_MAX; in the act's arena */
    size_t connects_len;
};
/* The devices were seen; each first time is an entry "broker.connect", once for each certificate. A
 * new password ends the one before, by another entry.
 * Devices that are not known are passed over. */
void brokers_connected(struct brokers *brokers, const struct act_origin *origin,
                       struct broker_connects_act *c);

/* It was heard of, asking for what comes after that position with these rules (-1: it did not say);
 * and said that of itself, but for seen_at, and that it has not reached a hub for `stale` seconds.
 * From any thread. */
void brokers_seen(struct brokers *brokers, const char *tenant, const char *broker, int64_t position,
                  int64_t rules);
void brokers_seen_reported(struct brokers *brokers, const struct broker_seen_row *row,
                           int64_t stale);
/* Hands what was said to the writer; called every few seconds and at the end. */
void brokers_flush(struct brokers *brokers);
/* Sets the metrics; called when somebody asks for them. */
void brokers_gather(struct brokers *brokers);

#endif
