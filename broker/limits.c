#include "broker/limits.h"

#define US_PER_MINUTE 60000000

bool limits_take(int64_t *arrival_us, uint32_t per_minute, uint32_t n, int64_t now_us)
{
    if (per_minute == 0)
        return true;
    int64_t cost = (int64_t)((uint64_t)n * US_PER_MINUTE / per_minute);
    int64_t from = *arrival_us > now_us ? *arrival_us : now_us;
    /* More than a minute's at once never fits. */
    if (from - now_us + cost > US_PER_MINUTE)
        return false;
    *arrival_us = from + cost;
    return true;
}

static bool is_flood(uint64_t asked, uint32_t per_minute)
{
    return per_minute != 0 && asked > (uint64_t)per_minute * BROKER_FLOOD;
}

enum limits_verdict limits_message(struct limits_usage *usage, const struct rules_limits *limits,
                                   uint32_t bytes, int64_t now_us)
{
    int64_t minute = now_us / US_PER_MINUTE;
    if (usage->minute != minute) {
        usage->minute = minute;
        usage->asked = 0;
        usage->asked_bytes = 0;
    }
    if (usage->asked < UINT32_MAX)
        usage->asked++;
    usage->asked_bytes += bytes;
    if (is_flood(usage->asked, limits->messages_per_minute) ||
        is_flood(usage->asked_bytes, limits->bytes_per_minute))
        return LIMITS_FLOOD;
    int64_t messages_us = usage->messages_us;
    if (!limits_take(&messages_us, limits->messages_per_minute, 1, now_us) ||
        !limits_take(&usage->bytes_us, limits->bytes_per_minute, bytes, now_us))
        return LIMITS_RATE;
    usage->messages_us = messages_us;
    return LIMITS_FINE;
}

bool limits_connect(struct limits_usage *usage, const struct rules_limits *limits, int64_t now_us)
{
    return limits_take(&usage->connects_us, limits->connects_per_minute, 1, now_us);
}
