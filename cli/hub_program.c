#include "cli/hub_program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/hub_link.h"
#include "cli/progress.h"
#include "cli/settings.h"
#include "cli/text.h"
#include "cli/when.h"

#define WORDS_MAX 16
#define OUTPUT_FD 3 /* as hub/maintenance.h has it */

extern char **environ;

const char *hub_program_config(const struct cli *cli)
{
    return cli->config != NULL ? cli->config : SETTINGS_CONFIG_PATH;
}

/* ---- starting it ---- */

static int spawn(const char *const *words, const posix_spawn_file_actions_t *actions,
                 pid_t *ret_pid)
{
    static const char *const programs[] = {HOLDFAST_SBINDIR "/holdfast-hub", "holdfast-hub"};
    char *argv[WORDS_MAX + 2] = {(char[]){"holdfast-hub"}};
    for (size_t i = 0; words[i] != NULL && i < WORDS_MAX; i++)
        argv[i + 1] = (char *)(uintptr_t)words[i];
    int error = ENOENT;
    for (size_t i = 0; i < ARRAY_LEN(programs) && error != 0; i++)
        error = posix_spawnp(ret_pid, programs[i], actions, NULL, argv, environ);
    return error;
}

static int start(struct cli *cli, const char *const *words, int output_fd, pid_t *ret_pid,
                 FILE **ret_lines)
{
    posix_spawn_file_actions_t actions;
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) != 0)
        return cli_fail(cli, CLI_INTERNAL, "internal", "pipe: %m");
    int error = posix_spawn_file_actions_init(&actions);
    if (error != 0) {
        (void)close(pipe_fds[0]);
        (void)close(pipe_fds[1]);
        return cli_fail_memory(cli);
    }
    error = posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], STDOUT_FILENO);
    if (error == 0 && output_fd >= 0)
        error = posix_spawn_file_actions_adddup2(&actions, output_fd, OUTPUT_FD);
    if (error == 0)
        error = spawn(words, &actions, ret_pid);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(pipe_fds[1]);
    *ret_lines = error == 0 ? fdopen(pipe_fds[0], "r") : NULL;
    if (*ret_lines != NULL)
        return CLI_OK;
    (void)close(pipe_fds[0]);
    errno = error != 0 ? error : ENOMEM;
    return cli_fail(cli, CLI_INTERNAL, "internal", "holdfast-hub: %m; is it installed?");
}

/* ---- what it says ---- */

static int exit_of(const char *word)
{
    static const struct {
        const char *word;
        int code;
    } exits[] = {
        {"unverified", CLI_UNVERIFIED}, {"not-found", CLI_NOT_FOUND},
        {"exists", CLI_REFUSED},        {"file", CLI_FILE},
        {"refused", CLI_REFUSED},       {"store", CLI_UNREACHABLE},
    };
    for (size_t i = 0; i < ARRAY_LEN(exits); i++)
        if (strcmp(exits[i].word, word) == 0)
            return exits[i].code;
    return CLI_INTERNAL;
}

struct listening {
    struct progress progress;
    bool started;
    json_t *result;
    char word[32], detail[256]; /* of its problem */
};

static void take_line(struct cli *cli, struct listening *l, const json_t *line)
{
    json_t *result = json_object_get(line, "result");
    const char *problem = json_text_or_null(line, "problem");
    if (json_is_object(result) && l->result == NULL) {
        l->result = json_incref(result);
    } else if (problem != NULL) {
        (void)snprintf(l->word, sizeof l->word, "%s", problem);
        (void)snprintf(l->detail, sizeof l->detail, "%s", json_text_of(line, "detail"));
    } else {
        uint64_t total = (uint64_t)json_number_of(line, "total");
        if (!l->started || l->progress.total != total)
            progress_start(&l->progress, cli, "rows", 0, total);
        l->started = true;
        progress_set(&l->progress, (uint64_t)json_number_of(line, "rows"));
    }
}

static void listen_to(struct cli *cli, FILE *lines, struct listening *l)
{
    char *text = NULL;
    size_t size = 0;
    for (ssize_t n; (n = getline(&text, &size, lines)) > 0;) {
        json_t *line CLEANUP(json_cleanup) = NULL;
        struct problem problem;
        if (json_read_object(slice_of(text, (size_t)n), &line, &problem) == ERR_NONE)
            take_line(cli, l, line);
    }
    free(text);
    if (l->started)
        progress_end(&l->progress);
}

int hub_program_run(struct cli *cli, const char *const *words, int output_fd, json_t **ret_result)
{
    struct listening l = {.started = false};
    FILE *lines = NULL;
    pid_t pid = -1;
    int status = 0;
    int code = start(cli, words, output_fd, &pid, &lines);
    if (code != CLI_OK)
        return code;
    /* Ctrl-C ends the program; what it leaves is ours to clear away. */
    void (*before)(int) = signal(SIGINT, SIG_IGN);
    listen_to(cli, lines, &l);
    (void)fclose(lines);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    (void)signal(SIGINT, before);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && l.result != NULL) {
        *ret_result = l.result;
        return CLI_OK;
    }
    json_decref(l.result);
    if (l.word[0] != '\0')
        return cli_fail(cli, exit_of(l.word), l.word, "%s", l.detail);
    if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGINT || WTERMSIG(status) == SIGTERM))
        return cli_fail(cli, CLI_INTERRUPTED, "interrupted", "interrupted");
    return cli_fail(cli, CLI_INTERNAL, "internal", "holdfast-hub ended without a result");
}

/* ---- what came of it ---- */

static void show(const json_t *result)
{
    static const char *const counted[] = {"device", "certificate", "ledger_entry"};
    char text[WHEN_TEXT_MAX];
    text_pair("fleet", json_text_of(result, "fleet"), COLOUR_BOLD);
    if (json_object_get(result, "taken_at") != NULL) {
        when_full(json_time_of(result, "taken_at"), clock_seconds(), text);
        text_pair("taken", text, COLOUR_NONE);
    }
    when_count((uint64_t)json_number_of(result, "rows"), text);
    text_pair("rows", text, COLOUR_NONE);
    for (size_t i = 0; i < ARRAY_LEN(counted); i++) {
        const json_t *all = json_object_get(result, "tables");
        when_count((uint64_t)json_number_of(all, counted[i]), text);
        text_pair_format("", "%s: %s", counted[i], text);
    }
    text_pair("ledger root", json_text_of(result, "ledger_root"), COLOUR_NONE);
    text_pair("digest", json_text_of(result, "digest"), COLOUR_NONE);
}

int hub_program_told(struct cli *cli, json_t *result)
{
    if (cli->json)
        return json_print(cli, result);
    if (!cli->quiet)
        show(result);
    return CLI_OK;
}
