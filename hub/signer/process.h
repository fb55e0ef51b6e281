/* The signer's own process, from the fork to its end. */
#ifndef HUB_SIGNER_PROCESS_H
#define HUB_SIGNER_PROCESS_H

#include "hub/signer/keys.h"

/* What it keeps open besides its standard error and ledger.state. */
struct signer_sockets {
    int control;      /* the report goes out here; when it closes, the process ends */
    const int *links; /* requests and replies */
    size_t links_len;
};

/* Everything between the fork and the first request: reads keys, sheds rights, enters the sandbox.
 * After it, socket(), open() and execve() end the process. */
MUST_USE enum err signer_process_setup(const struct signer_options *options,
                                       const struct signer_sockets *sockets,
                                       struct signer_keys *ret_keys, struct signer_facts *ret_facts,
                                       char explain[256]);
/* Sets up, reports, serves, ends. */
NORETURN void signer_process_run(const struct signer_options *options,
                                 const struct signer_sockets *sockets);

#endif
