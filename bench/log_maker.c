/* Makes a large ledger for the benchmarks, as `holdfast ledger export` would write it:
 *
 *   log_maker FOLDER N
 *
 * with entries like a hub's, and a checkpoint signed by a key of its own, which is written to
 * ledger.vkey beside it. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/file.h"
#include "cli/ledger_folder.h"
#include "core/note.h"

#define ORIGIN    "fleet.example/ledger"
#define ENTRY_LEN 512

static struct {
    struct ledger_folder folder;
    struct merkle_frontier whole;
    /* of each level the tile that is being filled */
    struct {
        struct hash hashes[TILE_WIDTH];
        struct merkle_frontier tree;
        uint64_t index;
    } levels[TILE_LEVEL_MAX + 1];
    uint8_t bundle[TILE_WIDTH * (ENTRY_LEN + 2)];
    struct writer entries;
} made;

static void must(const char *what, enum err err)
{
    if (err == ERR_NONE)
        return;
    (void)fprintf(stderr, "log_maker: %s: %s\n", what, err_text(err));
    exit(EXIT_FAILURE);
}

static void write_tile(int level, uint64_t index, unsigned width, struct slice bytes)
{
    uint8_t path[TILE_PATH_MAX];
    struct writer w = writer_over(path, sizeof path);
    const struct tile tile = {.level = level, .index = index, .width = width};
    tile_write_path(&w, &tile);
    must("a path", w.err);
    must("a tile", ledger_folder_write(&made.folder, writer_bytes(&w), bytes));
}

static void write_hashes(int level)
{
    unsigned width = (unsigned)made.levels[level].tree.size;
    write_tile(level, made.levels[level].index, width,
               slice_of(made.levels[level].hashes, width * sizeof(struct hash)));
}

static void write_bundle(void)
{
    must("a bundle", made.entries.err);
    write_tile(TILE_ENTRIES, made.levels[0].index, (unsigned)made.levels[0].tree.size,
               writer_bytes(&made.entries));
    made.entries.len = 0;
}

static void add(struct hash hash)
{
    for (int level = 0; level <= TILE_LEVEL_MAX; level++) {
        struct merkle_frontier *tree = &made.levels[level].tree;
        made.levels[level].hashes[tree->size] = hash;
        merkle_frontier_append(tree, crypto_sha256, &hash);
        if (tree->size < TILE_WIDTH)
            return;
        if (level == 0)
            write_bundle();
        write_hashes(level);
        made.levels[level].index++;
        hash = merkle_frontier_root(tree, crypto_sha256);
        merkle_frontier_init(tree);
    }
}

static void add_entry(uint64_t number)
{
    char text[ENTRY_LEN];
    uint8_t random[16];
    char hex[33];
    must("random bytes", crypto_random(random, sizeof random));
    struct writer w = writer_over(hex, sizeof hex - 1);
    writer_hex(&w, slice_of(random, sizeof random));
    hex[32] = '\0';
    int len =
        snprintf(text, sizeof text,
                 "{\"v\":1,\"n\":\"%.22s\",\"t\":\"2026-11-28T05:20:00.%03uZ\",\"act\":"
                 "\"certificate.issue\","
                 "\"tenant\":\"default\",\"actor\":\"device:default/thermo-%07llu\","
                 "\"subject\":\"device/thermo-%07llu\",\"request\":\"%s\",\"data\":{\"serial\":"
                 "\"69292e40%.24s\",\"not_after\":\"2027-02-26T05:20:00Z\"}}",
                 hex, (unsigned)(number % 1000), (unsigned long long)number,
                 (unsigned long long)number, hex, hex + 8);
    struct slice entry = slice_of(text, (size_t)len);
    tile_write_entry(&made.entries, entry);
    struct hash leaf = merkle_leaf_hash(crypto_sha256, entry);
    merkle_frontier_append(&made.whole, crypto_sha256, &leaf);
    add(leaf);
}

static void write_file(const char *name, const struct writer *w)
{
    char path[4096];
    must(name, w->err);
    (void)snprintf(path, sizeof path, "%s/%s", made.folder.path, name);
    must(name, file_replace(path, writer_bytes(w), 0644));
}

static void sign_checkpoint(uint64_t size)
{
    struct checkpoint c = {.origin = ORIGIN, .size = size};
    uint8_t public[ED25519_KEY_SIZE], signature[ED25519_SIGNATURE_SIZE];
    size_t key_len = sizeof public, signature_len = sizeof signature;
    char text[NOTE_MAX], key_text[NOTE_KEY_TEXT_MAX + 1];
    struct note_key key;
    c.root = merkle_frontier_root(&made.whole, crypto_sha256);
    struct writer w = writer_over(text, sizeof text);
    checkpoint_write(&w, &c);
    EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool signed_it = pkey != NULL && ctx != NULL &&
                     EVP_PKEY_get_raw_public_key(pkey, public, &key_len) == 1 &&
                     EVP_DigestSignInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
                     EVP_DigestSign(ctx, signature, &signature_len, w.start, w.len) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    must("the signature", signed_it ? ERR_NONE : ERR_CRYPTO);
    must("the key", note_key_init(&key, crypto_sha256, slice_of_text(ORIGIN), public));
    note_write_signature(&w, &key, signature);
    write_file("checkpoint", &w);
    w = writer_over(key_text, sizeof key_text);
    note_key_write(&w, &key);
    writer_u8(&w, '\n');
    write_file("ledger.vkey", &w);
}

int main(int argc, char **argv)
{
    char *end = NULL;
    uint64_t size = argc == 3 ? strtoull(argv[2], &end, 10) : 0;
    if (size == 0 || *end != '\0') {
        (void)fprintf(stderr, "usage: log_maker FOLDER N\n");
        return 2;
    }
    must(argv[1], ledger_folder_open(argv[1], &made.folder));
    made.entries = writer_over(made.bundle, sizeof made.bundle);
    for (uint64_t i = 0; i < size; i++)
        add_entry(i);
    if (made.levels[0].tree.size > 0)
        write_bundle();
    for (int level = 0; level <= TILE_LEVEL_MAX; level++)
        if (made.levels[level].tree.size > 0)
            write_hashes(level);
    sign_checkpoint(size);
    return 0;
}
