/* How a policy comes into force: judged, signed, written. What is decided on the loop holds for as
 * long as the number in force is the one it was decided by, and the writer looks at that again. */
#include "hub/policy/internal.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"

#define POLICY_ENTRY_MAX LEDGER_DATA_MAX

static struct policy_act *policy_act_of(struct act *act)
{
    return CONTAINER_OF(act, struct policy_act, act);
}

/* ---- the end ---- */

static void finish(struct policy_act *a)
{
    policies_let_go(a->force);
    arena_free(a->work);
    a->force = NULL;
    a->work = NULL;
    a->act.then(&a->act);
}

static void end(struct policy_act *a, enum err err)
{
    a->act.write.err = err;
    finish(a);
}

static struct problem *problem_of(struct policy_act *a)
{
    return &a->act.write.problem;
}

/* ---- what may be ---- */

static int64_t number_in_force(const struct policy_act *a)
{
    return a->force == NULL ? 0 : (int64_t)a->force->number;
}

static enum err check_from(struct policy_act *a, int64_t in_force)
{
    if (a->from == in_force)
        return ERR_NONE;
    return problem_set(problem_of(a), 409, "policy-changed", "from",
                       "policy %lld is in force, and not %lld: see `holdfast policy plan` again",
                       (long long)in_force, (long long)a->from);
}

/* Another act took the number meanwhile. */
static enum err crossed(struct policy_act *a)
{
    return problem_set(problem_of(a), 409, "policy-changed", "",
                       "another policy was proposed at the same moment; try again");
}

static enum err check_tests(struct policy_act *a)
{
    if (a->judgement.failing_len == 0)
        return ERR_NONE;
    const struct policy_test *test = a->judgement.failing[0];
    char words[160];
    struct writer w = writer_over(words, sizeof words);
    policy_test_text(&w, test);
    return problem_set(problem_of(a), 409, "policy-test-failed", "text",
                       "policy.yaml:%u: its test does not hold: %.*s", test->line, (int)w.len,
                       words);
}

static enum err check_signature(struct policy_act *a)
{
    struct note_key key;
    struct policy_change change = {.from = (uint64_t)a->from};
    if (!a->judgement.needs_signature)
        return ERR_NONE;
    if (a->signature.len == 0)
        return problem_set(problem_of(a), 403, "policy-signature-needed", "signature",
                           "it loosens, and the policy in force asks for the owner's signature: "
                           "`holdfast policy sign --from %lld`",
                           (long long)a->from);
    (void)snprintf(change.fleet, sizeof change.fleet, "%s", a->judgement.policy.fleet);
    memcpy(change.sha256, a->judgement.text_sha256.bytes, sizeof change.sha256);
    const char *vkey = a->force->policy.changes.loosening_key;
    enum err err = note_key_read(slice_of_text(vkey), crypto_sha256, &key);
    if (err != ERR_NONE)
        return ERR_INTERNAL; /* policy_read() has looked at it */
    err = policy_change_verify(a->signature, &key, crypto_ed25519_verify, &change);
    if (err == ERR_CONFLICT)
        return problem_set(problem_of(a), 403, "policy-signature-refused", "signature",
                           "it was made for another text, or to follow another policy than %lld",
                           (long long)a->from);
    if (err != ERR_NONE)
        return problem_set(problem_of(a), 403, "policy-signature-refused", "signature",
                           "it is not a signature by %.80s (%s)", vkey, err_text(err));
    return ERR_NONE;
}

static enum err check_lock_out(struct policy_act *a)
{
    if (a->judgement.lock_out == NULL || a->lock_out_ok)
        return ERR_NONE;
    return problem_set(problem_of(a), 409, "policy-lock-out", "text",
                       "it locks out all %s. `--yes-lock-out` says that this is meant",
                       a->judgement.lock_out);
}

static enum err judge(struct policy_act *a)
{
    a->work = arena_new(POLICY_ARENA_MAX);
    if (a->work == NULL)
        return ERR_NO_MEMORY;
    a->force = policies_hold(a->policies);
    enum err err = check_from(a, number_in_force(a));
    if (err == ERR_NONE)
        err = policies_judge(a->policies, a->force, a->text, a->work, &a->judgement, problem_of(a));
    if (err == ERR_NONE && a->force != NULL &&
        memcmp(&a->judgement.text_sha256, &a->force->text_sha256, sizeof(struct hash)) == 0)
        err = problem_set(problem_of(a), 409, "policy-unchanged", "text",
                          "it is policy %lld, which is in force", (long long)a->from);
    if (err == ERR_NONE)
        err = check_tests(a);
    if (err == ERR_NONE)
        err = check_signature(a);
    if (err == ERR_NONE)
        err = check_lock_out(a);
    return err;
}

