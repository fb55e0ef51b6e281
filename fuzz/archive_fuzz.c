/* The setting that says what of a ledger is archived; in a backup it is foreign bytes. */
#include "hub/ledger/archive.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct ledger_archive a = {.before = 7};
    char again[ARCHIVE_WHERE_MAX + 64];
    if (ledger_archive_parse(slice_of(data, len), &a) != ERR_NONE) {
        assert(a.before == 7);
        return 0;
    }
    assert(a.cleared <= a.before && a.before % TILE_WIDTH == 0 && a.cleared % TILE_WIDTH == 0);
    assert(memchr(a.where, '\0', sizeof a.where) != NULL);
    int n = snprintf(again, sizeof again, "%llu %llu ", (unsigned long long)a.before,
                     (unsigned long long)a.cleared);
    assert(n > 0 && (size_t)n <= len && memcmp(again, data, (size_t)n) == 0);
    return 0;
}
