/* The schema, as editors understand one: JSON Schema draft 7, which most of them speak. */
#include "core/json_write.h"
#include "policy/schema.h"

#define HELP_MAX 512

static void write_schema(struct json_writer *j, const struct schema *s);

/* ---- help ---- */

/* What it is, in which limits, and what holds without it. */
static void write_help(struct json_writer *j, const struct schema *s)
{
    uint8_t text[HELP_MAX];
    struct writer w = writer_over(text, sizeof text);
    writer_text(&w, s->help);
    if (s->kind == SCHEMA_QUANTITY && s->min != s->max) {
        writer_text(&w, " From ");
        quantity_write(&w, s->quantity, s->min);
        writer_text(&w, " to ");
        quantity_write(&w, s->quantity, s->max);
        writer_text(&w, s->none == NULL ? "" : ", or ");
        writer_text(&w, s->none == NULL ? "" : s->none);
        writer_text(&w, ".");
    }
    if (s->standard != NULL) {
        writer_text(&w, " Without it: ");
        writer_text(&w, s->standard);
        writer_text(&w, ".");
    }
    json_field_slice(j, "description", writer_bytes(&w));
}

/* ---- single values ---- */

static void write_words(struct json_writer *j, const struct schema *s)
{
    json_key(j, "enum");
    json_open_array(j);
    for (size_t i = 0; i < s->words_len; i++)
        json_text(j, s->words[i].word);
    json_close_array(j);
}

static void write_pattern(struct json_writer *j, const char *pattern, size_t max)
{
    json_field_text(j, "type", "string");
    if (pattern != NULL)
        json_field_text(j, "pattern", pattern);
    json_field_integer(j, "minLength", 1);
    json_field_integer(j, "maxLength", (int64_t)max);
}

static void write_number(struct json_writer *j, const struct schema *s)
{
    if (s->quantity == QUANTITY_COUNT) {
        json_field_text(j, "type", "integer");
        json_field_integer(j, "minimum", s->min);
        json_field_integer(j, "maximum", s->max);
    } else {
        json_field_text(j, "type", "string");
        json_field_text(j, "pattern", quantity_pattern(s->quantity));
    }
}

static void write_quantity(struct json_writer *j, const struct schema *s)
{
    if (s->none == NULL) {
        write_number(j, s);
        return;
    }
    json_key(j, "anyOf");
    json_open_array(j);
    json_open_object(j);
    write_number(j, s);
    json_close_object(j);
    json_open_object(j);
    json_field_text(j, "const", s->none);
    json_close_object(j);
    json_close_array(j);
}

#define NAME_PATTERN "^[A-Za-z0-9][A-Za-z0-9._-]*$"

static void write_value(struct json_writer *j, const struct schema *s)
{
    switch (s->kind) {
    case SCHEMA_WORD:
        write_words(j, s);
        break;
    case SCHEMA_BOOL:
        json_field_text(j, "type", "boolean");
        break;
    case SCHEMA_QUANTITY:
        write_quantity(j, s);
        break;
    case SCHEMA_NAME:
        write_pattern(j, NAME_PATTERN, RULES_NAME_MAX);
        break;
    case SCHEMA_FLEET:
        write_pattern(j, "^[a-z0-9]+(-+[a-z0-9]+)*([.][a-z0-9]+(-+[a-z0-9]+)*)*$", FLEET_NAME_MAX);
        break;
    case SCHEMA_KEY:
        write_pattern(j, "^[^+\\s]+[+][0-9a-f]{8}[+][A-Za-z0-9+/=]+$", NOTE_KEY_TEXT_MAX);
        break;
    case SCHEMA_FILTER: /* wildcards in their place; one variable in a level */
        write_pattern(j,
                      "^(?![$](?!SYS/|share/))"
                      "(([+]|[^{}+#/]*([{](tenant|device|model|group)[}][^{}+#/]*)?)(/|$))*#?$",
                      RULES_FILTER_MAX);
        break;
    case SCHEMA_TOPIC:
        write_pattern(j, "^[^{}+#]+$", 1024);
        break;
    default: /* SCHEMA_ASKED */
        write_pattern(j, "^[^{}]+$", 1024);
    }
}

/* ---- maps and lists ---- */

static void write_map(struct json_writer *j, const struct schema *s)
{
    bool requires = false;
    json_field_text(j, "type", "object");
    json_field_bool(j, "additionalProperties", false);
    json_key(j, "properties");
    json_open_object(j);
    for (size_t i = 0; i < s->keys_len; i++) {
        json_key(j, s->keys[i].name);
        write_schema(j, &s->keys[i]);
        requires = requires || s->keys[i].required;
    }
    json_close_object(j);
    if (!requires)
        return;
    json_key(j, "required");
    json_open_array(j);
    for (size_t i = 0; i < s->keys_len; i++)
        if (s->keys[i].required)
            json_text(j, s->keys[i].name);
    json_close_array(j);
}

static void write_named(struct json_writer *j, const struct schema *s)
{
    json_field_text(j, "type", "object");
    json_field_integer(j, "maxProperties", s->max);
    json_key(j, "propertyNames");
    json_open_object(j);
    write_pattern(j, NAME_PATTERN, RULES_NAME_MAX);
    json_close_object(j);
    json_key(j, "additionalProperties");
    write_schema(j, s->item);
}

static void write_array(struct json_writer *j, const struct schema *s)
{
    json_field_text(j, "type", "array");
    json_field_integer(j, "minItems", s->min);
    if (s->kind == SCHEMA_WORDS)
        json_field_bool(j, "uniqueItems", true);
    else
        json_field_integer(j, "maxItems", s->max);
    json_key(j, "items");
    if (s->kind == SCHEMA_LIST) {
        write_schema(j, s->item);
        return;
    }
    json_open_object(j);
    write_words(j, s);
    json_close_object(j);
}

static void write_list(struct json_writer *j, const struct schema *s)
{
    if (!s->or_one) {
        write_array(j, s);
        return;
    }
    json_key(j, "anyOf");
    json_open_array(j);
    write_schema(j, s->item);
    json_open_object(j);
    write_array(j, s);
    json_close_object(j);
    json_close_array(j);
}

static void write_content(struct json_writer *j, const struct schema *s)
{
    write_help(j, s);
    if (s->kind == SCHEMA_MAP)
        write_map(j, s);
    else if (s->kind == SCHEMA_NAMED)
        write_named(j, s);
    else if (s->kind == SCHEMA_LIST)
        write_list(j, s);
    else if (s->kind == SCHEMA_WORDS)
        write_array(j, s);
    else
        write_value(j, s);
}

static void write_schema(struct json_writer *j, const struct schema *s)
{
    json_open_object(j);
    write_content(j, s);
    json_close_object(j);
}

void policy_write_schema(struct writer *w)
{
    struct json_writer j = json_writer_over(w);
    json_open_object(&j);
    json_field_text(&j, "$schema", "http://json-schema.org/draft-07/schema#");
    json_field_text(&j, "title", "Holdfast policy");
    write_content(&j, &policy_schema);
    json_close_object(&j);
}
