#include "policy/yaml.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <yaml.h>

#include "core/utf8.h"

struct open_node {
    struct yaml_node *node, *last;
    struct yaml_node *value; /* of the key that was read; NULL: a key comes next */
};

struct tree {
    yaml_parser_t *parser;
    struct arena *arena;
    struct policy_complaint *complaint;
    struct open_node open[YAML_DEPTH_MAX];
    size_t depth, nodes;
    struct yaml_node *root;
    bool ended; /* the document */
};

/* ---- complaints ---- */

enum err policy_complain(struct policy_complaint *complaint, unsigned line, unsigned column,
                         enum err err, const char *format, ...)
{
    char text[sizeof complaint->text * 4]; /* room to cut at a character's end */
    va_list values;
    va_start(values, format);
    int n = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    size_t left = n < 0 ? 0 : strlen(text), len = 0;
    const uint8_t *at = (const uint8_t *)text;
    while (left > 0) {
        size_t taken = utf8_sequence(slice_of(at, left));
        bool harmless = taken > 1 || (taken == 1 && *at >= 0x20 && *at != 0x7f);
        size_t put = harmless ? taken : 1;
        if (put >= sizeof complaint->text - len)
            break;
        memcpy(complaint->text + len, harmless ? at : (const uint8_t *)"?", put);
        len += put;
        taken = taken == 0 ? 1 : taken;
        at += taken;
        left -= taken;
    }
    complaint->text[len] = '\0';
    complaint->line = line;
    complaint->column = column;
    return err;
}

static unsigned line_of(yaml_mark_t mark)
{
    return (unsigned)mark.line + 1;
}

static unsigned column_of(yaml_mark_t mark)
{
    return (unsigned)mark.column + 1;
}

PRINTF_LIKE(4, 5)
static enum err refuse(struct tree *t, yaml_mark_t at, enum err err, const char *format, ...)
{
    char text[sizeof t->complaint->text];
    va_list values;
    va_start(values, format);
    int n = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    return policy_complain(t->complaint, line_of(at), column_of(at), err, "%s", n < 0 ? "" : text);
}

/* ---- characters ---- */

static bool is_blind(uint32_t c)
{
    /* NEL, LS and PS end a line for some programs and not for others; the rest turns the direction
     * of writing ("Trojan Source", CVE-2021-42574), or is seen by nobody. */
    return (c >= 0x80 && c < 0xa0) || c == 0x061c || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
           (c >= 0xfff9 && c <= 0xfffb) || c >= 0xe0000;
}

static uint32_t code_point(const uint8_t *at, size_t len)
{
    uint32_t c = len == 1 ? at[0] : at[0] & (0x7fU >> len);
    for (size_t i = 1; i < len; i++)
        c = c << 6 | (at[i] & 0x3fU);
    return c;
}

/* Bytes of the next character; 0 where it is none that a policy may hold. */
static size_t clean_character(struct slice s, bool many_lines)
{
    size_t n = utf8_sequence(s);
    if (n > 1)
        return is_blind(code_point(s.data, n)) ? 0 : n;
    if (n == 0 || (s.data[0] >= 0x20 && s.data[0] != 0x7f))
        return n;
    bool is_break = s.data[0] == '\n' || (s.data[0] == '\r' && s.len > 1 && s.data[1] == '\n');
    return many_lines && (is_break || s.data[0] == '\t') ? 1 : 0;
}

static enum err check_characters(struct slice text, struct policy_complaint *complaint)
{
    unsigned line = 1, column = 1;
    while (text.len > 0) {
        size_t n = clean_character(text, true);
        if (n == 0 && utf8_sequence(text) == 0)
            return policy_complain(complaint, line, column, ERR_SYNTAX, "this is not UTF-8");
        if (n == 0)
            return policy_complain(complaint, line, column, ERR_SYNTAX,
                                   "U+%04X is a character that nobody sees: a policy has none",
                                   (unsigned)code_point(text.data, utf8_sequence(text)));
        column = text.data[0] == '\n' ? 1 : column + 1;
        line += text.data[0] == '\n';
        text = slice_of(text.data + n, text.len - n);
    }
    return ERR_NONE;
}

static bool is_clean_line(struct slice text)
{
    while (text.len > 0) {
        size_t n = clean_character(text, false);
        if (n == 0)
            return false;
        text = slice_of(text.data + n, text.len - n);
    }
    return true;
}

/* ---- the tree ---- */

static enum err new_node(struct tree *t, yaml_mark_t at, struct yaml_node **ret_node)
{
    if (t->nodes == YAML_NODES_MAX)
        return refuse(t, at, ERR_LIMIT,
                      "this is more than %d keys and values: too much for a policy",
                      YAML_NODES_MAX);
    struct yaml_node *node = arena_alloc(t->arena, sizeof *node);
    if (node == NULL)
        return ERR_NO_MEMORY;
    t->nodes++;
    *ret_node = node;
    return ERR_NONE;
}

