/* The tables: each is a struct, a descriptor of its columns, and a numbered migration that made it
 * (migrations.c). Fields that are texts are bounded and NUL-terminated; hashes are 32 bytes, all
 * zero where absent; times are seconds since 1970, 0 where absent. */
#ifndef HUB_STORE_ROWS_H
#define HUB_STORE_ROWS_H

#include "core/device_state.h"
#include "core/merkle.h"
#include "core/trust_bundle.h"
#include "core/x509.h"

#define NAME_MAX_BYTES   64 /* names that people give: devices, models, makers, owners, tenants */
#define REASON_MAX_BYTES 200
/* What a person gave as a reason is kept sealed, as "~7:HEX" (hub/subjects/subjects.h). */
#define SEALED_TEXT_SIZE (16 + 2 * (REASON_MAX_BYTES + 28) + 1) /* NUL included */
#define PROBLEM_CODE_MAX 64
#define SERIAL_TEXT_SIZE (2 * SERIAL_MAX + 1) /* a serial number in hexadecimal, NUL included */

#define STORE_TENANT "default"

#define DEVICE_REPORT_MAX 4096 /* bytes: it stands in the device's row, read with every request */
#define SETTING_VALUE_MAX 65536

enum column_kind {
    COLUMN_TEXT,    /* char[size] */
    COLUMN_TENANT,  /* char[size]; STORE_TENANT, which most have alone, is an empty text there */
    COLUMN_HEX,     /* char[size], hexadecimal; bytes in the database */
    COLUMN_INTEGER, /* int64_t */
    COLUMN_HASH,    /* struct hash; NULL in the database where all zero */
    COLUMN_BLOB,    /* struct slice; at most `size` bytes */
};

struct column {
    const char *name;
    enum column_kind kind;
    size_t offset;
    size_t size;
    bool searchable; /* has an index that starts with (tenant, column) */
    bool of_all;     /* or one that starts with (column, tenant): a filter needs no tenant */
    bool sparse;     /* where it is empty, the index has no entry, and a filter finds nothing */
};

struct table {
    const char *name;
    const struct column *columns; /* the key's columns first */
    size_t columns_len;
    size_t key_len; /* how many columns the primary key has */
    size_t row_size;
    unsigned id; /* index into the store's prepared statements */
};

/* A kind of device: what its identity looks like and what makes it trusted. */
enum model_proof { PROOF_MANIFEST, PROOF_APPROVAL };
struct model_row {
    char tenant[NAME_MAX_BYTES + 1]; /* key */
    char id[NAME_MAX_BYTES + 1];     /* key */
    char maker[NAME_MAX_BYTES + 1];
    int64_t proof;             /* enum model_proof */
    int64_t key_kinds;         /* bit mask of 1 << enum key_kind */
    int64_t lifetime;          /* seconds a trusted device's certificate lives */
    int64_t enrolled_lifetime; /* seconds one lives that may only prove itself */
    int64_t grace;             /* seconds after its end in which a device comes back with it */
    int64_t in_use;            /* 1 once a manifest names it: then it can't be deleted */
    int64_t created_at, changed_at;
};

enum credential_kind {
    CREDENTIAL_CLAIM,
    CREDENTIAL_KEY,
    CREDENTIAL_IDEVID,
    CREDENTIAL_PASSWORD, /* it can hold no certificate, and shows this each time */
};
struct device_row {
    char tenant[NAME_MAX_BYTES + 1]; /* key */
    char id[NAME_MAX_BYTES + 1];     /* key; the serial number from the manifest */
    char model[NAME_MAX_BYTES + 1];
    char maker[NAME_MAX_BYTES + 1];
    char owner[NAME_MAX_BYTES + 1];
    char manifest[NAME_MAX_BYTES + 1];
    int64_t state;                 /* enum device_state */
    int64_t was_trusted;           /* 1 once it was: where a release from quarantine leads */
    char reason[SEALED_TEXT_SIZE]; /* of the last move; a person's is sealed. Of most devices that
                                      is their enrolment, which is an empty text here */
    int64_t credential;            /* enum credential_kind: how it proves itself the first time */
    struct hash
        credential_hash; /* SHA-256 of the claim code, the SPKI, or the IDevID certificate */
    int64_t claim_expires_at;
    int64_t claim_used_at;
    char certificate[SERIAL_TEXT_SIZE]; /* newest */
    char confirmed[SERIAL_TEXT_SIZE];   /* newest that was used; retires what came before */
    struct hash report_hash;            /* of the last report */
    struct slice report;                /* JSON, as the device sent it */
    int64_t reported_at;
    int64_t created_at, changed_at;
    char rotation[NAME_MAX_BYTES + 1]; /* that waits for it to renew, or one that was cancelled */
    int64_t renew_at;                  /* when it is asked to at the earliest */
    char grp[NAME_MAX_BYTES + 1];      /* of the policy's groups; empty: in none */
};

