#include "broker/keeper_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/file.h"

#define STEP 64 /* records taken at a time: some 50 us under the lock */

/* ---- records ---- */

enum err keeper_check_feed(struct slice bytes, struct device_feed *ret_feed)
{
    struct device_feed feed;
    enum err err = device_feed_read_head(bytes, &feed);
    if (err != ERR_NONE)
        return err;
    struct reader records = feed.records;
    for (uint32_t i = 0; i < feed.count && records.err == ERR_NONE; i++) {
        struct device_record record;
        device_record_read(&records, &record);
    }
    err = reader_finish(&records);
    if (err == ERR_NONE)
        *ret_feed = feed;
    return err;
}

/* A cut that has come: to be carried out from the start. */
void keeper_take_cut(struct broker *b, uint32_t device, uint64_t at, bool is_news)
{
    if (table_noted(b->table, device, TABLE_PENDING)) {
        table_note(b->table, device, TABLE_AGAIN, true);
        return;
    }
    table_note(b->table, device, TABLE_SETTLED, false);
    struct cut *cut = cuts_add(&b->cuts, CUT_TO_END);
    if (cut == NULL) {
        b->cuts.more = true;
        return;
    }
    table_note(b->table, device, TABLE_PENDING, true);
    cut->device = device;
    cut->at = at;
    cut->is_news = is_news;
    cut->taken_ms = clock_monotonic_ms();
}

/* Whoever has sessions, and stands otherwise than before, is looked at again. */
static void recheck(struct broker *b, uint32_t device)
{
    uint32_t cursor = 0;
    if (sessions_next_of(b->sessions, device, &cursor) == NULL)
        return;
    if (b->rechecks_len == BROKER_RECHECKS_MAX)
        broker_recheck_all(b);
    else
        b->rechecks[b->rechecks_len++] = device;
}

static enum err take_record(struct broker *b, const struct device_record *record, uint64_t at,
                            bool is_news, bool is_live)
{
    uint32_t device = 0;
    bool changed = false;
    enum err err = table_take(b->table, record, &device, &changed);
    if (err == ERR_NONE && !is_live && record->cut)
        table_note(b->table, device, TABLE_SETTLED, false); /* until a later frame says it is */
    b->epoch += changed;
    if (err != ERR_NONE || !is_live)
        return err;
    if (record->cut && (is_news || !table_noted(b->table, device, TABLE_SETTLED) || changed))
        keeper_take_cut(b, device, at, is_news);
    else if (changed)
        recheck(b, device);
    return ERR_NONE;
}

enum err keeper_take_records(struct broker *b, const struct device_feed *feed, bool is_news,
                             bool is_live, char ret_last[RULES_NAME_MAX + 1])
{
    struct reader records = feed->records;
    enum err err = ERR_NONE;
    uint32_t left_out = 0;
    for (uint32_t done = 0; done < feed->count && err == ERR_NONE;) {
        uint32_t n = feed->count - done < STEP ? feed->count - done : STEP;
        err = table_prepare(b->table, n);
        broker_lock(b);
        table_adopt(b->table);
        for (uint32_t i = 0; i < n && err == ERR_NONE; i++) {
            struct device_record record;
            device_record_read(&records, &record);
            err = take_record(b, &record, feed->at, is_news, is_live);
            if (err == ERR_LIMIT) { /* unknown, and so refused; the others must not suffer for it */
                left_out++;
                err = ERR_NONE;
            }
            if (ret_last != NULL && err == ERR_NONE) {
                memcpy(ret_last, record.device.data, record.device.len);
                ret_last[record.device.len] = '\0';
            }
        }
        broker_unlock(b);
        done += n;
    }
    if (left_out > 0)
        broker_log(b, 'e', "there is no room for %u more devices: raise devices-max", left_out);
    return err;
}

/* ---- from the hub ---- */

static enum err keep_page(struct broker *b, enum keeper_kind kind, struct slice feed)
{
    enum err err = journal_add(b->journal, (uint8_t)kind, feed, true);
    keeper_note_disk(b, err);
    return ERR_NONE; /* a cut is carried out, whether it can be written down or not */
}

enum err keeper_take_changes(struct broker *b, struct slice bytes, struct device_feed *ret_feed)
{
    struct device_feed feed;
    enum err err = keeper_check_feed(bytes, &feed);
    if (err != ERR_NONE)
        return err;
    bool moves = feed.at != b->position;
    if (feed.count > 0)
        err = keeper_take_records(b, &feed, true, true, NULL);
    if (err != ERR_NONE)
        return err;
    broker_lock(b);
    b->position = feed.at;
    broker_unlock(b);
    /* Sessions are ended before the disk is waited for: a crash between the two takes them along.
     */
    if (feed.count > 0)
        broker_wake(b);
    if (feed.count > 0 || moves)
        err = keep_page(b, KEEPER_PAGE, bytes);
    if (journal_is_long(b->journal))
        keeper_renew(b);
    *ret_feed = feed;
    return err;
}

enum err keeper_begin_anew(struct broker *b)
{
    uint8_t at[8];
    broker_lock(b);
    table_begin_anew(b->table);
    broker_unlock(b);
    struct writer w = writer_over(at, sizeof at);
    writer_be64(&w, 0);
    keeper_note_disk(b, journal_add(b->journal, KEEPER_ANEW, writer_bytes(&w), false));
    return ERR_NONE;
}

