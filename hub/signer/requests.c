#include "hub/signer/requests.h"

#include "base/crypto.h"

#define EXPLANATION_MAX 255

static void write_text(struct writer *w, const char *text)
{
    struct slice bytes = slice_of_text(text);
    if (bytes.len > UINT8_MAX)
        writer_fail(w, ERR_LIMIT);
    writer_u8(w, (uint8_t)bytes.len);
    writer_put(w, bytes);
}

/* `size` counts the NUL that the text gets in memory. */
static void read_text(struct reader *r, char *text, size_t size)
{
    struct slice bytes = reader_take(r, reader_u8(r));
    if (bytes.len >= size)
        reader_fail(r, ERR_LIMIT);
    for (size_t i = 0; i < bytes.len; i++)
        if (bytes.data[i] == '\0')
            reader_fail(r, ERR_SYNTAX);
    if (r->err != ERR_NONE)
        return;
    if (bytes.len > 0)
        memcpy(text, bytes.data, bytes.len);
    text[bytes.len] = '\0';
}

static void read_hash(struct reader *r, uint8_t hash[SHA256_SIZE])
{
    struct slice bytes = reader_take(r, SHA256_SIZE);
    if (bytes.len == SHA256_SIZE)
        memcpy(hash, bytes.data, SHA256_SIZE);
}

void signer_head_write(struct writer *w, uint32_t id, enum signer_request_kind kind)
{
    writer_be32(w, id);
    writer_u8(w, (uint8_t)kind);
}

struct signer_request_head signer_head_read(struct reader *r)
{
    struct signer_request_head head = {.id = reader_be32(r)};
    head.kind = reader_u8(r);
    return head;
}

void signer_issue_write(struct writer *w, const struct certificate_request *request)
{
    if (request->names_len > SERVER_NAMES_MAX || request->spki.len > SPKI_MAX)
        writer_fail(w, ERR_LIMIT);
    if (w->err != ERR_NONE)
        return;
    writer_u8(w, (uint8_t)request->profile);
    write_text(w, request->tenant);
    write_text(w, request->device);
    writer_u8(w, (uint8_t)request->names_len);
    for (size_t i = 0; i < request->names_len; i++)
        write_text(w, request->names[i]);
    writer_be64(w, (uint64_t)request->not_before);
    writer_be64(w, (uint64_t)request->not_after);
    writer_put(w, request->spki);
}

enum err signer_issue_read(struct slice body, struct certificate_request *ret_request)
{
    struct certificate_request request = {.names_len = 0};
    struct reader r = reader_over(body);
    uint8_t profile = reader_u8(&r);
    if (profile != PROFILE_DEVICE && profile != PROFILE_SERVER && profile != PROFILE_BROKER)
        reader_fail(&r, ERR_SYNTAX);
    request.profile = (enum certificate_profile)profile;
    read_text(&r, request.tenant, sizeof request.tenant);
    read_text(&r, request.device, sizeof request.device);
    request.names_len = reader_u8(&r);
    if (request.names_len > SERVER_NAMES_MAX)
        reader_fail(&r, ERR_LIMIT);
    for (size_t i = 0; i < request.names_len && r.err == ERR_NONE; i++)
        read_text(&r, request.names[i], sizeof request.names[i]);
    request.not_before = (int64_t)reader_be64(&r);
    request.not_after = (int64_t)reader_be64(&r);
    request.spki = reader_rest(&r);
    if (request.spki.len > SPKI_MAX)
        reader_fail(&r, ERR_LIMIT);
    enum err err = reader_finish(&r);
    if (err == ERR_NONE)
        *ret_request = request;
    return err;
}

void signer_checkpoint_write(struct writer *w, const struct checkpoint_request *request)
{
    if (request->proof_len > MERKLE_PROOF_MAX)
        writer_fail(w, ERR_LIMIT);
    writer_be64(w, request->size);
    writer_put(w, slice_of(request->root.bytes, sizeof request->root.bytes));
    for (size_t i = 0; i < request->proof_len && w->err == ERR_NONE; i++)
        writer_put(w, slice_of(request->proof[i].bytes, sizeof request->proof[i].bytes));
}

