#include "hub/subjects/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"

#define NUMBER_MAX (UINT32_MAX - 1)

/* ---- rows and keys ---- */

struct subject_row subject_row_of(const char *tenant, const char *id)
{
    struct subject_row row = {0};
    (void)snprintf(row.tenant, sizeof row.tenant, "%s", tenant);
    (void)snprintf(row.id, sizeof row.id, "%s", id);
    return row;
}

enum err subject_number(const char *id, uint32_t *ret_number)
{
    struct reader r = reader_over(slice_of_text(id));
    reader_expect(&r, SLICE_LITERAL("~"));
    uint64_t number = reader_decimal(&r, NUMBER_MAX);
    enum err err = reader_finish(&r);
    if (err == ERR_NONE)
        *ret_number = (uint32_t)number;
    return err;
}

static enum err key_of(struct subjects *s, const char *id, struct hash *ret_key)
{
    uint32_t number = 0;
    enum err err = subject_number(id, &number);
    if (err != ERR_NONE)
        return ERR_NOT_FOUND;
    pthread_mutex_lock(&s->lock);
    err = keytree_leaf(&s->tree, number, ret_key);
    pthread_mutex_unlock(&s->lock);
    return err;
}

static struct subject_name_row name_row_of(struct subjects *s, const char *tenant, const char *name)
{
    struct subject_name_row row = {0};
    uint8_t bytes[2 * NAME_MAX_BYTES + 2];
    struct writer w = writer_over(bytes, sizeof bytes);
    writer_text(&w, tenant);
    writer_u8(&w, 0);
    writer_text(&w, name);
    (void)snprintf(row.tenant, sizeof row.tenant, "%s", tenant);
    crypto_hmac_sha256(s->tree.name_key.bytes, writer_bytes(&w), row.name_mac.bytes);
    return row;
}

#define CONTEXT_MAX (8 + 2 * (NAME_MAX_BYTES + 1))
_Static_assert(SEALED_TEXT_SIZE ==
                   SUBJECT_ID_SIZE + 2 * (REASON_MAX_BYTES + CRYPTO_SEAL_OVERHEAD) + 1,
               "an id, a colon, and a box in hexadecimal");

/* What a sealed text is bound to: a name opens nowhere but in its own row, and what was said about
 * a device nowhere but there. */
static struct slice context_of(const char *kind, const char *tenant, const char *id,
                               uint8_t bytes[CONTEXT_MAX])
{
    struct writer w = writer_over(bytes, CONTEXT_MAX);
    writer_text(&w, kind);
    writer_text(&w, tenant);
    writer_text(&w, "/");
    writer_text(&w, id);
    return writer_bytes(&w);
}

static enum err seal_name(struct subjects *s, const struct subject_row *row, const char *name,
                          struct writer *w)
{
    struct hash key;
    uint8_t context[CONTEXT_MAX];
    enum err err = key_of(s, row->id, &key);
    if (err != ERR_NONE)
        return err;
    err = crypto_seal(key.bytes, context_of("name/", row->tenant, row->id, context),
                      slice_of_text(name), w);
    mem_wipe(&key, sizeof key);
    return err;
}

enum err subjects_name(struct subjects *s, const struct subject_row *row,
                       char ret_name[NAME_MAX_BYTES + 1])
{
    struct hash key;
    uint8_t context[CONTEXT_MAX];
    char name[NAME_MAX_BYTES + 1];
    struct writer w = writer_over(name, sizeof name - 1);
    enum err err = key_of(s, row->id, &key);
    if (err != ERR_NONE)
        return err;
    err =
        crypto_unseal(key.bytes, context_of("name/", row->tenant, row->id, context), row->name, &w);
    mem_wipe(&key, sizeof key);
    if (err != ERR_NONE)
        return ERR_NOT_FOUND;
    name[w.len] = '\0';
    memcpy(ret_name, name, sizeof name);
    return ERR_NONE;
}

/* ---- inside a write ---- */

