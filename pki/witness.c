#include "pki/witness.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "base/file.h"
#include "pki/ca.h"
#include "pki/ca_files.h"

static enum err path_of(const char *folder, const char *name, char path[PATH_MAX])
{
    int n = snprintf(path, PATH_MAX, "%s/%s", folder, name);
    return n > 0 && n < PATH_MAX ? ERR_NONE : ERR_LIMIT;
}

static enum err public_of(EVP_PKEY *key, uint8_t ret_public[ED25519_KEY_SIZE])
{
    size_t len = ED25519_KEY_SIZE;
    return EVP_PKEY_is_a(key, "ED25519") &&
                   EVP_PKEY_get_raw_public_key(key, ret_public, &len) == 1 &&
                   len == ED25519_KEY_SIZE
               ? ERR_NONE
               : ERR_UNSUPPORTED;
}

enum err witness_make(const char *folder, const char *name, struct witness_key *ret_key)
{
    EVP_PKEY *key CLEANUP(ca_key_cleanup) = NULL;
    uint8_t public_key[ED25519_KEY_SIZE], text[NOTE_KEY_TEXT_MAX + 1];
    char path[PATH_MAX];
    struct witness_key made;
    struct writer w = writer_over(text, sizeof text);
    enum err err = ca_key_new(KEY_ED25519, &key);
    if (err == ERR_NONE)
        err = public_of(key, public_key);
    if (err == ERR_NONE)
        err = witness_key_init(&made, crypto_sha256, slice_of_text(name), public_key);
    if (err == ERR_NONE) {
        witness_key_write(&w, &made);
        writer_text(&w, "\n");
        err = w.err;
    }
    if (err == ERR_NONE)
        err = path_of(folder, "witness.key", path);
    if (err == ERR_NONE)
        err = ca_key_write(path, key, 0400);
    if (err == ERR_NONE)
        err = path_of(folder, "witness.vkey", path);
    if (err == ERR_NONE)
        err = file_replace(path, writer_bytes(&w), 0644);
    if (err == ERR_NONE)
        *ret_key = made;
    return err;
}

static enum err open_key(const char *folder, EVP_PKEY **ret_key, struct witness_key *ret_witness)
{
    char path[PATH_MAX];
    uint8_t public_key[ED25519_KEY_SIZE];
    uint8_t *text = NULL;
    size_t len = 0;
    enum err err = path_of(folder, "witness.key", path);
    if (err == ERR_NONE)
        err = ca_key_read(path, ret_key);
    if (err == ERR_NONE)
        err = public_of(*ret_key, public_key);
    if (err == ERR_NONE)
        err = path_of(folder, "witness.vkey", path);
    if (err == ERR_NONE)
        err = file_read(path, NOTE_KEY_TEXT_MAX + 1, &text, &len);
    if (err != ERR_NONE)
        return err;
    if (len > 0 && text[len - 1] == '\n')
        len--;
    err = witness_key_read(slice_of(text, len), crypto_sha256, ret_witness);
    free(text);
    if (err == ERR_NONE && memcmp(ret_witness->note.key, public_key, sizeof public_key) != 0)
        err = ERR_SYNTAX;
    return err;
}

enum err witness_cosign(const char *folder, uint64_t time, struct slice text, struct writer *note)
{
    EVP_PKEY *key CLEANUP(ca_key_cleanup) = NULL;
    struct witness_key witness;
    uint8_t message[COSIGNED_MESSAGE_MAX], signature[ED25519_SIGNATURE_SIZE];
    size_t len = sizeof signature;
    struct writer w = writer_over(message, sizeof message);
    enum err err = open_key(folder, &key, &witness);
    if (err != ERR_NONE)
        return err;
    cosignature_write_message(&w, time, text);
    if (w.err != ERR_NONE)
        return w.err;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool made = ctx != NULL && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1 &&
                EVP_DigestSign(ctx, signature, &len, message, w.len) == 1;
    EVP_MD_CTX_free(ctx);
    if (!made)
        return ERR_CRYPTO;
    cosignature_write(note, &witness, time, signature);
    return note->err;
}
