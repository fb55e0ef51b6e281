#include "pki/owner_key.h"

#include <limits.h>
#include <stdio.h>

#include "base/file.h"
#include "pki/ca_files.h"

static enum err vkey_path(const char *path, char ret_path[PATH_MAX])
{
    int n = snprintf(ret_path, PATH_MAX, "%s.vkey", path);
    return n > 0 && n < PATH_MAX ? ERR_NONE : ERR_LIMIT;
}

enum err owner_key_make(const char *path, const char *name, struct note_key *ret_key)
{
    EVP_PKEY *key CLEANUP(ca_key_cleanup) = NULL;
    char vkey[PATH_MAX];
    uint8_t text[NOTE_KEY_TEXT_MAX + 1];
    struct note_key made;
    struct writer w = writer_over(text, sizeof text);
    enum err err = vkey_path(path, vkey);
    if (err == ERR_NONE)
        err = ca_key_new(KEY_ED25519, &key);
    if (err == ERR_NONE)
        err = ca_note_key(key, name, &made);
    if (err != ERR_NONE)
        return err;
    note_key_write(&w, &made);
    writer_text(&w, "\n");
    err = w.err;
    if (err == ERR_NONE)
        err = ca_key_write(path, key, 0400);
    if (err == ERR_NONE)
        err = file_replace(vkey, writer_bytes(&w), 0644);
    if (err == ERR_NONE)
        *ret_key = made;
    return err;
}

enum err owner_key_sign(const char *path, struct writer *note)
{
    EVP_PKEY *key CLEANUP(ca_key_cleanup) = NULL;
    char vkey[PATH_MAX];
    struct note_key named, own;
    enum err err = vkey_path(path, vkey);
    if (err == ERR_NONE)
        err = ca_key_read(path, &key);
    if (err == ERR_NONE)
        err = ca_vkey_read(vkey, &named);
    if (err == ERR_NONE)
        err = ca_note_key(key, named.name, &own);
    if (err == ERR_NONE && !note_key_equal(&named, &own))
        err = ERR_SYNTAX;
    return err == ERR_NONE ? ca_sign_note(key, &own, note) : err;
}