void subjects_reads(struct subjects *s, struct keyset *keys, const char *tenant, const char *name)
{
    const struct subject_name_row row = name_row_of(s, tenant, name);
    const struct setting_row counter = {.name = COUNTER_NAME};
    keyset_add(keys, &table_subject_name, &row);
    keyset_add(keys, &table_setting, &counter);
}

void subject_counter_write(struct writer *w, const struct subject_counter *counter)
{
    writer_be32(w, counter->last);
    writer_put(w, slice_of(counter->mark.bytes, sizeof counter->mark.bytes));
}

enum err subject_counter_read(struct slice value, struct subject_counter *ret_counter)
{
    struct reader r = reader_over(value);
    struct subject_counter counter = {.last = reader_be32(&r)};
    struct slice mark = reader_take(&r, SHA256_SIZE);
    enum err err = reader_finish(&r);
    if (err != ERR_NONE)
        return err;
    memcpy(counter.mark.bytes, mark.data, mark.len);
    *ret_counter = counter;
    return ERR_NONE;
}

struct hash subject_mark(const struct subjects *s)
{
    struct hash mark;
    crypto_hmac_sha256(s->tree.name_key.bytes, SLICE_LITERAL("holdfast-subjects-mark"), mark.bytes);
    return mark;
}

void subjects_share(struct subjects *s)
{
    atomic_store(&s->shared, true);
}

/* The next number. One that was given is never given again: its key may be destroyed. */
static enum err next_id(struct subjects *s, struct act *act, struct tx *tx,
                        char ret_id[SUBJECT_ID_SIZE])
{
    uint8_t bytes[COUNTER_SIZE];
    struct setting_row row = {.name = COUNTER_NAME};
    struct subject_counter counter = {.mark = subject_mark(s)};
    const struct hash own = counter.mark;
    enum err err = tx_get(tx, &table_setting, &row);
    bool first = err == ERR_NOT_FOUND;
    if (err == ERR_NONE)
        err = subject_counter_read(row.value, &counter);
    if (err != ERR_NONE && !first)
        return err;
    if (counter.last >= NUMBER_MAX)
        return ERR_LIMIT;
    bool same = memcmp(counter.mark.bytes, own.bytes, sizeof own.bytes) == 0;
    if (!same && atomic_load(&s->shared))
        return problem_set(&act->write.problem, 409, "subject-keys-differ", "",
                           "this hub's subjects.keys is not the one that the other hubs have; copy "
                           "it from one of them, and start this one again");
    counter.last++;
    counter.mark = own; /* of a hub that is alone and was told to forget: another one */
    struct writer w = writer_over(bytes, sizeof bytes);
    subject_counter_write(&w, &counter);
    row.value = writer_bytes(&w);
    row.changed_at = tx_now_ms(tx) / 1000;
    err = first ? tx_insert(tx, &table_setting, &row) : tx_update(tx, &table_setting, &row);
    if (err == ERR_NONE)
        (void)snprintf(ret_id, SUBJECT_ID_SIZE, "~%" PRIu32, counter.last);
    return err;
}

static enum err append_created(struct act *act, struct tx *tx, const struct subject_row *row)
{
    uint8_t bytes[64 + 2 * SUBJECT_NAME_SEALED_MAX];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    json_open_object(&j);
    json_field_hex(&j, "name_sealed", row->name);
    json_close_object(&j);
    if (out.err != ERR_NONE)
        return out.err;
    return act_append(act, tx, "subject.create", "subject", row->id, writer_bytes(&out));
}

