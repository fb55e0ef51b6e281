/* What the files of device/lib share. */
#ifndef DEVICE_LIB_INTERNAL_H
#define DEVICE_LIB_INTERNAL_H

#include "device/lib/device.h"

/* ---- device.c ---- */

void device_tell(const struct device *d, const struct device_event *event);
int64_t device_monotonic(const struct device *d);
/* Uniform in 0..max. */
int64_t device_random(const struct device *d, int64_t max);
/* What is certain to have passed; the wall clock alone makes nothing certain. */
int64_t device_certain_time(const struct device *d);
/* Commits with the time as it is now, and the ledger as it was seen last. */
MUST_USE enum err device_commit(struct device *d, const struct state *next);
void device_due_now(struct device *d, enum device_task task);

/* ---- exchange.c ---- */

struct request {
    enum endpoint endpoint;
    enum client client;
    const char *method;
    const char *target;
    struct slice extra;       /* further header lines */
    const char *content_type; /* or NULL */
    struct slice body;        /* not in `message` */
};

/* "host:port" or "[address]:port". */
MUST_USE enum err endpoint_read(const char *text, char host[DEVICE_HOST_MAX + 1],
                                uint16_t *ret_port);
/* Sends it and takes the whole answer: d->answer, with d->status, d->code and d->retry_after. Over
 * the connection that is there, if it is the right one. ERR_NONE whatever the status. */
MUST_USE enum err exchange(struct device *d, const struct request *request);
/* What the answer means: ERR_NONE for `expected`; ERR_REFUSED for 401 and 403; ERR_BUSY for "later"
 * (202, 429, 503, and 403 where the device is known but not trusted: d->waiting); ERR_UNSUPPORTED
 * else. */
MUST_USE enum err exchange_outcome(struct device *d, unsigned expected);
void exchange_close(struct device *d);
/* The server of the last connection says that `seconds` has passed: the time is raised as far as it
 * can vouch for. */
void exchange_raise_time(struct device *d, int64_t seconds);

/* ---- identity.c ---- */

/* Checks what the state says of keys and certificates against what is there. */
MUST_USE enum err identity_load(struct device *d);
/* The record of a slot's certificates into d->chain. ERR_CONFLICT where it is not what the state
 * says. */
MUST_USE enum err identity_load_chain(struct device *d, int slot);
/* Is there an identity in use that is in date? */
bool identity_in_date(const struct device *d);
/* The slot to authenticate with towards the hub; -1 where there is none that is in date. */
int identity_slot(const struct device *d);
/* May TASK_IDENTITY do something, and if so, when at the earliest? */
bool identity_wants(const struct device *d, int64_t *ret_ms);
/* The next thing: destroy the old key, make a key, or ask for a certificate. */
MUST_USE enum err identity_step(struct device *d);
/* The hub took the certificate of that slot: where it was pending, it is the identity from now on,
 * and its start has passed. */
MUST_USE enum err identity_accepted(struct device *d, int slot);
MUST_USE enum err identity_spki_sha256(const struct port *port, enum port_key key,
                                       enum key_kind *ret_kind, uint8_t ret_hash[SHA256_SIZE]);

/* ---- issued.c ---- */

/* Takes the hub's answer for the key in `slot`: finds our certificate in it, checks that it is
 * ours, completes its chain, checks that it leads to a root of the trust bundle, makes it durable
 * and commits. It is no identity before the hub has taken it. */
MUST_USE enum err issued_take(struct device *d, int slot);
/* Is this certificate for this key, for this device, and in date? */
MUST_USE enum err issued_check(const struct device *d, const struct certificate *c,
                               const struct slot_state *slot);
/* Name and dates of the identity in use, from its certificate. */
void issued_adopt(struct device *d, const struct certificate *c, const uint8_t sha256[SHA256_SIZE]);
const char *issued_record_name(int slot);

/* ---- contact.c ---- */

MUST_USE enum err contact_checkin(struct device *d);
MUST_USE enum err contact_report(struct device *d);
/* Is what would be reported different from what the hub has? */
bool contact_report_differs(const struct device *d);
/* Works out the report's hash. ERR_LIMIT where the facts are too many or too long. */
MUST_USE enum err contact_prepare(struct device *d);

/* ---- ledger.c ---- */

/* The hub has issued a certificate, which is an entry, as its first use will be: both come after
 * the tree we know, so it has to show a larger one. Durable with the next commit. */
void ledger_owe(struct device *d);
/* Takes what a check-in's answer shows. ERR_CONFLICT with d->misled: not what it showed before, and
 * nothing that it says counts. ERR_UNSUPPORTED: not a checkpoint by a ledger key of the trust
 * bundle, with a proof from the tree we know. Or what the port says of storage. */
MUST_USE enum err ledger_take(struct device *d);
/* Writes down what was seen last, where it is newer than what is on storage. */
void ledger_keep(struct device *d);
/* Tells of the finding that there is. */
void ledger_tell(const struct device *d, int64_t delay_ms);
/* A trust bundle was signed then. Where that is after a finding, its owner has looked at it: what
 * was seen is forgotten, and true is returned. Not durable yet. */
bool ledger_forget(struct device *d, int64_t signed_at);

/* ---- bundle.c ---- */

MUST_USE enum err bundle_load(struct device *d);
/* Fetches the one that the hub offers, and follows it if it is a rightful successor. */
MUST_USE enum err bundle_fetch(struct device *d);

#endif
