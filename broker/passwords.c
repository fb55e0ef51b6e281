#include "broker/passwords.h"

#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"

#define WORKING_MAX 2

/* Those of the device that work at that date; the one that was made last comes first. */
static size_t working(const struct broker *b, uint32_t device, int64_t date,
                      struct device_password ret_passwords[WORKING_MAX])
{
    struct device_record record;
    size_t n = 0;
    table_record(b->table, device, &record);
    if (record.password.present && record.password.until > date)
        ret_passwords[n++] = record.password;
    if (record.previous.present && record.previous.until > date)
        ret_passwords[n++] = record.previous;
    return n;
}

/* What is remembered of one that was right: under a secret of this run of the broker. */
static void seal(const struct broker *b, const struct device_password *p, struct slice password,
                 uint8_t ret_seal[SHA256_SIZE])
{
    uint8_t bytes[SHA256_SIZE + BROKER_PASSWORD_MAX];
    memcpy(bytes, p->stored_key, SHA256_SIZE);
    if (password.len > 0)
        memcpy(bytes + SHA256_SIZE, password.data, password.len);
    crypto_hmac_sha256((const uint8_t *)b->secret, slice_of(bytes, SHA256_SIZE + password.len),
                       ret_seal);
    mem_wipe(bytes, sizeof bytes);
}

static bool fits(const struct device_password *p, struct slice password)
{
    uint8_t key[SHA256_SIZE];
    return p->iterations <= BROKER_PASSWORD_ITERATIONS_MAX &&
           crypto_scram_stored_key(password, slice_of(p->salt, sizeof p->salt), p->iterations,
                                   key) == ERR_NONE &&
           mem_equal_constant_time(key, p->stored_key, sizeof key);
}

/* One that was right before; `n` where none is. */
static size_t find_known(const struct broker *b, const struct limits_usage *usage,
                         const struct device_password *all, size_t n, struct slice password)
{
    size_t found = n;
    for (size_t i = 0; i < n; i++) {
        uint8_t known[SHA256_SIZE];
        seal(b, &all[i], password, known);
        if (mem_equal_constant_time(known, usage->password_known, sizeof known))
            found = i;
    }
    return found;
}

/* An attempt costs all that has to be tried for it. */
static bool may_try(struct broker *b, struct limits_usage *usage, struct slice address, size_t n)
{
    static const struct rate from_one = {BROKER_PASSWORDS_PER_MINUTE, BROKER_PASSWORDS_PER_MINUTE};
    int64_t now_us = clock_monotonic_us(), wait_ms = 0;
    return rate_allow(b->sources, address, &from_one, now_us / 1000, &wait_ms) &&
           limits_take(&usage->passwords_us, BROKER_PASSWORDS_PER_MINUTE, 1, now_us) &&
           limits_take(&b->passwords_us, BROKER_PASSWORDS_PER_SECOND * 60, (uint32_t)n, now_us);
}

bool passwords_try(struct broker *b, uint32_t device, struct slice password, struct slice address,
                   int64_t date, struct device_password *ret_password, bool *ret_is_new)
{
    struct device_password all[WORKING_MAX], newest[WORKING_MAX];
    const size_t n = working(b, device, date, all);
    struct limits_usage *usage = sessions_usage(b->sessions, device);
    if (n == 0 || usage == NULL || password.len > BROKER_PASSWORD_MAX)
        return false;
    size_t which = find_known(b, usage, all, n, password);
    if (which == n) {
        if (!may_try(b, usage, address, n))
            return false;
        broker_unlock(b);
        for (which = 0; which < n && !fits(&all[which], password);)
            which++;
        broker_lock(b);
        /* It may have been replaced meanwhile. */
        if (which == n || !passwords_hold(b, device, all[which].stored_key, date))
            return false;
        seal(b, &all[which], password, usage->password_known);
    }
    size_t now = working(b, device, date, newest);
    *ret_password = all[which];
    *ret_is_new = now > 0 && memcmp(newest[0].stored_key, all[which].stored_key, SHA256_SIZE) == 0;
    return true;
}

bool passwords_hold(const struct broker *b, uint32_t device, const uint8_t stored_key[SHA256_SIZE],
                    int64_t date)
{
    struct device_password all[WORKING_MAX];
    const size_t n = working(b, device, date, all);
    for (size_t i = 0; i < n; i++)
        if (mem_equal_constant_time(all[i].stored_key, stored_key, SHA256_SIZE))
            return true;
    return false;
}
