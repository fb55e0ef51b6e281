/* Somebody is forgotten: first the key goes, then the rows say so. In between, and should the
 * second step fail, nobody can read the name any more; asked again, it is written down. */
#include <stdio.h>

#include "hub/subjects/internal.h"

static void erase_reads(const struct write *w, struct keyset *keys)
{
    const struct subject_act *e = (const struct subject_act *)(const void *)w;
    const struct subject_row row = subject_row_of(e->act.tenant, e->id);
    keyset_add(keys, &table_subject, &row);
}

static enum err erase_apply(struct write *w, struct tx *tx)
{
    struct subject_act *e = (struct subject_act *)(void *)act_of(w);
    struct subject_row row = subject_row_of(e->act.tenant, e->id);
    enum err err = tx_get(tx, &table_subject, &row);
    if (err == ERR_NOT_FOUND)
        return problem_set(&w->problem, 404, "subject-not-found", "subject",
                           "there is no subject '%s'", e->id);
    if (err != ERR_NONE)
        return err;
    if (row.state == SUBJECT_ERASED)
        return problem_set(&w->problem, 409, "subject-erased", "subject", "'%s' was erased already",
                           e->id);
    struct subject_name_row name = {.name_mac = row.name_mac};
    (void)snprintf(name.tenant, sizeof name.tenant, "%s", row.tenant);
    row.state = SUBJECT_ERASED;
    row.erased_at = tx_now_ms(tx) / 1000;
    row.name = (struct slice){0};
    row.name_mac = (struct hash){0};
    err = tx_update(tx, &table_subject, &row);
    if (err == ERR_NONE)
        err = tx_delete(tx, &table_subject_name, &name);
    return err == ERR_NONE
               ? act_append(&e->act, tx, "subject.erase", "subject", e->id, SLICE_LITERAL("{}"))
               : err;
}

static const struct write_kind erase_kind = {
    .name = "subject.erase",
    .lane = STORE_LANE_PRIORITY,
    .reads = erase_reads,
    .apply = erase_apply,
    .done = act_done,
};

enum err subjects_erased_elsewhere(struct subjects *s, const char *id)
{
    uint32_t number = 0;
    enum err err = subject_number(id, &number);
    return err == ERR_NONE ? subject_key_destroy(s, number) : err;
}

/* The key of a number that nobody has yet must stay. */
static enum err check_there(const struct subject_act *e, struct store_reader *reader,
                            struct problem *problem)
{
    struct subject_row row = subject_row_of(e->act.tenant, e->id);
    enum err err = store_get(reader, &table_subject, e->act.write.arena, &row);
    if (err == ERR_NOT_FOUND)
        return problem_set(problem, 404, "subject-not-found", "subject", "there is no subject '%s'",
                           e->id);
    return err;
}

void subjects_erase(struct subjects *s, const struct act_origin *origin,
                    struct store_reader *reader, struct subject_act *e)
{
    uint32_t number = 0;
    act_init(&e->act, &erase_kind, s->ledger, origin);
    enum err err = check_there(e, reader, &e->act.write.problem);
    if (err == ERR_NONE)
        err = subject_number(e->id, &number);
    if (err == ERR_NONE)
        err = subject_key_destroy(s, number);
    if (err == ERR_NONE)
        act_submit(&e->act, s->store);
    else
        act_end(&e->act, err);
}
