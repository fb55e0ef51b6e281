#!/bin/bash
# Installs what is missing of the given groups of packages.txt. Says nothing where nothing is.
set -euo pipefail

list=$(dirname "$0")/packages.txt

die() {
    echo "setup: $*" >&2
    exit 1
}

[ $# -gt 0 ] || die "usage: $0 GROUP...  (groups: $(sed -n 's/^\[\(.*\)\].*/\1/p' "$list" | xargs))"

packages_of() {
    awk -v group="[$1]" '
        { sub(/#.*/, "") }
        /^\[/ { inside = ($1 == group); found = found || inside; next }
        inside && NF { print $1 }
        END { exit !found }' "$list" || die "there is no group '$1' in $list"
}

is_present() {
    case $1 in
    nodejs) # often comes from elsewhere
        local major
        major=$(node --version 2>/dev/null | sed -n 's/^v\([0-9]*\)\..*/\1/p')
        [ "${major:-0}" -ge 18 ]
        ;;
    nginx-light)
        [ -x /usr/sbin/nginx ]
        ;;
    *)
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
        ;;
    esac
}

missing=()
for group in "$@"; do
    packages=$(packages_of "$group")
    for package in $packages; do
        is_present "$package" || missing+=("$package")
    done
done
[ ${#missing[@]} -gt 0 ] || exit 0

command -v apt-get >/dev/null ||
    die "this needs Debian's packages: ${missing[*]} (no apt-get here: install what they stand for)"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
        die "these packages are missing: ${missing[*]}
setup: neither root nor sudo is at hand; as root, run: apt-get install ${missing[*]}"
    as_root=(sudo)
fi

# Packages bring services along (nginx). None may be started, now or at the next boot.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" install -m 755 /dev/stdin $policy
    trap '"${as_root[@]}" rm -f $policy' EXIT
fi

apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" \
        </dev/null
}

echo "setup: installing ${missing[*]}"
log=$(mktemp)
if ! { apt update && apt install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    die "could not install ${missing[*]}"
fi
rm -f "$log"
for package in "${missing[@]}"; do
    if [ "$package" = nginx-light ] && [ -d /run/systemd/system ]; then
        "${as_root[@]}" systemctl --quiet disable nginx.service
    fi
    is_present "$package" || die "$package is installed, but not what is needed (see $list)"
done
