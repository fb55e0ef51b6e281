/* Which certificates stand in the lists of revoked ones that others fetch (hub/revocation/crl.h):
 * a row for each, written where its certificate ends, is held or is let go again, in the order of
 * the entries of the ledger that did it. */
#include "base/crypto.h"
#include "hub/identity/internal.h"

/* Not yet written: row->listed says where it stands now. */
enum err certificate_list(struct act *act, struct tx *tx, struct certificate_row *row,
                          enum crl_reason reason)
{
    struct crl_entry_row entry = {.entry = row->listed};
    ROW_TEXT(entry.serial, row->serial);
    if (row->listed != 0) {
        enum err err = tx_delete(tx, &table_crl_entry, &entry);
        if (err != ERR_NONE && err != ERR_NOT_FOUND) /* expired ones are taken out later */
            return err;
    }
    int64_t now = tx_now_ms(tx) / 1000;
    row->listed = 0;
    if (row->not_after <= now)
        return ERR_NONE;
    row->listed = entry.entry = (int64_t)ledger_next(act->ledger);
    entry.reason = reason;
    entry.date = now;
    entry.not_after = row->not_after;
    entry.authority = row->authority;
    enum err err = tx_insert(tx, &table_crl_entry, &entry);
    return err == ERR_EXISTS ? ERR_INTERNAL : err;
}

enum err certificate_end(struct act *act, struct tx *tx, struct certificate_row *row,
                         enum certificate_status status, enum crl_reason reason)
{
    row->status = status;
    row->ended_at = tx_now_ms(tx) / 1000;
    row->der = (struct slice){0};
    enum err err = certificate_list(act, tx, row, reason);
    return err != ERR_NONE ? err : tx_update(tx, &table_certificate, row);
}

static enum err change_one(struct act *act, struct tx *tx, const char *serial,
                           const struct certificate_change *change)
{
    if (serial[0] == '\0')
        return ERR_NONE;
    struct certificate_row row = certificate_row_of(serial);
    enum err err = tx_get(tx, &table_certificate, &row);
    if (err != ERR_NONE)
        return err == ERR_NOT_FOUND ? ERR_INTERNAL : err;
    if (row.status != CERTIFICATE_ISSUED && row.status != CERTIFICATE_ACTIVE)
        return ERR_NONE;
    if (change->ends)
        return certificate_end(act, tx, &row, change->status, change->reason);
    err = certificate_list(act, tx, &row, change->reason);
    return err != ERR_NONE ? err : tx_update(tx, &table_certificate, &row);
}

enum err certificates_change(struct act *act, struct tx *tx, const struct device_row *device,
                             const struct certificate_change *change)
{
    enum err err = change_one(act, tx, device->certificate, change);
    bool two = !slice_equal(slice_of_text(device->certificate), slice_of_text(device->confirmed));
    return err != ERR_NONE || !two ? err : change_one(act, tx, device->confirmed, change);
}
