#include "hub/revocation/revocation.h"

#include <stdio.h>

static struct standing revoked(enum crl_reason reason, int64_t since)
{
    return (struct standing){.status = OCSP_REVOKED, .reason = reason, .since = since};
}

/* When the certificate ended, or, where its own row does not say so, its device. */
static int64_t end_of(const struct device_row *device, const struct certificate_row *certificate)
{
    return certificate->ended_at != 0 ? certificate->ended_at : device->changed_at;
}

struct standing revocation_standing(const struct device_row *device,
                                    const struct certificate_row *certificate)
{
    if (device->state == DEVICE_REVOKED || certificate->status == CERTIFICATE_REVOKED)
        return revoked(REASON_PRIVILEGE_WITHDRAWN, end_of(device, certificate));
    if (device->state == DEVICE_RETIRED)
        return revoked(REASON_CESSATION_OF_OPERATION, end_of(device, certificate));
    if (certificate->status == CERTIFICATE_RETIRED)
        return revoked(REASON_SUPERSEDED, certificate->ended_at);
    if (device->state == DEVICE_QUARANTINED)
        return revoked(REASON_CERTIFICATE_HOLD, device->changed_at);
    bool living =
        (device->state == DEVICE_ENROLLED || device->state == DEVICE_TRUSTED) &&
        (certificate->status == CERTIFICATE_ISSUED || certificate->status == CERTIFICATE_ACTIVE);
    /* There is nothing else; if there were, it would not be good. */
    return living ? (struct standing){.status = OCSP_GOOD}
                  : revoked(REASON_UNSPECIFIED, end_of(device, certificate));
}

enum err revocation_look_up(const struct store *store, struct store_reader *reader,
                            struct arena *arena, struct slice serial, uint32_t authority,
                            struct standing *ret_standing, struct standing_stamps *ret_stamps)
{
    struct standing_stamps stamps;
    struct certificate_row certificate = {0};
    struct writer w = writer_over(certificate.serial, sizeof certificate.serial - 1);
    writer_hex(&w, serial);
    if (w.err != ERR_NONE)
        return w.err;
    stamps.certificate = store_stamp(store, &table_certificate, &certificate);
    enum err err = store_get(reader, &table_certificate, arena, &certificate);
    bool is_others =
        err == ERR_NONE && certificate.authority != 0 && certificate.authority != authority;
    if (err == ERR_NOT_FOUND || is_others) {
        *ret_standing = (struct standing){.status = OCSP_UNKNOWN};
        return ERR_NONE;
    }
    if (err != ERR_NONE)
        return err;
    struct device_row device = {0};
    (void)snprintf(device.tenant, sizeof device.tenant, "%s", certificate.tenant);
    (void)snprintf(device.id, sizeof device.id, "%s", certificate.device);
    stamps.device = store_stamp(store, &table_device, &device);
    err = store_get(reader, &table_device, arena, &device);
    if (err != ERR_NONE)
        return err == ERR_NOT_FOUND ? ERR_INTERNAL : err;
    *ret_standing = revocation_standing(&device, &certificate);
    *ret_stamps = stamps;
    return ERR_NONE;
}
