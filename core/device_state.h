/* Where a device stands in its life. */
#ifndef CORE_DEVICE_STATE_H
#define CORE_DEVICE_STATE_H

enum device_state {
    DEVICE_EXPECTED,    /* in a manifest */
    DEVICE_ENROLLED,    /* has a short-lived certificate; may only prove itself */
    DEVICE_TRUSTED,     /* the proof its model asks for is there */
    DEVICE_QUARANTINED, /* reaches only its own enrolment */
    DEVICE_REVOKED,     /* final */
    DEVICE_RETIRED,     /* final */
    DEVICE_STATE_COUNT
};

#endif
