#include "core/device_feed.h"

#define FEED_START SLICE_LITERAL("HFFEED01")

#define FLAG_PASSWORD 1U
#define FLAG_CUT      2U
#define FLAG_PREVIOUS 4U

static bool is_final(enum device_state state)
{
    return state == DEVICE_REVOKED || state == DEVICE_RETIRED;
}

static bool has_nul(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] == '\0')
            return true;
    return false;
}

/* Any bytes but U+0000: what a name may reach is for the rules to say, and one odd name must not
 * keep the whole table from being taken. */
static enum err check_name(struct slice name, size_t least)
{
    if (name.len > RULES_NAME_MAX)
        return ERR_LIMIT;
    return name.len < least || has_nul(name) ? ERR_SYNTAX : ERR_NONE;
}

static enum err check_password(const struct device_password *p)
{
    if (p->present && p->iterations > DEVICE_ITERATIONS_MAX)
        return ERR_LIMIT;
    return p->present && p->iterations == 0 ? ERR_SYNTAX : ERR_NONE;
}

static enum err check_record(const struct device_record *d)
{
    enum err err = check_name(d->tenant, 1);
    if (err == ERR_NONE)
        err = check_name(d->device, 1);
    if (err == ERR_NONE)
        err = check_name(d->model, 1);
    if (err == ERR_NONE)
        err = check_name(d->group, 0);
    if (err == ERR_NONE)
        err = check_password(&d->password);
    if (err == ERR_NONE)
        err = check_password(&d->previous);
    if (err != ERR_NONE)
        return err;
    if (d->certificates_len > DEVICE_CERTIFICATES_MAX)
        return ERR_LIMIT;
    if ((unsigned)d->state >= DEVICE_STATE_COUNT || (d->previous.present && !d->password.present))
        return ERR_SYNTAX;
    bool may_come_in = d->certificates_len > 0 || d->password.present;
    return is_final(d->state) && may_come_in ? ERR_SYNTAX : ERR_NONE;
}

/* ---- a record ---- */

static void write_name(struct writer *w, struct slice name)
{
    writer_u8(w, (uint8_t)name.len);
    writer_put(w, name);
}

static void write_password(struct writer *w, const struct device_password *password)
{
    if (!password->present)
        return;
    writer_put(w, slice_of(password->salt, DEVICE_SALT_SIZE));
    writer_be32(w, password->iterations);
    writer_put(w, slice_of(password->stored_key, SHA256_SIZE));
    writer_be64(w, (uint64_t)password->until);
}

void device_record_write(struct writer *w, const struct device_record *record)
{
    enum err err = check_record(record);
    if (err != ERR_NONE) {
        writer_fail(w, err);
        return;
    }
    uint8_t *length = writer_reserve(w, 2);
    size_t start = w->len;
    unsigned flags = (record->password.present ? FLAG_PASSWORD : 0) | (record->cut ? FLAG_CUT : 0) |
                     (record->previous.present ? FLAG_PREVIOUS : 0);
    writer_u8(w, (uint8_t)record->state);
    writer_u8(w, (uint8_t)flags);
    write_name(w, record->tenant);
    write_name(w, record->device);
    write_name(w, record->model);
    write_name(w, record->group);
    writer_u8(w, (uint8_t)record->certificates_len);
    for (size_t i = 0; i < record->certificates_len; i++) {
        writer_put(w, slice_of(record->certificates[i].sha256, SHA256_SIZE));
        writer_be64(w, (uint64_t)record->certificates[i].not_after);
    }
    write_password(w, &record->password);
    write_password(w, &record->previous);
    if (w->err != ERR_NONE || length == NULL)
        return;
    length[0] = (uint8_t)((w->len - start) >> 8);
    length[1] = (uint8_t)(w->len - start);
}
/* The longest record is shorter than DEVICE_RECORD_MAX. */
_Static_assert(2 + 2 + 4 * (1 + RULES_NAME_MAX) + 1 + DEVICE_CERTIFICATES_MAX * (SHA256_SIZE + 8) +
                       2 * (DEVICE_SALT_SIZE + 4 + SHA256_SIZE + 8) <=
                   DEVICE_RECORD_MAX,
               "a record fits");

static void read_bytes(struct reader *r, uint8_t *to, size_t n)
{
    struct slice bytes = reader_take(r, n);
    if (bytes.len == n)
        memcpy(to, bytes.data, n);
}

static void read_certificates(struct reader *r, struct device_record *d)
{
    d->certificates_len = reader_u8(r);
    if (d->certificates_len > DEVICE_CERTIFICATES_MAX) {
        reader_fail(r, ERR_LIMIT);
        d->certificates_len = 0;
    }
    for (size_t i = 0; i < d->certificates_len; i++) {
        read_bytes(r, d->certificates[i].sha256, SHA256_SIZE);
        d->certificates[i].not_after = (int64_t)reader_be64(r);
    }
}

static void read_password(struct reader *r, struct device_password *password)
{
    password->present = true;
    read_bytes(r, password->salt, DEVICE_SALT_SIZE);
    password->iterations = reader_be32(r);
    read_bytes(r, password->stored_key, SHA256_SIZE);
    password->until = (int64_t)reader_be64(r);
}

void device_record_read(struct reader *r, struct device_record *ret_record)
{
    size_t len = reader_be16(r);
    if (len > DEVICE_RECORD_MAX - 2)
        reader_fail(r, ERR_LIMIT);
    struct reader one = reader_over(reader_take(r, len));
    struct device_record d = {.certificates_len = 0};
    d.state = (enum device_state)reader_u8(&one);
    unsigned flags = reader_u8(&one);
    if ((flags & ~(FLAG_PASSWORD | FLAG_CUT | FLAG_PREVIOUS)) != 0)
        reader_fail(&one, ERR_UNSUPPORTED);
    d.cut = (flags & FLAG_CUT) != 0;
    d.tenant = reader_take(&one, reader_u8(&one));
    d.device = reader_take(&one, reader_u8(&one));
    d.model = reader_take(&one, reader_u8(&one));
    d.group = reader_take(&one, reader_u8(&one));
    read_certificates(&one, &d);
    if ((flags & FLAG_PASSWORD) != 0)
        read_password(&one, &d.password);
    if ((flags & FLAG_PREVIOUS) != 0)
        read_password(&one, &d.previous);
    enum err err = reader_finish(&one);
    reader_fail(r, err != ERR_NONE ? err : check_record(&d));
    if (r->err == ERR_NONE)
        *ret_record = d;
}

/* ---- a page of them ---- */

void device_feed_write_head(struct writer *w, uint64_t at, uint64_t rules, uint32_t count)
{
    if (count > DEVICE_FEED_RECORDS_MAX)
        writer_fail(w, ERR_LIMIT);
    writer_put(w, FEED_START);
    writer_be64(w, at);
    writer_be64(w, rules);
    writer_be32(w, count);
}

enum err device_feed_read_head(struct slice bytes, struct device_feed *ret_feed)
{
    if (bytes.len > DEVICE_FEED_MAX)
        return ERR_LIMIT;
    struct reader r = reader_over(bytes);
    reader_expect(&r, FEED_START);
    struct device_feed feed = {.at = reader_be64(&r)};
    feed.rules = reader_be64(&r);
    feed.count = reader_be32(&r);
    if (feed.count > DEVICE_FEED_RECORDS_MAX)
        reader_fail(&r, ERR_LIMIT);
    if (r.err != ERR_NONE)
        return r.err;
    feed.records = r;
    *ret_feed = feed;
    return ERR_NONE;
}
