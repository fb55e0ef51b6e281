/* Identity: models, factory manifests, and the life of a device from `expected` to `revoked`. This
 * is the domain's one public header. What changes something is an act (hub/ledger/act.h): a struct
 * the caller fills in and submits with the function beside it. */
#ifndef HUB_IDENTITY_IDENTITY_H
#define HUB_IDENTITY_IDENTITY_H

#include "base/tls.h"
#include "core/csr.h"
#include "hub/ledger/act.h"
#include "hub/policy/policies.h"
#include "hub/signer/signer.h"
#include "hub/subjects/subjects.h"

struct identity;

#define IDENTITY_CLAIM_BYTES    16  /* of entropy in a claim code: 128 bits */
#define IDENTITY_CLAIM_TEXT     33  /* 26 characters in groups, NUL included */
#define IDENTITY_BACKDATE       300 /* seconds: certificates start a little early for slow clocks */
#define IDENTITY_READMIT_MAX    (90 * 86400) /* seconds that an approval may last */
#define IDENTITY_MANIFEST_CHUNK 250 /* rows in one write, which a cut may have to wait for */
#define IDENTITY_LABEL_MAX      (2 * NAME_MAX_BYTES + 2)

MUST_USE enum err identity_new(struct store *store, struct ledger *ledger,
                               struct subjects *subjects, struct identity **ret_identity);
void identity_free(struct identity *identity);
/* What the policy in force defines is not changed past it. Before the first act; without, there is
 * no policy. */
void identity_set_policies(struct identity *identity, struct policies *policies);

/* "tenant/device": how live connections of a device are labelled. */
void identity_label(char ret_label[IDENTITY_LABEL_MAX], const char *tenant, const char *device);

/* ---- models ---- */

enum model_change { MODEL_CREATE, MODEL_REPLACE, MODEL_DELETE };
struct model_act {
    struct act act;
    enum model_change change;
    struct model_row model;    /* id (tenant is the act's); for a deletion nothing else */
    struct policies *policies; /* private */
};
/* problems: model-exists, model-not-found, model-in-use, model-of-policy */
void identity_change_model(struct identity *identity, const struct act_origin *origin,
                           struct model_act *m);

/* ---- manifests ---- */

struct manifest_act {
    struct act act;
    struct manifest_row manifest;   /* id, model */
    char owner[NAME_MAX_BYTES + 1]; /* the name; the row has the subject's id */

    struct subjects *subjects; /* private to manifest.c */
};
/* problems: manifest-exists, model-not-found */
void identity_create_manifest(struct identity *identity, const struct act_origin *origin,
                              struct manifest_act *m);

struct manifest_line {
    const char *serial;
    enum credential_kind credential;
    struct hash credential_hash; /* key or IDevID; for a claim filled in when it is made */
    struct hash idevid_spki;     /* IDevID: its key, which no other device may have */
    int64_t claim_expires_at;
    char claim_code[IDENTITY_CLAIM_TEXT]; /* made by identity_add_devices(); shown once */
};
struct manifest_devices_act {
    struct act act;
    char manifest[NAME_MAX_BYTES + 1];
    struct manifest_line *lines; /* at most IDENTITY_MANIFEST_CHUNK; in the act's arena */
    size_t lines_len;
};
/* All lines or none. problems: manifest-not-found, device-exists, key-in-use (field
 * "rows[3].serial") */
void identity_add_devices(struct identity *identity, const struct act_origin *origin,
                          struct manifest_devices_act *m);

struct claim_act {
    struct act act;
    char device[NAME_MAX_BYTES + 1];
    int64_t expires_at;
    char claim_code[IDENTITY_CLAIM_TEXT];
};
/* A fresh claim code for a device that is still expected. problems: device-not-found,
 * device-not-expected */
void identity_renew_claim(struct identity *identity, const struct act_origin *origin,
                          struct claim_act *c);
/* 26 Crockford base-32 characters, dashes and case ignored -> the hash that is stored. ERR_SYNTAX.
 */
MUST_USE enum err identity_claim_hash(struct slice code, struct hash *ret_hash);

/* ---- a device that is to be a broker: its part of another domain's write ---- */