enum certificate_status {
    CERTIFICATE_ISSUED, /* durable, not seen in use yet */
    CERTIFICATE_ACTIVE,
    CERTIFICATE_RETIRED, /* a newer one was used */
    CERTIFICATE_REVOKED
};
struct certificate_row {
    char serial[SERIAL_TEXT_SIZE]; /* key */
    char tenant[NAME_MAX_BYTES + 1];
    char device[NAME_MAX_BYTES + 1];
    int64_t status; /* enum certificate_status */
    struct hash certificate_sha256;
    int64_t not_before, not_after;
    int64_t issued_at, first_used_at, ended_at;
    char previous[SERIAL_TEXT_SIZE]; /* the device's newest before this; empty for its first */
    int64_t listed;                  /* the key of its crl_entry; 0: there was never one */
    /* Its issuer's (core/x509.h: authority_number()); 0: issued before that was noted. */
    int64_t authority;
    struct slice der; /* while `issued`: whoever lost our answer gets the same bytes */
};

/* Which device a public key belongs to: one key, one device, for ever. */
struct device_key_row {
    struct hash spki_sha256; /* key */
    char tenant[NAME_MAX_BYTES + 1];
    char device[NAME_MAX_BYTES + 1];
};

/* Of the few devices whose way back with an expired certificate is not what their model says. */
#define GRACE_CLOSED INT64_MAX
struct device_grace_row {
    char tenant[NAME_MAX_BYTES + 1]; /* key */
    char device[NAME_MAX_BYTES + 1]; /* key */
    /* Certificates issued before this have no grace: GRACE_CLOSED after an incident that may have
     * touched the device's keys; once it was readmitted, the moment of its return. */
    int64_t closed_before;
    int64_t approved_until; /* one return, by a person's word, until then; 0: none */
};

/* Observations: written in batches, without ledger entries. */
struct device_seen_row {
    char tenant[NAME_MAX_BYTES + 1]; /* key */
    char device[NAME_MAX_BYTES + 1]; /* key */
    int64_t seen_at;
    int64_t checkins;
};

struct manifest_row {
    char tenant[NAME_MAX_BYTES + 1]; /* key */
    char id[NAME_MAX_BYTES + 1];     /* key */
    char model[NAME_MAX_BYTES + 1];
    char owner[NAME_MAX_BYTES + 1];
    int64_t devices; /* rows taken in so far */
    int64_t created_at, changed_at;
};

/* A token that lets somebody read (ledger tiles, metrics) over HTTPS. */
#define READER_SCOPE_LEDGER  1
#define READER_SCOPE_METRICS 2
#define READER_SCOPE_HOOKS   4 /* a broker's: it asks about its clients */
struct token_row {
    char tenant[NAME_MAX_BYTES + 1]; /* key */
    char name[NAME_MAX_BYTES + 1];   /* key */
    struct hash token_sha256;
    int64_t scopes; /* bit mask */
    int64_t created_at, expires_at;
};

