#include <stdio.h>

#include "base/crypto.h"
#include "base/similar.h"
#include "core/topic.h"
#include "pki/fleet.h"
#include "policy/internal.h"

#define SHOWN(s) (int)((s).len < 80 ? (s).len : 80), (const char *)(s).data

#define REFUSE(...) policy_complain(complaint, node->line, node->column, __VA_ARGS__)

static void put_integer(void *to, size_t size, int64_t value)
{
    if (size == sizeof(uint8_t))
        *(uint8_t *)to = (uint8_t)value;
    else if (size == sizeof(uint32_t))
        *(uint32_t *)to = (uint32_t)value;
    else
        *(int64_t *)to = value;
}

/* ---- words ---- */

static void set_bits(const struct schema *s, unsigned bits, void *to)
{
    int64_t held = s->size == sizeof(uint8_t) ? *(uint8_t *)to : *(uint32_t *)to;
    put_integer(to, s->size, held | bits);
}

static const struct schema_word *find_word(const struct schema *s, struct slice text)
{
    for (size_t i = 0; i < s->words_len; i++)
        if (slice_equal(slice_of_text(s->words[i].word), text))
            return &s->words[i];
    return NULL;
}

enum err policy_take_word(const struct schema *s, const char *what, const struct yaml_node *node,
                          void *to, struct policy_complaint *complaint)
{
    char all[160];
    struct similar similar = similar_to(node->text);
    const struct schema_word *found = find_word(s, node->text);
    if (found != NULL) {
        set_bits(s, found->bits, to);
        return ERR_NONE;
    }
    struct writer w = writer_over(all, sizeof all - 1);
    for (size_t i = 0; i < s->words_len; i++) {
        similar_offer(&similar, s->words[i].word);
        writer_text(&w, i == 0 ? "" : i + 1 < s->words_len ? ", " : " or ");
        writer_text(&w, s->words[i].word);
    }
    all[w.len] = '\0';
    if (similar.best != NULL)
        return REFUSE(ERR_SYNTAX, "'%s' can't be '%.*s'; did you mean '%s'?", what,
                      SHOWN(node->text), similar.best);
    return REFUSE(ERR_SYNTAX, "'%s' must be %s, not '%.*s'", what, all, SHOWN(node->text));
}

static enum err take_bool(const char *what, const struct yaml_node *node, bool *to,
                          struct policy_complaint *complaint)
{
    bool yes = slice_equal(node->text, SLICE_LITERAL("true"));
    if (!node->plain || (!yes && !slice_equal(node->text, SLICE_LITERAL("false"))))
        return REFUSE(ERR_SYNTAX, "'%s' must be true or false, without quotes, not '%.*s'", what,
                      SHOWN(node->text));
    *to = yes;
    return ERR_NONE;
}

/* ---- quantities ---- */

static enum err take_quantity(const struct schema *s, const char *what,
                              const struct yaml_node *node, void *to,
                              struct policy_complaint *complaint)
{
    int64_t value = 0;
    const char *or_word = s->none == NULL ? "" : ", or ", *none = s->none == NULL ? "" : s->none;
    if (s->none != NULL && slice_equal(node->text, slice_of_text(s->none))) {
        put_integer(to, s->size, 0);
        return ERR_NONE;
    }
    enum err err = quantity_read(node->text, s->quantity, &value);
    if (err == ERR_SYNTAX || (s->quantity == QUANTITY_COUNT && !node->plain))
        return REFUSE(ERR_SYNTAX, "'%s' must be %s%s%s, not '%.*s'", what,
                      quantity_example(s->quantity), or_word, none, SHOWN(node->text));
    if (err == ERR_NONE && value >= s->min && value <= s->max) {
        put_integer(to, s->size, value);
        return ERR_NONE;
    }
    char least[32], most[32];
    struct writer w = writer_over(least, sizeof least - 1);
    quantity_write(&w, s->quantity, s->min);
    least[w.len] = '\0';
    w = writer_over(most, sizeof most - 1);
    quantity_write(&w, s->quantity, s->max);
    most[w.len] = '\0';
    if (s->min == s->max)
        return REFUSE(ERR_LIMIT, "'%s' must be %s, not '%.*s'", what, least, SHOWN(node->text));
    return REFUSE(ERR_LIMIT, "'%s' must be from %s to %s%s%s, not '%.*s'", what, least, most,
                  or_word, none, SHOWN(node->text));
}