/* ---- on the writer ---- */

static void change_reads(const struct write *w, struct keyset *keys)
{
    const struct policy_act *a = (const struct policy_act *)(const void *)w;
    const struct policy_row rows[] = {{.number = a->from}, {.number = a->number}};
    policies_reads(keys);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        keyset_add(keys, &table_policy, &rows[i]);
    if (a->step != POLICY_WITHDRAW && !a->proposes)
        policy_models_reads(&a->judgement.policy, keys);
}

static void field_where_set(struct json_writer *j, const char *key, const char *text)
{
    if (text[0] != '\0')
        json_field_text(j, key, text);
}

static enum err entry(struct policy_act *a, struct tx *tx, const char *verb,
                      const struct policy_models_changed *models)
{
    const struct policy_row *row = &a->row;
    char subject[24];
    uint8_t bytes[POLICY_ENTRY_MAX];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    json_open_object(&j);
    json_field_hex(&j, "text_sha256", slice_of(row->text_sha256.bytes, SHA256_SIZE));
    field_where_set(&j, "comment", row->comment);
    field_where_set(&j, "proposed_by", row->proposed_by);
    field_where_set(&j, "approved_by", row->approved_by);
    if (row->restores != 0)
        json_field_integer(&j, "restores", row->restores);
    if (models != NULL) {
        json_field_integer(&j, "replaces", a->from);
        json_field_bool(&j, "signed_by_owner", a->judgement.needs_signature);
        json_field_bool(&j, "locks_out", a->judgement.lock_out != NULL);
        json_field_integer(&j, "models_created", models->created);
        json_field_integer(&j, "models_changed", models->changed);
    }
    json_close_object(&j);
    if (out.err != ERR_NONE)
        return out.err;
    (void)snprintf(subject, sizeof subject, "%lld", (long long)row->number);
    return act_append(&a->act, tx, verb, "policy", subject, writer_bytes(&out));
}

/* A row of a text that was not there before. */
static void describe(struct policy_act *a, int64_t number, int64_t now)
{
    a->row = (struct policy_row){.number = number,
                                 .status = POLICY_PROPOSED,
                                 .text_sha256 = a->judgement.text_sha256,
                                 .text = a->text,
                                 .signature = a->signature,
                                 .restores = a->restores,
                                 .proposed_at = now};
    memcpy(a->row.comment, a->comment, sizeof a->row.comment);
    (void)snprintf(a->row.proposed_by, sizeof a->row.proposed_by, "%s", a->act.actor);
}

static enum err propose(struct policy_act *a, struct tx *tx, const struct policy_head *head,
                        bool exists)
{
    if (a->number <= head->last)
        return crossed(a);
    describe(a, a->number, tx_now_ms(tx) / 1000);
    const struct policy_head next = {.in_force = head->in_force, .last = a->number};
    enum err err = tx_insert(tx, &table_policy, &a->row);
    if (err == ERR_NONE)
        err = policy_head_put(tx, &next, exists);
    return err == ERR_NONE ? entry(a, tx, "policy.propose", NULL) : err;
}

static enum err replace_former(const struct policy_act *a, struct tx *tx)
{
    struct policy_row former = {.number = a->from};
    enum err err = tx_get(tx, &table_policy, &former);
    if (err != ERR_NONE)
        return err == ERR_NOT_FOUND ? ERR_INTERNAL : err;
    former.status = POLICY_REPLACED;
    return tx_update(tx, &table_policy, &former);
}

/* The row that was proposed, still waiting. */
static enum err get_proposed(struct policy_act *a, struct tx *tx)
{
    a->row = (struct policy_row){.number = a->number};
    enum err err = tx_get(tx, &table_policy, &a->row);
    if (err == ERR_NOT_FOUND)
        return problem_set(problem_of(a), 404, "policy-not-found", "policy",
                           "there is no policy %lld", (long long)a->number);
    if (err == ERR_NONE && a->row.status != POLICY_PROPOSED)
        return problem_set(problem_of(a), 409, "policy-not-proposed", "policy",
                           "policy %lld is %s: it waits for nobody", (long long)a->number,
                           policy_status_text(a->row.status));
    return err;
}

