/* A manifest on the disk: opened once, read twice. First all of it is checked, so that a mistake in
 * the last line is found before the first is sent; then its rows are given out. */
#ifndef CLI_MANIFEST_FILE_H
#define CLI_MANIFEST_FILE_H

#include "cli/cli.h"
#include "cli/manifest_reader.h"

struct manifest_file {
    const char *path;
    int fd, folder_fd; /* -1 while closed; certificates are sought from the folder */
    uint64_t rows, claims;
    uint8_t pem[MANIFEST_PEM_MAX]; /* of the row that was read last */
    struct manifest_reader reader;
};

/* `format`: "csv", "jsonl" or NULL: as the file's name ends. "-" is standard input, which is copied
 * to a temporary file. `standard`: when claims end that only say "yes". */
int manifest_file_open(struct cli *cli, struct manifest_file *f, const char *path,
                       const char *format, int64_t standard);
void manifest_file_close(struct manifest_file *f);
/* Reads all of it: counts rows and claims, refuses serials and keys that come twice, certificates
 * that are none. Afterwards it stands at its start again. */
int manifest_file_check(struct cli *cli, struct manifest_file *f);
/* The next row, certificates read in. */
int manifest_file_next(struct cli *cli, struct manifest_file *f, struct manifest_row *ret_row,
                       bool *ret_end);

#endif
