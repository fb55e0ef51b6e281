/* Every limit of device/lib. The sizes make up most of struct device; a small target may lower
 * those in the first group with -D, at the price named beside them. */
#ifndef DEVICE_LIB_LIMITS_H
#define DEVICE_LIB_LIMITS_H

#include "core/http1.h"
#include "core/note.h"
#include "core/x509.h"

/* A request, then its response with header and body. Lower: larger trust bundles are refused. */
#ifndef DEVICE_MESSAGE_MAX
#define DEVICE_MESSAGE_MAX (NOTE_MAX + 4096)
#endif
/* What is decoded from a response: base64 shrinks by a quarter. */
#ifndef DEVICE_DECODED_MAX
#define DEVICE_DECODED_MAX (NOTE_MAX * 3 / 4)
#endif
/* The server roots of the bundle in use. */
#ifndef DEVICE_ROOTS_MAX
#define DEVICE_ROOTS_MAX (NOTE_MAX * 3 / 4)
#endif
/* The device's certificate and those between it and the root. */
#ifndef DEVICE_CHAIN_MAX
#define DEVICE_CHAIN_MAX (2 * CERTIFICATE_MAX)
#endif

/* The payload of one message that is published (publisher.h). Lower: larger ones are not taken. */
#ifndef PUBLISHER_PAYLOAD_MAX
#define PUBLISHER_PAYLOAD_MAX 16384
#endif

#define RECORD_MAX  NOTE_MAX /* a trust bundle is the largest */
#define RECORDS_MAX 6        /* state, certificates and trust bundle, two of each */

#define DEVICE_SERIAL_MAX 64  /* ub-common-name, RFC 5280 appendix A; a tenant's name, too */
#define DEVICE_CLAIM_MAX  128 /* a claim code is 26 to 64 characters */
#define DEVICE_NAME_MAX   224 /* spiffe://FLEET/TENANT/device/SERIAL, with 63, 64 and 64 bytes */
#define DEVICE_HOST_MAX   253 /* RFC 1035 section 2.3.4, in text */
#define DEVICE_FACTS_MAX  16  /* of a report */
#define DEVICE_REPORT_MAX 4096

/* Seconds. The hub may ask for another interval, within these bounds. */
#define DEVICE_CHECKIN_STANDARD (15 * 60)
#define DEVICE_CHECKIN_MIN      1
#define DEVICE_CHECKIN_MAX      (7 * 24 * 3600)
/* The hub may ask for a new key no oftener than this: each costs two writes of the storage. */
#define DEVICE_ROTATION_MIN 60
/* A failed step is tried again after a random time up to this, which doubles each time... */
#define DEVICE_RETRY_FIRST_MS 2000
/* ...until here (seconds). */
#define DEVICE_RETRY_STANDARD (15 * 60)
/* Never sooner than this, whatever the dice say. */
#define DEVICE_RETRY_MIN_MS 1000
/* A refused device asks once in this time (seconds): it may be taken out of quarantine. */
#define DEVICE_REFUSED_STANDARD 3600
#define DEVICE_REFUSED_MIN      60
/* A longer Retry-After (seconds) is cut to this: no answer may silence a device for good. */
#define DEVICE_RETRY_AFTER_MAX (24 * 3600)

/* How many check-ins a hub may take to show a ledger that has grown by our own entry: a signature
 * that is late, or a signer that is away, is no lie yet. Four hours at the standard interval. */
#define DEVICE_LEDGER_GRACE 16
/* What a check-in can say (JSON numbers that every reader takes, RFC 8259 section 6). */
#define DEVICE_LEDGER_SIZE_MAX ((UINT64_C(1) << 53) - 1)

/* ---- of publisher.h, which is a program's own choice to link ---- */

#define PUBLISHER_TOPIC_MAX 512 /* what brokers' plugins remember of a topic that is retained */
/* A packet's type, its length, that of the topic, the packet's number and no properties. */
#define PUBLISHER_PACKET_MAX (1 + 4 + 2 + PUBLISHER_TOPIC_MAX + 2 + 1 + PUBLISHER_PAYLOAD_MAX)
/* What the broker may send us, said to it in CONNECT: no more than answers are ever wanted. */
#define PUBLISHER_ANSWER_MAX 1024
/* Messages on their way at a time. Brokers take 20 (Mosquitto) or more; this is enough that the way
 * to the broker and back is not what a message waits for. */
#define PUBLISHER_WINDOW        16
#define PUBLISHER_KEEP_ALIVE    60 /* seconds; the broker ends a session after half as long again */
#define PUBLISHER_DIAL_MS       30000 /* a connection with its handshake */
#define PUBLISHER_PATIENCE_MS   20000 /* for an answer, and for the line to take what we send */
#define PUBLISHER_LEAVE_MS      5000 /* for what is on its way, before another certificate is shown */
#define PUBLISHER_RATE_STANDARD 60   /* messages a minute: as a policy has it where it is silent */
/* So many may come at once after a quiet time, as the part of a minute that they are worth. A
 * broker's plugin allows the whole minute; what is sent stays below, so that none is refused. */
#define PUBLISHER_BURST_MS 30000
#define PUBLISHER_TELL_MS  60000 /* what is refused or dropped is told no oftener, in one event */

#define DEVICE_EXCHANGE_MS    60000 /* one request, from connecting to the answer's last byte */
#define DEVICE_KEEP_MS        500   /* a connection is kept for a next step that is this near */
#define DEVICE_TIME_SAVE      3600  /* seconds between two writes of the time alone: flash wears */
#define DEVICE_TIME_PLAUSIBLE (30 * 365 * 86400LL) /* after the build; a later clock is broken */

#endif