static enum err put_in_force(struct policy_act *a, struct tx *tx, const struct policy_head *head,
                             bool exists)
{
    int64_t now = tx_now_ms(tx) / 1000;
    bool fresh = a->step == POLICY_SUBMIT;
    if (fresh && a->number <= head->last)
        return crossed(a);
    enum err err = ERR_NONE;
    if (fresh)
        describe(a, a->number, now);
    else
        err = get_proposed(a, tx);
    if (err == ERR_NONE && a->from != 0)
        err = replace_former(a, tx);
    if (err != ERR_NONE)
        return err;
    a->row.status = POLICY_IN_FORCE;
    a->row.rules = a->file;
    a->row.signature = a->signature;
    a->row.decided_at = now;
    if (!fresh)
        (void)snprintf(a->row.approved_by, sizeof a->row.approved_by, "%s", a->act.actor);
    const struct policy_head next = {.in_force = a->number,
                                     .last = a->number > head->last ? a->number : head->last};
    struct policy_models_changed models;
    err = fresh ? tx_insert(tx, &table_policy, &a->row) : tx_update(tx, &table_policy, &a->row);
    if (err == ERR_NONE)
        err = policy_head_put(tx, &next, exists);
    if (err == ERR_NONE)
        err = policy_models_put(&a->judgement.policy, tx, &models);
    return err == ERR_NONE ? entry(a, tx, "policy.apply", &models) : err;
}

static enum err withdraw(struct policy_act *a, struct tx *tx)
{
    enum err err = get_proposed(a, tx);
    if (err != ERR_NONE)
        return err;
    a->row.status = POLICY_WITHDRAWN;
    a->row.decided_at = tx_now_ms(tx) / 1000;
    if (a->comment[0] != '\0')
        memcpy(a->row.comment, a->comment, sizeof a->row.comment);
    err = tx_update(tx, &table_policy, &a->row);
    return err == ERR_NONE ? entry(a, tx, "policy.withdraw", NULL) : err;
}

static enum err change_apply(struct write *w, struct tx *tx)
{
    struct policy_act *a = policy_act_of(act_of(w));
    struct policy_head head;
    bool exists;
    if (a->step == POLICY_WITHDRAW)
        return withdraw(a, tx);
    enum err err = policy_head_get(tx, &head, &exists);
    if (err == ERR_NONE)
        err = check_from(a, head.in_force);
    if (err != ERR_NONE)
        return err;
    return a->proposes ? propose(a, tx, &head, exists) : put_in_force(a, tx, &head, exists);
}

/* What was committed is enforced before it is answered. */
static void change_done(struct write *w)
{
    struct policy_act *a = policy_act_of(act_of(w));
    char explain[256] = "";
    if (w->err == ERR_NONE && a->row.status == POLICY_IN_FORCE) {
        enum err err = policies_reload(a->policies, a->reader, explain);
        if (err != ERR_NONE)
            log_event(LOG_LEVEL_ERROR, "policy.unread", F_ERR(err), F_TEXT("detail", explain));
    }
    finish(a);
}

static const struct write_kind change_kind = {
    .name = "policy",
    .lane = STORE_LANE_PRIORITY,
    .reads = change_reads,
    .apply = change_apply,
    .done = change_done,
};

static void submit(struct policy_act *a)
{
    enum err err = store_submit(a->policies->options.store, &a->act.write);
    if (err != ERR_NONE)
        end(a, err);
}

/* ---- with the signer ---- */

static void remember_signed(struct policies *p, uint64_t version)
{
    uint64_t before = atomic_load(&p->signed_version);
    while (before < version &&
           !atomic_compare_exchange_weak(&p->signed_version, &before, version)) {
    }
}

