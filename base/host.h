/* Names of hosts, as people write them and certificates have them. */
#ifndef BASE_HOST_H
#define BASE_HOST_H

#include "core/compiler.h"
#include "core/slice.h"

/* The bytes of an IPv4 (4) or IPv6 address (16) in text; 0 where it is none. */
size_t host_address(struct slice text, uint8_t address[16]);
/* A DNS name (RFC 1123 section 2.1; no wildcard, no final dot) or an address. */
bool host_is_sound(struct slice host);
/* Do both name the same? DNS names whatever their case, addresses however they are written, an IPv4
 * address also as one of IPv6. */
bool host_is_same(struct slice a, struct slice b);

#endif
