/* What others are told of a certificate whose device was cut off: asked as they ask, over HTTP from
 * outside, and the signed answer checked as they check it. */
#ifndef CLI_CUT_OCSP_H
#define CLI_CUT_OCSP_H

#include "cli/hub_link.h"

enum cut_ocsp_outcome {
    CUT_OCSP_NO_NEED, /* the device has no certificate that is in date, of this hub's making */
    CUT_OCSP_REVOKED,
    CUT_OCSP_NOT_YET, /* or it can't be seen: `detail` says why */
};

struct cut_ocsp;
/* CLI_OK, or told. */
int cut_ocsp_new(struct cli *cli, struct cut_ocsp **ret_ocsp);
void cut_ocsp_free(struct cut_ocsp *o); /* NULL is fine */
/* Does the hub answer for certificates (listen-status)? */
bool cut_ocsp_is_served(const struct cut_ocsp *o);
/* The newest certificates of one device; where that is so. */
int cut_ocsp_ask(struct cut_ocsp *o, const char *device, enum cut_ocsp_outcome *ret_outcome,
                 char detail[128]);

#endif