enum err subjects_named(struct subjects *s, struct act *act, struct tx *tx, const char *name,
                        char ret_id[SUBJECT_ID_SIZE])
{
    uint8_t sealed[SUBJECT_NAME_SEALED_MAX];
    struct writer w = writer_over(sealed, sizeof sealed);
    struct subject_name_row known = name_row_of(s, act->tenant, name);
    enum err err = tx_get(tx, &table_subject_name, &known);
    if (err == ERR_NONE)
        memcpy(ret_id, known.id, SUBJECT_ID_SIZE);
    if (err != ERR_NOT_FOUND)
        return err;
    err = next_id(s, act, tx, known.id);
    if (err != ERR_NONE)
        return err;
    struct subject_row row = subject_row_of(act->tenant, known.id);
    row.name_mac = known.name_mac;
    row.created_at = tx_now_ms(tx) / 1000;
    err = seal_name(s, &row, name, &w);
    row.name = writer_bytes(&w);
    if (err == ERR_NONE)
        err = tx_insert(tx, &table_subject, &row);
    if (err == ERR_NONE)
        err = tx_insert(tx, &table_subject_name, &known);
    if (err == ERR_NONE)
        err = append_created(act, tx, &row);
    if (err == ERR_NONE)
        memcpy(ret_id, known.id, SUBJECT_ID_SIZE);
    return err;
}

/* ---- looking up ---- */

enum err subjects_find(struct subjects *s, struct store_reader *reader, struct arena *arena,
                       const char *tenant, const char *name, char ret_id[SUBJECT_ID_SIZE])
{
    struct subject_name_row row = name_row_of(s, tenant, name);
    enum err err = store_get(reader, &table_subject_name, arena, &row);
    if (err == ERR_NONE)
        memcpy(ret_id, row.id, SUBJECT_ID_SIZE);
    return err;
}

/* ---- what was said about them ---- */

enum err subjects_seal(struct subjects *s, const char *tenant, const char *id, const char *about,
                       const char *text, char ret_sealed[SEALED_TEXT_SIZE])
{
    struct hash key;
    uint8_t context[CONTEXT_MAX], box[REASON_MAX_BYTES + CRYPTO_SEAL_OVERHEAD];
    struct writer w = writer_over(box, sizeof box);
    enum err err = key_of(s, id, &key);
    if (err != ERR_NONE)
        return err;
    err = crypto_seal(key.bytes, context_of("said/", tenant, about, context), slice_of_text(text),
                      &w);
    mem_wipe(&key, sizeof key);
    if (err != ERR_NONE)
        return err;
    struct writer out = writer_over(ret_sealed, SEALED_TEXT_SIZE - 1);
    writer_text(&out, id);
    writer_text(&out, ":");
    writer_hex(&out, writer_bytes(&w));
    ret_sealed[out.len] = '\0';
    return out.err;
}

/* "~7:HEX" -> "~7", and the box. */
static enum err read_sealed(struct slice sealed, char ret_id[SUBJECT_ID_SIZE], struct writer *box)
{
    struct reader r = reader_over(sealed);
    struct slice id = reader_until(&r, ':');
    writer_unhex(box, reader_rest(&r));
    if (r.err != ERR_NONE || box->err != ERR_NONE || id.len >= SUBJECT_ID_SIZE)
        return ERR_SYNTAX;
    memcpy(ret_id, id.data, id.len);
    ret_id[id.len] = '\0';
    return ERR_NONE;
}

enum err subjects_unseal(struct subjects *s, const char *tenant, const char *about,
                         struct slice sealed, char ret_text[REASON_MAX_BYTES + 1])
{
    struct hash key;
    char id[SUBJECT_ID_SIZE], text[REASON_MAX_BYTES + 1];
    uint8_t context[CONTEXT_MAX], bytes[REASON_MAX_BYTES + CRYPTO_SEAL_OVERHEAD];
    struct writer box = writer_over(bytes, sizeof bytes), w = writer_over(text, sizeof text - 1);
    if (read_sealed(sealed, id, &box) != ERR_NONE || key_of(s, id, &key) != ERR_NONE)
        return ERR_NOT_FOUND;
    enum err err = crypto_unseal(key.bytes, context_of("said/", tenant, about, context),
                                 writer_bytes(&box), &w);
    mem_wipe(&key, sizeof key);
    if (err != ERR_NONE)
        return ERR_NOT_FOUND;
    text[w.len] = '\0';
    memcpy(ret_text, text, sizeof text);
    return ERR_NONE;
}
