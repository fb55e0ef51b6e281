/* A folder of a test's own. */
#ifndef TESTS_UNIT_TEMPORARY_FOLDER_H
#define TESTS_UNIT_TEMPORARY_FOLDER_H

#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    (void)st;
    (void)kind;
    (void)walk;
    return remove(path);
}

static inline void temporary_folder_make(char path[PATH_MAX])
{
    (void)snprintf(path, PATH_MAX, "/tmp/holdfast-test-XXXXXX");
    if (mkdtemp(path) == NULL)
        abort();
}

static inline void temporary_folder_remove(const char *path)
{
    (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
