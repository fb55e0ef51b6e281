/* Files that are encrypted to the holder of a key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "pki/envelope.h"

static char folder[64], key_path[96], certificate_path[96], other_path[96], file_path[96];

static void write_key(const char *path, EVP_PKEY *key)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_PKCS8PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(f), 0);
}

static void write_certificate(const char *path, EVP_PKEY *key, EVP_PKEY *signer)
{
    X509 *x = X509_new();
    assert_non_null(x);
    assert_int_equal(X509_set_version(x, 2), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(x), 7), 1);
    assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                                                (const unsigned char *)"backup", -1, -1, 0),
                     1);
    assert_int_equal(X509_set_issuer_name(x, X509_get_subject_name(x)), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(x), 0));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(x), 3600));
    assert_int_equal(X509_set_pubkey(x, key), 1);
    assert_int_not_equal(X509_sign(x, signer, EVP_sha256()), 0);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, x), 1);
    assert_int_equal(fclose(f), 0);
    X509_free(x);
}

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/test-envelope-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(key_path, sizeof key_path, "%s/key.pem", folder);
    (void)snprintf(certificate_path, sizeof certificate_path, "%s/certificate.pem", folder);
    (void)snprintf(other_path, sizeof other_path, "%s/other.pem", folder);
    (void)snprintf(file_path, sizeof file_path, "%s/file", folder);
    EVP_PKEY *key = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256");
    write_key(key_path, key);
    write_key(other_path, other);
    write_certificate(certificate_path, key, key);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    const char *const paths[] = {key_path, certificate_path, other_path, file_path};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        (void)unlink(paths[i]);
    return rmdir(folder);
}

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 167 + i / 251);
}

/* In pieces of odd sizes. */
static void write_file(size_t len)
{
    struct envelope_writer *w = NULL;
    char explain[256] = "";
    int fd = open(file_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(envelope_writer_new(fd, certificate_path, &w, explain), ERR_NONE);
    for (size_t at = 0; at < len;) {
        uint8_t bytes[7001];
        size_t n = len - at < sizeof bytes ? len - at : sizeof bytes;
        for (size_t i = 0; i < n; i++)
            bytes[i] = byte_at(at + i);
        assert_int_equal(envelope_write(w, slice_of(bytes, n)), ERR_NONE);
        at += n;
    }
    assert_int_equal(envelope_finish(w), ERR_NONE);
    envelope_writer_free(w);
    assert_int_equal(close(fd), 0);
}

/* Reads all of it. Where that succeeds, it is what was written. */
static enum err read_file(const char *key, size_t *ret_len)
{
    struct envelope_reader *r = NULL;
    char explain[256] = "";
    size_t len = 0;
    bool same = true;
    int fd = open(file_path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    enum err err = envelope_reader_new(fd, key, &r, explain);
    assert_true(err == ERR_NONE || explain[0] != '\0');
    while (err == ERR_NONE) {
        uint8_t bytes[9973];
        size_t n = 0;
        err = envelope_read(r, bytes, sizeof bytes, &n);
        if (err != ERR_NONE || n == 0)
            break;
        for (size_t i = 0; i < n; i++)
            same = same && bytes[i] == byte_at(len + i);
        len += n;
    }
    envelope_reader_free(r);
    (void)close(fd);
    assert_true(err != ERR_NONE || same);
    *ret_len = len;
    return err;
}

static void test_round_trip(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 15, 16, 4095, 4096, 4097, 65536, 700001};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t len = SIZE_MAX;
        write_file(sizes[i]);
        assert_int_equal(read_file(key_path, &len), ERR_NONE);
        assert_int_equal(len, sizes[i]);
    }
}

static void test_wrong_key(void **state)
{
    (void)state;
    size_t len = 0;
    write_file(100);
    assert_int_equal(read_file(other_path, &len), ERR_REFUSED);
    assert_int_equal(read_file(certificate_path, &len), ERR_SYNTAX);
    assert_int_equal(len, 0);
}

static off_t file_size(void)
{
    struct stat st;
    assert_int_equal(stat(file_path, &st), 0);
    return st.st_size;
}

static void test_cut_short(void **state)
{
    (void)state;
    size_t read = 0;
    write_file(9000);
    for (off_t len = file_size() - 1; len >= 0; len -= len > 8900 || len < 400 ? 1 : 61) {
        assert_int_equal(truncate(file_path, len), 0);
        assert_int_equal(read_file(key_path, &read), ERR_SYNTAX);
        assert_int_equal(read, 0); /* nothing of it was decrypted */
    }
}

/* The head is not authenticated: what a change leaves readable must be what was written. */
static void test_altered(void **state)
{
    (void)state;
    size_t read = 0;
    write_file(9000);
    off_t size = file_size();
    int fd = open(file_path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    for (off_t at = 0; at < size; at += at < 400 || at > size - 60 ? 1 : 211) {
        uint8_t byte, changed;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        changed = byte ^ 0x10;
        assert_int_equal(pwrite(fd, &changed, 1, at), 1);
        bool chunk = at > 400; /* the content, and what stands behind it */
        if (read_file(key_path, &read) == ERR_NONE && (chunk || read != 9000))
            fail_msg("the change of byte %lld was not noticed", (long long)at);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    (void)close(fd);
    assert_int_equal(read_file(key_path, &read), ERR_NONE);
}

static void test_full_disk(void **state)
{
    (void)state;
    struct envelope_writer *w = NULL;
    char explain[256] = "";
    static const uint8_t bytes[1 << 16];
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(envelope_writer_new(fd, certificate_path, &w, explain), ERR_NONE);
    enum err err = ERR_NONE;
    for (size_t i = 0; i < 64 && err == ERR_NONE; i++)
        err = envelope_write(w, slice_of(bytes, sizeof bytes));
    assert_int_equal(err, ERR_DISK_FULL);
    envelope_writer_free(w);
    assert_int_equal(envelope_writer_new(fd, certificate_path, &w, explain), ERR_NONE);
    assert_int_equal(envelope_write(w, slice_of(bytes, 10)), ERR_NONE); /* still in the buffer */
    assert_int_equal(envelope_finish(w), ERR_DISK_FULL);
    envelope_writer_free(w);
    (void)close(fd);
}

static void test_recipients(void **state)
{
    (void)state;
    static const char *const kinds[] = {"RSA", "ED25519", "P-521", "P-384"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct envelope_writer *w = NULL;
        char explain[256] = "";
        bool fits = strcmp(kinds[i], "P-384") == 0;
        EVP_PKEY *key = strcmp(kinds[i], "RSA") == 0 ? EVP_RSA_gen(2048)
                        : kinds[i][0] == 'P'         ? EVP_EC_gen(kinds[i])
                                                     : EVP_PKEY_Q_keygen(NULL, NULL, kinds[i]);
        assert_non_null(key);
        EVP_PKEY *signer = EVP_EC_gen("P-256");
        write_certificate(file_path, key, signer);
        assert_int_equal(envelope_writer_new(STDERR_FILENO, file_path, &w, explain),
                         fits ? ERR_NONE : ERR_UNSUPPORTED);
        assert_int_equal(explain[0] == '\0', fits);
        envelope_writer_free(w);
        EVP_PKEY_free(signer);
        EVP_PKEY_free(key);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_wrong_key),
        cmocka_unit_test(test_cut_short),  cmocka_unit_test(test_altered),
        cmocka_unit_test(test_full_disk),  cmocka_unit_test(test_recipients),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