enum err signer_checkpoint_read(struct slice body, struct hash proof[MERKLE_PROOF_MAX],
                                struct checkpoint_request *ret_request)
{
    struct checkpoint_request request = {.proof = proof};
    struct reader r = reader_over(body);
    request.size = reader_be64(&r);
    read_hash(&r, request.root.bytes);
    while (r.err == ERR_NONE && reader_left(&r) > 0) {
        if (request.proof_len == MERKLE_PROOF_MAX)
            reader_fail(&r, ERR_LIMIT);
        else
            read_hash(&r, proof[request.proof_len++].bytes);
    }
    enum err err = reader_finish(&r);
    if (err == ERR_NONE)
        *ret_request = request;
    return err;
}

void signer_crl_begin_write(struct writer *w, const struct crl_request *request)
{
    writer_u8(w, (uint8_t)request->authority);
    writer_be16(w, request->shard);
    writer_be64(w, request->number);
    writer_be64(w, request->base);
    writer_be64(w, (uint64_t)request->this_update);
    writer_be64(w, (uint64_t)request->next_update);
    writer_be64(w, request->entries_len);
}

enum err signer_crl_begin_read(struct slice body, struct crl_request *ret_request)
{
    struct reader r = reader_over(body);
    uint8_t authority = reader_u8(&r);
    if (authority >= AUTHORITY_COUNT)
        reader_fail(&r, ERR_SYNTAX);
    struct crl_request request = {.authority = (enum authority)authority, .shard = reader_be16(&r)};
    request.number = reader_be64(&r);
    request.base = reader_be64(&r);
    request.this_update = (int64_t)reader_be64(&r);
    request.next_update = (int64_t)reader_be64(&r);
    request.entries_len = reader_be64(&r);
    enum err err = reader_finish(&r);
    if (err == ERR_NONE)
        *ret_request = request;
    return err;
}

void signer_crl_add_write(struct writer *w, const struct crl_entry *entries, size_t n)
{
    if (n > SIGNER_CRL_ENTRIES)
        writer_fail(w, ERR_LIMIT);
    for (size_t i = 0; i < n && w->err == ERR_NONE; i++) {
        const struct crl_entry *entry = &entries[i];
        if (entry->serial_len > SERIAL_MAX) {
            writer_fail(w, ERR_LIMIT);
            return;
        }
        writer_u8(w, (uint8_t)entry->serial_len);
        writer_put(w, slice_of(entry->serial, entry->serial_len));
        writer_be64(w, (uint64_t)entry->date);
        writer_u8(w, (uint8_t)entry->reason);
    }
}

static void read_entry(struct reader *r, struct crl_entry *entry)
{
    *entry = (struct crl_entry){0};
    struct slice serial = reader_take(r, reader_u8(r));
    if (serial.len > SERIAL_MAX)
        reader_fail(r, ERR_LIMIT);
    else if (serial.len > 0)
        memcpy(entry->serial, serial.data, serial.len);
    entry->serial_len = serial.len;
    entry->date = (int64_t)reader_be64(r);
    entry->reason = (enum crl_reason)reader_u8(r);
}

enum err signer_crl_add_read(struct slice body, struct crl_entry ret_entries[SIGNER_CRL_ENTRIES],
                             size_t *ret_n)
{
    struct reader r = reader_over(body);
    size_t n = 0;
    while (reader_left(&r) > 0) {
        if (n == SIGNER_CRL_ENTRIES)
            reader_fail(&r, ERR_LIMIT);
        else
            read_entry(&r, &ret_entries[n++]);
    }
    enum err err = reader_finish(&r);
    if (err == ERR_NONE)
        *ret_n = n;
    return err;
}