#define IDENTITY_BROKER_MODEL    "holdfast-broker"
#define IDENTITY_BROKER_MANIFEST "holdfast-brokers"
#define IDENTITY_BROKER_OWNER    "operator" /* of that manifest, where it is made here */

/* A claim code that no device has yet. */
MUST_USE enum err identity_make_claim(char ret_code[IDENTITY_CLAIM_TEXT]);
void identity_broker_reads(const struct identity *identity, struct keyset *keys, const char *tenant,
                           const char *device);
/* Inside apply(): a device of IDENTITY_BROKER_MODEL is expected, by this claim code. Model and
 * manifest are made where they are missing; each of that has an entry of its own. problems:
 * device-exists, model-differs (the manifest of that name is of another model) */
MUST_USE enum err identity_broker_expect(const struct identity *identity, struct act *act,
                                         struct tx *tx, const char *device, const char *claim_code,
                                         int64_t claim_expires_at);

/* ---- enrolment ---- */

/* How the other side proved who it is. */
enum authenticator {
    AUTHENTICATOR_CLAIM,       /* device and claim_hash */
    AUTHENTICATOR_IDEVID,      /* client certificate: its hash and its key's */
    AUTHENTICATOR_KEY,         /* the key in the request itself, proven by its signature */
    AUTHENTICATOR_CERTIFICATE, /* one of ours, being renewed: device and serial */
    AUTHENTICATOR_EXPIRED,     /* one of ours that has run out (identity_recognise()): the same */
};
struct enrolment {
    struct act act;
    enum authenticator authenticator;
    char device[NAME_MAX_BYTES + 1]; /* claim, certificate: given; else found by the key */
    struct hash claim_hash;
    struct hash peer_certificate;  /* IDevID */
    struct hash peer_spki;         /* IDevID */
    char serial[SERIAL_TEXT_SIZE]; /* certificate: the one the connection has */
    struct slice csr_der;          /* in the act's arena */

    /* the outcome, where act.write.err is ERR_NONE */
    struct slice certificate; /* DER, in the act's arena */
    bool repeated;            /* the same bytes as before: a retry */

    bool retired_shown; /* refused: what was shown is replaced, so two have had this identity */

    /* private to enrol.c */
    struct identity *identity;
    struct signer_link *signer;
    struct csr csr;
    struct hash spki;
    char issued[SERIAL_TEXT_SIZE];
    int64_t issued_not_before, issued_not_after;
    uint32_t issued_by;               /* its authority's number */
    int64_t state;                    /* the device's, after this */
    bool readmitted;                  /* it came back by a person's word, which is used up */
    char hosts[BROKER_HOSTS_MAX + 1]; /* of a broker: what its certificate names besides */
};
/* Checks on this loop, has the signer sign, checks again on the writer, commits, and only then
 * calls then(). problems: enrolment-refused (401: unknown device, wrong claim, wrong key - not told
 * apart), claim-expired, claim-used, device-quarantined, device-revoked, device-retired,
 * key-in-use, csr-name-mismatch, csr-..., certificate-not-current, broker-changed; of one that has
 * run out also certificate-in-date, key-not-fresh, grace-over, grace-closed */
void identity_enrol(struct identity *identity, const struct act_origin *origin,
                    struct store_reader *reader, struct signer_link *signer, struct enrolment *e);

/* ---- devices ---- */

enum device_move { MOVE_APPROVE, MOVE_QUARANTINE, MOVE_RELEASE, MOVE_REVOKE, MOVE_RETIRE };
struct move_act {
    struct act act;
    char device[NAME_MAX_BYTES + 1];
    enum device_move move;
    char reason[REASON_MAX_BYTES + 1];
    bool
        keys_touched; /* quarantine: the device's keys may be in other hands; its grace is closed */
    int64_t state;    /* the state it ended in */
    int64_t entry;    /* the ledger's, of this */

    struct subjects *subjects; /* private to life.c */
};
/* Quarantine, revocation and retirement are cuts (below). problems: device-not-found,
 * move-not-possible; for a release also key-not-new: after an incident that may have touched the
 * device's keys, it must have used a certificate for another key first */
void identity_move(struct identity *identity, const struct act_origin *origin, struct move_act *m);

#define IDENTITY_CUT_MAX 256 /* devices in one write */

