/* Configuration files: "name = value" lines, "#" comments, in UTF-8. Each program declares its keys
 * in a table; an unknown, repeated, missing or malformed one is an error with file and line. */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H

#include "core/compiler.h"
#include "core/error.h"
#include "core/slice.h"

#define CONFIG_FILE_MAX (64 * 1024)
#define CONFIG_TEXT_MAX 512 /* bytes of a value, NUL included */

enum config_kind {
    CONFIG_TEXT,     /* char[CONFIG_TEXT_MAX] */
    CONFIG_PATH,     /* the same; relative paths are taken from the file's own folder */
    CONFIG_INTEGER,  /* int64_t in min..max */
    CONFIG_DURATION, /* int64_t seconds, in min..max: "90", "90s", "15m", "2h", "30d" */
    CONFIG_BOOL,     /* bool: "true" or "false" */
    CONFIG_LIST,     /* struct config_list: comma-separated texts */
};

struct config_list {
    char items[16][128];
    size_t n;
};

struct config_key {
    const char *name;
    enum config_kind kind;
    size_t offset;        /* of the field in the program's config struct */
    int64_t min, max;     /* of integers and durations */
    const char *standard; /* what holds where the file is silent; NULL: the key is required */
    const char *help;     /* one line, for the man page and --help */
};

struct config_error {
    char text[256]; /* "hub.conf:12: unknown key 'lisen'; did you mean 'listen'?" */
};

/* Reads `path` into the struct at `config`. ERR_IO, ERR_LIMIT or ERR_SYNTAX; *error explains. */
MUST_USE enum err config_read_file(const char *path, const struct config_key *keys, size_t n,
                                   void *config, struct config_error *error);
/* The same from memory; `name` stands for the file in messages, `folder` for where it lies. */
MUST_USE enum err config_read(struct slice text, const char *name, const char *folder,
                              const struct config_key *keys, size_t n, void *config,
                              struct config_error *error);
/* "90", "90s", "15m", "2h", "30d", "1y" (365 days) -> seconds. */
MUST_USE enum err config_duration_read(struct slice text, int64_t *ret_seconds);

#endif
