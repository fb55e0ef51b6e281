/* Models: what the identity of a kind of device looks like. */
#include "hub/identity/internal.h"

static void model_reads(const struct write *w, struct keyset *keys)
{
    const struct model_act *m = (const struct model_act *)(const void *)w;
    keyset_add(keys, &table_model, &m->model);
    policies_reads(keys);
}

enum err model_entry(struct act *act, struct tx *tx, const char *verb,
                     const struct model_row *model)
{
    uint8_t bytes[512];
    struct writer w = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_text(&j, "maker", model->maker);
    json_field_text(&j, "proof", model_proof_text(model->proof));
    json_field_integer(&j, "key_kinds", model->key_kinds);
    json_field_integer(&j, "lifetime_seconds", model->lifetime);
    json_field_integer(&j, "enrolled_lifetime_seconds", model->enrolled_lifetime);
    json_field_integer(&j, "grace_seconds", model->grace);
    json_close_object(&j);
    if (w.err != ERR_NONE)
        return w.err;
    return act_append(act, tx, verb, "model", model->id, writer_bytes(&w));
}

static enum err model_apply(struct write *w, struct tx *tx)
{
    struct model_act *m = (struct model_act *)(void *)act_of(w);
    struct model_row held = {0};
    ROW_TEXT(held.tenant, m->model.tenant);
    ROW_TEXT(held.id, m->model.id);
    enum err err = tx_get(tx, &table_model, &held);
    if (err != ERR_NONE && err != ERR_NOT_FOUND)
        return err;
    bool exists = err == ERR_NONE;
    if (m->policies != NULL) {
        err = policies_check_model(m->policies, tx, m->model.id, &w->problem);
        if (err != ERR_NONE)
            return err;
    }
    if (m->change == MODEL_CREATE && exists)
        return problem_set(&w->problem, 409, "model-exists", "id", "there is a model '%s' already",
                           m->model.id);
    if (m->change != MODEL_CREATE && !exists)
        return problem_set(&w->problem, 404, "model-not-found", "model", "there is no model '%s'",
                           m->model.id);

    if (m->change == MODEL_DELETE && held.in_use)
        return problem_set(&w->problem, 409, "model-in-use", "model",
                           "manifests name the model '%s'; it stays", m->model.id);
    m->model.in_use = held.in_use;
    m->model.changed_at = tx_now_ms(tx) / 1000;
    m->model.created_at = exists ? held.created_at : m->model.changed_at;
    switch (m->change) {
    case MODEL_CREATE:
        err = tx_insert(tx, &table_model, &m->model);
        return err != ERR_NONE ? err : model_entry(&m->act, tx, "model.create", &m->model);
    case MODEL_REPLACE:
        err = tx_update(tx, &table_model, &m->model);
        return err != ERR_NONE ? err : model_entry(&m->act, tx, "model.change", &m->model);
    case MODEL_DELETE:
        err = tx_delete(tx, &table_model, &m->model);
        if (err != ERR_NONE)
            return err;
        return act_append(&m->act, tx, "model.delete", "model", m->model.id, SLICE_LITERAL("{}"));
    }
    return ERR_INTERNAL;
}

static const struct write_kind model_kind = {
    .name = "model",
    .lane = STORE_LANE_NORMAL,
    .reads = model_reads,
    .apply = model_apply,
    .done = act_done,
};

void identity_change_model(struct identity *identity, const struct act_origin *origin,
                           struct model_act *m)
{
    act_init(&m->act, &model_kind, identity->ledger, origin);
    ROW_TEXT(m->model.tenant, m->act.tenant);
    m->policies = identity->policies;
    act_submit(&m->act, identity->store);
}
