#include "broker/keeper_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/crypto.h"
#include "base/file.h"

#define RECORD_USUAL 80 /* bytes of a device's record: a name, and one certificate */
#define FLUSH_MAX                                                                                  \
    ((size_t)4 << 20) /* more than the changes that traces.h notes, with their names */

/* ---- writing ---- */

void keeper_note_disk(struct broker *b, enum err err)
{
    if (err != ERR_NONE)
        broker_log(b, 'e',
                   "the journal in %s cannot be written: %s; after a restart the broker knows less",
                   b->settings.state, err_text(err));
}

static struct slice number(uint64_t at, uint8_t bytes[8])
{
    struct writer w = writer_over(bytes, 8);
    writer_be64(&w, at);
    return writer_bytes(&w);
}

static void write_text8(struct writer *w, struct slice text)
{
    writer_u8(w, (uint8_t)text.len);
    writer_put(w, text);
}

static void write_device(struct broker *b, struct writer *w, uint32_t device)
{
    struct device_record record;
    table_record(b->table, device, &record);
    write_text8(w, record.tenant);
    write_text8(w, record.device);
}

static uint32_t read_device(const struct broker *b, struct reader *r)
{
    struct slice tenant = reader_take(r, reader_u8(r));
    struct slice device = reader_take(r, reader_u8(r));
    return r->err == ERR_NONE ? table_find(b->table, tenant, device) : TABLE_NONE;
}

#define TRACE_FRAME_MAX (2 + 2 * (1 + RULES_NAME_MAX) + 2 + BROKER_TOPIC_MAX + 256)

/* A small frame among others in memory: kind{8} length{16} payload. */
static void write_frame(struct writer *w, enum keeper_kind kind, struct slice payload)
{
    writer_u8(w, (uint8_t)kind);
    writer_be16(w, (uint16_t)payload.len);
    writer_put(w, payload);
}

static void write_trace(struct broker *b, struct writer *w, enum trace_kind kind, uint32_t device,
                        bool remembered, struct slice text)
{
    writer_u8(w, (uint8_t)kind);
    writer_u8(w, remembered);
    write_device(b, w, device);
    writer_be16(w, (uint16_t)text.len);
    writer_put(w, text);
}

/* ---- writing all of it anew ---- */

struct renewal {
    struct broker *b;
    uint8_t *page; /* DEVICE_FEED_MAX */
};

static enum err put_page(struct renewal *r, struct journal *j, uint32_t *from)
{
    struct broker *b = r->b;
    struct writer w = writer_over(r->page, DEVICE_FEED_MAX);
    device_feed_write_head(&w, b->position, 0, 0);
    uint32_t count = 0, i = *from, len = table_len(b->table);
    for (; i < len && count < DEVICE_FEED_RECORDS_MAX; i++) {
        struct device_record record;
        struct rules_subject subject;
        if (!table_subject(b->table, i, &subject))
            continue;
        table_record(b->table, i, &record);
        device_record_write(&w, &record);
        count++;
    }
    *from = i;
    struct writer head = writer_over(r->page, DEVICE_FEED_MAX);
    device_feed_write_head(&head, b->position, 0, count);
    if (w.err != ERR_NONE || head.err != ERR_NONE)
        return ERR_INTERNAL;
    return count == 0 ? ERR_NONE : journal_put(j, KEEPER_PART, writer_bytes(&w));
}

/* One device's, copied under the lock: writing waits for the disk. */
static void copy_notes(struct broker *b, struct writer *frames, uint32_t device)
{
    struct device_record record;
    table_record(b->table, device, &record);
    uint8_t bytes[TRACE_FRAME_MAX];
    if (record.cut && table_noted(b->table, device, TABLE_SETTLED)) {
        struct writer w = writer_over(bytes, sizeof bytes);
        write_device(b, &w, device);
        write_frame(frames, KEEPER_SETTLED, writer_bytes(&w));
    }
    for (size_t i = 0; i < record.certificates_len; i++)
        if (table_seen(b->table, record.certificates[i].sha256))
            write_frame(frames, KEEPER_SEEN, slice_of(record.certificates[i].sha256, SHA256_SIZE));
    for (unsigned kind = 0; kind < TRACE_KINDS; kind++) {
        uint32_t cursor = 0;
        struct slice text;
        while (traces_next(b->traces, kind, device, &cursor, &text)) {
            struct writer w = writer_over(bytes, sizeof bytes);
            write_trace(b, &w, kind, device, true, text);
            write_frame(frames, KEEPER_TRACE, writer_bytes(&w));
        }
    }
}

