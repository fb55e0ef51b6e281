#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "core/base64.h"
#include "core/json_write.h"
#include "core/utf8.h"
#include "verify/verdict.h"

#define ROOT_TEXT_MAX (BASE64_SIZE(SHA256_SIZE) + 1)
#define JSON_MAX      (16384 + 6 * (size_t)ENTRY_MAX) /* an entry may be of escapes alone */

static void root_text(const struct hash *root, char ret_text[ROOT_TEXT_MAX])
{
    struct writer w = writer_over(ret_text, ROOT_TEXT_MAX - 1);
    base64_write(&w, slice_of(root->bytes, SHA256_SIZE));
    ret_text[w.len] = '\0';
}

/* Names and entries come from files that others wrote: a terminal gets nothing but plain
 * characters. */
static void put_plain(FILE *to, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] >= ' ' && text.data[i] < 0x7f)
            (void)fputc(text.data[i], to);
        else
            (void)fprintf(to, "\\x%02x", text.data[i]);
    }
}

static void put_plain_text(FILE *to, const char *text)
{
    put_plain(to, slice_of_text(text));
}

static const char *witness_text(const struct cosignature_verdict *w)
{
    switch (w->err) {
    case ERR_NONE:
        return "vouches";
    case ERR_NOT_FOUND:
        return "has not cosigned";
    default:
        return "its cosignature does not verify";
    }
}

static void print_witnesses(const struct question *q, const struct verdict *v)
{
    for (size_t i = 0; i < q->witnesses_len; i++) {
        const struct cosignature_verdict *w = &v->witnesses[i];
        char when[32] = "";
        struct tm tm;
        time_t seconds = (time_t)w->time;
        if (w->err == ERR_NONE && gmtime_r(&seconds, &tm) != NULL)
            (void)strftime(when, sizeof when, ", %Y-%m-%dT%H:%M:%SZ", &tm);
        (void)printf("witness         ");
        put_plain_text(stdout, q->witnesses[i].note.name);
        (void)printf(": %s%s\n", witness_text(w), when);
    }
    if (q->witnesses_len > 0)
        (void)printf("quorum          %zu vouch, %zu needed\n", v->vouching, q->quorum);
}

static void print_text(const struct question *q, const struct verdict *v)
{
    char root[ROOT_TEXT_MAX];
    if (v->has_checkpoint) {
        root_text(&v->checkpoint.root, root);
        (void)printf("ledger          ");
        put_plain_text(stdout, v->checkpoint.origin);
        (void)printf("\nentries         %" PRIu64 "\nroot            %s\nsignature       by ",
                     v->checkpoint.size, root);
        put_plain_text(stdout, v->signer->name);
        (void)printf("\n");
        print_witnesses(q, v);
    }
    if (v->has_entry) {
        (void)printf("entry           %" PRIu64 ", belongs to the signed root\n", v->number);
        put_plain(stdout, v->entry);
        (void)printf("\n");
        return;
    }
    if (v->exit == VERIFY_OK) {
        if (q->has_range)
            (void)printf("hashes          entries %" PRIu64 " to %" PRIu64
                         " belong to the signed root\n",
                         q->first, q->last);
        else
            (void)printf("hashes          all entries belong to the signed root\n");
        if (v->has_saved)
            (void)printf("history         continues the saved checkpoint of %" PRIu64 " entries\n",
                         v->saved.size);
        else
            (void)printf("history         not compared: no --saved checkpoint was given\n");
        return;
    }
    (void)fflush(stdout);
    (void)fprintf(stderr, "holdfast-verify: ");
    put_plain_text(stderr, v->message);
    (void)fputc('\n', stderr);
}

static void write_witnesses(struct json_writer *j, const struct question *q,
                            const struct verdict *v)
{
    json_key(j, "witnesses");
    json_open_array(j);
    for (size_t i = 0; i < q->witnesses_len; i++) {
        json_open_object(j);
        json_field_text(j, "name", q->witnesses[i].note.name);
        json_field_text(j, "result", witness_text(&v->witnesses[i]));
        if (v->witnesses[i].err == ERR_NONE)
            json_field_integer(j, "time", (int64_t)v->witnesses[i].time);
        json_close_object(j);
    }
    json_close_array(j);
    json_field_integer(j, "vouching", (int64_t)v->vouching);
    json_field_integer(j, "quorum", (int64_t)q->quorum);
}

static bool is_utf8(struct slice text)
{
    while (text.len > 0) {
        size_t n = utf8_sequence(text);
        if (n == 0)
            return false;
        text = slice_of(text.data + n, text.len - n);
    }
    return true;
}

/* As text; an entry that is none is told in base64. */
static void write_entry(struct json_writer *j, const struct verdict *v)
{
    static char encoded[BASE64_SIZE((size_t)ENTRY_MAX)];
    struct writer w = writer_over(encoded, sizeof encoded);
    json_field_integer(j, "number", (int64_t)v->number);
    bool is_text = is_utf8(v->entry);
    json_key(j, is_text ? "entry" : "entry_base64");
    if (!is_text)
        base64_write(&w, v->entry);
    json_slice(j, is_text ? v->entry : writer_bytes(&w));
}

static void write_json(struct json_writer *j, const struct question *q, const struct verdict *v)
{
    char root[ROOT_TEXT_MAX];
    json_open_object(j);
    json_field_bool(j, "verified", v->exit == VERIFY_OK);
    if (v->code != NULL) {
        json_field_text(j, "code", v->code);
        json_field_text(j, "detail", v->message);
    }
    if (v->has_checkpoint) {
        root_text(&v->checkpoint.root, root);
        json_field_text(j, "origin", v->checkpoint.origin);
        json_field_integer(j, "size", (int64_t)v->checkpoint.size);
        json_field_text(j, "root", root);
        json_field_text(j, "signer", v->signer->name);
        write_witnesses(j, q, v);
    }
    if (v->has_saved)
        json_field_integer(j, "saved_size", (int64_t)v->saved.size);
    if (v->has_entry)
        write_entry(j, v);
    if (q->has_range) {
        json_field_integer(j, "range_first", (int64_t)q->first);
        json_field_integer(j, "range_last", (int64_t)q->last);
    }
    if (v->has_report) {
        json_field_integer(j, "entries_read", (int64_t)v->report.entries);
        json_field_integer(j, "tiles", (int64_t)v->tiles);
        json_field_integer(j, "bytes", (int64_t)v->bytes);
        if (v->report.end > 0) {
            json_field_integer(j, "first", (int64_t)v->report.first);
            json_field_integer(j, "end", (int64_t)v->report.end);
        }
    }
    json_close_object(j);
}

enum err verdict_print(const struct question *q, const struct verdict *v)
{
    if (q->json) {
        static uint8_t buffer[JSON_MAX];
        struct writer w = writer_over(buffer, sizeof buffer);
        struct json_writer j = json_writer_over(&w);
        write_json(&j, q, v);
        writer_text(&w, "\n");
        if (w.err != ERR_NONE)
            return w.err;
        (void)fwrite(buffer, 1, w.len, stdout);
    } else {
        print_text(q, v);
    }
    return fflush(stdout) != 0 || ferror(stdout) != 0 ? ERR_IO : ERR_NONE;
}
