#!/bin/sh
# Builds device/lib and what it needs of core for a Cortex-M3, without an operating system and without
# a C library, links it around a port that does nothing, and prints its size. Nothing may be missing
# but memcpy, memmove, memset and memcmp, which every port has.
set -eu
cd "$(dirname "$0")/.."
cc=${CROSS_COMPILE:-arm-none-eabi-}gcc
size=${CROSS_COMPILE:-arm-none-eabi-}size
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

flags='-std=gnu17 -mcpu=cortex-m3 -mthumb -Os -ffreestanding -ffunction-sections -fdata-sections
    -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
    -Wno-missing-field-initializers -I.'
objects=
for source in $(cat device/lib/sources.txt) tools/cortex-m3.c; do
    object=$folder/$(echo "$source" | tr / _).o
    # shellcheck disable=SC2086  # the flags are words
    "$cc" $flags -fstack-usage -c "$source" -o "$object"
    objects="$objects $object"
done

# libgcc is the compiler's own run-time (64-bit division); no other library is linked.
# shellcheck disable=SC2086
"$cc" -mcpu=cortex-m3 -mthumb -nostdlib -Wl,--gc-sections,-e,reset \
    -Wl,--defsym=memcpy=0,--defsym=memmove=0,--defsym=memset=0,--defsym=memcmp=0 \
    $objects -lgcc -o "$folder/device.elf"

# The text alone of a program that was linked says what a product pays in flash.
"$size" "$folder/device.elf" | awk 'NR == 2 {
    printf "device/lib on Cortex-M3: %d bytes of code and constants, %d bytes of RAM\n", $1, $2 + $3 }'
cat "$folder"/*.su | sort -t "$(printf '\t')" -k 2 -n -r | head -n 1 | awk -F '\t' '{
    sub(/.*:/, "", $1); printf "  largest stack frame: %d bytes (%s)\n", $2, $1 }'
