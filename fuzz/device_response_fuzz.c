/* Whatever the hub (or whoever holds its key) answers: a device comes to no harm. The input's first
 * byte says which device meets it: bit 0: one with an identity, bit 1: whose certificate is due;
 * then answers follow, each with a 16-bit length. */
#include "fuzz/device_fuzz.h"

#define STEPS_MAX 24

static struct reader answers;

static bool serve(struct fake *f)
{
    size_t len = reader_be16(&answers);
    size_t left = reader_left(&answers);
    struct slice answer = reader_take(&answers, len < left ? len : left);
    if (answer.len > 0)
        memcpy(f->answer, answer.data, answer.len);
    f->answer_len = answer.len;
    return answer.len > 0;
}

static void start(struct device *d, const struct device_options *options, struct fake *f)
{
    /* No answer may leave a device that does not start. */
    if (device_open(d, options, &f->port) != ERR_NONE)
        abort();
}

static void check(const struct device *d, const struct fake *f, uint64_t bundle_version)
{
    int active = state_slot(&d->state, SLOT_ACTIVE);
    if (d->bundle.version < bundle_version || d->state.time > d->timeline.latest)
        abort();
    if (active >= 0 && !f->keys[active].there)
        abort();
    if (active >= 0 && strcmp(d->name, TEST_NAME) != 0 &&
        strncmp(d->name, "spiffe://fleet.example/", 23) != 0)
        abort();
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
    answers = reader_over(slice_of(data, size));
    uint8_t mode = reader_u8(&answers);
    if ((mode & 1) != 0)
        f = enrolled;
    else
        fake_init(&f, toy_hash, toy_verify);
    f.port.ctx = &f;
    f.serve = serve;
    f.wall = FUZZ_TIME + ((mode & 2) != 0 ? TEST_LIFE * 4 / 5 : 0);

    start(&device, &options, &f);
    for (unsigned n = 0; n < STEPS_MAX; n++) {
        int64_t delay;
        uint64_t version = device.bundle.version;
        (void)device_step(&device, &delay);
        check(&device, &f, version);
        (void)fake_pass(&f, delay < 60000 ? delay : 60000);
    }
    uint64_t version = device.bundle.version;
    device_close(&device);
    start(&device, &options, &f);
    check(&device, &f, version);
    return 0;
}
