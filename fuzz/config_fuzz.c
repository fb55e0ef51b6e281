/* base/config.h: whatever is taken lies within its limits, and reads the same when written again.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "core/cursor.h"

struct settings {
    char text[CONFIG_TEXT_MAX];
    char path[CONFIG_TEXT_MAX];
    int64_t integer;
    int64_t duration;
    bool flag;
    struct config_list list;
};

#define FIELD(f) offsetof(struct settings, f)
static const struct config_key keys[] = {
    {.name = "text", .kind = CONFIG_TEXT, .offset = FIELD(text), .standard = ""},
    {.name = "path", .kind = CONFIG_PATH, .offset = FIELD(path), .standard = "state"},
    {.name = "integer",
     .kind = CONFIG_INTEGER,
     .offset = FIELD(integer),
     .min = -100,
     .max = 100,
     .standard = "0"},
    {.name = "duration",
     .kind = CONFIG_DURATION,
     .offset = FIELD(duration),
     .min = 1,
     .max = 31536000,
     .standard = "90d"},
    {.name = "flag", .kind = CONFIG_BOOL, .offset = FIELD(flag), .standard = "false"},
    {.name = "list", .kind = CONFIG_LIST, .offset = FIELD(list), .standard = ""},
};

static enum err read_into(struct slice text, struct settings *settings)
{
    struct config_error error = {.text = ""};
    memset(settings, 0, sizeof *settings);
    enum err err = config_read(text, "fuzz.conf", "/etc", keys, ARRAY_LEN(keys), settings, &error);
    assert((err == ERR_NONE) == (error.text[0] == '\0'));
    assert(memchr(error.text, '\0', sizeof error.text) != NULL);
    return err;
}

static void write_line(struct writer *w, const char *name, const char *value)
{
    writer_text(w, name);
    writer_text(w, " = ");
    writer_text(w, value);
    writer_u8(w, '\n');
}

static void write_settings(struct writer *w, const struct settings *s)
{
    char number[32];
    write_line(w, "text", s->text);
    write_line(w, "path", s->path);
    (void)snprintf(number, sizeof number, "%lld", (long long)s->integer);
    write_line(w, "integer", number);
    (void)snprintf(number, sizeof number, "%lld", (long long)s->duration);
    write_line(w, "duration", number);
    write_line(w, "flag", s->flag ? "true" : "false");
    writer_text(w, "list = ");
    for (size_t i = 0; i < s->list.n; i++) {
        writer_text(w, i == 0 ? "" : ",");
        writer_text(w, s->list.items[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct settings first, second;
    char again[CONFIG_FILE_MAX];
    int64_t seconds = -1;
    if (config_duration_read(slice_of(data, size), &seconds) == ERR_NONE)
        assert(seconds >= 0);
    if (read_into(slice_of(data, size), &first) != ERR_NONE) {
        for (size_t i = 0; i < sizeof first; i++)
            assert(((const uint8_t *)&first)[i] == 0);
        return 0;
    }
    assert(first.integer >= -100 && first.integer <= 100);
    assert(first.duration >= 1 && first.duration <= 31536000);
    assert(first.path[0] == '/' || first.path[0] == '\0');
    struct writer w = writer_over(again, sizeof again);
    write_settings(&w, &first);
    assert(w.err == ERR_NONE);
    assert(read_into(writer_bytes(&w), &second) == ERR_NONE);
    assert(memcmp(&first, &second, sizeof first) == 0);
    return 0;
}
