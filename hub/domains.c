#include "hub/domains.h"

#include <limits.h>
#include <stdio.h>

#include "hub/cutter.h"
#include "hub/membership.h"

#define RATE_KEYS 65536

/* Where no certificate can name one there is only the list of all. */
unsigned domains_crl_shards(const struct hub *hub)
{
    return hub->config.public_url[0] == '\0' ? 0 : (unsigned)hub->config.crl_shards;
}

static enum err make_ocsp(struct hub *hub)
{
    if (hub->config.listen_status[0] == '\0')
        return ERR_NONE;
    struct reader chain = reader_over(slice_of(hub->facts.chain, hub->facts.chain_len));
    struct reader previous = reader_over(slice_of(hub->facts.previous, hub->facts.previous_len));
    struct ocsp_options options = {
        .store = hub->store,
        .issuers = {[AUTHORITY_CURRENT] = der_read_any(&chain, NULL)},
        .validity = hub->config.ocsp_validity,
    };
    if (hub->facts.previous_signs)
        options.issuers[AUTHORITY_PREVIOUS] = der_read_any(&previous, NULL);
    return ocsp_service_new(&options, &hub->ocsp);
}

static enum err data_path(const struct hub *hub, const char *name, char ret_path[PATH_MAX])
{
    int n = snprintf(ret_path, PATH_MAX, "%s/%s", hub->config.data, name);
    return n > 0 && n < PATH_MAX ? ERR_NONE : ERR_LIMIT;
}

static enum err open_subjects(struct hub *hub, bool forget, char explain[256])
{
    static char path[PATH_MAX];
    enum err err = data_path(hub, "subjects.keys", path);
    if (err != ERR_NONE)
        return err;
    explain[0] = '\0';
    err = subjects_open(path, hub->store, hub->ledger, forget, membership_is_shared(),
                        &hub->subjects, explain);
    if (err != ERR_NONE && explain[0] == '\0')
        (void)snprintf(explain, 256, "%.200s: the hub's user has to be able to write it", path);
    return err;
}

/* Root, and whoever else the configuration names. */
static size_t count_operators(const struct hub *hub)
{
    size_t n = 1;
    for (size_t i = 0; i < hub->operator_uids_len; i++) {
        bool known = hub->operator_uids[i] == 0;
        for (size_t k = 0; k < i; k++)
            known = known || hub->operator_uids[k] == hub->operator_uids[i];
        n += known ? 0 : 1;
    }
    return n;
}

static enum err open_policies(struct hub *hub, char explain[256])
{
    const struct policies_options options = {
        .store = hub->store,
        .ledger = hub->ledger,
        .fleet = hub->config.fleet,
        .policy_key = hub->facts.policy_key,
        .signed_version = hub->facts.rules_version,
        .operators = count_operators(hub),
    };
    struct store_reader *reader = NULL;
    enum err err = policies_new(&options, &hub->policies);
    if (err == ERR_NONE)
        err = store_reader_new(hub->store, &reader);
    if (err == ERR_NONE)
        err = policies_reload(hub->policies, reader, explain);
    store_reader_free(reader);
    return err;
}

/* What the hub cut off by itself: as an operator's cut. */
static void close_cut(void *ctx, const char *tenant, const char *device, int64_t entry)
{
    const struct cutter_target target = {.device = device, .entry = entry};
    cutter_close(ctx, tenant, &target, 1, NULL, NULL);
}

enum err domains_open(struct hub *hub, bool forget_subjects, char explain[256])
{
    enum err err = open_subjects(hub, forget_subjects, explain);
    if (err == ERR_NONE)
        err = open_policies(hub, explain);
    if (err == ERR_NONE)
        err = identity_new(hub->store, hub->ledger, hub->subjects, &hub->identity);
    if (err == ERR_NONE)
        identity_set_policies(hub->identity, hub->policies);
    if (err == ERR_NONE)
        err = brokers_new(hub->store, hub->ledger, hub->identity, &hub->brokers);
    if (err == ERR_NONE)
        err = tokens_new(hub->store, hub->ledger, &hub->tokens);
    if (err == ERR_NONE)
        err = refusals_new(hub->store, hub->ledger, &hub->refusals);
    if (err == ERR_NONE)
        err = refusals_new(hub->store, hub->ledger, &hub->broker_refusals);
    if (err == ERR_NONE)
        err = responder_new(hub->identity, close_cut, &hub->responder);
    if (err == ERR_NONE)
        err = rate_table_new(RATE_KEYS, &hub->rates);
    if (err == ERR_NONE)
        err = make_ocsp(hub);
    return err;
}

/* That of the first certificate. */
static enum err number_of(struct slice certificates, uint32_t *ret_number)
{
    struct reader r = reader_over(certificates);
    struct certificate c;
    enum err err = certificate_read(der_read_any(&r, NULL), &c);
    if (err == ERR_NONE)
        *ret_number = authority_number(c.subject_key);
    return err;
}

/* A key that was only certified anew is one authority all the same. */
static enum err list_authorities(const struct hub *hub, struct crl_options *options)
{
    const struct signer_facts *facts = &hub->facts;
    uint32_t previous = 0;
    enum err err = number_of(slice_of(facts->chain, facts->chain_len), &options->authorities[0]);
    options->authorities_len = 1;
    if (err != ERR_NONE || !facts->previous_signs)
        return err;
    err = number_of(slice_of(facts->previous, facts->previous_len), &previous);
    if (err == ERR_NONE && previous != options->authorities[0])
        options->authorities[options->authorities_len++] = previous;
    return err;
}

enum err domains_open_crls(struct hub *hub, char explain[256])
{
    static char path[PATH_MAX];
    enum err err = data_path(hub, "crl", path);
    if (err != ERR_NONE)
        return err;
    struct crl_options options = {.folder = path,
                                  .store = hub->store,
                                  .signer = hub->signer,
                                  .shards = domains_crl_shards(hub),
                                  .lifetime = hub->config.crl_lifetime,
                                  .delta_lifetime = hub->config.crl_delta_lifetime};
    err = list_authorities(hub, &options);
    if (err != ERR_NONE)
        return err;
    return crl_service_new(&options, &hub->crls, explain);
}

void domains_flush(struct hub *hub)
{
    refusals_flush(hub->refusals);
    refusals_flush(hub->broker_refusals);
}

void domains_close(struct hub *hub)
{
    rate_table_free(hub->rates);
    ocsp_service_free(hub->ocsp);
    responder_free(hub->responder);
    refusals_free(hub->broker_refusals);
    refusals_free(hub->refusals);
    tokens_free(hub->tokens);
    brokers_free(hub->brokers);
    identity_free(hub->identity);
    policies_free(hub->policies);
    subjects_free(hub->subjects);
}