enum err keeper_take_part(struct broker *b, struct slice bytes, struct device_feed *ret_feed,
                          char ret_last[RULES_NAME_MAX + 1])
{
    struct device_feed feed;
    enum err err = keeper_check_feed(bytes, &feed);
    if (err == ERR_NONE)
        err = keeper_take_records(b, &feed, false, true, ret_last);
    if (err != ERR_NONE)
        return err;
    broker_wake(b);
    *ret_feed = feed;
    return keep_page(b, KEEPER_PART, bytes);
}

/* Those that are in the hub's table no more are not known any more. */
void keeper_sweep(struct broker *b)
{
    for (uint32_t i = 0; i < table_len(b->table); i++) {
        broker_lock(b);
        for (uint32_t n = 0; n < STEP && i < table_len(b->table); n++, i++)
            if (table_sweep(b->table, i)) {
                b->epoch++;
                recheck(b, i);
            }
        i--;
        broker_unlock(b);
    }
}

enum err keeper_end_anew(struct broker *b, uint64_t at)
{
    keeper_sweep(b);
    broker_lock(b);
    b->position = at;
    broker_unlock(b);
    broker_wake(b);
    keeper_renew(b);
    return ERR_NONE;
}

void keeper_adopt_rules(struct broker *b, const struct rules *rules, uint8_t *bytes)
{
    broker_lock(b);
    uint8_t *old = b->rules_bytes;
    b->rules = *rules;
    b->rules_bytes = bytes;
    b->has_rules = true;
    b->epoch++;
    b->strictest = 0;
    broker_recheck_all(b);
    broker_unlock(b);
    free(old);
    broker_wake(b);
}

enum err keeper_rules_path(const struct broker *b, char path[CONFIG_TEXT_MAX + 16])
{
    int n = snprintf(path, CONFIG_TEXT_MAX + 16, "%s/rules", b->settings.state);
    return n > 0 && n < CONFIG_TEXT_MAX + 16 ? ERR_NONE : ERR_LIMIT;
}

enum err keeper_read_rules(const struct broker *b, struct slice file, struct rules *ret_rules)
{
    enum err err = ERR_NOT_FOUND;
    for (size_t i = 0; i < b->settings.policy_keys_len && err == ERR_NOT_FOUND; i++)
        err = rules_read(file, &b->settings.policy_keys[i], crypto_sha256, crypto_ed25519_verify,
                         ret_rules);
    return err;
}

enum err keeper_take_rules(struct broker *b, struct slice file, char explain[256])
{
    uint8_t *bytes = file.len > RULES_MAX + NOTE_MAX + 64 ? NULL : malloc(file.len + 1);
    if (bytes == NULL)
        return ERR_NO_MEMORY;
    if (file.len > 0)
        memcpy(bytes, file.data, file.len);
    struct rules rules;
    enum err err = keeper_read_rules(b, slice_of(bytes, file.len), &rules);
    const char *fault = err_text(err);
    if (err == ERR_NONE && b->has_rules && rules.version <= b->rules.version) {
        err = ERR_EXISTS;
        fault = "they are not newer than those in force";
    } else if (err == ERR_NONE && b->has_rules && strcmp(rules.fleet, b->rules.fleet) != 0) {
        err = ERR_REFUSED;
        fault = "they are of another fleet";
    }
    if (err != ERR_NONE) {
        (void)snprintf(explain, 256, "rules that a hub sent are not taken: %.100s", fault);
        free(bytes);
        return err;
    }
    char path[CONFIG_TEXT_MAX + 16];
    err = keeper_rules_path(b, path);
    if (err == ERR_NONE)
        err = file_replace(path, file, 0600);
    if (err != ERR_NONE)
        broker_log(b, 'e', "%s cannot be written: %s", path, err_text(err));
    keeper_adopt_rules(b, &rules, bytes);
    broker_log(b, 'n', "rules version %llu of fleet %s are in force",
               (unsigned long long)rules.version, rules.fleet);
    return ERR_NONE;
}

void keeper_answered(struct broker *b)
{
    struct contact_now now;
    contact_now(&now);
    broker_lock(b);
    contact_answered(&b->contact, &now);
    b->trouble[0] = '\0';
    broker_unlock(b);
}

void keeper_lost(struct broker *b, const char *why)
{
    broker_lock(b);
    bool told = b->trouble[0] != '\0';
    contact_lost(&b->contact);
    (void)snprintf(b->trouble, sizeof b->trouble, "%s", why);
    broker_unlock(b);
    if (!told)
        broker_log(b, 'w',
                   "no hub answers: %s; known devices go on for as long as their models may", why);
}

/* Cuts that found no room when they came: they stand in the table. */
void keeper_look_for_cuts(struct broker *b)
{
    broker_lock(b);
    bool look = b->cuts.more && b->cuts.count[CUT_TO_END] == 0;
    if (look)
        b->cuts.more = false;
    broker_unlock(b);
    for (uint32_t i = 0; look && i < table_len(b->table);) {
        broker_lock(b);
        for (uint32_t n = 0; n < STEP && i < table_len(b->table); n++, i++)
            if (table_is_cut(b->table, i) && !table_noted(b->table, i, TABLE_SETTLED) &&
                !table_noted(b->table, i, TABLE_PENDING) && !b->cuts.more)
                keeper_take_cut(b, i, b->position, false);
        broker_unlock(b);
    }
    if (look)
        broker_wake(b);
}
