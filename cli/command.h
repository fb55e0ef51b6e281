/* The table of commands: the one place that says what the program understands. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "core/compiler.h"

#define CLI_OPTIONS_MAX  16 /* of one command */
#define CLI_OPERANDS_MAX 3  /* kinds of operand of one command */

struct cli;

/* What the shell offers for a value. */
enum cli_complete {
    COMPLETE_NOTHING,
    COMPLETE_FILE,
    COMPLETE_FOLDER,
    COMPLETE_WORDS,
    COMPLETE_DEVICE, /* names that the hub knows, from here on */
    COMPLETE_MODEL,
    COMPLETE_MANIFEST,
    COMPLETE_ROTATION,
    COMPLETE_TOKEN,
    COMPLETE_BROKER,
};

struct cli_option {
    const char *name;  /* without the dashes */
    char letter;       /* the short form, or NUL */
    const char *value; /* what stands for its value in the help; NULL for a switch */
    const char *help;  /* one line */
    bool required;
    enum cli_complete complete;
    const char *words; /* of COMPLETE_WORDS, between blanks */
};

struct cli_operand {
    const char *name; /* NULL ends the list */
    bool optional;
    bool many; /* the last one only */
    enum cli_complete complete;
    const char *words;
};

struct cli_command {
    const char *verb; /* NULL where the noun says it all */
    struct cli_operand operands[CLI_OPERANDS_MAX];
    const struct cli_option *options;
    size_t options_len;
    const char *summary; /* one line */
    const char *help;    /* more lines, each ended by LF; or NULL */
    /* Gives an enum cli_exit; has told of a failure. */
    int (*run)(struct cli *cli);
};

struct cli_noun {
    const char *name;
    const char *summary;
    const struct cli_command *commands;
    size_t commands_len;
};

#define CLI_OPTIONS(array) .options = (array), .options_len = ARRAY_LEN(array)

extern const struct cli_noun *const cli_nouns[];
extern const size_t cli_nouns_len;
extern const struct cli_option cli_global_options[];
extern const size_t cli_global_options_len;

extern const struct cli_noun noun_broker;
extern const struct cli_noun noun_backup, noun_ca, noun_completion, noun_device, noun_doctor,
    noun_help, noun_hub, noun_ledger, noun_manifest, noun_model, noun_policy, noun_rotation,
    noun_store, noun_subject, noun_token, noun_version, noun_witness;

/* NULL where there is none. */
const struct cli_noun *cli_noun_find(const char *name);
const struct cli_command *cli_command_find(const struct cli_noun *noun, const char *verb);

#endif
