#include "base/host.h"

#include <arpa/inet.h>
#include <string.h>

#define DNS_NAME_MAX  253
#define DNS_LABEL_MAX 63

static bool is_alphanumeric(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* RFC 1123 section 2.1: labels of letters, digits and inner hyphens. No wildcards, no final dot; a
 * last label of digits alone would be an address. */
static bool is_dns_name(struct slice name)
{
    if (name.len == 0 || name.len > DNS_NAME_MAX)
        return false;
    size_t label = 0; /* length of the one we are in */
    bool digits = true;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        if (c == '.') {
            if (label == 0 || name.data[i - 1] == '-')
                return false;
            label = 0;
            digits = true;
            continue;
        }
        if (!is_alphanumeric(c) && (c != '-' || label == 0))
            return false;
        if (++label > DNS_LABEL_MAX)
            return false;
        digits = digits && c >= '0' && c <= '9';
    }
    return label > 0 && name.data[name.len - 1] != '-' && !digits;
}

/* The bytes of an IPv4 or IPv6 address in text; 0 where it is none. */
size_t host_address(struct slice text, uint8_t address[16])
{
    char copy[INET6_ADDRSTRLEN];
    if (text.len >= sizeof copy || memchr(text.data, '\0', text.len) != NULL)
        return 0;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    if (inet_pton(AF_INET, copy, address) == 1)
        return 4;
    return inet_pton(AF_INET6, copy, address) == 1 ? 16 : 0;
}

bool host_is_sound(struct slice host)
{
    uint8_t address[16];
    return is_dns_name(host) || host_address(host, address) > 0;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

/* An IPv4 address is also one of IPv6 (RFC 4291 section 2.5.5.2). */
static bool read_any_address(struct slice text, uint8_t address[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    uint8_t bytes[16];
    size_t n = host_address(text, bytes);
    if (n == 0)
        return false;
    memcpy(address, mapped, sizeof mapped);
    memcpy(address + (sizeof bytes - n), bytes, n);
    return true;
}

bool host_is_same(struct slice a, struct slice b)
{
    uint8_t of_a[16], of_b[16];
    if (read_any_address(a, of_a) && read_any_address(b, of_b))
        return memcmp(of_a, of_b, sizeof of_a) == 0;
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.data[i]) != lower(b.data[i]))
            return false;
    return true;
}
