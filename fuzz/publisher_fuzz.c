/* A broker that says anything, in pieces and at any time, to a device that publishes. Each input is
 * a list of steps: a byte that says what happens, and what belongs to it. Whatever comes, the
 * machine stays within its buffers, keeps its counts, and loses no message but by its rules. */
#include <stdlib.h>

#include "device/lib/publisher.h"

#define STEPS_MAX 512

static enum err random_bytes(void *ctx, void *bytes, size_t n)
{
    (void)ctx;
    memset(bytes, 0x55, n);
    return ERR_NONE;
}

static void on_event(void *ctx, const struct publisher_event *e)
{
    (void)ctx;
    if (e->kind >= PUBLISHER_EVENT_COUNT || e->delay_ms < 0 ||
        publisher_event_text(e->kind)[0] != 'm')
        abort();
}

static void put(struct publisher *p, uint8_t dice, uint64_t *count)
{
    static uint8_t payload[2048];
    const struct message m = {.topic = SLICE_LITERAL("a/b"),
                              .payload = slice_of(payload, (size_t)(dice & 0x1f) * 64),
                              .quality = dice >> 7,
                              .retain = (dice & 0x40) != 0};
    if (publisher_put(p, &m) != ERR_NONE)
        abort();
    (*count)++;
}

static void turn(struct publisher *p, int64_t now, bool *connected)
{
    int64_t at;
    switch (publisher_turn(p, now, &at)) {
    case PUBLISHER_DIAL:
        *connected = true;
        publisher_opened(p, now);
        break;
    case PUBLISHER_HANG_UP:
        *connected = false;
        break;
    case PUBLISHER_REST:
        if (at < now)
            abort();
        break;
    }
}

static void check(const struct publisher *p, uint64_t count)
{
    uint64_t known = p->counts.published + p->counts.refused + p->counts.dropped +
                     p->outbox.waiting + p->outbox.sent;
    if (known != count || p->outbox.start > p->outbox.end || p->outbox.end > p->outbox.max ||
        p->outbox.sent > PUBLISHER_WINDOW || p->in_len > sizeof p->in ||
        p->out_start > p->out_end || p->out_end > sizeof p->out)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct publisher p;
    static uint8_t room[PUBLISHER_PACKET_MAX];
    const struct publisher_options options = {.room = room,
                                              .room_len = 4096,
                                              .retry_max = 60,
                                              .refused_retry = 600,
                                              .per_minute = size % 3 * 60,
                                              .random = random_bytes,
                                              .event = on_event};
    struct reader r = reader_over(slice_of(data, size));
    bool connected = false;
    uint64_t count = 0;
    int64_t now = 1000;
    publisher_init(&p, &options);
    publisher_identify(&p, SLICE_LITERAL("d"), now);
    for (unsigned i = 0; i < STEPS_MAX && reader_left(&r) > 0; i++) {
        uint8_t what = reader_u8(&r), dice = reader_u8(&r);
        switch (what % 8) {
        case 0:
        case 1: { /* the broker speaks */
            size_t n = dice < reader_left(&r) ? dice : reader_left(&r);
            struct slice said = reader_take(&r, n);
            if (connected)
                publisher_take(&p, said, now);
            break;
        }
        case 2:
            put(&p, dice, &count);
            break;
        case 3:
            now += (int64_t)dice * 250;
            break;
        case 4: { /* the line takes some */
            struct slice out = publisher_output(&p);
            if (connected && out.len > 0)
                publisher_flushed(&p, out.len * (dice + 1U) / 256, now);
            break;
        }
        case 5:
            publisher_identify(&p, SLICE_LITERAL("d"), now);
            break;
        case 6:
            publisher_lost(&p, dice & 1 ? ERR_REFUSED : ERR_CLOSED, now);
            connected = false;
            break;
        case 7:
            publisher_expect_change(&p, dice & 1);
            if (dice & 2)
                publisher_hurry(&p, now);
            break;
        }
        turn(&p, now, &connected);
        check(&p, count);
    }
    return 0;
}
