#include <fcntl.h>
#include <inttypes.h>

#include "core/log_proof.h"
#include "verify/crypto.h"
#include "verify/folder.h"
#include "verify/verdict.h"

static void fail_form(struct verdict *v, const char *path, enum err err)
{
    if (err == ERR_UNSUPPORTED)
        verdict_fail(v, VERIFY_UNVERIFIED, "bundle",
                     "%.300s is a proof of another version, or without its entry: make it with "
                     "`holdfast ledger prove`",
                     path);
    else
        verdict_fail(v, VERIFY_UNVERIFIED, "bundle", "%.300s is not an entry with its proof: %s",
                     path, err_text(err));
}

void verify_bundle(const struct question *q, struct verdict *ret_verdict)
{
    static uint8_t text[LOG_PROOF_MAX], entry[ENTRY_MAX];
    struct verdict *v = ret_verdict;
    struct log_proof p;
    size_t len = 0;
    *v = (struct verdict){.exit = VERIFY_OK};
    enum err err = folder_read(AT_FDCWD, q->bundle, text, sizeof text, &len);
    if (err != ERR_NONE) {
        verdict_fail_file(v, q->bundle, err);
        return;
    }
    err = log_proof_read(slice_of(text, len), entry, sizeof entry, &p);
    if (err != ERR_NONE) {
        fail_form(v, q->bundle, err);
        return;
    }
    if (!verdict_take_checkpoint(q, v, p.checkpoint, q->bundle))
        return;
    if (log_proof_verify(&p, verify_sha256, &v->checkpoint) != ERR_NONE) {
        verdict_fail(v, VERIFY_UNVERIFIED, "entry",
                     "%.300s: the checkpoint is signed, but its ledger has no such entry as number "
                     "%" PRIu64 ": the entry, its number or the proof was changed",
                     q->bundle, p.number);
        return;
    }
    v->has_entry = true;
    v->number = p.number;
    v->entry = p.entry;
}