struct moved_device {
    const char *id;
    int64_t state;       /* afterwards */
    int64_t entry;       /* the ledger's; -1: it stayed as it was */
    const char *problem; /* the code of what kept it; NULL: none, it may be there already */
};
struct moves_act {
    struct act act;
    enum device_move move;
    char reason[REASON_MAX_BYTES + 1];
    bool keys_touched;
    bool passes_over; /* those that can't be moved stay as they are, and the others are moved */
    struct moved_device *devices; /* at most IDENTITY_CUT_MAX; in the act's arena */
    size_t devices_len;

    struct subjects *subjects; /* private to life.c */
};
/* All of them in one write, with an entry for each; a device that is there already, or is named
 * twice, stays as it is. Problems as above, with the field "devices[3].id": then none is moved. */
void identity_move_all(struct identity *identity, const struct act_origin *origin,
                       struct moves_act *m);
/* Can a device of that state be moved so? */
bool identity_can_move(enum device_move move, int64_t state);

/* ---- cuts: a device that is cut off is seen gone at each leg, from its far side ---- */

/* The legs of a cut are the hubs that had joined by then, "api/1" with the hub's number; the
 * brokers that were added by then, "broker/mqtt-1"; and what a hub looks after for the fleet, such
 * as "emqx/mqtt.example". Those that leave are not waited for any more. */
struct cut_leg {
    char name[CUT_LEG_MAX + 1];
    int64_t since; /* seconds since 1970: cuts from then on have it */
};
struct cut_legs {
    struct cut_leg *items;
    size_t len;
};
#define CUT_LEGS_MAX (HUBS_MAX + 256)
void cut_leg_of_hub(char ret_leg[CUT_LEG_MAX + 1], int64_t hub);
void cut_leg_of_broker(char ret_leg[CUT_LEG_MAX + 1], const char *broker);
/* In the arena. ERR_LIMIT: more brokers than CUT_LEGS_MAX has room for. */
MUST_USE enum err identity_cut_legs(struct store_reader *reader, const char *tenant,
                                    struct arena *arena, struct cut_legs *ret_legs);

/* A hub looks after a leg from now on, or does not any more. Of one that is there nothing changes.
 */
#define CUT_LEG_OF_HUB_MAX 56 /* bytes of its name */
struct leg_act {
    struct act act;
    char leg[CUT_LEG_OF_HUB_MAX + 1];
    int64_t hub;
    bool removal;
};
void identity_change_leg(struct identity *identity, const struct act_origin *origin,
                         struct leg_act *l);
/* Those legs, of all hubs, in the order of their names. */
MUST_USE enum err identity_legs_of_hubs(struct store_reader *reader, struct arena *arena,
                                        enum err (*leg)(void *ctx, const char *name, int64_t hub,
                                                        const char *tenant, int64_t since),
                                        void *ctx);

/* What one leg has seen of a device. */
struct cut_seen {
    const char *device;
    int64_t position;   /* the leg knew what came before it in the ledger, so that it confirms a cut
                           whose entry is a lower number: a late word of an older cut is none of a
                           newer one */
    const char *detail; /* for people, at most REASON_MAX_BYTES: "session ended with 152" */
    bool confirmed;     /* afterwards: its cut was open at this leg until now */
};
struct cut_confirm_act {
    struct act act;
    char leg[CUT_LEG_MAX + 1];
    struct cut_seen *seen; /* at most IDENTITY_CUT_MAX; with its texts in the act's arena */
    size_t seen_len;

    struct cut_legs legs; /* private to cut.c, as is the next */
    int64_t listed_at_ms;
};
/* Each is an entry "device.cut-leg", the first time; devices that were not cut, or not as far as
 * the leg knows, are passed over. The cut is complete once all its legs are there. `reader` is of
 * the loop that calls. problems: leg-unknown (404) */
void identity_cut_confirm(struct identity *identity, const struct act_origin *origin,
                          struct store_reader *reader, struct cut_confirm_act *c);

struct cut_leg_state {
    char name[CUT_LEG_MAX + 1];
    bool confirmed;
    int64_t latency_ms; /* from the cut to the confirmation, as the hub's clocks have it */
    char detail[REASON_MAX_BYTES + 1];
};
/* The legs of a cut as they stand, in the order of `legs`; in the arena. */
MUST_USE enum err identity_cut_read(struct store_reader *reader, struct arena *arena,
                                    const struct cut_legs *legs, const struct device_cut_row *cut,
                                    struct cut_leg_state **ret_legs, size_t *ret_n);

