/* Rows as the API shows them (api/openapi.yaml, components/schemas). */
#ifndef HUB_API_VIEWS_H
#define HUB_API_VIEWS_H

#include "api/requests.h"
#include "hub/api/call.h"

#define VIEW_PAGE_MAX (6 * 1024 * 1024) /* bytes of a page: 1,000 devices with full reports fit */

/* The field "reason", as a person gave it for that device; nothing where it can't be read any more.
 * `kept`: as rows and entries have it. */
void view_reason(struct api_call *call, struct json_writer *j, const char *tenant,
                 const char *device, struct slice kept);
void view_certificate(struct json_writer *j, const struct certificate_row *row);
/* A cut with its legs. */
struct view_cut {
    struct device_cut_row row;
    struct cut_leg_state *legs;
    size_t legs_len;
};
#define VIEW_LEG_MAX 1536 /* bytes: a detail in which each byte is escaped */
void view_cut(struct json_writer *j, const struct view_cut *cut);
/* ERR_NOT_FOUND: the device was never cut off, or was released since. */
MUST_USE enum err view_read_cut(struct api_call *call, const char *device,
                                struct view_cut *ret_cut);
void view_cut_waiting(struct json_writer *j, const struct cut_waiting_row *row);
struct device_details {
    const struct certificate_row *certificate; /* the newest; NULL: none, as with the others */
    const struct device_password_row *password;
    const struct identity_grace *grace;
    const struct device_seen_row *seen;
    const struct view_cut *cut;
    const struct cut_waiting_row *waiting;
    /* Until when others may go by what they were told of the certificate before it was cut off; 0
     * where nobody was told. */
    int64_t exposed_until;
};
void view_device(struct api_call *call, struct json_writer *j, const struct device_row *row,
                 const struct device_details *details);
/* The owner's name, of a subject's id; nothing where it can't be read any more. */
void view_owner(struct api_call *call, struct json_writer *j, const char *id);
void view_model(struct json_writer *j, const struct model_row *row);
void view_manifest(struct api_call *call, struct json_writer *j, const struct manifest_row *row);
void view_token_scopes(struct json_writer *j, int64_t scopes);
void view_subject(struct api_call *call, struct json_writer *j, const struct subject_row *row);
void view_token(struct json_writer *j, const struct token_row *row);
void view_write_report(struct writer *w, const struct request_device_report *in);

/* Reads one page of a table in key order and answers with {"NAME":[...],"next":...}. */
struct view_page {
    const char *name;         /* "devices" */
    struct store_query query; /* its limit is what the caller asked for */
    void (*view)(struct api_call *call, struct json_writer *j, const void *row);
    const char *(*row_name)(const void *row); /* what "next" says; NULL: no "next" */
};
void view_reply_page(struct api_call *call, struct view_page *page);

/* Answers with one device, read afresh. `exposed_until` as above, where this answers a cut. */
void view_reply_device(struct api_call *call, const char *device, int64_t exposed_until);

#endif
