/* What the files of identity/ share. */
#ifndef HUB_IDENTITY_INTERNAL_H
#define HUB_IDENTITY_INTERNAL_H

#include <stdatomic.h>

#include "hub/identity/identity.h"

struct identity {
    struct store *store;
    struct ledger *ledger;
    struct subjects *subjects;
    struct policies *policies; /* NULL: there is no policy */
    atomic_bool rotation_made; /* or one is being made: there may be devices to select */
    bool selecting;            /* of the loop that turns, as is the next */
    int64_t selected_ms;       /* looked last; monotonic */
};

/* Where rows come from: a loop's reader, or the writer's transaction. The same decision runs over
 * both: on the loop to answer early, on the writer because only that counts. */
struct row_source {
    struct store_reader *reader; /* with arena; or NULL, and then: */
    struct arena *arena;
    struct tx *tx;
};
MUST_USE enum err row_source_get(const struct row_source *rows, const struct table *table,
                                 void *row);

/* What a person gave as a reason, as rows and entries keep it: sealed for the device's owner; empty
 * where that is somebody erased. */
MUST_USE enum err reason_keep(struct subjects *subjects, const struct device_row *device,
                              const char *reason, char ret_kept[SEALED_TEXT_SIZE]);

/* Sets texts of rows from texts that are known to fit. */
void row_text(char *field, size_t size, const char *text);
#define ROW_TEXT(field, text) row_text((field), sizeof(field), (text))

/* Rows with nothing but their keys, to be read. */
struct device_row device_row_of(const char *tenant, const char *id);
struct model_row model_row_of(const char *tenant, const char *id);
struct manifest_row manifest_row_of(const char *tenant, const char *id);
struct certificate_row certificate_row_of(const char *serial);

/* ---- models and manifests, inside apply() ---- */

MUST_USE enum err model_entry(struct act *act, struct tx *tx, const char *verb,
                              const struct model_row *model);
/* A manifest of the id and model in *manifest; the rest of the row is filled in. */
MUST_USE enum err manifest_make(struct subjects *subjects, struct act *act, struct tx *tx,
                                const char *owner, struct manifest_row *manifest);
/* These are expected from now on. */
MUST_USE enum err manifest_take(struct act *act, struct tx *tx, const char *id,
                                const struct manifest_line *lines, size_t n);

/* ---- brokers ---- */

void broker_row_reads(struct keyset *keys, const char *tenant, const char *device);
/* The hosts of a device that is a broker; else empty. */
MUST_USE enum err broker_hosts(const struct row_source *rows, const struct device_row *device,
                               char ret_hosts[BROKER_HOSTS_MAX + 1]);
/* Asks for a certificate with these hosts; a device's where there are none. */
MUST_USE enum err broker_request(const char *hosts, struct certificate_request *request);

/* Puts the certificate into the list of revoked ones, from the act's entry of the ledger on; call
 * before that is appended, and write the row afterwards. */
MUST_USE enum err certificate_list(struct act *act, struct tx *tx, struct certificate_row *row,
                                   enum crl_reason reason);
/* Writes that the certificate is revoked or retired, now, and lists it. */
MUST_USE enum err certificate_end(struct act *act, struct tx *tx, struct certificate_row *row,
                                  enum certificate_status status, enum crl_reason reason);
struct certificate_change {
    bool ends; /* else it is only listed */
    enum certificate_status status;
    enum crl_reason reason;
};
/* The same for those of a device that can still be used. */
MUST_USE enum err certificates_change(struct act *act, struct tx *tx,
                                      const struct device_row *device,
                                      const struct certificate_change *change);

/* The trust bundle that is served, as apply() sees it. `storage` as for trust_bundle_read().
 * ERR_NOT_FOUND. */
#define BUNDLE_STORAGE ((size_t)TRUST_ROOTS_MAX * CERTIFICATE_MAX)
void bundle_row_reads(struct keyset *keys);
MUST_USE enum err bundle_row_get(struct tx *tx, uint8_t storage[BUNDLE_STORAGE],
                                 struct trust_bundle *ret_bundle);

/* The device was cut to `state` by the entry that comes next; or its cut is over. */
struct device_cut_row cut_row_of(const char *tenant, const char *device);
MUST_USE enum err cut_begin(struct act *act, struct tx *tx, const char *device, int64_t state);
MUST_USE enum err cut_end(struct tx *tx, const char *tenant, const char *device);