enum err signer_crl_finish_read(struct slice body)
{
    return body.len > 0 ? ERR_SYNTAX : ERR_NONE;
}

void signer_rules_write(struct writer *w, const struct rules_request *request)
{
    if (request->body_len > UINT32_MAX)
        writer_fail(w, ERR_LIMIT);
    writer_be64(w, request->version);
    writer_be64(w, (uint64_t)request->made_at);
    writer_be32(w, (uint32_t)request->body_len);
    writer_put(w, slice_of(request->body_sha256.bytes, sizeof request->body_sha256.bytes));
}

enum err signer_rules_read(struct slice body, struct rules_request *ret_request)
{
    struct reader r = reader_over(body);
    struct rules_request request = {.version = reader_be64(&r)};
    request.made_at = (int64_t)reader_be64(&r);
    request.body_len = reader_be32(&r);
    read_hash(&r, request.body_sha256.bytes);
    enum err err = reader_finish(&r);
    if (err == ERR_NONE)
        *ret_request = request;
    return err;
}

void signer_ocsp_write(struct writer *w, const struct ocsp_answer *answer)
{
    writer_u8(w, (uint8_t)answer->authority);
    writer_u8(w, (uint8_t)answer->hash);
    writer_u8(w, (uint8_t)answer->serial_len);
    writer_put(w, slice_of(answer->serial, answer->serial_len));
    writer_u8(w, (uint8_t)answer->status);
    writer_u8(w, (uint8_t)answer->reason);
    writer_be64(w, (uint64_t)answer->revoked_at);
    writer_be64(w, (uint64_t)answer->this_update);
    writer_be64(w, (uint64_t)answer->next_update);
}

enum err signer_ocsp_read(struct slice body, struct ocsp_answer *ret_answer)
{
    struct ocsp_answer answer = {.hash = OCSP_SHA1};
    struct reader r = reader_over(body);
    uint8_t authority = reader_u8(&r);
    uint8_t hash = reader_u8(&r);
    struct slice serial = reader_take(&r, reader_u8(&r));
    uint8_t status = reader_u8(&r);
    if (authority >= AUTHORITY_COUNT || hash >= OCSP_HASH_COUNT || status >= OCSP_STATUS_COUNT)
        reader_fail(&r, ERR_SYNTAX);
    if (serial.len == 0 || serial.len > sizeof answer.serial)
        reader_fail(&r, ERR_LIMIT);
    answer.reason = (enum crl_reason)reader_u8(&r);
    answer.revoked_at = (int64_t)reader_be64(&r);
    answer.this_update = (int64_t)reader_be64(&r);
    answer.next_update = (int64_t)reader_be64(&r);
    enum err err = reader_finish(&r);
    if (err != ERR_NONE)
        return err;
    answer.authority = (enum authority)authority;
    answer.hash = (enum ocsp_hash)hash;
    answer.status = (enum ocsp_status)status;
    memcpy(answer.serial, serial.data, serial.len);
    answer.serial_len = serial.len;
    *ret_answer = answer;
    return ERR_NONE;
}

void signer_reply_write(struct writer *w, uint32_t id, uint8_t kind, enum err err)
{
    writer_be32(w, id);
    writer_u8(w, kind);
    writer_u8(w, (uint8_t)err);
}

static enum err read_err(struct reader *r)
{
    uint8_t err = reader_u8(r);
    if (err >= ERR_COUNT)
        reader_fail(r, ERR_SYNTAX);
    return (enum err)err;
}

enum err signer_reply_read(struct slice message, struct signer_reply *ret_reply)
{
    struct reader r = reader_over(message);
    struct signer_reply reply = {.id = reader_be32(&r)};
    reply.kind = reader_u8(&r);
    reply.err = read_err(&r);
    reply.body = reader_rest(&r);
    /* what was asked for, or a reason why it is not there */
    if ((reply.err == ERR_NONE) != (reply.body.len > 0))
        reader_fail(&r, ERR_SYNTAX);
    enum err err = reader_finish(&r);
    if (err == ERR_NONE)
        *ret_reply = reply;
    return err;
}