static enum err put_notes(struct renewal *r, struct journal *j, uint32_t device)
{
    struct writer w = writer_over(r->page, DEVICE_FEED_MAX);
    broker_lock(r->b);
    copy_notes(r->b, &w, device);
    broker_unlock(r->b);
    struct reader frames = reader_over(writer_bytes(&w));
    enum err err = w.err;
    while (reader_left(&frames) > 0 && err == ERR_NONE) {
        uint8_t kind = reader_u8(&frames);
        err = journal_put(j, kind, reader_take(&frames, reader_be16(&frames)));
    }
    return err;
}

static void write_contact(struct broker *b, struct writer *w)
{
    struct contact_now now;
    contact_now(&now);
    broker_lock(b);
    contact_write(w, &b->contact, &now);
    broker_unlock(b);
}

static enum err put_all(void *context, struct journal *j)
{
    struct renewal *r = context;
    struct broker *b = r->b;
    uint8_t at[8];
    enum err err = journal_put(j, KEEPER_ANEW, number(b->position, at));
    for (uint32_t i = 0; i < table_len(b->table) && err == ERR_NONE;)
        err = put_page(r, j, &i);
    if (err == ERR_NONE && b->position > 0)
        err = journal_put(j, KEEPER_WHOLE, number(b->position, at));
    for (uint32_t i = 0; i < table_len(b->table) && err == ERR_NONE; i++)
        err = put_notes(r, j, i);
    uint8_t bytes[64];
    struct writer w = writer_over(bytes, sizeof bytes);
    write_contact(b, &w);
    return err == ERR_NONE ? journal_put(j, KEEPER_CONTACT, writer_bytes(&w)) : err;
}

void keeper_renew(struct broker *b)
{
    struct renewal r = {.b = b, .page = malloc(DEVICE_FEED_MAX)};
    enum err err = r.page == NULL ? ERR_NO_MEMORY : journal_renew(b->journal, put_all, &r);
    free(r.page);
    keeper_note_disk(b, err);
}

/* ---- what is due ---- */

struct changes {
    struct broker *b;
    struct writer w;
};

