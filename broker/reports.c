#include "broker/reports.h"

#include <stdlib.h>

const char *refusal_text(enum refusal kind)
{
    static const char *const texts[REFUSAL_KINDS] = {
        [REFUSAL_TOPIC] = "topic",
        [REFUSAL_PAYLOAD] = "payload",
        [REFUSAL_RATE] = "rate",
        [REFUSAL_CONNECTS] = "connects",
        [REFUSAL_SUBSCRIPTIONS] = "subscriptions",
        [REFUSAL_CLIENT_ID] = "client-id",
        [REFUSAL_UNKNOWN_CERTIFICATE] = "unknown-certificate",
        [REFUSAL_STATE] = "state",
        [REFUSAL_FORM] = "form",
        [REFUSAL_PASSWORD] = "password",
    };
    return texts[kind];
}

enum err reports_init(struct reports *r)
{
    *r = (struct reports){
        .connects = calloc(BROKER_CONNECTS_MAX, sizeof *r->connects),
        .refusals = calloc(BROKER_REFUSALS_MAX, sizeof *r->refusals),
    };
    return r->connects == NULL || r->refusals == NULL ? ERR_NO_MEMORY : ERR_NONE;
}

void reports_destroy(struct reports *r)
{
    free(r->connects);
    free(r->refusals);
    r->connects = NULL;
    r->refusals = NULL;
}

bool reports_connect(struct reports *r, const struct report_connect *connect)
{
    if (r->connects_len == BROKER_CONNECTS_MAX)
        return false;
    uint32_t place = (r->connects_first + r->connects_len++) % BROKER_CONNECTS_MAX;
    r->connects[place] = *connect;
    return true;
}

/* An open hash: they are taken out all at once, or few at a time and then moved together. */
static struct report_refusal *find(struct reports *r, uint8_t kind, struct slice source)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) + kind;
    for (size_t i = 0; i < source.len; i++)
        h = (h ^ source.data[i]) * UINT64_C(0x100000001b3);
    uint32_t at = (uint32_t)(h >> 20) % BROKER_REFUSALS_MAX;
    for (uint32_t i = 0; i < 16; i++, at = (at + 1) % BROKER_REFUSALS_MAX) {
        struct report_refusal *x = &r->refusals[at];
        if (x->count == 0 ||
            (x->kind == kind && slice_equal(slice_of(x->source, x->source_len), source)))
            return x;
    }
    return NULL;
}

void reports_put_refusal(struct reports *r, const struct report_refusal *refusal)
{
    struct report_refusal *x =
        find(r, refusal->kind, slice_of(refusal->source, refusal->source_len));
    if (x == NULL) {
        r->other[refusal->kind] += refusal->count;
        return;
    }
    if (x->count == 0) {
        *x = *refusal;
        r->refusals_len++;
        return;
    }
    x->count += refusal->count;
}

void reports_refusal(struct reports *r, enum refusal kind, struct slice source)
{
    struct report_refusal one = {.kind = (uint8_t)kind, .count = 1};
    if (source.len == 0)
        source = SLICE_LITERAL("unknown");
    one.source_len = (uint8_t)(source.len < REPORTS_SOURCE_MAX ? source.len : REPORTS_SOURCE_MAX);
    for (size_t i = 0; i < one.source_len; i++) /* the hub takes printable ASCII */
        one.source[i] = source.data[i] < 0x20 || source.data[i] > 0x7e ? '?' : (char)source.data[i];
    r->total[kind]++;
    reports_put_refusal(r, &one);
}

uint32_t reports_take_connects(struct reports *r, struct report_connect *connects, uint32_t max)
{
    uint32_t n = r->connects_len < max ? r->connects_len : max;
    for (uint32_t i = 0; i < n; i++)
        connects[i] = r->connects[(r->connects_first + i) % BROKER_CONNECTS_MAX];
    r->connects_first = (r->connects_first + n) % BROKER_CONNECTS_MAX;
    r->connects_len -= n;
    return n;
}

uint32_t reports_take_refusals(struct reports *r, struct report_refusal *refusals, uint32_t max)
{
    static const char other[] = "other";
    uint32_t n = 0;
    for (uint32_t i = 0; i < BROKER_REFUSALS_MAX && n < max; i++) {
        if (r->refusals[i].count == 0)
            continue;
        refusals[n++] = r->refusals[i];
        r->refusals[i].count =
            0; /* a gap: what stands behind it may be counted twice, and is added up */
        r->refusals_len--;
    }
    for (unsigned kind = 0; kind < REFUSAL_KINDS && n < max; kind++) {
        if (r->other[kind] == 0)
            continue;
        refusals[n] = (struct report_refusal){
            .kind = (uint8_t)kind, .source_len = sizeof other - 1, .count = r->other[kind]};
        memcpy(refusals[n++].source, other, sizeof other - 1);
        r->other[kind] = 0;
    }
    return n;
}
