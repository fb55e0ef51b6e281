/* What the policy costs a broker, without MQTT. Prints one JSON object:
 *
 *   policy_bench DEVICES SECONDS
 *
 * compile: a policy is read from its text and compiled; its rules are read, and a broker's table of
 * DEVICES is filled from pages as the hub sends them. decisions: a device anywhere in that table,
 * known by its number as a session knows it, asks to publish, to receive or to subscribe; one in
 * ten is refused. found: the same, of a device that is found by its name first, as where its
 * session is away. All in seconds of one processor. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/table.h"
#include "policy/policy.h"

#define MODELS       100
#define GROUPS       200
#define PAGE_RECORDS 1000 /* as the plugin asks for */
#define TENANT       "default"
#define NAME_SIZE    12 /* "dev-00000000", without NUL */

static void must(const char *what, enum err err)
{
    if (err == ERR_NONE)
        return;
    (void)fprintf(stderr, "policy_bench: %s: %s\n", what, err_text(err));
    exit(1);
}

static double cpu_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void *must_allocate(size_t size)
{
    void *p = calloc(1, size);
    must("memory", p == NULL ? ERR_NO_MEMORY : ERR_NONE);
    return p;
}

/* ---- what is given: the policy's text, the pages ---- */

static struct slice make_policy(void)
{
    char *text = must_allocate(POLICY_TEXT_MAX);
    size_t len =
        (size_t)snprintf(text, POLICY_TEXT_MAX, "holdfast: 1\nfleet: bench.example\nmodels:\n");
    for (unsigned m = 0; m < MODELS; m++)
        len +=
            (size_t)snprintf(text + len, POLICY_TEXT_MAX - len,
                             "  model-%04u:\n"
                             "    identity: {maker: acme}\n"
                             "    publish: [\"fleet/{model}/{device}/up/#\", \"events/{device}\"]\n"
                             "    subscribe: [\"announce/+\", \"fleet/{model}/{device}/down/#\"]\n",
                             m);
    len += (size_t)snprintf(text + len, POLICY_TEXT_MAX - len, "groups:\n");
    for (unsigned g = 0; g < GROUPS; g++)
        len += (size_t)snprintf(text + len, POLICY_TEXT_MAX - len,
                                "  floor-%03u: {publish: [\"floor/{group}/{device}\"], "
                                "subscribe: [\"floor/{group}/all/#\"]}\n",
                                g);
    must("policy", len < POLICY_TEXT_MAX ? ERR_NONE : ERR_LIMIT);
    return slice_of(text, len);
}

/* A device's number as it stands in its name. */
static void put_digits(char *to, uint32_t n)
{
    for (int i = 7; i >= 0; i--, n /= 10)
        to[i] = (char)('0' + n % 10);
}

struct names {
    char device[NAME_SIZE + 1], model[11], group[10];
};

static struct names names_of(uint32_t n)
{
    struct names names = {.device = "dev-00000000", .model = "model-0000", .group = "floor-000"};
    char digits[8];
    put_digits(names.device + 4, n);
    put_digits(digits, n * 7919 % MODELS);
    memcpy(names.model + 6, digits + 4, 4);
    put_digits(digits, n % GROUPS);
    memcpy(names.group + 6, digits + 5, 3);
    return names;
}

/* Bytes of a certificate's digest: as even as SHA-256's. */
static void make_digest(uint32_t n, uint8_t digest[SHA256_SIZE])
{
    uint64_t x = n;
    for (size_t i = 0; i < SHA256_SIZE; i += 8) {
        x += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t z = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        memcpy(digest + i, &z, 8);
    }
}

static void write_record(struct writer *w, uint32_t n)
{
    struct names names = names_of(n);
    struct device_record d = {.tenant = SLICE_LITERAL(TENANT),
                              .device = slice_of_text(names.device),
                              .model = slice_of_text(names.model),
                              .group = slice_of_text(names.group),
                              .state = DEVICE_TRUSTED,
                              .certificates_len = 1};
    make_digest(n, d.certificates[0].sha256);
    d.certificates[0].not_after = INT64_C(1800000000) + n;
    device_record_write(w, &d);
}

struct pages {
    struct slice *all;
    size_t len;
};

static struct pages make_pages(uint32_t devices)
{
    struct pages p = {.len = (devices + PAGE_RECORDS - 1) / PAGE_RECORDS};
    p.all = must_allocate((p.len + 1) * sizeof *p.all);
    static uint8_t page[DEVICE_FEED_MAX];
    for (size_t i = 0; i < p.len; i++) {
        uint32_t first = (uint32_t)i * PAGE_RECORDS;
        uint32_t count = devices - first < PAGE_RECORDS ? devices - first : PAGE_RECORDS;
        struct writer w = writer_over(page, sizeof page);
        device_feed_write_head(&w, 1, 1, count);
        for (uint32_t n = 0; n < count; n++)
            write_record(&w, first + n);
        must("a page", w.err);
        uint8_t *copy = must_allocate(w.len);
        memcpy(copy, page, w.len);
        p.all[i] = slice_of(copy, w.len);
    }
    return p;
}

/* ---- compile ---- */

static struct rules compile(struct slice text, struct arena *arena)
{
    struct policy policy;
    struct policy_complaint complaint = {.line = 0};
    struct slice body = {NULL, 0};
    struct rules rules = {.version = 0};
    enum err err = policy_read(text, arena, &policy, &complaint);
    must(complaint.text[0] != '\0' ? complaint.text : "policy", err);
    must("compile", policy_compile(&policy, arena, &body));
    must("rules", rules_read_body(body, &rules));
    return rules;
}