struct ledger_entry_row {
    int64_t number; /* key; 0, 1, 2, ... without a gap */
    struct hash leaf;
    struct slice data;
};
/* Roots of complete subtrees of 256^level leaves: the hashes of tiles above level 0. */
struct ledger_node_row {
    int64_t level;  /* key; 1..TILE_LEVEL_MAX */
    int64_t number; /* key */
    struct hash hash;
};
/* One row, id 1: locked by whoever writes. */
struct ledger_head_row {
    int64_t id; /* key */
    int64_t size;
    struct hash root;
    struct slice frontier; /* the frontier's nodes, 32 bytes each */
    int64_t changed_at;
};

/* Small facts of the hub itself: "ca.issuing" -> fingerprint, "fleet" -> name. */
struct setting_row {
    char name[NAME_MAX_BYTES + 1]; /* key */
    struct slice value;
    int64_t changed_at;
};

/* A person whose name stands in rows and entries as `id` alone: "~7", which no name can be. */
#define SUBJECT_ID_SIZE 16 /* NUL included */
enum subject_state { SUBJECT_KNOWN, SUBJECT_ERASED };
struct subject_row {
    char tenant[NAME_MAX_BYTES + 1]; /* key */
    char id[SUBJECT_ID_SIZE];        /* key */
    int64_t state;                   /* enum subject_state */
    struct slice name;               /* sealed (hub/subjects/subjects.h); empty once erased */
    struct hash name_mac;            /* its row of table_subject_name; none once erased */
    int64_t created_at, erased_at;
};
#define SUBJECT_NAME_SEALED_MAX 128

/* Which subject has this name? */
struct subject_name_row {
    char tenant[NAME_MAX_BYTES + 1]; /* key */
    struct hash name_mac;            /* key: HMAC of the name */
    char id[SUBJECT_ID_SIZE];
};

/* A rotation: devices that are to renew their certificates, each with a fresh key. */
enum rotation_phase {
    ROTATION_SELECTING, /* its devices are being looked up, up to `position` so far */
    ROTATION_RUNNING,
    ROTATION_COMPLETE,
    ROTATION_CANCELLED,
    ROTATION_PHASE_COUNT
};
#define ROTATION_ANY_STATE (-1)
#define ROTATION_ACTOR_MAX 160 /* bytes: that of its ledger entries */
struct rotation_row {
    char tenant[NAME_MAX_BYTES + 1]; /* key */
    char id[NAME_MAX_BYTES + 1];     /* key; starts with its date */
    char reason[REASON_MAX_BYTES + 1];
    char actor[ROTATION_ACTOR_MAX + 1];
    char model[NAME_MAX_BYTES + 1]; /* which devices: empty where it does not matter */
    char manifest[NAME_MAX_BYTES + 1];
    char owner[SUBJECT_ID_SIZE];
    int64_t state;                     /* enum device_state, or ROTATION_ANY_STATE */
    int64_t keys_touched;              /* 1: the keys that are replaced may be in other hands */
    int64_t spread;                    /* seconds over which they are asked */
    int64_t phase;                     /* enum rotation_phase */
    char position[NAME_MAX_BYTES + 1]; /* the last device that was looked at */
    int64_t devices;                   /* taken in */
    int64_t renewed;                   /* of these: a newer certificate was used */
    int64_t moved;                     /* a later rotation took them over */
    int64_t gone;                      /* revoked or retired meanwhile */
    int64_t created_at, ended_at;
};
/* A device that a rotation waits for; goes when the wait is over. */
struct rotation_device_row {
    char tenant[NAME_MAX_BYTES + 1];   /* key */
    char rotation[NAME_MAX_BYTES + 1]; /* key */
    char device[NAME_MAX_BYTES + 1];   /* key */
    int64_t due_at;
    char held[SERIAL_TEXT_SIZE];        /* its newest certificate whose key is not a fresh one */
    char problem[PROBLEM_CODE_MAX + 1]; /* why its last try came to nothing; empty: none seen */
};

