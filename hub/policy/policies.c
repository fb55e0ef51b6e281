#include "hub/policy/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"

#define READ_ARENA (4U << 20) /* of what is read besides a policy: rows of hubs */

enum err policies_new(const struct policies_options *options, struct policies **ret_policies)
{
    struct policies *p = calloc(1, sizeof *p);
    if (p == NULL)
        return ERR_NO_MEMORY;
    p->options = *options;
    atomic_init(&p->now, NULL);
    atomic_init(&p->signed_version, options->signed_version);
    if (pthread_mutex_init(&p->lock, NULL) != 0) {
        free(p);
        return ERR_NO_MEMORY;
    }
    *ret_policies = p;
    return ERR_NONE;
}

void policies_free(struct policies *p)
{
    if (p == NULL)
        return;
    policies_let_go(atomic_load(&p->now));
    (void)pthread_mutex_destroy(&p->lock);
    free(p);
}

/* ---- holding ---- */

struct policy_force *policies_hold(struct policies *p)
{
    (void)pthread_mutex_lock(&p->lock); /* so that it can't go between the two */
    struct policy_force *force = atomic_load(&p->now);
    if (force != NULL)
        atomic_fetch_add(&force->holders, 1);
    (void)pthread_mutex_unlock(&p->lock);
    return force;
}

void policies_let_go(struct policy_force *force)
{
    if (force != NULL && atomic_fetch_sub(&force->holders, 1) == 1)
        arena_free(force->arena); /* it lives in there itself */
}

const struct policy_force *policies_now(struct policies *p, struct policy_cache *cache)
{
    if (atomic_load_explicit(&p->now, memory_order_acquire) != cache->held) {
        policies_let_go(cache->held);
        cache->held = policies_hold(p);
    }
    return cache->held;
}

void policy_cache_drop(struct policy_cache *cache)
{
    policies_let_go(cache->held);
    cache->held = NULL;
}

static void publish(struct policies *p, struct policy_force *force)
{
    (void)pthread_mutex_lock(&p->lock);
    struct policy_force *before = atomic_load(&p->now);
    bool newer = before == NULL || force->number > before->number;
    if (newer)
        atomic_store_explicit(&p->now, force, memory_order_release);
    (void)pthread_mutex_unlock(&p->lock);
    policies_let_go(newer ? before : force);
}

bool policy_has_tenant(const struct policy_force *force, struct slice tenant)
{
    return slice_equal(tenant, SLICE_LITERAL(RULES_STANDARD_TENANT)) ||
           (force != NULL && rules_has_tenant(&force->rules, tenant));
}

uint8_t policy_reach(const struct policy_force *force, struct slice tenant, struct slice model,
                     int64_t state)
{
    struct rules_model found;
    if (state < 0 || state >= DEVICE_STATE_COUNT)
        return 0;
    return rules_find_model(&force->rules, tenant, model, &found) ? found.reach[state]
                                                                  : RULES_REACH_ENROLMENT;
}

int64_t policy_renewal(const struct policy_force *force, struct slice model)
{
    const struct policy_model *found = policy_find_model(&force->policy, model);
    return found == NULL ? 0 : found->identity.renewal;
}

/* ---- reading ---- */

static enum err fail(char explain[256], const char *format, ...) PRINTF_LIKE(2, 3);
static enum err fail(char explain[256], const char *format, ...)
{
    va_list values;
    va_start(values, format);
    (void)vsnprintf(explain, 256, format, values);
    va_end(values);
    return ERR_CONFLICT;
}

/* The policy keys of all hubs there are and were: any may have signed what is in force. */
struct signers {
    const struct policy_force *force;
    struct rules *rules;
    enum err err;
};

static enum err try_key(struct signers *s, const struct note_key *key)
{
    s->err = rules_read(s->force->file, key, crypto_sha256, crypto_ed25519_verify, s->rules);
    return s->err;
}

