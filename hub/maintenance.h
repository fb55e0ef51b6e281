/* What is done to a store while no hub serves from it, or beside one: copying it into an encrypted
 * file, checking such a file, filling an empty store from one or from another store. Run by
 * holdfast(1) as
 *
 *   holdfast-hub backup --config FILE --recipient CERTIFICATE     (the backup goes to descriptor 3)
 *   holdfast-hub check-backup --key KEY FILE
 *   holdfast-hub restore --config FILE --key KEY FILE
 *   holdfast-hub move --config FILE --from URL URL
 *
 * On standard output come JSON objects, one a line: {"rows":N,"total":N} while it works, and at the
 * end {"result":{...}} or {"problem":WORD,"detail":TEXT}. */
#ifndef HUB_MAINTENANCE_H
#define HUB_MAINTENANCE_H

#include <stdbool.h>

/* Is this one of its verbs? */
bool maintenance_is_verb(const char *word);
/* argv[0] is the verb. Gives the program's exit status. */
int maintenance_run(int argc, char **argv);

#endif
