/* What the files of the lists' making share. */
#ifndef HUB_REVOCATION_CRL_INTERNAL_H
#define HUB_REVOCATION_CRL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "hub/revocation/crl.h"

#define CRL_BACKDATE 300 /* seconds: for readers whose clocks are behind */

/* All lists made anew at one time. Deltas are based on the one before the newest, so that they help
 * whoever has any complete list that is still in date. */
struct crl_refresh {
    uint64_t number; /* 0: there was none */
    int64_t covered; /* the ledger's entries below this one are in it */
    int64_t made_at;
};

struct crl_list {
    int fd; /* -1: not made yet */
    uint64_t size;
    struct crl_facts facts;
    char etag[24];
};

struct crl_build;

struct crl_service {
    struct store *store;
    struct store_reader *reader;
    struct loop *loop;
    bool started;
    struct signer_link *link;
    char *folder;
    uint32_t authorities[AUTHORITY_COUNT];
    size_t authorities_len;
    unsigned shards;
    int64_t lifetime, delta_lifetime;

    pthread_mutex_t lock; /* over lists */
    /* [CRL_WHOLE]: of all; complete, delta */
    struct crl_list lists[AUTHORITY_COUNT][CRL_SHARDS_MAX + 1][2];

    /* on its thread */
    struct event *timer;
    atomic_bool stopping;
    struct crl_build *build;       /* under way, or NULL */
    struct crl_refresh refresh[2]; /* the newest, the one before */
    uint64_t number;               /* the last CRLNumber, used or not */
    int64_t covered[2];            /* complete lists, deltas: as in crl_refresh */
    int64_t deltas_made_at;        /* all of them */
    int64_t rest_until_ms[2];      /* monotonic: none that is not overdue before this */
    int64_t retry_at_ms;           /* monotonic: nothing before this, after a failure */
};

/* ---- crl_build.c: making lists ---- */

struct crl_job {
    bool delta;
    bool all; /* also lists in which nothing has changed */
};
/* Begins; ends by itself with crl_ended() on the service's loop. */
void crl_build_start(struct crl_service *s, const struct crl_job *job);
void crl_build_free(struct crl_build *b); /* NULL is fine */

struct crl_outcome {
    struct crl_job job;
    enum err err;
    const char *step; /* where it failed */
    uint64_t number;
    int64_t covered, made_at;
    uint64_t entries; /* of the list of all; of both, where there are two authorities */
    size_t lists;
    int64_t took_ms;
};
void crl_ended(struct crl_service *s, const struct crl_outcome *outcome);

/* ---- crl_files.c: lists in their folder ---- */

/* What is there; lists that are missing or broken are not made yet. Those of an authority that was
 * given up, or of another number of shards, are removed. */
MUST_USE enum err crl_files_load(struct crl_service *s, char explain[256]);
/* One of the lists. */
struct crl_which {
    enum authority authority;
    unsigned shard;
    bool delta;
};
/* Its name, with `suffix` behind it. ERR_LIMIT. */
MUST_USE enum err crl_files_path(const struct crl_service *s, const struct crl_which *which,
                                 const char *suffix, char path[PATH_MAX]);
/* The list that was written under its name and ".new" is the newest now. */
MUST_USE enum err crl_files_publish(struct crl_service *s, const struct crl_which *which);
/* Keeps s->number and s->refresh. */
MUST_USE enum err crl_files_save(const struct crl_service *s);
void crl_files_close(struct crl_service *s);

/* ---- crl_sweep.c ---- */

#define CRL_SWEEP_MAX 4096 /* rows in one go: the next refresh finds the rest */
/* Takes rows out of the table that no list needs any more. */
void crl_sweep(struct crl_service *s, const struct crl_entry_row *rows, size_t n);

#endif