/* ---- cuts that the hub makes by itself, as the policy's `respond` says ---- */

#define IDENTITY_WAITING_MAX 1000 /* of a tenant: nobody grows rows and ledger at will */

enum automatic_outcome {
    AUTOMATIC_NOTHING, /* there is no such device, it is cut off already, or waits already */
    AUTOMATIC_CUT,     /* quarantined */
    AUTOMATIC_WAITS,   /* from now on: there were as many in this hour as the policy allows */
    AUTOMATIC_UNASKED, /* nor is a person asked: IDENTITY_WAITING_MAX wait already */
};
struct automatic_act {
    struct act act;
    char device[NAME_MAX_BYTES + 1];
    char kind[CUT_KIND_MAX + 1]; /* what for: "topics" */
    char reason[REASON_MAX_BYTES + 1];
    bool keys_touched;
    enum automatic_outcome outcome;
    int64_t entry; /* the ledger's, of this */

    struct identity *identity; /* private */
};
/* Quarantines a device that is enrolled or trusted, and is no broker; or has a person asked to. At
 * most so many within an hour as the policy in force allows, over all hubs: decided in the write.
 * problems: policy-changed */
void identity_cut_automatically(struct identity *identity, const struct act_origin *origin,
                                struct automatic_act *a);

/* Could that be done with it, as far as can be seen from here, and of which model is it?
 * ERR_NOT_FOUND: no. */
MUST_USE enum err identity_can_cut_automatically(struct store_reader *reader, struct arena *arena,
                                                 const char *tenant, const char *device,
                                                 char ret_model[NAME_MAX_BYTES + 1]);

struct dismiss_act {
    struct act act;
    char device[NAME_MAX_BYTES + 1];
    char reason[REASON_MAX_BYTES + 1];
    struct subjects *subjects; /* private */
};
/* The device stays as it is, and no cut of it waits any more. problems: device-not-found,
 * cut-not-waiting */
void identity_dismiss_cut(struct identity *identity, const struct act_origin *origin,
                          struct dismiss_act *d);

struct assign_act {
    struct act act;
    char device[NAME_MAX_BYTES + 1];
    char group[NAME_MAX_BYTES + 1]; /* of the policy in force; empty: none */
    struct identity *identity;      /* private */
};
/* One that is in that group already is no act. problems: device-not-found, group-not-found */
void identity_assign(struct identity *identity, const struct act_origin *origin,
                     struct assign_act *a);

/* ---- the way back for a device that slept past its certificate's end ---- */

struct readmit_act {
    struct act act;
    char device[NAME_MAX_BYTES + 1];
    char reason[REASON_MAX_BYTES + 1];
    int64_t expires_at; /* within IDENTITY_READMIT_MAX from now */

    struct subjects *subjects; /* private to grace.c */
};
/* One return, whatever grace says. problems: device-not-found, not-readmittable, field-value */
void identity_readmit(struct identity *identity, const struct act_origin *origin,
                      struct readmit_act *r);

enum grace_state { GRACE_STATE_OPEN, GRACE_STATE_OVER, GRACE_STATE_CLOSED, GRACE_STATE_READMITTED };
struct identity_grace {
    enum grace_state state;
    int64_t until;         /* open, readmitted: until then; over: it was; closed: 0 */
    int64_t closed_before; /* see struct device_grace_row, as for the next */
    int64_t approved_until;
};
/* ERR_NOT_FOUND where there is nothing to say: the last certificate is in date, or none was used.
 */
MUST_USE enum err identity_grace(struct store_reader *reader, struct arena *arena,
                                 const struct device_row *device, struct identity_grace *ret_grace);

/* ---- passwords, for devices that can hold no certificate ---- */

/* 4,096 is the least that RFC 7677 section 4 allows. More would slow down brokers and nobody else:
 * iterations make guessing costly, and 128 random bits can't be guessed. */
#define IDENTITY_PASSWORD_ITERATIONS 4096
#define IDENTITY_PASSWORD_LEN        30    /* characters: as a claim code */
#define IDENTITY_PASSWORD_OVERLAP    86400 /* seconds in which the one before goes on working */

