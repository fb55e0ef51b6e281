/* After an incident that may have touched a device's keys: it leaves quarantine only with a new
 * key, and gets that by a person's word (grace.c), once. */
#include "hub/identity/internal.h"

static enum err refuse_quarantined(struct enrolment *e)
{
    return problem_set(&e->act.write.problem, 403, "device-quarantined", "",
                       "this device is in quarantine; ask its operator to release it");
}

/* There is a certificate for a new key: whoever has the old one does not replace that. */
static enum err check_since(const struct row_source *rows, struct enrolment *e,
                            const struct device_grace_row *grace)
{
    struct certificate_row shown = certificate_row_of(e->serial);
    enum err err = row_source_get(rows, &table_certificate, &shown);
    if (err == ERR_NOT_FOUND || (err == ERR_NONE && shown.issued_at >= grace->closed_before))
        return ERR_NONE; /* one that is unknown is refused as such */
    if (err != ERR_NONE)
        return err;
    return problem_set(&e->act.write.problem, 403, "certificate-not-current", "",
                       "the certificate of this connection is from before an incident, and there "
                       "is one from after it; connect with that");
}

/* In quarantine a device may keep the identity it has fresh, so that it can be released; nothing
 * else. Where its keys may have been touched, that is no step towards its release, unless a person
 * lets it renew to a new key. */
enum err incident_check_renewal(const struct row_source *rows, struct enrolment *e,
                                const struct certificate_row *newest, bool key_known,
                                bool same_unused_key)
{
    bool expired = e->authenticator == AUTHENTICATOR_EXPIRED, approved = false;
    struct device_grace_row grace = grace_row_of(e->act.tenant, e->device);
    if (e->authenticator != AUTHENTICATOR_CERTIFICATE && !expired)
        return refuse_quarantined(e);
    enum err err = row_source_get(rows, &table_device_grace, &grace);
    if (err == ERR_NOT_FOUND)
        return expired ? refuse_quarantined(e) : ERR_NONE;
    if (err == ERR_NONE)
        err = grace_is_approved(rows, &grace, &approved);
    if (err != ERR_NONE)
        return err;
    if (grace.closed_before != GRACE_CLOSED) {
        bool since = newest->serial[0] != '\0' && newest->issued_at >= grace.closed_before;
        if (since && same_unused_key) /* it lost the answer */
            return ERR_NONE;
        if (expired)
            return refuse_quarantined(e);
        return since ? check_since(rows, e, &grace) : ERR_NONE;
    }
    e->readmitted = approved && !key_known;
    if (!expired || approved)
        return ERR_NONE;
    return problem_set(&e->act.write.problem, 403, "grace-closed", "",
                       "an incident may have touched this device's keys; its operator may let it "
                       "in once, with a new one: holdfast device readmit %s",
                       e->device);
}

/* A password that was touched is gone: the one that is there is newer. */
static enum err check_password(struct tx *tx, const struct device_row *device, const char *field,
                               struct problem *problem)
{
    struct device_password_row row = password_row_of(device->tenant, device->id);
    enum err err = tx_get(tx, &table_device_password, &row);
    if (err != ERR_NOT_FOUND)
        return err;
    return problem_set(problem, 409, "key-not-new", field,
                       "'%s' has no password any more; `holdfast device password %s` makes a new "
                       "one first",
                       device->id, device->id);
}

enum err incident_check_release(struct tx *tx, const struct device_row *device, const char *field,
                                struct problem *problem)
{
    struct device_grace_row grace = grace_row_of(device->tenant, device->id);
    struct certificate_row used = certificate_row_of(device->confirmed);
    enum err err = tx_get(tx, &table_device_grace, &grace);
    if (err != ERR_NONE)
        return err == ERR_NOT_FOUND ? ERR_NONE : err;
    if (device->credential == CREDENTIAL_PASSWORD)
        return check_password(tx, device, field, problem);
    if (device->certificate[0] == '\0') /* there was nothing that could be touched */
        return ERR_NONE;
    if (grace.closed_before == GRACE_CLOSED)
        return problem_set(problem, 409, "key-not-new", field,
                           "the keys of '%s' may be in other hands; it has to renew with a new one "
                           "first, which `holdfast device readmit %s` allows once",
                           device->id, device->id);
    if (used.serial[0] != '\0')
        err = tx_get(tx, &table_certificate, &used);
    if (err != ERR_NONE)
        return err == ERR_NOT_FOUND ? ERR_INTERNAL : err;
    if (used.serial[0] == '\0' || used.issued_at < grace.closed_before)
        return problem_set(problem, 409, "key-not-new", field,
                           "the keys of '%s' may be in other hands, and it has not used a "
                           "certificate for a new one yet",
                           device->id);
    return ERR_NONE;
}
