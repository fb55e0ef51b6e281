/* A device's own half of Holdfast, as a machine that is stepped: it makes its key, gets an identity
 * over EST (RFC 7030), keeps it fresh with a new key each time, reports, checks in, and follows
 * newer trust bundles. It stands on core/ and on a port (port.h) alone; it allocates nothing, and
 * everything it needs is in struct device: about 56 KB on a 32-bit machine, nearly all of it the
 * buffers named in limits.h, and 5 KB of stack beside what the port takes.
 *
 *   struct device d;
 *   err = device_open(&d, &options, &port);
 *   while (!stop) {
 *       device_step(&d, &delay_ms);
 *       sleep for at most delay_ms
 *   }
 *   device_close(&d);
 *
 * Each step does at most one thing and can be cut short by a power loss anywhere: what was begun is
 * taken up again, with the same key, when the device is opened next. */
#ifndef DEVICE_LIB_DEVICE_H
#define DEVICE_LIB_DEVICE_H

#include "core/trust_bundle.h"
#include "device/lib/ledger.h"
#include "device/lib/limits.h"
#include "device/lib/port.h"
#include "device/lib/state.h"
#include "device/lib/timeline.h"

/* How the device proves itself the first time, as its manifest says. */
enum device_proof {
    DEVICE_PROOF_CLAIM,        /* serial number and claim code, by HTTP Basic */
    DEVICE_PROOF_MANUFACTURER, /* IDevID: the manufacturer's certificate, key PORT_KEY_MANUFACTURER
                                */
    DEVICE_PROOF_KEY,          /* the key in PORT_KEY_A is known to the hub (device_first_key()) */
};

enum device_phase {
    DEVICE_NEW,      /* no identity yet, or none that the hub has taken */
    DEVICE_ENROLLED, /* has an identity that is in date */
    DEVICE_EXPIRED,  /* has one that ran out, and asks for the next by other ways */
    DEVICE_REFUSED,  /* the hub knows it and does not let it in; it asks again, rarely */
    DEVICE_MISLED,   /* the hub's ledger is not the one it showed before (ledger.h): it reports
                        nothing, follows nothing but the trust bundle, and asks again, rarely */
};

enum device_event_kind {
    DEVICE_EVENT_KEY_MADE,    /* hash: SHA-256 of the SubjectPublicKeyInfo */
    DEVICE_EVENT_ENROLLED,    /* the hub has taken the first certificate: name, time: its end; the
                                 claim code may be wiped */
    DEVICE_EVENT_RENEWED,     /* issued; name, time. Not in use yet */
    DEVICE_EVENT_CONFIRMED,   /* the renewed certificate was used, and is the identity now */
    DEVICE_EVENT_KEY_RETIRED, /* the key before it is destroyed */
    DEVICE_EVENT_ROTATION_ASKED, /* the hub asks for a new key: it is made next */
    DEVICE_EVENT_CHECKED_IN,
    DEVICE_EVENT_REPORTED,
    DEVICE_EVENT_BUNDLE_FOLLOWED,      /* number: its version */
    DEVICE_EVENT_BUNDLE_REJECTED,      /* err: why */
    DEVICE_EVENT_CERTIFICATE_REJECTED, /* what the hub issued is not ours, its time cannot be, or it
                                          was not signed under our roots; err */
    DEVICE_EVENT_WAITING,        /* known, not trusted yet (or in quarantine); code, delay_ms */
    DEVICE_EVENT_REFUSED,        /* status (0: by the handshake), code, delay_ms */
    DEVICE_EVENT_FAILED,         /* a step failed; err, status, code, delay_ms */
    DEVICE_EVENT_STORAGE_FAILED, /* nothing was lost or changed; err, delay_ms */
    DEVICE_EVENT_LEDGER_REFUSED, /* code: the finding (ledger.h); number: the size known; delay_ms.
                                    Told at each start and each attempt */
    DEVICE_EVENT_LEDGER_SOUND,   /* the finding is over; number: the size known now */
    DEVICE_EVENT_COUNT
};

struct device_event {
    enum device_event_kind kind;
    const char *task; /* "identity", "checkin", "report" or "bundle" */
    enum err err;     /* ERR_NONE where it does not apply, as all that follows is zero or empty */
    unsigned status;  /* of HTTP */
    const char *code; /* of the hub's problem (RFC 9457 member `code`) */
    const char *name; /* the device's URI */
    int64_t time;     /* seconds since 1970 */
    int64_t delay_ms; /* until the next attempt */
    uint64_t number;
    const uint8_t *hash; /* SHA256_SIZE bytes, or NULL */
};
/* "device.enrolled" and so on; never NULL. */
const char *device_event_text(enum device_event_kind kind);

struct device_fact {
    const char *name;
    const char *value;
};