struct password_act {
    struct act act;
    char device[NAME_MAX_BYTES + 1];
    bool removal;
    char password[IDENTITY_CLAIM_TEXT]; /* of IDENTITY_PASSWORD_LEN, made by
                                           identity_change_password(); wipe it once told */
    int64_t expires_at;
    int64_t previous_until; /* the one before works until the new one is used, but no longer than
                               this; 0: there was none */

    struct device_password_row row; /* private to password.c */
};
/* Makes a new one, with which the device becomes what its model's proof allows; or removes it, and
 * the device is expected again. Whether its model's devices may have one is for the caller to know.
 * problems: device-not-found, password-not-possible, password-not-found */
void identity_change_password(struct identity *identity, const struct act_origin *origin,
                              struct password_act *p);
/* Is it the device's? ERR_REFUSED where not. The first use of a new one ends the one before, by an
 * act that nobody waits for. *ret_until: when this one ends. Costs some two milliseconds. */
MUST_USE enum err identity_check_password(struct identity *identity, struct store_reader *reader,
                                          struct loop *loop, struct arena *arena,
                                          const struct device_row *device, struct slice password,
                                          int64_t *ret_until);

/* A broker's word, within a write of its own that has named what the first one says: the password
 * with this salt was used. The first time that this is the device's new one, it ends the one
 * before, by an entry. */
void identity_password_reads(struct keyset *keys, const char *tenant, const char *device);
MUST_USE enum err identity_password_used(struct act *act, struct tx *tx, const char *device,
                                         struct slice salt);

struct report_act {
    struct act act;
    char device[NAME_MAX_BYTES + 1];
    struct slice report; /* JSON, in the act's arena */
};
/* A report that says what the last one said is no act. */
void identity_report(struct identity *identity, const struct act_origin *origin,
                     struct report_act *r);

/* Who is behind a certificate? Checked on every request. */
struct device_view {
    char tenant[NAME_MAX_BYTES + 1];
    char device[NAME_MAX_BYTES + 1];
    char model[NAME_MAX_BYTES + 1];
    char group[NAME_MAX_BYTES + 1];
    int64_t state;
    struct certificate_row certificate;
    struct hash report_hash;
    char rotation[NAME_MAX_BYTES + 1]; /* as in its row */
    int64_t renew_at;
};
/* What was read of a connection's device, to be used again while no commit has touched its rows.
 * Zeroed at first; it belongs to one connection, whose certificate does not change. */
struct device_memo {
    bool held;
    struct row_stamp certificate, device;
    struct device_view view;
};
/* Which of our certificates is that, whatever its status and dates? ERR_REFUSED with *problem:
 * certificate-required, certificate-unknown. */
MUST_USE enum err identity_recognise(struct store_reader *reader, const struct tls_peer *peer,
                                     struct arena *arena, struct certificate_row *ret_certificate,
                                     struct problem *problem);
/* ERR_REFUSED with *problem: certificate-unknown, certificate-retired, certificate-expired,
 * device-revoked, device-retired; of the view, tenant and device are filled in where the
 * certificate is one of ours, and nothing else. A certificate seen in use for the first time is
 * confirmed (and what came before it retired) by an act of its own that nobody waits for. `memo`
 * may be NULL. */
MUST_USE enum err identity_authenticate(struct identity *identity, struct store_reader *reader,
                                        struct loop *loop, const struct tls_peer *peer,
                                        struct arena *arena, struct device_memo *memo,
                                        struct device_view *ret_view, struct problem *problem);

/* ---- rotations: devices are asked to renew, each with a fresh key ---- */

#define IDENTITY_ROTATION_CHUNK 250 /* devices in one write */
#define IDENTITY_SELECT_SECONDS 60  /* between looks for what another hub has begun */

struct rotation_act {
    struct act act;
    struct rotation_row rotation; /* reason, model, manifest, owner (a subject's id), state, spread,
                                     keys_touched: whoever does not renew in time has no grace */
    const char *const *devices;   /* these, at most IDENTITY_ROTATION_CHUNK; or none, and then: */
    size_t devices_len;           /* all that the filters of `rotation` leave */
    struct identity *identity;    /* private */
};
/* The devices that are named are in it when this ends; those of filters follow, chunk by chunk, and
 * do so after a restart of the hub, too. A device in another rotation moves to this one. problems:
 * device-not-found, device-not-renewable (field "devices[3].id") */
