/* What any program on the device may hand to the agent: what is taken is in good form, within its
 * limits, and is written back to what was read where no variable stood in it. */
#include <stdlib.h>

#include "core/topic.h"
#include "device/agent/handover.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t again[HANDOVER_MAX];
    uint8_t topic[PUBLISHER_TOPIC_MAX];
    struct handover h;
    const char *why = NULL;
    struct slice device = SLICE_LITERAL("d");
    if (handover_read(slice_of(data, size), device, topic, &h, &why) != ERR_NONE) {
        if (why == NULL || why[0] == '\0')
            abort();
        return 0;
    }
    if (h.kind != HANDOVER_MESSAGE)
        return 0;
    const struct message *m = &h.message;
    if (topic_name_check(m->topic) != ERR_NONE || m->topic.len > sizeof topic ||
        m->payload.len > PUBLISHER_PAYLOAD_MAX || m->quality > 1)
        abort();
    for (size_t i = 0; i < m->topic.len; i++)
        if (m->topic.data[i] == '{')
            abort();
    struct writer w = writer_over(again, sizeof again);
    handover_write(&w, m, h.waits);
    if (w.err != ERR_NONE || w.len > size) /* a variable is longer than what stands for it here */
        abort();
    if (w.len == size && !slice_equal(writer_bytes(&w), slice_of(data, size)))
        abort();
    return 0;
}
