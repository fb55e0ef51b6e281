#include "pki/public_key.h"

#include <pthread.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

/* Keys without a point, one for each curve: copying their parameters is three times cheaper than
 * building the group again from its name. Made once, only read afterwards. */
static EVP_PKEY *p256_parameters, *p384_parameters;
static pthread_once_t parameters_once = PTHREAD_ONCE_INIT;

static EVP_PKEY *make_parameters(const char *curve)
{
    EVP_PKEY *parameters = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    if (ctx != NULL && EVP_PKEY_paramgen_init(ctx) == 1 &&
        EVP_PKEY_CTX_set_group_name(ctx, curve) == 1)
        (void)EVP_PKEY_paramgen(ctx, &parameters);
    EVP_PKEY_CTX_free(ctx);
    return parameters;
}

static void make_all_parameters(void)
{
    p256_parameters = make_parameters("P-256");
    p384_parameters = make_parameters("P-384");
}

static enum err ec_key_new(const struct spki *spki, EVP_PKEY **ret_key, const char **ret_reason)
{
    if (pthread_once(&parameters_once, make_all_parameters) != 0)
        return ERR_INTERNAL;
    EVP_PKEY *parameters = spki->kind == KEY_P256 ? p256_parameters : p384_parameters;
    EVP_PKEY *key = EVP_PKEY_new();
    if (parameters == NULL || key == NULL || EVP_PKEY_copy_parameters(key, parameters) != 1) {
        EVP_PKEY_free(key);
        return ERR_CRYPTO;
    }
    /* Fails where the point does not satisfy the curve's equation, or is not in the field. */
    if (EVP_PKEY_set1_encoded_public_key(key, spki->key.data, spki->key.len) != 1) {
        EVP_PKEY_free(key);
        *ret_reason = "the point is not on its curve";
        return ERR_REFUSED;
    }
    *ret_key = key;
    return ERR_NONE;
}

/* With a point of small order anybody can make signatures that verify. All encodings, the sign bit
 * aside: y = 0, 1, the two of order 8, -1, and 0 and 1 once more, not reduced. */
static bool has_small_order(const uint8_t key[ED25519_KEY_SIZE])
{
    static const uint8_t points[][ED25519_KEY_SIZE] = {
        {0x00},
        {0x01},
        {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4,
         0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6,
         0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
        {0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b,
         0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39,
         0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
        {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
        {0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
        {0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    };
    uint8_t y[ED25519_KEY_SIZE];
    memcpy(y, key, sizeof y);
    y[ED25519_KEY_SIZE - 1] &= 0x7f;
    for (size_t i = 0; i < ARRAY_LEN(points); i++)
        if (memcmp(y, points[i], sizeof y) == 0)
            return true;
    return false;
}

static enum err ed25519_key_new(const struct spki *spki, EVP_PKEY **ret_key,
                                const char **ret_reason)
{
    if (spki->key.len != ED25519_KEY_SIZE)
        return ERR_INTERNAL;
    if (has_small_order(spki->key.data)) {
        *ret_reason = "the point is of small order";
        return ERR_REFUSED;
    }
    EVP_PKEY *key =
        EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, spki->key.data, spki->key.len);
    if (key == NULL)
        return ERR_CRYPTO;
    *ret_key = key;
    return ERR_NONE;
}

#define SMALL_PRIME_MAX 752 /* as SP 800-89 section 5.3.3 has it */
#define ROCA_PRIME_MAX  167

static bool is_prime(unsigned n)
{
    for (unsigned d = 2; d * d <= n; d++)
        if (n % d == 0)
            return false;
    return true;
}

/* Is `residue` a power of 65537 modulo p? */
static bool is_power_of_65537(unsigned residue, unsigned p)
{
    unsigned power = 1;
    do {
        if (power == residue)
            return true;
        power = power * (65537 % p) % p;
    } while (power != 1);
    return false;
}

/* NULL where nothing is wrong with it. The moduli of CVE-2017-15361 (TPMs and smart cards made
 * until 2017; they can be factored) are powers of 65537 modulo every small prime, which a sound
 * one is for all of them once in 2^100. */
static const char *modulus_weakness(const BIGNUM *modulus)
{
    bool roca = true;
    for (unsigned p = 3; p < SMALL_PRIME_MAX; p += 2) {
        if (!is_prime(p))
            continue;
        BN_ULONG residue = BN_mod_word(modulus, p);
        if (residue == 0)
            return "the RSA modulus has a small factor";
        roca = roca && (p > ROCA_PRIME_MAX || is_power_of_65537((unsigned)residue, p));
    }
    return roca ? "the RSA key is of the kind CVE-2017-15361 breaks" : NULL;
}

static EVP_PKEY *rsa_from_numbers(const BIGNUM *modulus, const BIGNUM *exponent)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = NULL;
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    if (build != NULL && ctx != NULL &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
        params = OSSL_PARAM_BLD_to_param(build);
    if (params != NULL && EVP_PKEY_fromdata_init(ctx) == 1)
        (void)EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    return key;
}

static enum err rsa_key_new(const struct spki *spki, EVP_PKEY **ret_key, const char **ret_reason)
{
    struct reader r = reader_over(spki->key);
    struct reader numbers = der_enter(&r, DER_SEQUENCE);
    struct slice n = der_read_unsigned(&numbers);
    struct slice e = der_read_unsigned(&numbers);
    der_leave(&r, &numbers);
    enum err err = reader_finish(&r);
    if (err != ERR_NONE)
        return err;
    BIGNUM *modulus = BN_bin2bn(n.data, (int)n.len, NULL);
    BIGNUM *exponent = BN_bin2bn(e.data, (int)e.len, NULL);
    EVP_PKEY *key = NULL;
    if (modulus == NULL || exponent == NULL) {
        err = ERR_NO_MEMORY;
        goto out;
    }
    const char *weakness = modulus_weakness(modulus);
    if (!BN_is_odd(exponent) || BN_is_one(exponent))
        weakness = "the RSA exponent is even or below 3";
    if (weakness != NULL) {
        *ret_reason = weakness;
        err = ERR_REFUSED;
        goto out;
    }
    key = rsa_from_numbers(modulus, exponent);
    err = key == NULL ? ERR_CRYPTO : ERR_NONE;
    if (err == ERR_NONE)
        *ret_key = key;
out:
    BN_free(modulus);
    BN_free(exponent);
    return err;
}

enum err public_key_new(const struct spki *spki, EVP_PKEY **ret_key, const char **ret_reason)
{
    enum err err = ERR_UNSUPPORTED;
    switch (spki->kind) {
    case KEY_P256:
    case KEY_P384:
        err = ec_key_new(spki, ret_key, ret_reason);
        break;
    case KEY_ED25519:
        err = ed25519_key_new(spki, ret_key, ret_reason);
        break;
    case KEY_RSA:
        err = rsa_key_new(spki, ret_key, ret_reason);
        break;
    case KEY_KIND_COUNT:
        break;
    }
    if (err != ERR_NONE)
        ERR_clear_error();
    return err;
}
