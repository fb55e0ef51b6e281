#include "cli/policy_file.h"

#include <errno.h>
#include <stdlib.h>

#include "base/file.h"
#include "cli/text.h"
#include "core/utf8.h"

#define SHOWN_BEFORE 60  /* characters before the place in a long line */
#define SHOWN_MAX    100 /* characters of a line */

const char *policy_file_path(const struct cli *cli)
{
    return cli->operands_len > 0 ? cli->operands[0] : POLICY_FILE_STANDARD;
}

static struct slice line_of(const struct policy_file *file, unsigned line)
{
    struct slice left = slice_of(file->bytes, file->len);
    for (unsigned i = 1;; i++) {
        size_t n = 0;
        while (n < left.len && left.data[n] != '\n')
            n++;
        if (i == line)
            return slice_of(left.data, n > 0 && left.data[n - 1] == '\r' ? n - 1 : n);
        if (n == left.len)
            return slice_of(NULL, 0);
        left = slice_of(left.data + n + 1, left.len - n - 1);
    }
}

static size_t character(struct slice s)
{
    size_t n = utf8_sequence(s);
    return n == 0 ? 1 : n;
}

void policy_file_show(const struct cli *cli, const struct policy_file *file, unsigned line,
                      unsigned column)
{
    char text[SHOWN_MAX * 4 + 1], place[SHOWN_MAX + 1], number[16];
    struct slice left = line == 0 || cli->json ? slice_of(NULL, 0) : line_of(file, line);
    if (left.len == 0)
        return;
    unsigned skipped = column > SHOWN_BEFORE ? column - SHOWN_BEFORE : 0, shown = 0;
    struct writer w = writer_over(text, sizeof text - 1), below = writer_over(place, SHOWN_MAX);
    for (unsigned i = 0; left.len > 0 && shown < SHOWN_MAX; i++) {
        size_t n = character(left);
        if (i >= skipped) {
            bool tab = left.data[0] == '\t';
            writer_put(&w, tab ? SLICE_LITERAL(" ") : slice_of(left.data, n));
            if (i + 1 < column)
                writer_u8(&below, ' ');
            shown++;
        }
        left = slice_of(left.data + n, left.len - n);
    }
    text[w.len] = place[below.len] = '\0';
    (void)snprintf(number, sizeof number, "%5u | ", line);
    (void)text_show(stderr, number, SIZE_MAX, COLOUR_DIM);
    text_put(stderr, skipped > 0 ? "..." : "");
    text_put(stderr, text);
    text_put(stderr, left.len > 0 ? "..." : "");
    (void)fputc('\n', stderr);
    if (column == 0)
        return;
    (void)text_show(stderr, "      | ", SIZE_MAX, COLOUR_DIM);
    text_put(stderr, skipped > 0 ? "   " : "");
    text_put(stderr, place);
    (void)text_show(stderr, "^", SIZE_MAX, COLOUR_BAD);
    (void)fputc('\n', stderr);
}

static int complain(struct cli *cli, const struct policy_file *file)
{
    const struct policy_complaint *c = &file->complaint;
    if (c->line == 0)
        return cli_fail(cli, CLI_REFUSED, "policy-malformed", "%s: %s", file->path, c->text);
    int code = cli_fail(cli, CLI_REFUSED, "policy-malformed", "%s:%u:%u: %s", file->path, c->line,
                        c->column, c->text);
    policy_file_show(cli, file, c->line, c->column);
    return code;
}

int policy_file_open(struct cli *cli, const char *path, struct policy_file *ret_file)
{
    *ret_file = (struct policy_file){.path = path};
    enum err err = file_read(path, POLICY_TEXT_MAX, &ret_file->bytes, &ret_file->len);
    if (err == ERR_LIMIT)
        return cli_fail(cli, CLI_REFUSED, "policy-malformed", "%s: a policy has at most %u bytes",
                        path, POLICY_TEXT_MAX);
    if (err == ERR_NO_MEMORY)
        return cli_fail_memory(cli);
    if (err != ERR_NONE)
        return cli_fail(cli, CLI_FILE, "file", "%s: %m", path);
    ret_file->arena = arena_new(POLICY_ARENA_MAX);
    if (ret_file->arena == NULL)
        return cli_fail_memory(cli);
    err = policy_read(slice_of(ret_file->bytes, ret_file->len), ret_file->arena, &ret_file->policy,
                      &ret_file->complaint);
    if (err == ERR_NO_MEMORY)
        return cli_fail_memory(cli);
    return err == ERR_NONE ? CLI_OK : complain(cli, ret_file);
}

void policy_file_close(struct policy_file *file)
{
    free(file->bytes);
    arena_free(file->arena);
    *file = (struct policy_file){.path = NULL};
}

int policy_file_rules(struct cli *cli, struct policy_file *file, struct rules *ret_rules)
{
    struct slice body;
    enum err err = policy_compile(&file->policy, file->arena, &body);
    if (err == ERR_NO_MEMORY)
        return cli_fail_memory(cli);
    if (err == ERR_LIMIT)
        return cli_fail(cli, CLI_REFUSED, "policy-malformed",
                        "%s: its rules are larger than %u bytes: use fewer models, groups or "
                        "filters",
                        file->path, RULES_MAX);
    if (err == ERR_NONE)
        err = rules_read_body(body, ret_rules);
    if (err != ERR_NONE)
        return cli_fail(cli, CLI_INTERNAL, "internal", "%s: its rules can't be made: %s",
                        file->path, err_text(err));
    return CLI_OK;
}