/* A certificate that others are to refuse, or to take again; leaves once it has expired. */
struct crl_entry_row {
    int64_t entry;                 /* key; the ledger's, of the act that did it */
    char serial[SERIAL_TEXT_SIZE]; /* key */
    int64_t reason;                /* enum crl_reason (core/x509.h) */
    int64_t date;
    int64_t not_after; /* the certificate's own */
    int64_t authority; /* as in its row: whose lists it is in; 0: everybody's */
};

/* The hubs over this database: each has its own issuing CA, ledger and policy key. A row stays when
 * its hub has left: what it certified is still in use, and names are not given twice. */
#define HUBS_MAX      32 /* rows, with those that have left; few enough to be read by their keys */
#define HUB_CHAIN_MAX (2 * CERTIFICATE_MAX) /* as struct signer_facts has it */
enum hub_status { HUB_JOINED, HUB_LEFT };
struct hub_row {
    int64_t id; /* key; 1, 2, ... */
    char name[NAME_MAX_BYTES + 1];
    int64_t status;             /* enum hub_status */
    struct hash issuing_sha256; /* of the issuing certificate */
    char ledger_key[NOTE_KEY_TEXT_MAX + 1];
    char reason[REASON_MAX_BYTES + 1]; /* why it left */
    int64_t joined_at, left_at;
    struct slice chain; /* DER: the issuing certificate, then what is between it and the root */
    char policy_key[NOTE_KEY_TEXT_MAX + 1];
};

/* A policy that was proposed or applied (policy/policy.h). Its number is its rules' version;
 * numbers of those that came to nothing are not used again. */
enum policy_status {
    POLICY_PROPOSED, /* waits for another person */
    POLICY_IN_FORCE, /* the newest that was applied */
    POLICY_REPLACED, /* by a newer one */
    POLICY_WITHDRAWN,
    POLICY_STATUS_COUNT
};
#define POLICY_STORED_MAX (256U << 10) /* bytes of policy.yaml */
#define POLICY_RULES_MAX  (256U << 10) /* bytes of the rules made of it */
struct policy_row {
    int64_t number; /* key; 1, 2, ... */
    int64_t status; /* enum policy_status */
    struct hash text_sha256;
    struct slice text;      /* policy.yaml as it was given */
    struct slice rules;     /* signed (core/rules.h); empty while it is proposed */
    struct slice signature; /* the owner's note that allows what it loosens; empty: none */
    char comment[REASON_MAX_BYTES + 1];
    char proposed_by[ROTATION_ACTOR_MAX + 1];
    char approved_by[ROTATION_ACTOR_MAX + 1]; /* the second person; empty: none was asked for */
    int64_t restores;                         /* a roll-back: the number it goes back to; 0 */
    int64_t proposed_at, decided_at;
};

/* A device that is a broker, besides: it may ask for everybody's standing, and its certificate is a
 * server's, too. */
#define BROKER_HOSTS_MAX 1024 /* bytes: DNS names and addresses, blanks between */
enum broker_status { BROKER_ADDED, BROKER_REMOVED };
struct broker_row {
    char tenant[NAME_MAX_BYTES + 1]; /* key */
    char id[NAME_MAX_BYTES + 1];     /* key; the device's */
    int64_t status;                  /* enum broker_status */
    char hosts[BROKER_HOSTS_MAX + 1];
    int64_t added_at, removed_at;
};
/* Observations: what it said last of itself. */
struct broker_seen_row {
    char tenant[NAME_MAX_BYTES + 1]; /* key */
    char broker[NAME_MAX_BYTES + 1]; /* key */
    int64_t seen_at;
    int64_t position;  /* of the ledger: what came before is in its table */
    int64_t rules;     /* the version that it enforces; 0: none */
    int64_t sessions;  /* connected now */
    char software[65]; /* "mosquitto 2.0.11" */
};

/* With which certificate a device came to a broker last: an entry was made for it. */
struct broker_connect_row {
    char tenant[NAME_MAX_BYTES + 1];    /* key */
    char broker[NAME_MAX_BYTES + 1];    /* key */
    char device[NAME_MAX_BYTES + 1];    /* key */
    char certificate[SERIAL_TEXT_SIZE]; /* its newest then; empty: it had a password */
    int64_t connected_at;
};

