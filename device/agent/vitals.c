#include "device/agent/vitals.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/json_write.h"

#define MEMINFO_MAX 1024 /* what is looked for stands in its first lines */

/* "MemTotal:        1048576 kB" */
static bool find_kib(struct slice text, struct slice name, uint64_t *ret_kib)
{
    struct reader r = reader_over(text);
    while (reader_left(&r) > 0) {
        struct slice line = reader_until(&r, '\n');
        if (r.err != ERR_NONE)
            return false;
        if (!slice_starts_with(line, name))
            continue;
        struct reader number = reader_over(slice_of(line.data + name.len, line.len - name.len));
        while (reader_peek(&number) == ' ')
            (void)reader_u8(&number);
        struct slice digits = reader_until(&number, ' ');
        struct reader d = reader_over(digits);
        uint64_t kib = reader_decimal(&d, INT64_MAX);
        if (number.err != ERR_NONE || reader_finish(&d) != ERR_NONE)
            return false;
        *ret_kib = kib;
        return true;
    }
    return false;
}

static void write_memory(struct json_writer *j)
{
    char text[MEMINFO_MAX];
    int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
    if (fd >= 0)
        (void)close(fd);
    struct slice all = slice_of(text, n > 0 ? (size_t)n : 0);
    uint64_t kib;
    if (find_kib(all, SLICE_LITERAL("MemTotal:"), &kib))
        json_field_integer(j, "memory_kib", (int64_t)kib);
    if (find_kib(all, SLICE_LITERAL("MemAvailable:"), &kib))
        json_field_integer(j, "memory_available_kib", (int64_t)kib);
}

static void write_load(struct json_writer *j)
{
    double load;
    char text[32];
    if (getloadavg(&load, 1) != 1 || load < 0 || load > 1e6)
        return;
    int hundredths = (int)(load * 100 + 0.5);
    (void)snprintf(text, sizeof text, "%d.%02d", hundredths / 100, hundredths % 100);
    json_key(j, "load");
    json_raw(j, slice_of_text(text));
}

void vitals_write(struct writer *w, int64_t at, int64_t uptime_seconds)
{
    struct json_writer j = json_writer_over(w);
    json_open_object(&j);
    json_field_time(&j, "at", at);
    json_field_integer(&j, "uptime_seconds", uptime_seconds);
    write_load(&j);
    write_memory(&j);
    json_close_object(&j);
}
