/* `holdfast manifest import`: a file of any size into a manifest, in chunks. */
#ifndef CLI_MANIFEST_IMPORT_H
#define CLI_MANIFEST_IMPORT_H

#include "cli/cli.h"

#define IMPORT_CHUNK_ROWS  250           /* as the hub takes them at once */
#define IMPORT_CHUNK_BYTES (1024 * 1024) /* and their body */
#define IMPORT_CLAIM_VALID "90d"
/* Claim codes that may go to standard output; more need a file, that is flushed as it grows. */
#define IMPORT_CLAIMS_SHOWN 1000

int manifest_import_run(struct cli *cli);

#endif