static void collect(void *context, enum trace_kind kind, uint32_t device, bool remembered,
                    struct slice text)
{
    struct changes *c = context;
    uint8_t bytes[TRACE_FRAME_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    write_trace(c->b, &w, kind, device, remembered, text);
    write_frame(&c->w, KEEPER_TRACE, writer_bytes(&w));
}

void keeper_flush(struct broker *b, bool contact_too)
{
    struct changes c = {.b = b};
    if (b->flush_bytes == NULL)
        b->flush_bytes = malloc(FLUSH_MAX);
    if (b->flush_bytes == NULL)
        return;
    c.w = writer_over(b->flush_bytes, FLUSH_MAX);
    broker_lock(b);
    bool all = traces_take_changes(b->traces, collect, &c);
    broker_unlock(b);
    enum err err = ERR_NONE;
    struct reader r = reader_over(writer_bytes(&c.w));
    while (reader_left(&r) > 0 && err == ERR_NONE) {
        uint8_t kind = reader_u8(&r);
        err = journal_add(b->journal, kind, reader_take(&r, reader_be16(&r)), false);
    }
    uint8_t bytes[64];
    struct writer contact = writer_over(bytes, sizeof bytes);
    write_contact(b, &contact);
    if (err == ERR_NONE && contact_too)
        err = journal_add(b->journal, KEEPER_CONTACT, writer_bytes(&contact), true);
    keeper_note_disk(b, err);
    if (all || c.w.err != ERR_NONE || journal_is_long(b->journal))
        keeper_renew(b);
}

void keeper_settled(struct broker *b, uint32_t device)
{
    uint8_t bytes[2 * (RULES_NAME_MAX + 1)];
    struct writer w = writer_over(bytes, sizeof bytes);
    broker_lock(b);
    write_device(b, &w, device);
    broker_unlock(b);
    keeper_note_disk(b, journal_add(b->journal, KEEPER_SETTLED, writer_bytes(&w), false));
}

void keeper_seen(struct broker *b, const uint8_t certificate[SHA256_SIZE])
{
    keeper_note_disk(
        b, journal_add(b->journal, KEEPER_SEEN, slice_of(certificate, SHA256_SIZE), false));
}

/* ---- reading it again ---- */

static enum err load_feed(struct broker *b, struct slice payload, uint64_t *ret_at)
{
    struct device_feed feed;
    enum err err = keeper_check_feed(payload, &feed);
    if (err == ERR_NONE)
        err = keeper_take_records(b, &feed, false, false, NULL);
    if (err == ERR_NONE)
        *ret_at = feed.at;
    return err;
}

static enum err load_trace(struct broker *b, struct reader *r)
{
    uint8_t kind = reader_u8(r);
    bool remembered = reader_u8(r) != 0;
    uint32_t device = read_device(b, r);
    struct slice text = reader_take(r, reader_be16(r));
    enum err err = reader_finish(r);
    if (err != ERR_NONE || kind >= TRACE_KINDS)
        return ERR_SYNTAX;
    if (!remembered)
        (void)traces_forget(b->traces, kind, text);
    else if (device != TABLE_NONE)
        (void)traces_remember(b->traces, kind, device, text);
    return ERR_NONE;
}

static enum err load_contact(struct broker *b, struct slice payload)
{
    struct contact_now now;
    contact_now(&now);
    return contact_read(payload, &now, &b->contact);
}

static enum err load(struct broker *b, uint8_t kind, struct slice payload)
{
    struct reader r = reader_over(payload);
    uint64_t at = 0;
    uint32_t device;
    enum err err;
    switch ((enum keeper_kind)kind) {
    case KEEPER_PAGE:
        err = load_feed(b, payload, &at);
        if (err == ERR_NONE && b->position > 0)
            b->position = at;
        return err;
    case KEEPER_ANEW:
        table_begin_anew(b->table);
        return ERR_NONE;
    case KEEPER_PART:
        return load_feed(b, payload, &at);
    case KEEPER_WHOLE:
        at = reader_be64(&r);
        err = reader_finish(&r);
        if (err != ERR_NONE)
            return err;
        keeper_sweep(b);
        b->position = at;
        return ERR_NONE;
    case KEEPER_CONTACT:
        return load_contact(b, payload);
    case KEEPER_TRACE:
        return load_trace(b, &r);
    case KEEPER_SETTLED:
        device = read_device(b, &r);
        if (device != TABLE_NONE)
            table_note(b->table, device, TABLE_SETTLED, true);
        return reader_finish(&r);
    case KEEPER_SEEN:
        if (payload.len == SHA256_SIZE)
            (void)table_note_seen(b->table, payload.data);
        return ERR_NONE;
    }
    return ERR_UNSUPPORTED;
}

/* What is whole and yet not understood is another version's: then everything is asked for anew. */
static enum err load_frame(void *context, uint8_t kind, struct slice payload)
{
    struct broker *b = context;
    enum err err = load(b, kind, payload);
    if (err == ERR_NO_MEMORY || err == ERR_LIMIT)
        return err;
    if (err != ERR_NONE)
        b->position = 0;
    return ERR_NONE;
}

static void load_rules(struct broker *b)
{
    char path[CONFIG_TEXT_MAX + 16];
    uint8_t *bytes = NULL;
    size_t len = 0;
    struct rules rules;
    enum err err = keeper_rules_path(b, path);
    if (err == ERR_NONE)
        err = file_read(path, RULES_MAX + NOTE_MAX + 64, &bytes, &len);
    if (err == ERR_NONE)
        err = keeper_read_rules(b, slice_of(bytes, len), &rules);
    if (err == ERR_NONE) {
        keeper_adopt_rules(b, &rules, bytes);
        return;
    }
    free(bytes);
    if (err != ERR_NOT_FOUND)
        broker_log(b, 'w', "%s: %s: nobody is admitted until a hub sends rules", path,
                   err_text(err));
}

/* Room for as many devices as the journal may hold: else the indexes grow, and grow, while it is
 * read. */
static enum err make_room(struct broker *b)
{
    char path[CONFIG_TEXT_MAX + 16];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/journal", b->settings.state);
    int64_t devices = stat(path, &st) == 0 ? st.st_size / RECORD_USUAL : 0;
    if (devices > b->settings.devices_max)
        devices = b->settings.devices_max;
    enum err err = table_prepare(b->table, (uint32_t)devices);
    table_adopt(b->table);
    return err;
}

enum err keeper_open(struct broker *b, char explain[256])
{
    uint64_t dropped = 0;
    enum err err = make_room(b);
    if (err == ERR_NONE)
        err = journal_open(b->settings.state, load_frame, b, &b->journal, &dropped, explain);
    if (err != ERR_NONE)
        return err;
    if (dropped > 0)
        broker_log(b, 'w', "the journal in %s ended in %llu bytes that were not whole: dropped",
                   b->settings.state, (unsigned long long)dropped);
    load_rules(b);
    for (uint32_t i = 0; i < table_len(b->table); i++)
        if (table_is_cut(b->table, i) && !table_noted(b->table, i, TABLE_SETTLED))
            keeper_take_cut(b, i, b->position, true);
    return ERR_NONE;
}