static void write_note_key(struct writer *w, const struct note_key *key)
{
    write_text(w, key->name);
    writer_put(w, slice_of(key->key, sizeof key->key));
}

void signer_report_write(struct writer *w, enum err err, const char *explain,
                         const struct signer_facts *facts)
{
    writer_u8(w, (uint8_t)err);
    if (err != ERR_NONE) {
        writer_text(w, explain);
        return;
    }
    write_note_key(w, &facts->ledger_key);
    writer_put(w, slice_of(facts->issuing_sha256, sizeof facts->issuing_sha256));
    writer_be64(w, (uint64_t)facts->issuing_not_after);
    writer_be64(w, facts->signed_size);
    writer_put(w, slice_of(facts->signed_root.bytes, sizeof facts->signed_root.bytes));
    write_note_key(w, &facts->policy_key);
    writer_be64(w, facts->rules_version);
    writer_be32(w, (uint32_t)facts->previous_len);
    writer_put(w, slice_of(facts->previous, facts->previous_len));
    writer_u8(w, facts->previous_signs ? 1 : 0);
    writer_put(w, slice_of(facts->chain, facts->chain_len));
}

static size_t read_certificates(struct reader *r, struct slice bytes, uint8_t *buffer, size_t max)
{
    if (bytes.len > max) {
        reader_fail(r, ERR_LIMIT);
        return 0;
    }
    if (bytes.len > 0)
        memcpy(buffer, bytes.data, bytes.len);
    return bytes.len;
}

static void read_note_key(struct reader *r, struct note_key *ret_key)
{
    char name[NOTE_NAME_MAX + 1] = "";
    uint8_t key[SHA256_SIZE] = {0};
    _Static_assert(sizeof key == ED25519_KEY_SIZE, "both are 32 bytes");
    read_text(r, name, sizeof name);
    read_hash(r, key);
    if (r->err == ERR_NONE)
        reader_fail(r, note_key_init(ret_key, crypto_sha256, slice_of_text(name), key));
}

static void read_facts(struct reader *r, struct signer_facts *facts)
{
    read_note_key(r, &facts->ledger_key);
    read_hash(r, facts->issuing_sha256);
    facts->issuing_not_after = (int64_t)reader_be64(r);
    facts->signed_size = reader_be64(r);
    read_hash(r, facts->signed_root.bytes);
    read_note_key(r, &facts->policy_key);
    facts->rules_version = reader_be64(r);
    struct slice previous = reader_take(r, reader_be32(r));
    facts->previous_len = read_certificates(r, previous, facts->previous, sizeof facts->previous);
    uint8_t signs = reader_u8(r);
    if (signs > 1)
        reader_fail(r, ERR_SYNTAX);
    facts->previous_signs = signs == 1;
    facts->chain_len = read_certificates(r, reader_rest(r), facts->chain, sizeof facts->chain);
}

enum err signer_report_read(struct slice message, struct signer_facts *ret_facts, char explain[256])
{
    struct signer_facts facts = {.pid = 0};
    struct reader r = reader_over(message);
    enum err reported = read_err(&r);
    struct slice text = {NULL, 0};
    if (r.err == ERR_NONE && reported == ERR_NONE)
        read_facts(&r, &facts);
    else
        text = reader_rest(&r);
    if (text.len > EXPLANATION_MAX)
        reader_fail(&r, ERR_LIMIT);
    enum err err = reader_finish(&r);
    if (err != ERR_NONE)
        return err;
    if (reported == ERR_NONE) {
        *ret_facts = facts;
        return ERR_NONE;
    }
    if (text.len > 0)
        memcpy(explain, text.data, text.len);
    explain[text.len] = '\0';
    return reported;
}