/* The last cut of a device. It is complete once each leg says that it saw the device gone. */
struct device_cut_row {
    char tenant[NAME_MAX_BYTES + 1]; /* key */
    char device[NAME_MAX_BYTES + 1]; /* key */
    int64_t state;                   /* enum device_state: what it was cut to */
    int64_t entry;                   /* the ledger's, of the act */
    int64_t cut_at_ms;
    int64_t complete; /* 1: nothing is open any more */
};
#define CUT_LEG_MAX (NAME_MAX_BYTES + 8) /* bytes: "broker/mqtt-1", "api/2" (a hub's number) */
struct cut_leg_row {
    char tenant[NAME_MAX_BYTES + 1]; /* key */
    char device[NAME_MAX_BYTES + 1]; /* key */
    char leg[CUT_LEG_MAX + 1];       /* key */
    int64_t entry;                   /* of the cut that it confirms */
    int64_t confirmed_at_ms;
    char detail[REASON_MAX_BYTES + 1]; /* what was seen: "session ended with 152, queue empty" */
};

/* Cuts that the hub made by itself: those of the last hour, numbered 1, 2, ... in each tenant; and
 * which are there, and how many wait. Older ones go with the next. */
struct automatic_cut_row {
    char tenant[NAME_MAX_BYTES + 1]; /* key */
    int64_t number;                  /* key */
    char device[NAME_MAX_BYTES + 1];
    int64_t entry; /* the ledger's, of the act */
    int64_t cut_at_ms;
};
struct automatic_count_row {
    char tenant[NAME_MAX_BYTES + 1]; /* key */
    int64_t first, last;             /* numbers that are there; last + 1 and last: none */
    int64_t waiting;                 /* rows of table_cut_waiting */
};
/* A device that the hub would have cut, had there not been as many in that hour as the policy
 * allows: it waits for a person. */
#define CUT_KIND_MAX 16
struct cut_waiting_row {
    char tenant[NAME_MAX_BYTES + 1]; /* key */
    char device[NAME_MAX_BYTES + 1]; /* key */
    char kind[CUT_KIND_MAX + 1];     /* what it was for: a key of the policy's `respond` */
    char reason[REASON_MAX_BYTES + 1];
    int64_t since;
    int64_t entry; /* the ledger's, that says so */
};

/* A password that was made for a device that can hold no certificate: what SCRAM-SHA-256 keeps of
 * it (RFC 5802). */
struct device_password_row {
    char tenant[NAME_MAX_BYTES + 1]; /* key */
    char device[NAME_MAX_BYTES + 1]; /* key */
    struct slice salt;
    int64_t iterations;
    struct hash stored_key;
    int64_t made_at, expires_at;
    int64_t used_at; /* first; 0: not yet, and until then the one before it goes on working */
    struct slice previous_salt;
    int64_t previous_iterations;
    struct hash previous_key;
    int64_t previous_until; /* 0: there is none */
};

extern const struct table table_model, table_device, table_certificate, table_device_key,
    table_device_seen, table_manifest, table_token, table_ledger_entry, table_ledger_node,
    table_ledger_head, table_setting, table_subject, table_subject_name, table_device_grace,
    table_rotation, table_rotation_device, table_crl_entry, table_hub, table_policy, table_broker,
    table_broker_seen, table_device_cut, table_cut_leg, table_device_password, table_broker_connect,
    table_automatic_cut, table_automatic_count, table_cut_waiting;
#define TABLE_COUNT 28
extern const struct table *const store_tables[TABLE_COUNT]; /* by their ids */

/* Stable words, as they stand in the API and the ledger: "trusted", "claim", ... */
const char *device_state_text(int64_t state);
const char *credential_kind_text(int64_t kind);
const char *certificate_status_text(int64_t status);
const char *model_proof_text(int64_t proof);
const char *rotation_phase_text(int64_t phase);
const char *hub_status_text(int64_t status);
const char *policy_status_text(int64_t status);
const char *broker_status_text(int64_t status);

#endif
