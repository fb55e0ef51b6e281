/* Which group a device is in: of those that the policy in force defines. */
#include "hub/identity/internal.h"

static void assign_reads(const struct write *w, struct keyset *keys)
{
    const struct assign_act *a = (const struct assign_act *)(const void *)w;
    const struct device_row device = device_row_of(a->act.tenant, a->device);
    keyset_add(keys, &table_device, &device);
    policies_reads(keys);
}

static enum err assign_entry(struct assign_act *a, struct tx *tx, const char *before)
{
    uint8_t bytes[512];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    json_open_object(&j);
    json_field_text(&j, "group", a->group);
    json_field_text(&j, "before", before);
    json_close_object(&j);
    if (out.err != ERR_NONE)
        return out.err;
    return act_append(&a->act, tx, "device.assign", "device", a->device, writer_bytes(&out));
}

static enum err check_group(struct assign_act *a, struct tx *tx)
{
    struct problem *p = &a->act.write.problem;
    if (a->group[0] == '\0')
        return ERR_NONE;
    if (a->identity->policies == NULL)
        return problem_set(p, 404, "group-not-found", "group", "no policy is in force");
    return policies_check_group(a->identity->policies, tx, a->group, p);
}

static enum err assign_apply(struct write *w, struct tx *tx)
{
    struct assign_act *a = (struct assign_act *)(void *)act_of(w);
    struct device_row device = device_row_of(a->act.tenant, a->device);
    enum err err = tx_get(tx, &table_device, &device);
    if (err == ERR_NOT_FOUND)
        return problem_set(&w->problem, 404, "device-not-found", "device",
                           "there is no device '%s'", a->device);
    if (err == ERR_NONE)
        err = check_group(a, tx);
    if (err != ERR_NONE || slice_equal(slice_of_text(device.grp), slice_of_text(a->group)))
        return err;
    char before[NAME_MAX_BYTES + 1];
    ROW_TEXT(before, device.grp);
    ROW_TEXT(device.grp, a->group);
    device.changed_at = tx_now_ms(tx) / 1000;
    err = tx_update(tx, &table_device, &device);
    return err == ERR_NONE ? assign_entry(a, tx, before) : err;
}

static const struct write_kind assign_kind = {
    .name = "device.assign",
    .lane = STORE_LANE_NORMAL,
    .reads = assign_reads,
    .apply = assign_apply,
    .done = act_done,
};

void identity_assign(struct identity *identity, const struct act_origin *origin,
                     struct assign_act *a)
{
    act_init(&a->act, &assign_kind, identity->ledger, origin);
    a->identity = identity;
    act_submit(&a->act, identity->store);
}