static enum err take_text(struct tree *t, const yaml_event_t *event, struct slice *ret_text)
{
    struct slice text = slice_of(event->data.scalar.value, event->data.scalar.length);
    if (text.len > YAML_TEXT_MAX)
        return refuse(t, event->start_mark, ERR_LIMIT, "this text is longer than %d bytes",
                      YAML_TEXT_MAX);
    if (!is_clean_line(text))
        return refuse(t, event->start_mark, ERR_SYNTAX,
                      "this text holds a line end or another character that nobody sees: write it "
                      "in one line");
    return arena_copy(t->arena, text, ret_text);
}

/* A key of the innermost map. */
static enum err take_key(struct tree *t, const yaml_event_t *event)
{
    struct open_node *map = &t->open[t->depth - 1];
    struct yaml_node *value = NULL;
    struct slice key;
    if (event->type != YAML_SCALAR_EVENT)
        return refuse(t, event->start_mark, ERR_SYNTAX, "a key must be a text");
    if (map->node->len == YAML_KEYS_MAX)
        return refuse(t, event->start_mark, ERR_LIMIT, "these are more than %d keys",
                      YAML_KEYS_MAX);
    enum err err = take_text(t, event, &key);
    for (const struct yaml_node *n = map->node->first; err == ERR_NONE && n != NULL; n = n->next)
        if (slice_equal(n->key, key))
            return refuse(t, event->start_mark, ERR_SYNTAX,
                          "'%.*s' stands here twice; the first is in line %u", (int)key.len,
                          (const char *)key.data, n->key_line);
    if (err == ERR_NONE)
        err = new_node(t, event->start_mark, &value);
    if (value == NULL)
        return err;
    value->key = key;
    value->key_line = line_of(event->start_mark);
    value->key_column = column_of(event->start_mark);
    value->key_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    map->value = value;
    return ERR_NONE;
}

/* The node that this event is of: the value of a key, an entry of a list, or the root. */
static enum err place(struct tree *t, const yaml_event_t *event, struct yaml_node **ret_node)
{
    struct open_node *in = t->depth == 0 ? NULL : &t->open[t->depth - 1];
    struct yaml_node *node = in == NULL ? NULL : in->value;
    enum err err = node == NULL ? new_node(t, event->start_mark, &node) : ERR_NONE;
    if (err != ERR_NONE)
        return err;
    node->line = line_of(event->start_mark);
    node->column = column_of(event->start_mark);
    if (in == NULL) {
        t->root = node;
    } else {
        if (in->last == NULL)
            in->node->first = node;
        else
            in->last->next = node;
        in->last = node;
        in->node->len++;
        in->value = NULL;
    }
    *ret_node = node;
    return ERR_NONE;
}

static enum err open_node(struct tree *t, const yaml_event_t *event)
{
    struct yaml_node *node = NULL;
    if (t->depth == YAML_DEPTH_MAX)
        return refuse(t, event->start_mark, ERR_LIMIT, "this is deeper than %d levels",
                      YAML_DEPTH_MAX);
    enum err err = place(t, event, &node);
    if (err != ERR_NONE)
        return err;
    node->kind = event->type == YAML_MAPPING_START_EVENT ? YAML_MAP : YAML_LIST;
    t->open[t->depth++] = (struct open_node){.node = node};
    return ERR_NONE;
}

static enum err text_node(struct tree *t, const yaml_event_t *event)
{
    struct yaml_node *node = NULL;
    enum err err = place(t, event, &node);
    if (err == ERR_NONE)
        err = take_text(t, event, &node->text);
    if (err != ERR_NONE)
        return err;
    node->kind = YAML_TEXT;
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return ERR_NONE;
}

/* ---- what YAML has and a policy has not ---- */

static enum err refuse_extras(struct tree *t, const yaml_event_t *event)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return refuse(t, event->start_mark, ERR_SYNTAX,
                      "'*' begins an alias, which a policy has not: write it out, or put the text "
                      "in quotes");
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
        break;
    default:
        break;
    }
    if (anchor != NULL)
        return refuse(t, event->start_mark, ERR_SYNTAX,
                      "'&' begins an anchor, which a policy has not: put the text in quotes");
    if (tag != NULL)
        return refuse(t, event->start_mark, ERR_SYNTAX,
                      "'!' begins a tag, which a policy has not: put the text in quotes");
    return ERR_NONE;
}

static enum err start_document(struct tree *t, const yaml_event_t *event)
{
    const yaml_tag_directive_t *tags = event->data.document_start.tag_directives.start;
    if (t->ended)
        return refuse(t, event->start_mark, ERR_SYNTAX,
                      "a second document begins here; a policy is one");
    if (event->data.document_start.version_directive != NULL ||
        tags != event->data.document_start.tag_directives.end)
        return refuse(t, event->start_mark, ERR_SYNTAX,
                      "'%%' begins a directive, which a policy has not");
    return ERR_NONE;
}

