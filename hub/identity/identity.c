#include "hub/identity/internal.h"

#include <stdio.h>
#include <stdlib.h>

enum err identity_new(struct store *store, struct ledger *ledger, struct subjects *subjects,
                      struct identity **ret_identity)
{
    struct identity *identity = calloc(1, sizeof *identity);
    if (identity == NULL)
        return ERR_NO_MEMORY;
    identity->store = store;
    identity->ledger = ledger;
    identity->subjects = subjects;
    *ret_identity = identity;
    return ERR_NONE;
}

void identity_set_policies(struct identity *identity, struct policies *policies)
{
    identity->policies = policies;
}

void identity_free(struct identity *identity)
{
    free(identity);
}

void identity_label(char ret_label[IDENTITY_LABEL_MAX], const char *tenant, const char *device)
{
    (void)snprintf(ret_label, IDENTITY_LABEL_MAX, "%s/%s", tenant, device);
}

enum err reason_keep(struct subjects *subjects, const struct device_row *device, const char *reason,
                     char ret_kept[SEALED_TEXT_SIZE])
{
    enum err err =
        subjects_seal(subjects, device->tenant, device->owner, device->id, reason, ret_kept);
    if (err == ERR_NOT_FOUND)
        ret_kept[0] = '\0';
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

enum err row_source_get(const struct row_source *rows, const struct table *table, void *row)
{
    if (rows->tx != NULL)
        return tx_get(rows->tx, table, row);
    return store_get(rows->reader, table, rows->arena, row);
}

void row_text(char *field, size_t size, const char *text)
{
    (void)snprintf(field, size, "%s", text);
}

struct device_row device_row_of(const char *tenant, const char *id)
{
    struct device_row row = {0};
    ROW_TEXT(row.tenant, tenant);
    ROW_TEXT(row.id, id);
    return row;
}

struct model_row model_row_of(const char *tenant, const char *id)
{
    struct model_row row = {0};
    ROW_TEXT(row.tenant, tenant);
    ROW_TEXT(row.id, id);
    return row;
}

struct manifest_row manifest_row_of(const char *tenant, const char *id)
{
    struct manifest_row row = {0};
    ROW_TEXT(row.tenant, tenant);
    ROW_TEXT(row.id, id);
    return row;
}

struct certificate_row certificate_row_of(const char *serial)
{
    struct certificate_row row = {0};
    ROW_TEXT(row.serial, serial);
    return row;
}
