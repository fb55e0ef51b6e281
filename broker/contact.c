#include "broker/contact.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/file.h"

#define BOOT_ID_MAX 64

static void read_boot(uint8_t ret_boot[CONTACT_BOOT_SIZE])
{
    uint8_t *text = NULL, digest[SHA256_SIZE] = {0};
    size_t len = 0;
    if (file_read("/proc/sys/kernel/random/boot_id", BOOT_ID_MAX, &text, &len) == ERR_NONE)
        crypto_sha256_one(slice_of(text, len), digest);
    free(text);
    memcpy(ret_boot, digest, CONTACT_BOOT_SIZE);
}

void contact_now(struct contact_now *ret_now)
{
    static _Thread_local uint8_t boot[CONTACT_BOOT_SIZE];
    static _Thread_local bool known;
    if (!known)
        read_boot(boot);
    known = true;
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_BOOTTIME, &t);
    ret_now->wall = clock_seconds();
    ret_now->boot_seconds = t.tv_sec;
    memcpy(ret_now->boot, boot, CONTACT_BOOT_SIZE);
}

void contact_init(struct contact *c)
{
    *c = (struct contact){.stale = CONTACT_STALE_EVER};
}

int64_t contact_date(const struct contact *c, const struct contact_now *now)
{
    int64_t least = c->wall + (now->boot_seconds - c->boot_seconds);
    return now->wall > least ? now->wall : least;
}

void contact_answered(struct contact *c, const struct contact_now *now)
{
    c->wall =
        now->wall; /* the hub's certificate is good by this date: also where an earlier was wrong */
    c->answered = now->wall;
    c->boot_seconds = now->boot_seconds;
    c->stale = 0;
    c->in_touch = true;
}

void contact_lost(struct contact *c)
{
    c->in_touch = false;
}

int64_t contact_stale(const struct contact *c, const struct contact_now *now)
{
    if (c->in_touch || c->stale == CONTACT_STALE_EVER)
        return c->in_touch ? 0 : CONTACT_STALE_EVER;
    return c->stale + (now->boot_seconds - c->boot_seconds);
}

void contact_write(struct writer *w, const struct contact *c, const struct contact_now *now)
{
    struct contact lost = *c; /* whoever reads this does not know whether a hub answers */
    contact_lost(&lost);
    writer_be64(w, (uint64_t)contact_date(c, now));
    writer_be64(w, (uint64_t)now->boot_seconds);
    writer_put(w, slice_of(now->boot, CONTACT_BOOT_SIZE));
    writer_be64(w, (uint64_t)contact_stale(&lost, now));
    writer_be64(w, (uint64_t)c->answered);
}

enum err contact_read(struct slice bytes, const struct contact_now *now,
                      struct contact *ret_contact)
{
    struct reader r = reader_over(bytes);
    struct contact c = {.wall = (int64_t)reader_be64(&r)};
    int64_t boot_seconds = (int64_t)reader_be64(&r);
    struct slice boot = reader_take(&r, CONTACT_BOOT_SIZE);
    c.stale = (int64_t)reader_be64(&r);
    c.answered = (int64_t)reader_be64(&r);
    enum err err = reader_finish(&r);
    if (err != ERR_NONE)
        return err;
    if (c.wall < 0 || boot_seconds < 0 || c.stale < 0 || c.answered < 0 || c.wall > INT64_MAX / 4 ||
        boot_seconds > INT64_MAX / 4)
        return ERR_SYNTAX;
    int64_t since = now->boot_seconds - boot_seconds;
    bool same = slice_equal(boot, slice_of(now->boot, CONTACT_BOOT_SIZE)) && since >= 0;
    if (!same)
        since = now->wall - c.wall;
    if (since < 0 || c.stale > INT64_MAX / 4)
        c.stale = CONTACT_STALE_EVER;
    else
        c.stale += since;
    c.wall = c.wall > now->wall ? c.wall : now->wall;
    c.boot_seconds = now->boot_seconds;
    *ret_contact = c;
    return ERR_NONE;
}
