/* The record that a device keeps of itself: what is read is written back to the same bytes, and a
 * device with any such record starts, or says why not. */
#include "fuzz/device_fuzz.h"

static void put(struct fake *f, const char *name, struct slice body)
{
    uint8_t bytes[RECORD_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    uint8_t checksum[SHA256_SIZE];
    toy_hash(&body, 1, checksum);
    writer_put(&w, body);
    writer_put(&w, slice_of(checksum, sizeof checksum));
    if (w.err == ERR_NONE)
        fake_put_record(f, name, writer_bytes(&w));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fake enrolled, f;
    static struct device device;
    static struct device_options options;
    if (options.serial == NULL) {
        fuzz_enrol(&enrolled);
        options = fuzz_options();
    }
    if (size > STATE_SIZE + 8)
        return 0;
    /* With a checksum that fits, else nothing would ever be read. */
    f = enrolled;
    f.port.ctx = &f;
    put(&f, "state-0", slice_of(data, size));
    const struct fake_record *record = fake_record(&f, "state-0");
    struct slice whole = slice_of(record->bytes, record->len);
    struct state s;
    if (state_read(whole, toy_hash, &s) == ERR_NONE) {
        uint8_t again[STATE_SIZE];
        struct writer w = writer_over(again, sizeof again);
        state_write(&w, &s, toy_hash);
        if (w.err != ERR_NONE || !slice_equal(writer_bytes(&w), whole))
            abort();
    }
    f.serve = hub_serve;
    if (device_open(&device, &options, &f.port) == ERR_NONE) {
        if (state_slot(&device.state, SLOT_ACTIVE) >= 0 && device.name[0] == '\0')
            abort();
        device_close(&device);
    }
    return 0;
}
