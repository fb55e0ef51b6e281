#include "cli/command.h"

#include <string.h>

const struct cli_noun *const cli_nouns[] = {
    &noun_device, &noun_policy, &noun_model,   &noun_manifest, &noun_rotation,   &noun_ca,
    &noun_ledger, &noun_token,  &noun_broker,  &noun_backup,   &noun_store,      &noun_subject,
    &noun_hub,    &noun_doctor, &noun_witness, &noun_help,     &noun_completion, &noun_version,
};
const size_t cli_nouns_len = ARRAY_LEN(cli_nouns);

const struct cli_option cli_global_options[] = {
    {.name = "socket",
     .value = "PATH",
     .complete = COMPLETE_FILE,
     .help = "the hub's Unix socket; else $HOLDFAST_SOCKET, or as the configuration says"},
    {.name = "config",
     .value = "FILE",
     .complete = COMPLETE_FILE,
     .help = "the hub's configuration: where its socket and its state are"},
    {.name = "state",
     .value = "DIR",
     .complete = COMPLETE_FOLDER,
     .help = "the hub's state folder"},
    {.name = "tenant",
     .value = "NAME",
     .help = "act in that tenant of the policy, and not in `default`"},
    {.name = "json", .help = "one JSON document on standard output; problems as RFC 9457 has them"},
    {.name = "quiet", .letter = 'q', .help = "say nothing but results, warnings and problems"},
    {.name = "yes", .letter = 'y', .help = "do not ask"},
    {.name = "help", .letter = 'h', .help = "show help, and end"},
    {.name = "version", .letter = 'V', .help = "show the version, and end"},
};
const size_t cli_global_options_len = ARRAY_LEN(cli_global_options);

const struct cli_noun *cli_noun_find(const char *name)
{
    for (size_t i = 0; i < cli_nouns_len; i++)
        if (strcmp(cli_nouns[i]->name, name) == 0)
            return cli_nouns[i];
    return NULL;
}

const struct cli_command *cli_command_find(const struct cli_noun *noun, const char *verb)
{
    for (size_t i = 0; i < noun->commands_len; i++)
        if (noun->commands[i].verb != NULL && strcmp(noun->commands[i].verb, verb) == 0)
            return &noun->commands[i];
    return NULL;
}