/* ---- names and keys ---- */

static bool is_name(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!plain && (i == 0 || (c != '.' && c != '-' && c != '_')))
            return false;
    }
    return text.len > 0 && text.len <= RULES_NAME_MAX;
}

static enum err take_name(const char *what, const struct yaml_node *node,
                          struct policy_complaint *complaint)
{
    if (!is_name(node->text))
        return REFUSE(ERR_SYNTAX,
                      "'%.*s' can't be the name of a %s: names are 1 to %d letters, digits, dots, "
                      "dashes and underscores, a letter or digit first",
                      SHOWN(node->text), what, RULES_NAME_MAX);
    if (node->plain && yaml_is_word(node->text))
        return REFUSE(ERR_SYNTAX,
                      "the name %.*s needs quotes: without them YAML takes it for something other "
                      "than a text",
                      SHOWN(node->text));
    return ERR_NONE;
}

static enum err check_fleet(const struct yaml_node *node, struct policy_complaint *complaint)
{
    if (!ca_is_fleet_name(node->text))
        return REFUSE(ERR_SYNTAX,
                      "'%.*s' can't be the name of a fleet: those are lower-case DNS labels, such "
                      "as acme-hq, of at most %d bytes",
                      SHOWN(node->text), CA_FLEET_MAX);
    return ERR_NONE;
}

static enum err check_key(const char *what, const struct yaml_node *node,
                          struct policy_complaint *complaint)
{
    struct note_key key;
    if (node->text.len > NOTE_KEY_TEXT_MAX ||
        note_key_read(node->text, crypto_sha256, &key) != ERR_NONE)
        return REFUSE(ERR_SYNTAX, "'%s' is no verifier key of the form NAME+HASH+BASE64: '%.*s'",
                      what, SHOWN(node->text));
    return ERR_NONE;
}

/* ---- topics ---- */

/* Braces, more plainly than rules_filter_check() can say it. */
static enum err check_variables(const struct yaml_node *node, struct policy_complaint *complaint)
{
    struct slice text = node->text;
    bool has_variable = false; /* this level */
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        has_variable = has_variable && c != '/';
        if (c == '{' && has_variable)
            return REFUSE(ERR_SYNTAX,
                          "'%.*s' has two variables in one level: other names could make the same "
                          "topic; put a '/' between them",
                          SHOWN(text));
        if (c == '}')
            return REFUSE(ERR_SYNTAX, "'%.*s' has a '}' without its '{'", SHOWN(text));
        if (c != '{')
            continue;
        size_t end = i + 1;
        while (end < text.len && text.data[end] != '}' && text.data[end] != '/')
            end++;
        bool closed = end < text.len && text.data[end] == '}';
        struct slice variable = slice_of(text.data + i, end - i + closed);
        struct similar similar = similar_to(variable);
        size_t known = 0;
        while (known < policy_variables_len &&
               !slice_equal(variable, slice_of_text(policy_variables[known])))
            similar_offer(&similar, policy_variables[known++]);
        if (known == policy_variables_len && similar.best != NULL)
            return REFUSE(ERR_SYNTAX, "'%.*s' is no variable; did you mean '%s'?", SHOWN(variable),
                          similar.best);
        if (known == policy_variables_len)
            return REFUSE(ERR_SYNTAX,
                          "'%.*s' is no variable: there are {tenant}, {device}, {model} and "
                          "{group}",
                          SHOWN(variable));
        has_variable = true;
        i = end;
    }
    return ERR_NONE;
}

static enum err check_filter(const char *what, const struct yaml_node *node,
                             struct policy_complaint *complaint)
{
    struct slice text = node->text;
    if (text.len > RULES_FILTER_MAX)
        return REFUSE(ERR_LIMIT, "this filter is longer than %d bytes", RULES_FILTER_MAX);
    enum err err = check_variables(node, complaint);
    if (err != ERR_NONE)
        return err;
    err = rules_filter_check(text);
    if (err == ERR_LIMIT)
        return REFUSE(err, "'%.*s' has more than %d levels", SHOWN(text), TOPIC_LEVELS_MAX);
    if (err != ERR_NONE)
        return REFUSE(err,
                      "'%.*s' is no topic filter: '+' stands for one whole level, '#' for all that "
                      "follow and only at the end",
                      SHOWN(text));
    bool may_read = slice_starts_with(text, SLICE_LITERAL("$SYS/")) ||
                    slice_starts_with(text, SLICE_LITERAL("$share/"));
    if (slice_starts_with(text, SLICE_LITERAL("$")) &&
        (!may_read || slice_equal(slice_of_text(what), SLICE_LITERAL("publish"))))
        return REFUSE(ERR_SYNTAX,
                      "'%.*s': topics that begin with '$' belong to the broker; devices can be let "
                      "to subscribe to $SYS/... and $share/NAME/... alone",
                      SHOWN(text));
    return ERR_NONE;
}