/* ---- moves ---- */

/* What is to be done, with one device or several. */
struct moving {
    struct act *act;
    enum device_move move;
    bool keys_touched;
    const char *reason;
    struct subjects *subjects;
};
void life_reads(struct keyset *keys, const char *tenant, const char *id, enum device_move move,
                bool keys_touched);
/* Inside apply(), of a device that identity_can_move(): with all that follows from it, and the
 * entry, whose number is *ret_entry. *device is as it was read. */
MUST_USE enum err life_move(const struct moving *m, struct tx *tx, struct device_row *device,
                            int64_t *ret_entry);

/* A cut that waits for a person waits no more: somebody has decided about the device. */
struct cut_waiting_row cut_waiting_row_of(const char *tenant, const char *device);
MUST_USE enum err cut_waiting_end(struct tx *tx, const char *tenant, const char *device);

struct device_grace_row grace_row_of(const char *tenant, const char *device);
/* The way back with `used`, the certificate that a device of that model used last. */
MUST_USE enum err grace_judge(const struct row_source *rows, const struct model_row *model,
                              const struct certificate_row *used, struct identity_grace *ret_grace);
/* Does a person's word let it come back once? */
MUST_USE enum err grace_is_approved(const struct row_source *rows,
                                    const struct device_grace_row *row, bool *ret_approved);
/* No grace for certificates that were issued before (GRACE_CLOSED: for none, until the device was
 * readmitted); an approval that stands is void or used. */
MUST_USE enum err grace_close(struct tx *tx, const char *tenant, const char *device,
                              int64_t closed_before);
/* The same for certificates that were issued before a moment, where no more is closed already. */
MUST_USE enum err grace_close_before(struct tx *tx, const char *tenant, const char *device,
                                     int64_t moment);

/* ---- after an incident that may have touched a device's keys ---- */

/* May a device in quarantine renew, or come back with a certificate that has run out? Sets
 * e->readmitted. `key_known`: it had this key before; `same_unused_key`: `newest` is for it, and
 * was not used yet. */
MUST_USE enum err incident_check_renewal(const struct row_source *rows, struct enrolment *e,
                                         const struct certificate_row *newest, bool key_known,
                                         bool same_unused_key);
/* May it be released? */
MUST_USE enum err incident_check_release(struct tx *tx, const struct device_row *device,
                                         const char *field, struct problem *problem);

/* ---- rotations ---- */

struct rotation_row rotation_row_of(const char *tenant, const char *id);
/* One that waits for nobody any more is complete. */
void rotation_settle(struct rotation_row *row, int64_t now);

enum leave { LEAVE_RENEWED, LEAVE_MOVED, LEAVE_GONE };
/* The device is waited for no more: its mark goes from *device, which the caller writes. */
MUST_USE enum err rotation_leave(struct tx *tx, struct device_row *device, enum leave how);
/* The device used that certificate for the first time. *device as above. */
MUST_USE enum err rotation_confirmed(struct tx *tx, struct device_row *device, const char *serial);
/* It was issued a certificate; one for a key that the device had before does not count. */
MUST_USE enum err rotation_issued(struct tx *tx, const struct device_row *device,
                                  const char *serial, bool same_key);
/* A renewal was refused: notes why, where a rotation waits for that device. */
void rotation_refused(struct identity *identity, const struct enrolment *e,
                      struct store_reader *reader);

/* Inside apply(): the device has no password any more, if it had one. */
struct device_password_row password_row_of(const char *tenant, const char *device);
MUST_USE enum err password_end(struct tx *tx, const char *tenant, const char *device);

/* 128 bits -> "XXXXX-XXXXX-XXXXX-XXXXX-XXXXXX", in Crockford's base 32. */
void claim_encode(const uint8_t secret[IDENTITY_CLAIM_BYTES], char ret_code[IDENTITY_CLAIM_TEXT]);
/* 128 random bits -> "XXXXX-XXXXX-XXXXX-XXXXX-XXXXXX" and its hash. */
MUST_USE enum err claim_make(char ret_code[IDENTITY_CLAIM_TEXT], struct hash *ret_hash);

#endif