static enum err try_hub(void *ctx, const void *row)
{
    struct signers *s = ctx;
    const struct hub_row *hub = row;
    struct note_key key;
    if (s->err != ERR_NONE &&
        note_key_read(slice_of_text(hub->policy_key), crypto_sha256, &key) == ERR_NONE)
        (void)try_key(s, &key);
    return ERR_NONE;
}

static enum err read_rules(const struct policies *p, struct store_reader *reader,
                           struct policy_force *force, char explain[256])
{
    struct signers s = {.force = force, .rules = &force->rules};
    if (try_key(&s, &p->options.policy_key) != ERR_NONE) {
        const struct store_query hubs = {.table = &table_hub, .limit = HUBS_MAX};
        struct arena *arena = arena_new(READ_ARENA);
        enum err err =
            arena == NULL ? ERR_NO_MEMORY : store_list(reader, &hubs, arena, try_hub, &s);
        arena_free(arena);
        if (err != ERR_NONE)
            return err;
    }
    if (s.err != ERR_NONE)
        return fail(explain, "the rules of policy %llu are not signed by a hub of this fleet (%s)",
                    (unsigned long long)force->number, err_text(s.err));
    if (force->rules.version != force->number || strcmp(force->rules.fleet, p->options.fleet) != 0)
        return fail(explain, "the rules of policy %llu are version %llu of the fleet '%s'",
                    (unsigned long long)force->number, (unsigned long long)force->rules.version,
                    force->rules.fleet);
    return ERR_NONE;
}

static enum err read_force(const struct policies *p, struct store_reader *reader,
                           struct policy_force *force, char explain[256])
{
    struct policy_complaint complaint = {.line = 0};
    struct policy_row row = {.number = (int64_t)force->number};
    enum err err = store_get(reader, &table_policy, force->arena, &row);
    if (err == ERR_NOT_FOUND)
        return fail(explain, "policy %llu is in force, and not there",
                    (unsigned long long)force->number);
    if (err == ERR_NONE)
        err = arena_copy(force->arena, row.text, &force->text);
    if (err == ERR_NONE)
        err = arena_copy(force->arena, row.rules, &force->file);
    if (err != ERR_NONE)
        return err;
    crypto_sha256_one(force->text, force->text_sha256.bytes);
    if (memcmp(&force->text_sha256, &row.text_sha256, sizeof row.text_sha256) != 0)
        return fail(explain, "the text of policy %llu was edited in the database",
                    (unsigned long long)force->number);
    err = policy_read(force->text, force->arena, &force->policy, &complaint);
    if (err == ERR_SYNTAX || err == ERR_LIMIT)
        return fail(explain, "policy %llu can't be read by this version: line %u: %s",
                    (unsigned long long)force->number, complaint.line, complaint.text);
    return err == ERR_NONE ? read_rules(p, reader, force, explain) : err;
}

enum err policies_reload(struct policies *p, struct store_reader *reader, char explain[256])
{
    struct policy_head head;
    struct arena *arena = arena_new(POLICY_ARENA_MAX);
    if (arena == NULL)
        return ERR_NO_MEMORY;
    struct policy_force *force = arena_alloc(arena, sizeof *force);
    enum err err = force == NULL ? ERR_NO_MEMORY : policy_head_read(reader, arena, &head);
    if (err != ERR_NONE || head.in_force == 0) {
        arena_free(arena);
        return err;
    }
    struct policy_force *held = policies_hold(p);
    bool known = held != NULL && held->number >= (uint64_t)head.in_force;
    policies_let_go(held);
    *force = (struct policy_force){.number = (uint64_t)head.in_force, .arena = arena};
    atomic_init(&force->holders, 1);
    if (!known)
        err = read_force(p, reader, force, explain);
    if (known || err != ERR_NONE)
        arena_free(arena);
    else
        publish(p, force);
    return err;
}

enum err policies_number(struct store_reader *reader, struct arena *arena, uint64_t *ret_number)
{
    struct policy_head head;
    enum err err = policy_head_read(reader, arena, &head);
    if (err == ERR_NONE)
        *ret_number = (uint64_t)head.in_force;
    return err;
}