static void on_signed(void *ctx, enum err err, struct slice note)
{
    struct policy_act *a = ctx;
    if (err == ERR_REFUSED)
        err = problem_set(problem_of(a), 409, "policy-overtaken", "policy",
                          "this hub's signer has signed newer rules than policy %lld: propose "
                          "the text anew",
                          (long long)a->number);
    if (err == ERR_NONE) {
        remember_signed(a->policies, (uint64_t)a->number);
        struct writer file = arena_writer(a->act.write.arena, RULES_MAX);
        rules_write_file(&file, note, a->judgement.body);
        err = file.err;
        a->file = writer_bytes(&file);
    }
    if (err != ERR_NONE)
        end(a, err);
    else
        submit(a);
}

static void sign(struct policy_act *a, struct signer_link *signer)
{
    struct rules_request request = {.version = (uint64_t)a->number,
                                    .made_at = clock_seconds(),
                                    .body_len = a->judgement.body.len};
    crypto_sha256_one(a->judgement.body, request.body_sha256.bytes);
    signer_sign_rules(signer, &request, on_signed, a);
}

/* ---- on the loop ---- */

static enum err load(struct policy_act *a, struct store_reader *reader, int64_t number,
                     struct policy_row *ret_row)
{
    *ret_row = (struct policy_row){.number = number};
    enum err err = store_get(reader, &table_policy, a->act.write.arena, ret_row);
    if (err == ERR_NOT_FOUND)
        return problem_set(problem_of(a), 404, "policy-not-found", "policy",
                           "there is no policy %lld", (long long)number);
    return err;
}

static enum err load_restored(struct policy_act *a, struct store_reader *reader)
{
    struct policy_row row;
    enum err err = load(a, reader, a->restores, &row);
    if (err == ERR_NONE && row.status != POLICY_REPLACED)
        return problem_set(problem_of(a), 409, "policy-not-restorable", "restores",
                           "policy %lld is %s: only one that was in force is gone back to",
                           (long long)a->restores, policy_status_text(row.status));
    a->text = row.text;
    return err;
}

static enum err load_proposed(struct policy_act *a, struct store_reader *reader)
{
    struct policy_row row;
    enum err err = load(a, reader, a->number, &row);
    if (err != ERR_NONE)
        return err;
    if (row.status != POLICY_PROPOSED)
        return problem_set(problem_of(a), 409, "policy-not-proposed", "policy",
                           "policy %lld is %s: it waits for nobody", (long long)a->number,
                           policy_status_text(row.status));
    if (a->number < a->from)
        return problem_set(problem_of(a), 409, "policy-overtaken", "policy",
                           "policy %lld came into force after it was proposed: propose the text "
                           "anew",
                           (long long)a->from);
    a->text = row.text;
    if (a->signature.len == 0)
        a->signature = row.signature;
    a->row = row;
    return ERR_NONE;
}

static enum err next_number(struct policy_act *a, struct store_reader *reader)
{
    struct policy_head head;
    enum err err = policy_head_read(reader, a->act.write.arena, &head);
    int64_t last = (int64_t)atomic_load(&a->policies->signed_version);
    if (err == ERR_NONE)
        a->number = (last > head.last ? last : head.last) + 1;
    return err;
}

static enum err prepare(struct policy_act *a, struct store_reader *reader)
{
    enum err err = ERR_NONE;
    if (a->step == POLICY_APPROVE)
        err = load_proposed(a, reader);
    else if (a->restores != 0)
        err = load_restored(a, reader);
    if (err == ERR_NONE)
        err = judge(a);
    if (err != ERR_NONE)
        return err;
    if (a->step == POLICY_SUBMIT) {
        a->proposes = a->judgement.approvals > 1;
        return next_number(a, reader);
    }
    if (a->judgement.approvals > 1 && strcmp(a->row.proposed_by, a->act.actor) == 0)
        return problem_set(problem_of(a), 403, "policy-same-person", "policy",
                           "%s proposed it, and the policy in force asks for a second person",
                           a->row.proposed_by);
    return ERR_NONE;
}

void policies_change(struct policies *p, const struct act_origin *origin,
                     struct store_reader *reader, struct signer_link *signer, struct policy_act *a)
{
    act_init(&a->act, &change_kind, p->options.ledger, origin);
    a->policies = p;
    a->reader = reader;
    enum err err = a->step == POLICY_WITHDRAW ? ERR_NONE : prepare(a, reader);
    if (err != ERR_NONE)
        end(a, err);
    else if (a->step == POLICY_WITHDRAW || a->proposes)
        submit(a);
    else
        sign(a, signer);
}