static enum err take_event(struct tree *t, const yaml_event_t *event)
{
    enum err err = refuse_extras(t, event);
    if (err != ERR_NONE)
        return err;
    bool in_map = t->depth > 0 && t->open[t->depth - 1].node->kind == YAML_MAP;
    bool ends_map = event->type == YAML_MAPPING_END_EVENT;
    if (in_map && !ends_map && t->open[t->depth - 1].value == NULL)
        return take_key(t, event);
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return start_document(t, event);
    case YAML_DOCUMENT_END_EVENT:
        t->ended = true;
        return ERR_NONE;
    case YAML_MAPPING_START_EVENT:
    case YAML_SEQUENCE_START_EVENT:
        return open_node(t, event);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        t->depth--;
        return ERR_NONE;
    case YAML_SCALAR_EVENT:
        return text_node(t, event);
    default:
        return ERR_NONE; /* the stream's start and end */
    }
}

/* libyaml's own complaint, with what helps where it is known. */
static enum err parser_failed(struct tree *t)
{
    const yaml_parser_t *p = t->parser;
    if (p->error == YAML_MEMORY_ERROR)
        return ERR_NO_MEMORY;
    const char *problem = p->problem == NULL ? "this is not YAML" : p->problem;
    const char *context = p->context == NULL ? "" : p->context, *help = "";
    if (strstr(problem, "cannot start any token") != NULL || strstr(problem, "a tab ") != NULL)
        help = "; lines are indented by spaces, and a text that begins so needs quotes";
    else if (strstr(problem, "did not find expected") != NULL ||
             strstr(problem, "mapping values are not allowed") != NULL)
        help = "; is a line indented too far, or a quote, bracket or colon missing?";
    return refuse(t, p->problem_mark, ERR_SYNTAX, "%s%s%s%s", context, *context == '\0' ? "" : ": ",
                  problem, help);
}

static enum err read_events(struct tree *t)
{
    enum err err = ERR_NONE;
    for (bool more = true; more && err == ERR_NONE;) {
        yaml_event_t event;
        if (yaml_parser_parse(t->parser, &event) == 0)
            return parser_failed(t);
        more = event.type != YAML_STREAM_END_EVENT;
        err = take_event(t, &event);
        yaml_event_delete(&event);
    }
    return err;
}

enum err yaml_read(struct slice text, struct arena *arena, struct yaml_node **ret_root,
                   struct policy_complaint *complaint)
{
    yaml_parser_t parser;
    if (text.len > POLICY_TEXT_MAX)
        return policy_complain(complaint, 0, 0, ERR_LIMIT, "a policy has at most %u bytes",
                               POLICY_TEXT_MAX);
    enum err err = check_characters(text, complaint);
    if (err != ERR_NONE)
        return err;
    if (yaml_parser_initialize(&parser) == 0)
        return ERR_NO_MEMORY;
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, text.data, text.len);
    struct tree t = {.parser = &parser, .arena = arena, .complaint = complaint};
    err = read_events(&t);
    yaml_parser_delete(&parser);
    if (err == ERR_NONE && t.root == NULL)
        return policy_complain(complaint, 1, 1, ERR_SYNTAX, "the file says nothing");
    if (err == ERR_NONE)
        *ret_root = t.root;
    return err;
}

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
    struct slice wanted = slice_of_text(key);
    if (map == NULL || map->kind != YAML_MAP)
        return NULL;
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next)
        if (slice_equal(n->key, wanted))
            return n;
    return NULL;
}

bool yaml_is_word(struct slice plain)
{
    /* YAML 1.1 and 1.2 differ; what either takes for no text is none to us. */
    static const char *const words[] = {"",   "~",   "null", "true", "false", "yes", "no",
                                        "on", "off", "y",    "n",    ".inf",  ".nan"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        struct slice word = slice_of_text(words[i]);
        size_t same = 0;
        while (word.len == plain.len && same < word.len &&
               (plain.data[same] |
                (plain.data[same] >= 'A' && plain.data[same] <= 'Z' ? 0x20 : 0)) == word.data[same])
            same++;
        if (word.len == plain.len && same == word.len)
            return true;
    }
    /* numbers (0x1f, 1_000, 1e5), times (12:30:00) and dates (2026-11-28) */
    bool has_digit = false;
    for (size_t i = 0; i < plain.len; i++) {
        bool is_digit = plain.data[i] >= '0' && plain.data[i] <= '9';
        has_digit = has_digit || is_digit;
        if (!is_digit && strchr("+-._:eExabcdfABCDF", plain.data[i]) == NULL)
            return false;
    }
    bool starts = plain.data[0] <= '9'; /* a digit, a sign or a dot */
    return has_digit && starts;
}
