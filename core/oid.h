/* The object identifiers we read and write, as the contents of their DER encoding. Where they are
 * from: keys RFC 5480, 8410 and 8017; signatures RFC 5758, 8410 and 8017; names and extensions
 * X.520 and RFC 5280; attributes of requests RFC 2985; messages RFC 5652; hashes RFC 5754 and 3279;
 * OCSP RFC 6960. */
#ifndef CORE_OID_H
#define CORE_OID_H

#include "core/slice.h"

#define OID_EC_PUBLIC_KEY            SLICE_LITERAL("\x2a\x86\x48\xce\x3d\x02\x01")
#define OID_P256                     SLICE_LITERAL("\x2a\x86\x48\xce\x3d\x03\x01\x07")
#define OID_P384                     SLICE_LITERAL("\x2b\x81\x04\x00\x22")
#define OID_ED25519                  SLICE_LITERAL("\x2b\x65\x70")
#define OID_RSA                      SLICE_LITERAL("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01")
#define OID_ECDSA_SHA256             SLICE_LITERAL("\x2a\x86\x48\xce\x3d\x04\x03\x02")
#define OID_ECDSA_SHA384             SLICE_LITERAL("\x2a\x86\x48\xce\x3d\x04\x03\x03")
#define OID_RSA_SHA256               SLICE_LITERAL("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b")
#define OID_RSA_SHA384               SLICE_LITERAL("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c")
#define OID_RSA_SHA512               SLICE_LITERAL("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d")
#define OID_COMMON_NAME              SLICE_LITERAL("\x55\x04\x03")
#define OID_SUBJECT_ALT_NAME         SLICE_LITERAL("\x55\x1d\x11")
#define OID_SUBJECT_KEY_IDENTIFIER   SLICE_LITERAL("\x55\x1d\x0e")
#define OID_AUTHORITY_KEY_IDENTIFIER SLICE_LITERAL("\x55\x1d\x23")
#define OID_EXTENSION_REQUEST        SLICE_LITERAL("\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e")
#define OID_CHALLENGE_PASSWORD       SLICE_LITERAL("\x2a\x86\x48\x86\xf7\x0d\x01\x09\x07")
#define OID_SIGNED_DATA              SLICE_LITERAL("\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02")
#define OID_DATA                     SLICE_LITERAL("\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01")
#define OID_SHA1                     SLICE_LITERAL("\x2b\x0e\x03\x02\x1a")
#define OID_SHA256                   SLICE_LITERAL("\x60\x86\x48\x01\x65\x03\x04\x02\x01")
#define OID_OCSP                     SLICE_LITERAL("\x2b\x06\x01\x05\x05\x07\x30\x01")
#define OID_OCSP_BASIC               SLICE_LITERAL("\x2b\x06\x01\x05\x05\x07\x30\x01\x01")

#endif
