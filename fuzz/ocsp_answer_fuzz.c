/* A signed answer about a certificate, from whoever stands between: it is taken only where all of
 * it is there, for this certificate alone, and nothing is told of one that is not taken. An input
 * is
 *
 *   length{16} issuer's certificate, length{8} serial number, answer */
#include <assert.h>
#include <string.h>

#include "core/cursor.h"
#include "core/ocsp.h"
#include "pki/ocsp_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A question that was written is one that a responder reads, for the same number. */
static void check_question(struct slice issuer, struct slice serial)
{
    uint8_t bytes[512];
    struct ocsp_request request;
    struct writer w = writer_over(bytes, sizeof bytes);
    if (ocsp_ask_write(&w, issuer, serial) != ERR_NONE)
        return;
    if (ocsp_request_read(writer_bytes(&w), &request) != ERR_NONE)
        return; /* zero, which no certificate has */
    assert(request.hash == OCSP_SHA256);
    while (serial.len > 1 && serial.data[0] == 0)
        serial = slice_of(serial.data + 1, serial.len - 1);
    assert(slice_equal(request.serial, serial) ||
           (request.serial.len == serial.len + 1 && request.serial.data[0] == 0));
}

static bool is_taken(struct slice answer, struct slice issuer, struct slice serial,
                     struct ocsp_said *said)
{
    struct ocsp_said before;
    memset(said, 0x5a, sizeof *said);
    memcpy(&before, said, sizeof before);
    if (ocsp_answer_check(answer, issuer, serial, said) == ERR_NONE)
        return said->response_status == OCSP_SUCCESSFUL;
    assert(memcmp(&before, said, sizeof before) == 0);
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_over(slice_of(data, size));
    struct slice issuer = reader_take(&r, reader_be16(&r));
    struct slice serial = reader_take(&r, reader_u8(&r));
    if (r.err != ERR_NONE)
        return 0;
    struct slice answer =
        slice_of(data + 3 + issuer.len + serial.len, size - 3 - issuer.len - serial.len);
    struct ocsp_said said, other;
    check_question(issuer, serial);
    if (!is_taken(answer, issuer, serial, &said))
        return 0;
    assert(said.status == OCSP_GOOD || said.status == OCSP_REVOKED || said.status == OCSP_UNKNOWN);
    assert(said.this_update > 0 && (said.next_update == 0 || said.next_update > said.this_update));
    assert(!is_taken(slice_of(answer.data, answer.len - 1), issuer, serial, &other));
    uint8_t more[SERIAL_MAX + 1] = {1};
    if (serial.len > 0 && serial.len < sizeof more) {
        memcpy(more + 1, serial.data, serial.len);
        assert(!is_taken(answer, issuer, slice_of(more, serial.len + 1), &other));
    }
    return 0;
}