/* Of a test: braces would match nothing, and so a test that something is refused always hold. */
static enum err check_topic(const struct schema *s, const struct yaml_node *node,
                            struct policy_complaint *complaint)
{
    struct slice text = node->text;
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] == '{' || text.data[i] == '}')
            return REFUSE(ERR_SYNTAX,
                          "a test asks about a real topic: write the names in the place of the "
                          "variables in '%.*s'",
                          SHOWN(text));
    bool is_filter = s->kind == SCHEMA_ASKED;
    enum err err = is_filter ? topic_filter_check(text) : topic_name_check(text);
    if (err == ERR_NONE)
        return ERR_NONE;
    if (is_filter)
        return REFUSE(err, "'%.*s' is no topic filter; a broker refuses it whatever a policy says",
                      SHOWN(text));
    return REFUSE(err, "'%.*s' is no topic: wildcards stand in filters alone", SHOWN(text));
}

/* ---- a value of any kind ---- */

static enum err put_text(const struct schema *s, const struct yaml_node *node, void *to,
                         struct policy_complaint *complaint)
{
    if (s->size == 0 || s->size == sizeof(struct slice)) {
        *(struct slice *)to = node->text;
        return ERR_NONE;
    }
    if (node->text.len >= s->size)
        return REFUSE(ERR_LIMIT, "this text is longer than %zu bytes", s->size - 1);
    if (node->text.len > 0)
        memcpy(to, node->text.data, node->text.len);
    return ERR_NONE;
}

enum err policy_take_value(const struct schema *s, const char *what, const struct yaml_node *node,
                           void *to, struct policy_complaint *complaint)
{
    enum err err = ERR_NONE;
    if (node->kind != YAML_TEXT)
        return REFUSE(ERR_SYNTAX, "'%s' must be one value here, not a %s", what,
                      node->kind == YAML_LIST ? "list" : "map");
    switch (s->kind) {
    case SCHEMA_WORD:
        return policy_take_word(s, what, node, to, complaint);
    case SCHEMA_BOOL:
        return take_bool(what, node, to, complaint);
    case SCHEMA_QUANTITY:
        return take_quantity(s, what, node, to, complaint);
    case SCHEMA_NAME:
        err = take_name(what, node, complaint);
        break;
    case SCHEMA_FLEET:
        err = check_fleet(node, complaint);
        break;
    case SCHEMA_KEY:
        err = check_key(what, node, complaint);
        break;
    case SCHEMA_FILTER:
        err = check_filter(what, node, complaint);
        break;
    case SCHEMA_TOPIC:
    case SCHEMA_ASKED:
        err = check_topic(s, node, complaint);
        break;
    default:
        return ERR_INTERNAL;
    }
    return err == ERR_NONE ? put_text(s, node, to, complaint) : err;
}

enum err policy_take_standard(const struct schema *s, void *to)
{
    struct policy_complaint complaint;
    enum err err = ERR_NONE;
    if (s->standard == NULL)
        return ERR_NONE; /* it is zero already */
    struct yaml_node node = {.plain = true, .text = slice_of_text(s->standard)};
    if (s->kind != SCHEMA_WORDS)
        return policy_take_value(s, s->name, &node, to, &complaint);
    for (struct slice left = node.text; err == ERR_NONE && left.len > 0;) {
        size_t n = 0;
        while (n < left.len && left.data[n] != ' ')
            n++;
        node.text = slice_of(left.data, n);
        err = policy_take_word(s, s->name, &node, to, &complaint);
        n += n < left.len;
        left = slice_of(left.data + n, left.len - n);
    }
    return err;
}