static void load_page(struct table *t, struct slice page)
{
    struct device_feed feed = {.count = 0};
    must("page", device_feed_read_head(page, &feed));
    must("table", table_prepare(t, feed.count));
    table_adopt(t);
    for (uint32_t i = 0; i < feed.count; i++) {
        struct device_record d;
        uint32_t device;
        bool changed;
        device_record_read(&feed.records, &d);
        must("record", feed.records.err);
        must("table", table_take(t, &d, &device, &changed));
    }
    must("page", reader_finish(&feed.records));
}

/* ---- decisions ---- */

/* A topic with the device's name in it; one of ten is another device's. */
static struct slice make_topic(char buffer[64], const struct names *names, unsigned kind,
                               enum rules_action *ret_action)
{
    static const struct {
        const char *format;
        enum rules_action action;
    } kinds[] = {
        {"fleet/%s/%s/up/temperature", RULES_PUBLISH},
        {"fleet/%s/%s/down/set", RULES_RECEIVE},
        {"fleet/%s/%s/up/state", RULES_PUBLISH},
        {"fleet/%s/%s/down/#", RULES_SUBSCRIBE},
    };
    *ret_action = kinds[kind].action;
    int len = snprintf(buffer, 64, kinds[kind].format, names->model, names->device);
    return slice_of(buffer, (size_t)len);
}

#define QUESTIONS (1U << 20) /* made before: what is measured is the answer */

struct question {
    char device[NAME_SIZE];
    uint8_t topic_len, action;
    bool allowed;
    char topic[45];
    uint32_t number;
};

static struct question *make_questions(const struct table *t, uint32_t devices)
{
    struct question *all = must_allocate(QUESTIONS * sizeof *all);
    uint32_t random = 1;
    for (uint32_t i = 0; i < QUESTIONS; i++) {
        random = random * 1664525 + 1013904223;
        uint32_t n = (uint32_t)((uint64_t)random * devices >> 32);
        struct names names = names_of(n), other = names_of(n ^ 1);
        char topic[64];
        enum rules_action action;
        all[i].allowed = i % 10 != 0;
        struct slice s = make_topic(topic, all[i].allowed ? &names : &other, i / 10 % 4, &action);
        must("topic", s.len <= sizeof all[i].topic ? ERR_NONE : ERR_LIMIT);
        memcpy(all[i].device, names.device, NAME_SIZE);
        memcpy(all[i].topic, topic, s.len);
        all[i].topic_len = (uint8_t)s.len;
        all[i].action = (uint8_t)action;
        all[i].number = table_find(t, SLICE_LITERAL(TENANT), slice_of(names.device, NAME_SIZE));
        must("a device", all[i].number != TABLE_NONE ? ERR_NONE : ERR_INTERNAL);
    }
    return all;
}

static bool decide(const struct table *t, const struct rules *rules, const struct question *q,
                   bool find)
{
    struct rules_subject s;
    uint32_t device =
        find ? table_find(t, SLICE_LITERAL(TENANT), slice_of(q->device, NAME_SIZE)) : q->number;
    return device != TABLE_NONE && table_subject(t, device, &s) &&
           rules_decide(rules, &s, (enum rules_action)q->action,
                        slice_of(q->topic, q->topic_len)) == RULES_ALLOW;
}

static double decisions_per_second(const struct table *t, const struct rules *rules,
                                   const struct question *questions, bool find, double seconds)
{
    uint64_t done = 0;
    double start = cpu_seconds(), used = 0;
    while (used < seconds) {
        for (uint32_t i = 0; i < QUESTIONS; i++)
            if (decide(t, rules, &questions[i], find) != questions[i].allowed)
                must("a decision", ERR_INTERNAL);
        done += QUESTIONS;
        used = cpu_seconds() - start;
    }
    return (double)done / used;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        (void)fprintf(stderr, "usage: policy_bench DEVICES SECONDS\n");
        return 2;
    }
    uint32_t devices = (uint32_t)strtoul(argv[1], NULL, 10);
    struct slice text = make_policy();
    struct pages pages = make_pages(devices);
    struct arena *arena = arena_new((size_t)64 << 20);
    struct table *table = NULL;
    must("memory", arena == NULL ? ERR_NO_MEMORY : ERR_NONE);

    double start = cpu_seconds();
    struct rules rules = compile(text, arena);
    double compiled = cpu_seconds() - start;
    must("table", table_new(BROKER_DEVICES_MAX, &table));
    for (size_t i = 0; i < pages.len; i++)
        load_page(table, pages.all[i]);
    double loaded = cpu_seconds() - start;
    must("table", table_len(table) == devices ? ERR_NONE : ERR_INTERNAL);

    struct question *questions = make_questions(table, devices);
    double seconds = strtod(argv[2], NULL) / 2;
    double known = decisions_per_second(table, &rules, questions, false, seconds);
    double found = decisions_per_second(table, &rules, questions, true, seconds);
    printf("{\"decisions\": %.0f, \"found\": %.0f, \"compile\": %.4f, \"policy\": %.4f}\n", known,
           found, loaded, compiled);
    for (size_t i = 0; i < pages.len; i++)
        free((void *)pages.all[i].data);
    free(pages.all);
    free((void *)text.data);
    free(questions);
    table_free(table);
    arena_free(arena);
    return 0;
}
