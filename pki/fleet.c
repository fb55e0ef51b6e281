#include "pki/fleet.h"

bool ca_is_fleet_name(struct slice name)
{
    uint8_t previous = '.';
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        bool is_alphanumeric = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        bool is_inner =
            (c == '-' && previous != '.') || (c == '.' && previous != '.' && previous != '-');
        if (!is_alphanumeric && !is_inner)
            return false;
        previous = c;
    }
    return name.len <= CA_FLEET_MAX && previous != '.' && previous != '-';
}
