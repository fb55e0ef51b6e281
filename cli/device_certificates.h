/* holdfast device certificates: all that a device was given. */
#ifndef CLI_DEVICE_CERTIFICATES_H
#define CLI_DEVICE_CERTIFICATES_H

#include "cli/cli.h"

int device_certificates(struct cli *cli);

#endif
