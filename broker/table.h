/* The devices that a broker knows, in memory: found by the digest of a certificate and by name. A
 * million take about 110 MB. One thread changes it (the link's), under the lock that others read
 * under; what is read without changing is the link's own to read at any time.
 *
 * A device keeps its number for as long as the program runs, also when the hub has none of it any
 * more: it is then in no state that anything is allowed in. */
#ifndef BROKER_TABLE_H
#define BROKER_TABLE_H

#include "broker/limits.h"
#include "core/device_feed.h"

struct table;

#define TABLE_NONE UINT32_MAX

MUST_USE enum err table_new(uint32_t devices_max, struct table **ret_table);
void table_free(struct table *t); /* NULL is fine */

/* How a device stands now. *ret_changed: not as it stood before. ERR_LIMIT (more devices, models or
 * groups than there is room for), ERR_NO_MEMORY; then it stands as before, or unknown. */
MUST_USE enum err table_take(struct table *t, const struct device_record *record,
                             uint32_t *ret_device, bool *ret_changed);
/* Before `n` records are taken: makes larger indexes where those in use would get full. It takes
 * its time, and runs without the lock, so that what happens under the lock stays short.
 * ERR_NO_MEMORY. */
MUST_USE enum err table_prepare(struct table *t, uint32_t n);
/* Takes what was prepared into use: under the lock. */
void table_adopt(struct table *t);

/* A whole table follows: devices that are not in it are gone when it ends. */
void table_begin_anew(struct table *t);
/* True where `device` is gone, which it is from now on. For each in turn. */
bool table_sweep(struct table *t, uint32_t device);

uint32_t table_len(const struct table *t);   /* numbers in use */
uint32_t table_known(const struct table *t); /* devices that the hub knows */
/* TABLE_NONE where nobody has it. */
uint32_t table_find_certificate(const struct table *t, const uint8_t sha256[SHA256_SIZE],
                                int64_t *ret_not_after);
uint32_t table_find(const struct table *t, struct slice tenant, struct slice device);
/* False where it is gone. Slices live as long as the table. */
bool table_subject(const struct table *t, uint32_t device, struct rules_subject *ret_subject);
void table_record(const struct table *t, uint32_t device, struct device_record *ret_record);
bool table_is_cut(const struct table *t, uint32_t device);

/* What the broker itself notes on a device or certificate. */
enum table_note {
    TABLE_SETTLED = 1, /* its cut was carried out, and the hub has taken the report */
    TABLE_PENDING = 2, /* its cut is being carried out */
    TABLE_AGAIN = 4,   /* and has come once more since */
};
bool table_noted(const struct table *t, uint32_t device, enum table_note note);
void table_note(struct table *t, uint32_t device, enum table_note note, bool on);
/* The first connect with this certificate was reported; false where nobody has it. */
bool table_note_seen(struct table *t, const uint8_t sha256[SHA256_SIZE]);
bool table_seen(const struct table *t, const uint8_t sha256[SHA256_SIZE]);
/* The same of the device's password, for as long as it is that one and the broker runs. */
void table_note_password_seen(struct table *t, uint32_t device);
bool table_password_seen(const struct table *t, uint32_t device);

#endif
