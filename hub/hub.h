/* The hub as one struct: what main.c has put together and the handlers of api/ work with. */
#ifndef HUB_HUB_H
#define HUB_HUB_H

#include <stdatomic.h>

#include "api/route.h"
#include "base/http.h"
#include "base/rate.h"
#include "hub/access/tokens.h"
#include "hub/brokers/brokers.h"
#include "hub/config.h"
#include "hub/identity/identity.h"
#include "hub/ledger/ledger.h"
#include "hub/policy/policies.h"
#include "hub/revocation/crl.h"
#include "hub/revocation/revocation.h"
#include "hub/signer/signer.h"
#include "hub/store/store.h"
#include "hub/subjects/subjects.h"
#include "hub/watch/refusals.h"
#include "hub/watch/responder.h"

#define HUB_VERSION   "0.1.0"
#define HUB_LOOPS_MAX 128
#define HUB_TENANT    STORE_TENANT /* whoever names none acts in it, and it governs the fleet */

/* What one loop has to itself. */
struct hub_loop {
    struct hub *hub;
    struct loop *loop;
    struct store_reader *reader;
    struct signer_link *signer;
    struct sightings *sightings;
    struct broker_feed *brokers;
    struct ledger_shown *shown;
    struct policy_cache policy;
    struct loop_task tick, last;
    atomic_bool tick_pending;
    int64_t sightings_ms; /* flushed last; monotonic */
};

struct hub {
    struct hub_config config;
    struct store *store;
    struct ledger *ledger;
    struct signer *signer;
    struct signer_facts facts;
    struct subjects *subjects;
    struct policies *policies;
    struct identity *identity;
    struct tokens *tokens;
    struct brokers *brokers;
    struct refusals *refusals, *broker_refusals; /* their own, and those that brokers tell of */
    struct responder *responder;
    struct crl_service *crls;
    struct ocsp_service *ocsp; /* NULL where nobody listens for it */
    struct rate_table *rates;
    struct tls_server *tls[LISTENER_COUNT]; /* NULL for the local one, and where status is served */
    struct http_server *http;
    struct http_listener *listeners[LISTENER_COUNT]; /* NULL where it is not configured */
    struct hub_loop loops[HUB_LOOPS_MAX];
    size_t loops_len;
    atomic_uint_least64_t bundle_version; /* of the trust bundle in <state>/bundle; 0: none */
    uid_t operator_uids[16];
    size_t operator_uids_len;
    int64_t started_at;
};

/* The loop a request lives on. */
struct hub_loop *hub_loop_of(struct hub *hub, const struct http_request *request);

#endif