void identity_rotate(struct identity *identity, const struct act_origin *origin,
                     struct rotation_act *r);
/* Takes the next devices into rotations that want more. Called now and then, on one loop. */
void identity_select_turn(struct identity *identity, struct store_reader *reader,
                          struct loop *loop);

struct rotation_cancel_act {
    struct act act;
    struct rotation_row rotation; /* id; all of it afterwards */
    char reason[REASON_MAX_BYTES + 1];
};
/* Nobody is asked any more; what was renewed stays so. problems: rotation-not-found, rotation-ended
 */
void identity_cancel_rotation(struct identity *identity, const struct act_origin *origin,
                              struct rotation_cancel_act *c);

/* How many devices it waits for. */
int64_t identity_rotation_waiting(const struct rotation_row *row);

/* Is this device, which just asked something, to renew now? */
MUST_USE enum err identity_renewal_asked(struct store_reader *reader,
                                         const struct device_view *view, struct arena *arena,
                                         bool *ret_asked);

/* A device that is waited for, as far as can be seen from here. */
struct straggler {
    int64_t state;   /* of the device */
    int64_t seen_at; /* 0: never */
    const char *why; /* a stable word: not-due, not-seen, not-renewed, not-confirmed, refused,
                        not-trusted, quarantined, expired, cancelled */
};
MUST_USE enum err identity_straggler(struct store_reader *reader, struct arena *arena,
                                     const struct rotation_row *rotation,
                                     const struct rotation_device_row *row,
                                     struct straggler *ret_straggler);

/* ---- the hubs over this database ---- */

/* At a time: their issuing certificates, and two above them, fit in one answer of /cacerts, and
 * their ledger keys in a trust bundle. */
#define HUBS_JOINED_MAX 6

enum hub_change {
    HUB_FOUND,   /* the first hub, by itself: hub.ledger_key, issuing_sha256, chain */
    HUB_ADMIT,   /* a further one: the same and its name, of a card that has been checked */
    HUB_CERTIFY, /* a hub's own, certified anew: hub.id, issuing_sha256, chain */
    HUB_REMOVE,  /* hub.name and reason */
};
struct hub_act {
    struct act act;
    enum hub_change change;
    struct note_key bundle_key; /* HUB_ADMIT: what the card was signed with */
    int64_t own;                /* HUB_REMOVE: the hub that is asked, which can't be removed */
    struct hub_row hub;         /* afterwards: the row as it is now */
};
/* problems: hub-exists, hub-key-in-use, hubs-full, hub-card-refused, hub-key-not-in-bundle,
 * hub-not-found, hub-is-own, hub-left; HUB_FOUND: hub-exists where there is any */
void identity_change_hub(struct identity *identity, const struct act_origin *origin,
                         struct hub_act *h);
/* In the order they joined; chains lie in `arena`. */
MUST_USE enum err identity_hubs(struct store_reader *reader, struct arena *arena,
                                struct hub_row ret_hubs[HUBS_MAX], size_t *ret_n);

/* ---- the trust bundle that is served ---- */

struct bundle_act {
    struct act act;
    const char *fleet;
    struct slice note;
    uint64_t version; /* of the bundle, afterwards */
};
/* problems: trust-bundle-malformed, trust-bundle-refused, trust-bundle-not-newer */
void identity_replace_bundle(struct identity *identity, const struct act_origin *origin,
                             struct bundle_act *b);
/* ERR_NOT_FOUND before the first. */
MUST_USE enum err identity_bundle(struct store_reader *reader, struct arena *arena,
                                  struct slice *ret_note);

/* ---- observations: batched, without ledger entries ---- */

struct sightings; /* one loop's */
MUST_USE enum err sightings_new(struct identity *identity, struct loop *loop,
                                struct sightings **ret_sightings);
void sightings_free(struct sightings *s);
void sightings_note(struct sightings *s, const char *tenant, const char *device);
/* Hands what has been noted to the writer; called every few seconds and at the end. */
void sightings_flush(struct sightings *s);

#endif