/* Zero and NULL mean the standard value. All of it must outlive the device. */
struct device_options {
    const char *bootstrap; /* "host:port", "[::1]:port"; required, as are hub and serial */
    const char *hub;
    const char *serial;
    const char *tenant; /* NULL: as the hub has it; of a device with a claim code, `default` */
    enum device_proof proof;
    struct slice claim;              /* until DEVICE_EVENT_ENROLLED */
    struct slice manufacturer_chain; /* DER, its own certificate first */
    enum key_kind key_kind;          /* KEY_P256, KEY_P384 or KEY_ED25519 */
    struct slice trust_bundle; /* what it was born with; a signed note; read by device_open() */
    int64_t build_time;        /* of this software, seconds since 1970 */
    int64_t checkin_interval;  /* seconds; what the hub says goes before */
    int64_t retry_max;         /* seconds */
    int64_t refused_retry;     /* seconds */
    const char *agent_version; /* "0.1.0" */
    const char *platform;      /* "Linux 6.1 aarch64" */
    const char *key_storage;   /* "file", "tpm", "secure-element"; "unknown" */
    const char *boot_id;       /* a random UUID of this boot, or NULL */
    const struct device_fact *facts; /* of the report */
    size_t facts_len;
    void (*event)(void *ctx, const struct device_event *event); /* may be NULL */
    void *event_ctx;
};

/* ---- what follows is for device/lib alone ---- */

enum device_task { TASK_IDENTITY, TASK_CHECKIN, TASK_REPORT, TASK_BUNDLE, TASK_COUNT };
enum endpoint { ENDPOINT_BOOTSTRAP, ENDPOINT_HUB, ENDPOINT_COUNT };
/* Who we say we are to the server. */
enum client {
    CLIENT_A = PORT_KEY_A,
    CLIENT_B = PORT_KEY_B,
    CLIENT_MANUFACTURER = PORT_KEY_MANUFACTURER,
    CLIENT_NONE,
};

#define DEVICE_CODE_MAX 64

struct device {
    const struct device_options *options;
    const struct port *port;
    struct {
        const char *text;
        char host[DEVICE_HOST_MAX + 1];
        uint16_t port;
    } endpoints[ENDPOINT_COUNT];

    struct state state; /* as it is on storage */
    struct timeline timeline;
    struct ledger_view ledger;      /* newer than the one in `state` by an hour at most */
    struct trust_bundle bundle;     /* its roots lie in `roots` */
    char name[DEVICE_NAME_MAX + 1]; /* URI of the identity in use; empty: none */
    int64_t not_before, not_after;  /* of its certificate */
    int64_t renew_at;
    int64_t pending_not_after; /* of the certificate that is issued and not used yet */
    uint8_t report_sha256[SHA256_SIZE];

    struct {
        int64_t due_ms;
        unsigned failures;
    } tasks[TASK_COUNT];
    int64_t checkin_interval, retry_max, refused_retry; /* seconds */
    uint64_t offered_bundle;                            /* the version that the hub spoke of */
    int64_t rotation_ms;                                /* no rotation is followed before this */
    bool refused;
    /* The certificate that was issued last was refused: is the old one still good? And where there
     * is none that is in date, does the hub answer with another? */
    bool doubt;
    bool refused_new;    /* so it was, or its key; until one is taken */
    bool in_date_by_hub; /* the identity in use; by our own clock it has run out */
    bool waiting;
    bool misled; /* this step */

    bool connected;
    enum endpoint connected_to;
    enum client connected_as;
    struct port_server server;    /* of the last connection */
    struct http1_response answer; /* in `message` */
    unsigned status;              /* of the last answer; 0: none came */
    char code[DEVICE_CODE_MAX + 1];
    int64_t retry_after; /* seconds; 0: not said */

    size_t chain_len;
    uint8_t chain[DEVICE_CHAIN_MAX];
    uint8_t roots[DEVICE_ROOTS_MAX];
    uint8_t decoded[DEVICE_DECODED_MAX];
    uint8_t message[DEVICE_MESSAGE_MAX];
};

/* ---- until here ---- */

/* Loads and checks what is on storage. ERR_SYNTAX: an option is malformed, or both copies of the
 * state are damaged. ERR_BAD_SIGNATURE, ERR_NOT_FOUND and others of trust_bundle_read(): no usable
 * trust bundle. ERR_CONFLICT: the state is of another serial number, or names a key, certificate or
 * bundle that is not there. ERR_UNSUPPORTED: written by a newer version. ERR_IO. */
MUST_USE enum err device_open(struct device *d, const struct device_options *options,
                              const struct port *port);
/* Does what is due next, if anything; *ret_delay_ms says when there is something to do again.
 * Calling sooner is harmless. What went wrong is told by events. */
enum device_phase device_step(struct device *d, int64_t *ret_delay_ms);
enum device_phase device_phase_of(const struct device *d);
/* Is there a certificate, in use or yet to be taken by the hub? Then the device may do without a
 * claim code. */
bool device_has_certificate(const struct device *d);
/* The next step renews the identity, however young it is. Nothing where there is none in use. */
void device_renew(struct device *d);
/* The device's time (see timeline.h), seconds since 1970. */
int64_t device_time(const struct device *d);
/* Ends the connection, where one is kept, and writes down what was seen of the ledger last. Without
 * it nothing is lost but that. */
void device_close(struct device *d);

/* In the factory, for DEVICE_PROOF_KEY: makes the first key, or takes the one that is there, and
 * gives the SHA-256 of its SubjectPublicKeyInfo for the manifest. ERR_EXISTS where the device has
 * an identity, and the key would be no longer its first. */
MUST_USE enum err device_first_key(const struct port *port, enum key_kind kind,
                                   uint8_t ret_spki_sha256[SHA256_SIZE]);

#endif
