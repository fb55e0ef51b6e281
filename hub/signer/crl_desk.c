#include "hub/signer/crl_desk.h"

#include <string.h>

#include "base/clock.h"

enum err crl_desk_open(struct crl_desk *d, const char *public_url, unsigned shards)
{
    struct slice url = slice_of_text(public_url != NULL ? public_url : "");
    if (url.len > CRL_URL_MAX - CRL_PATH_MAX)
        return ERR_LIMIT;
    bool is_power = shards > 0 && shards <= CRL_SHARDS_MAX && (shards & (shards - 1)) == 0;
    if (shards != 0 && (!is_power || url.len == 0))
        return ERR_SYNTAX;
    *d = (struct crl_desk){.shards = shards};
    if (shards != 0)
        memcpy(d->public_url, url.data, url.len);
    return ERR_NONE;
}

static void drop(struct crl_desk *d)
{
    crl_free(d->signing);
    d->signing = NULL;
}

void crl_desk_close(struct crl_desk *d)
{
    drop(d);
}

static uint64_t *last_number(struct crl_desk *d, const struct crl_request *request, bool delta)
{
    size_t place = request->shard == SIGNER_CRL_ALL ? CRL_SHARDS_MAX : request->shard;
    return &d->numbers[request->authority][delta][place];
}

static enum err check_list(struct crl_desk *d, const struct crl_request *request)
{
    if (request->shard != SIGNER_CRL_ALL && request->shard >= d->shards)
        return ERR_REFUSED;
    int64_t now = clock_seconds();
    if (request->this_update < now - SIGNER_CRL_BACKDATING_MAX ||
        request->this_update > now + SIGNER_CRL_FUTURE_MAX || request->next_update <= now ||
        request->next_update > now + SIGNER_CRL_LIFETIME_MAX)
        return ERR_REFUSED;
    /* Section 5.2.3: they grow, and a delta has the numbers of complete ones. */
    bool delta = request->base > 0;
    bool grows = request->number > *last_number(d, request, delta) &&
                 (!delta || request->number >= *last_number(d, request, false));
    return grows ? ERR_NONE : ERR_REFUSED;
}

/* The URLs of a list, in these places. */
struct urls {
    uint8_t point[CRL_URL_MAX], plain[CRL_URL_MAX], freshest[CRL_URL_MAX];
};

static struct slice put_url(uint8_t bytes[CRL_URL_MAX], const struct crl_url *url, enum err *err)
{
    struct writer w = writer_over(bytes, CRL_URL_MAX);
    crl_url_write(&w, url);
    if (w.err != ERR_NONE)
        *err = w.err;
    return writer_bytes(&w);
}

/* A list's distribution point has the name without its authority, too: certificates of earlier
 * versions say that. */
static enum err name_list(const struct crl_desk *d, const struct crl_request *request,
                          uint32_t authority, struct urls *urls, struct crl_frame *frame)
{
    bool whole = request->shard == SIGNER_CRL_ALL;
    struct crl_url url = {.base = slice_of_text(d->public_url),
                          .authority = authority,
                          .shards = d->shards,
                          .shard = whole ? CRL_WHOLE : request->shard,
                          .delta = true};
    enum err err = ERR_NONE;
    if (request->base == 0 && url.base.len > 0)
        frame->freshest = put_url(urls->freshest, &url, &err);
    if (whole)
        return err;
    url.delta = false;
    frame->distribution_points[0] = put_url(urls->point, &url, &err);
    url.authority = 0;
    if (authority != 0)
        frame->distribution_points[1] = put_url(urls->plain, &url, &err);
    return err;
}

enum err crl_desk_begin(struct crl_desk *d, struct issuer *const issuers[AUTHORITY_COUNT],
                        const struct crl_request *request, struct writer *prefix)
{
    drop(d);
    struct issuer *issuer = issuers[request->authority];
    enum err err = issuer == NULL ? ERR_REFUSED : check_list(d, request);
    if (err != ERR_NONE)
        return err;
    struct urls urls;
    struct crl_frame frame = {.this_update = request->this_update,
                              .next_update = request->next_update,
                              .number = request->number,
                              .base = request->base};
    err = name_list(d, request, issuer_number(issuer), &urls, &frame);
    if (err == ERR_NONE)
        err = crl_begin(issuer, &frame, request->entries_len, &d->signing, prefix);
    if (err == ERR_NONE)
        d->request = *request;
    return err;
}

/* Whatever the hub believes of it: an entry of another shard would be looked for elsewhere, and one
 * that removes says nothing in a complete list. */
static enum err check_entry(const struct crl_desk *d, const struct crl_entry *entry)
{
    struct slice serial = slice_of(entry->serial, entry->serial_len);
    if (d->request.shard != SIGNER_CRL_ALL && crl_shard_of(serial, d->shards) != d->request.shard)
        return ERR_REFUSED;
    if (entry->reason == REASON_REMOVE_FROM_CRL && d->request.base == 0)
        return ERR_REFUSED;
    return entry->date > d->request.this_update + SIGNER_CRL_BACKDATING_MAX ? ERR_REFUSED
                                                                            : ERR_NONE;
}

static enum err check_begun(const struct crl_desk *d)
{
    return d->signing == NULL ? ERR_CONFLICT : ERR_NONE;
}

enum err crl_desk_add(struct crl_desk *d, const struct crl_entry *entries, size_t n,
                      struct writer *result)
{
    enum err err = check_begun(d);
    for (size_t i = 0; i < n && err == ERR_NONE; i++) {
        err = check_entry(d, &entries[i]);
        if (err == ERR_NONE)
            err = crl_add(d->signing, &entries[i]);
    }
    if (err == ERR_NONE)
        writer_be64(result, crl_entries_left(d->signing));
    else
        drop(d);
    return err;
}

enum err crl_desk_finish(struct crl_desk *d, struct writer *suffix)
{
    enum err err = check_begun(d);
    if (err == ERR_NONE)
        err = crl_finish(d->signing, suffix);
    drop(d);
    if (err == ERR_NONE)
        *last_number(d, &d->request, d->request.base > 0) = d->request.number;
    return err;
}
