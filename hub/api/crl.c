/* Lists of revoked certificates, for whoever checks the fleet's certificates elsewhere. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "hub/api/call.h"

#define CRL_TYPE "application/pkix-crl"

struct list_name {
    enum authority authority;
    unsigned shard;
    bool delta;
};

/* "5d0c9a7e/" before the rest: of that authority; a number of none is no name. */
static void read_authority(const struct crl_service *crls, struct reader *r,
                           enum authority *ret_authority)
{
    struct reader ahead = *r;
    uint8_t octets[4];
    struct writer w = writer_over(octets, sizeof octets);
    writer_unhex(&w, reader_take(&ahead, 2 * sizeof octets));
    reader_expect(&ahead, SLICE_LITERAL("/"));
    *ret_authority = crl_authority_oldest(crls);
    if (ahead.err != ERR_NONE || w.err != ERR_NONE)
        return;
    *r = ahead;
    reader_fail(r, crl_authority_find(crls, authority_number(writer_bytes(&w)), ret_authority));
}

/* "all.crl" and "all-delta.crl"; of a shard "16/7.crl" and "16/7-delta.crl". Under another number
 * of shards there is nothing: a list of fewer or more would leave out certificates that name it. */
static bool read_name(const struct api_call *call, struct list_name *ret_name)
{
    struct slice text = slice_of_text(api_param(call, 0));
    struct reader r = reader_over(text);
    struct list_name name = {.shard = CRL_WHOLE};
    read_authority(call->hub->crls, &r, &name.authority);
    if (reader_peek(&r) == 'a') {
        reader_expect(&r, SLICE_LITERAL("all"));
    } else {
        if (reader_decimal(&r, CRL_SHARDS_MAX) != crl_shards(call->hub->crls))
            reader_fail(&r, ERR_NOT_FOUND);
        reader_expect(&r, SLICE_LITERAL("/"));
        name.shard = (unsigned)reader_decimal(&r, CRL_SHARDS_MAX - 1);
    }
    name.delta = reader_peek(&r) == '-';
    reader_expect(&r, name.delta ? SLICE_LITERAL("-delta.crl") : SLICE_LITERAL(".crl"));
    *ret_name = name;
    return reader_finish(&r) == ERR_NONE;
}

static enum err refuse_name(struct api_call *call)
{
    unsigned shards = crl_shards(call->hub->crls);
    if (shards == 0)
        return problem_set(&call->problem, 404, "crl-not-found", "list",
                           "there is all.crl, also behind the number of an authority that lists "
                           "are made for, and no other; shards need a public-url");
    return problem_set(&call->problem, 404, "crl-not-found", "list",
                       "there are %u shards, %u/0.crl to %u/%u.crl, and all.crl; each with its "
                       "delta, as in all-delta.crl, and behind the number of an authority that "
                       "lists are made for",
                       shards, shards, shards, shards - 1);
}

/* What the client has, or one of those it has (RFC 9110 section 13.1.2). */
static bool has_it(const struct api_call *call, const char *etag)
{
    const char *had = http_request_header(call->request, "If-None-Match");
    return had != NULL && strstr(had, etag) != NULL;
}

static void put_dates(struct api_call *call, const struct crl_facts *facts)
{
    char text[64];
    struct tm tm;
    time_t made = (time_t)facts->this_update;
    if (gmtime_r(&made, &tm) != NULL &&
        strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm) > 0)
        http_reply_header(call->request, "Last-Modified", text);
    int64_t left = facts->next_update - clock_seconds();
    (void)snprintf(text, sizeof text, "public, max-age=%lld", left > 0 ? (long long)left : 0LL);
    http_reply_header(call->request, "Cache-Control", text);
}

void api_crl(struct api_call *call)
{
    struct list_name name;
    struct crl_served served;
    enum err err = ERR_NOT_FOUND;
    if (read_name(call, &name))
        err = crl_open(call->hub->crls, name.authority, name.shard, name.delta, &served);
    if (err == ERR_NOT_FOUND)
        err = refuse_name(call);
    else if (err == ERR_BUSY)
        err = problem_set(&call->problem, 503, "crl-not-made-yet", "list",
                          "this list has not been made yet; try again in a moment");
    if (!api_read_ok(call, err))
        return;
    http_reply_header(call->request, "ETag", served.etag);
    put_dates(call, &served.facts);
    if (has_it(call, served.etag)) {
        (void)close(served.fd);
        http_reply(call->request, 304, NULL, slice_of(NULL, 0));
    } else {
        http_reply_file(call->request, CRL_TYPE, served.fd, served.size);
    }
}
