/* A page of the brokers' table: what is read is written again, byte for byte. */
#include "core/device_feed.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static uint8_t again[DEVICE_FEED_MAX];
    struct device_feed feed;
    if (device_feed_read_head(slice_of(data, len), &feed) != ERR_NONE)
        return 0;
    struct writer w = writer_over(again, sizeof again);
    device_feed_write_head(&w, feed.at, feed.rules, feed.count);
    for (uint32_t i = 0; i < feed.count; i++) {
        struct device_record d;
        device_record_read(&feed.records, &d);
        if (feed.records.err != ERR_NONE)
            return 0;
        assert(d.device.len > 0 && d.certificates_len <= DEVICE_CERTIFICATES_MAX);
        assert(d.state < DEVICE_REVOKED || (d.certificates_len == 0 && !d.password.present));
        assert(d.password.present || !d.previous.present);
        device_record_write(&w, &d);
    }
    assert(w.err == ERR_NONE);
    assert(slice_starts_with(slice_of(data, len), writer_bytes(&w)));
    assert((reader_finish(&feed.records) == ERR_NONE) == (w.len == len));
    return 0;
}
