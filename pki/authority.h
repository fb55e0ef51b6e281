/* While an authority is rolled over there are two, and each speaks for what it has issued: by OCSP
 * (pki/ocsp.h) and by lists (pki/crl.h). */
#ifndef PKI_AUTHORITY_H
#define PKI_AUTHORITY_H

enum authority {
    AUTHORITY_CURRENT,
    AUTHORITY_PREVIOUS, /* issues nothing more; from `ca switch` to `ca finish` */
    AUTHORITY_COUNT
};

#endif
