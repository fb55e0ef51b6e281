#!/bin/sh
# install-config.sh SYSCONFDIR NAME...: run by `meson install`. What is there already stays.
set -eu
to=${DESTDIR:-}$1/holdfast
shift
for name in "$@"; do
    [ -e "$to/$name" ] || install -D -m 0644 "$MESON_SOURCE_ROOT/packaging/$name" "$to/$name"
done
