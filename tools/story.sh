#!/bin/bash
# `make run`: a hub, a Mosquitto and five devices on this machine, from the factory to a cut that
# reaches everywhere, with the programs as they are built. Every step is checked by what the hub or the device itself says, and
# stands there with the time it took.
#
#   ONCE=1  end after the story: 0 only where every step held; else stay until Ctrl-C
#   RUN     where everything is kept (run); a second start goes on with it
#   BUILD   the build to take (build/release)
set -eEuo pipefail

cd "$(dirname "$0")/.."
once=${ONCE:-}
run=${RUN:-run}
build=$(realpath "${BUILD:-build/release}")
hub=$build/hub/holdfast-hub agent=$build/device/holdfast-agent cli=$build/cli/holdfast
plugin=$build/broker/holdfast_mosquitto.so
fleet=demo.fleet model=thermo manifest=batch-1 victim=thermo-5
broker=mqtt-1 broker_host=127.0.0.2 # its certificate may not have a name of the hub
devices=(thermo-1 thermo-2 thermo-3 thermo-4 thermo-5)
patience=30 # seconds for any one step

umask 077
mkdir -p "$run"
shown=$run
cd "$run" # so that the socket's path stays short, wherever this tree is
exec {lock}>lock
flock -n $lock || { echo "story: another one is running in $shown" >&2; exit 1; }

# ---- telling

say() { printf '%s\n' "$*"; }
stamp() { started=${EPOCHREALTIME/[.,]/}; }
told() {
    local now=${EPOCHREALTIME/[.,]/}
    printf '%8d ms  %s\n' $(((now - started) / 1000)) "$*"
}
indent() { sed 's/^/             /'; }

fail() {
    told_why=1
    say ""
    say "FAILED: $1"
    shift
    local log
    for log in hub.log "$@"; do
        [ -s "$log" ] || continue
        say "--- the end of $shown/$log"
        tail -n 12 "$log"
    done
    exit 1
}

# ---- processes: each by its id, none left behind

declare -A pids=()

# Out of reach of the terminal's Ctrl-C, since they are told in order; but ended with this script.
start_process() {
    local name=$1 log=$2
    shift 2
    setpriv --pdeathsig TERM setsid "$@" >>"$log" 2>&1 </dev/null {lock}>&- &
    pids[$name]=$!
}

is_running() { [ -n "${pids[$1]:-}" ] && kill -0 "${pids[$1]}" 2>/dev/null; }

stop_process() {
    local pid=${pids[$1]:-} i
    [ -n "$pid" ] || return 0
    unset "pids[$1]"
    kill -TERM "$pid" 2>/dev/null || true
    for ((i = 0; i < 100; i++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}

failed_at='' told_why=''
trap 'failed_at=$LINENO' ERR

stop_all() {
    local status=$? name
    trap '' INT TERM
    [ $status -eq 0 ] || [ -n "$told_why" ] || say "FAILED: line $failed_at of tools/story.sh"
    for name in "${!pids[@]}"; do
        [ "$name" = hub ] || kill -TERM "${pids[$name]}" 2>/dev/null || true
    done
    for name in "${!pids[@]}"; do
        [ "$name" = hub ] || stop_process "$name"
    done
    stop_process hub
}
trap stop_all EXIT
trap 'say ""; say "Stopping."; exit 0' INT TERM

# until_true WHAT LOG COMMAND...: asks again until it is so.
until_true() {
    local what=$1 log=$2 end=$((SECONDS + patience))
    shift 2
    until "$@"; do
        is_running hub || fail "the hub has ended while waiting: $what" "$log"
        [ $SECONDS -lt $end ] || fail "not within $patience s: $what" "$log"
        sleep 0.02
    done
}

# ---- asking

hf() { "$cli" --socket hub.sock "$@"; }

# must WHAT COMMAND...: its output is of interest only where it fails
must() {
    local what=$1
    shift
    "$@" >last.out 2>&1 || { cat last.out; fail "$what: $*"; }
}

device_field() { hf --json device show "$1" | jq -r "$2 // empty"; }
# holds DEVICE CONDITION: a jq condition on what the hub knows of it
holds() { hf --json device show "$1" 2>/dev/null | jq -e "$2" >/dev/null; }
in_log() { grep -q "$1" "$2"; }

# What the hub says to somebody who holds the victim's key and certificate: status and problem.
ask_as_victim() {
    local state=devices/$victim/state certificate
    certificate=$(find $state -name 'certificate-*' -printf '%T@ %f\n' | sort -n | tail -n 1)
    certificate=${certificate##* }
    curl --silent --max-time 5 --cacert state/root.pem --output answer.json \
        --write-out '%{http_code}' \
        --cert-type DER --cert "$state/$certificate" \
        --key-type DER --key "$state/key-${certificate#certificate-}" \
        "https://127.0.0.1:$device_port/v1/device/self" || true
    jq -r '" " + (.code // .state)' answer.json
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'
}

# ---- the steps

make_keys() {
    stamp
    must "the fleet's keys were not made" "$cli" ca init --state state --fleet $fleet
    told "keys made: root, issuing CA, ledger, trust bundle ($shown/state)"
}

start_hub() {
    stamp
    # Certificates name it for as long as they live, so it stays the same.
    [ -s status.port ] || free_port >status.port
    cat >hub.conf <<END
fleet = $fleet
state = state
socket = hub.sock
listen-device = 127.0.0.1:0
listen-bootstrap = 127.0.0.1:0
listen-operator = 127.0.0.1:0
listen-status = 127.0.0.1:$(cat status.port)
public-url = http://127.0.0.1:$(cat status.port)
ports-file = ports
# quick, for the story
checkin-interval = 2s
# five devices started anew often, from one address
device-writes-per-minute = 120
END
    rm -f ports
    start_process hub hub.log "$hub" --config hub.conf
    until_true "the hub answers" hub.log hf --quiet hub health >/dev/null 2>&1
    until_true "the hub writes down its ports" hub.log test -s ports
    local device bootstrap operator
    device=$(sed -n 's/^device=//p' ports)
    bootstrap=$(sed -n 's/^bootstrap=//p' ports)
    operator=$(sed -n 's/^operator=//p' ports)
    device_port=$device bootstrap_port=$bootstrap operator_port=$operator
    told "hub is up: devices at 127.0.0.1:$device, enrolment at :$bootstrap, readers at :$operator"
}

apply_policy() {
    hf --quiet policy show >/dev/null 2>&1 && return
    stamp
    cat >policy.yaml <<END
holdfast: 1
fleet: $fleet
models:
  $model:
    identity: {maker: acme, proof: manifest, lifetime: 1h}
    publish: ["fleet/{device}/up/#"]
    subscribe: ["fleet/{device}/down/#"]
    limits: {messages: 60/min, subscriptions: 10, stale: 1h}
tests:
  - {device: thermo-1, model: $model, state: trusted, may: {publish: "fleet/thermo-1/up/heat"}}
  - {device: thermo-1, model: $model, state: trusted, may-not: {publish: "fleet/thermo-2/up/heat"}}
  - {device: thermo-1, model: $model, state: trusted, may-not: {subscribe: "#"}}
  - {device: thermo-1, model: $model, state: quarantined, reaches-not: [api, mqtt]}
END
    must "the policy was not applied" hf --yes policy apply policy.yaml --comment "the first"
    told "policy applied, its four tests held: who is a $model, and what one may read and write"
}

make_manifest() {
    local known
    known=$(hf --json manifest show $manifest 2>/dev/null | jq '.devices // empty' || true)
    [ "$known" = ${#devices[@]} ] && return
    stamp
    { echo serial,claim; printf '%s,7d\n' "${devices[@]}"; } >factory.csv
    rm -f claims.csv
    local create=(--create --model "$model" --owner home)
    [ -z "$known" ] || create=() # made, and then the start was cut short
    must "the manifest was not taken" hf manifest import $manifest factory.csv "${create[@]}" \
        --claims-out claims.csv
    local name code
    while IFS=, read -r name code _; do
        [ "$name" = serial ] || put_claim "$name" "$code"
    done <claims.csv
    rm -f claims.csv
    told "factory manifest $manifest: ${#devices[@]} serial numbers, each with a one-time claim code"
}

put_claim() {
    mkdir -p "devices/$1"
    echo "$2" >"devices/$1/claim"
}

configure_agent() {
    local name=$1 at=devices/$1
    mkdir -p "$at"
    # A start that was cut short may have lost the code: the hub makes another, and voids that one.
    if [ ! -e "$at/claim" ] && [ "$(device_field "$name" .state)" = expected ]; then
        put_claim "$name" "$(hf --json device claim "$name" | jq -r .claim_code)"
    fi
    # The broker is not there yet: the agent goes on asking.
    [ -s broker.port ] || free_port >broker.port
    cat >"$at/agent.conf" <<END
serial = $name
hub-bootstrap = 127.0.0.1:$bootstrap_port
hub-device = 127.0.0.1:$device_port
trust-bundle = ../../bundle
state = state
claim-file = claim
mqtt = $broker_host:$(cat broker.port)
telemetry-socket = telemetry
retry-max = 2s
refused-retry = 60s
END
    # This one's owner did not trust the agent with it.
    [ "$name" != $victim ] || echo 'copies = copies' >>"$at/agent.conf"
}

start_agents() {
    stamp
    hf --quiet device bundle --output bundle.new || fail "there is no trust bundle"
    mv bundle.new bundle
    local name
    for name in "${devices[@]}"; do
        configure_agent "$name"
        : >"devices/$name/agent.log"
        start_process "$name" "devices/$name/agent.log" "$agent" --config "devices/$name/agent.conf"
    done
}

enrol() {
    local name
    for name in "${devices[@]}"; do
        until_true "$name is trusted" "devices/$name/agent.log" holds "$name" '.state == "trusted"'
    done
    told "${#devices[@]} agents started: each made its key, proved its claim, and is enrolled over EST"
    stamp
    for name in "${devices[@]}"; do
        until_true "$name has checked in and reported" "devices/$name/agent.log" \
            holds "$name" '.reported_at and .certificate.status == "active"'
    done
    told "each has checked in with its certificate, and reported what it is"
}

carry_on() {
    local name
    for name in "${devices[@]}"; do
        [ "$name" = $victim ] && continue
        # Check-ins are kept in batches, so this takes some seconds.
        until_true "$name checks in" "devices/$name/agent.log" \
            holds "$name" "(.seen_at // \"\") >= \"$1\""
    done
    told "four agents go on with the keys and certificates they have"
}

renew() {
    local -A serials=()
    local name
    for name in "$@"; do
        serials[$name]=$(device_field "$name" .certificate.serial)
    done
    stamp
    for name in "$@"; do
        kill -USR1 "${pids[$name]}" || fail "$name is not running" "devices/$name/agent.log"
    done
    for name in "$@"; do
        until_true "$name has renewed" "devices/$name/agent.log" holds "$name" \
            ".certificate.status == \"active\" and .certificate.serial != \"${serials[$name]}\""
    done
    for name in "$@"; do
        until_true "$name destroys its former key" "devices/$name/agent.log" \
            in_log device.key_retired "devices/$name/agent.log"
        [ "$(hf --json device certificates "$name" |
            jq '[.certificates[] | select(.status == "active" or .status == "issued")] | length')" = 1 ] ||
            fail "$name has more than one certificate that counts" "devices/$name/agent.log"
    done
    told "$# renewed: new key, new certificate; the former are retired and destroyed"
}

# ---- the broker

# Ports are others at each start.
broker_conf() {
    sed -i "s/^hubs = .*/hubs = localhost:$device_port/" broker/broker.conf
    sed -i "s/^hub-device = .*/hub-device = localhost:$device_port/
        s/^hub-bootstrap = .*/hub-bootstrap = localhost:$bootstrap_port/" broker/agent.conf
    # It would give up root's rights for a user who may not read this folder.
    { echo "user $(id -un)" && cat mosquitto-holdfast.conf; } >mosquitto.conf
}

enrol_broker() {
    local hubs=localhost:$device_port,localhost:$bootstrap_port
    [ ! -e mosquitto-holdfast.conf ] || return 0
    stamp
    hf --quiet broker add $broker --host $broker_host -o broker.claim || fail "the broker was not added"
    must "the broker was not enrolled" env PATH="$(dirname "$agent"):$PATH" "$cli" broker enrol \
        $broker --hub "$hubs" --claim-file broker.claim --host $broker_host --trust-bundle bundle \
        --folder "$PWD/broker" --mosquitto "$PWD/mosquitto-holdfast.conf" --plugin "$plugin" \
        --port "$(cat broker.port)" --user "$(id -un)"
    told "a Mosquitto is a device, too: enrolled as $broker, and its configuration written"
}

# What it reports of the agents that come to it are entries, too, so it is behind by those at once.
broker_has_rules() {
    hf --json broker show $broker | jq -e '.seen.rules > 0' >/dev/null
}

start_broker() {
    enrol_broker
    broker_conf
    broker_port=$(cat broker.port)
    stamp
    : >mosquitto.log
    start_process mosquitto mosquitto.log /usr/sbin/mosquitto -c mosquitto.conf
    until_true "the broker has the rules" mosquitto.log broker_has_rules
    told "Mosquitto is up at $broker_host:$broker_port, with the rules in memory"
}

# mqtt pub|sub DEVICE WORD...: Mosquitto's own client, with the device's key and certificate
mqtt() {
    local what=$1 name=$2 pem=devices/$2/copies/identity.pem
    shift 2
    "mosquitto_$what" -V mqttv5 -h $broker_host -p "$broker_port" -i "$name" \
        --cafile devices/"$name"/copies/roots.pem --cert "$pem" --key "$pem" "$@"
}

# A program on the device has no key: it hands its message to the agent.
publish() {
    local name
    stamp
    for name in "$@"; do
        echo 21.5 | must "$name's agent takes no message" "$agent" publish 'fleet/{device}/up/heat' \
            --config "devices/$name/agent.conf"
    done
    for name in "$@"; do
        until_true "the broker has $name's message" "devices/$name/agent.log" has_published "$name"
    done
    told "$# agents have published what programs gave them, each with its own key, over mutual TLS"
}
has_published() {
    "$agent" status --json --config "devices/$1/agent.conf" | jq -e '.telemetry.published > 0' >/dev/null
}

# The thief of one device asks for everything that all of them say.
steal() {
    local answer
    answer=$(ask_as_victim)
    [ "$answer" = "200 trusted" ] || fail "$victim's certificate is not taken: $answer"
    stamp
    : >thief.log
    start_process thief thief.log stdbuf -oL mosquitto_sub -d -V mqttv5 -h $broker_host \
        -p "$broker_port" -i $victim:thief --cafile devices/$victim/copies/roots.pem \
        --cert devices/$victim/copies/identity.pem --key devices/$victim/copies/identity.pem \
        -t '#' -t "fleet/$victim/down/#"
    until_true "the thief has an answer" thief.log in_log '^Subscribed' thief.log
    grep -q '^Subscribed (mid: 1): 135, 0' thief.log || fail "it may read everything" thief.log
    told "somebody with the key of $victim asks to read '#': refused (135); its own topic: granted"
}

cut() {
    stamp
    hf --yes device revoke $victim --reason "stolen" >cut.out 2>&1 || {
        cat cut.out
        fail "the cut is not confirmed" mosquitto.log
    }
    told "$victim is cut off, and each leg was seen from its far side:"
    indent <cut.out
    stamp
    until_true "the thief's session has ended" thief.log in_log 'DISCONNECT.*152' thief.log
    told "the thief's client: $(grep -m 1 DISCONNECT thief.log)"
    stop_process thief
    stamp
    until_true "$victim's agent is put out, too" devices/$victim/agent.log \
        in_log 'mqtt.cut .*reason=152' devices/$victim/agent.log
    told "the device's own agent was put out with it, and waits"
    stamp
    if mqtt pub $victim -q 1 -t "fleet/$victim/up/heat" -m 0 >refused.out 2>&1; then
        fail "$victim still publishes" mosquitto.log
    fi
    told "and as it comes again: $(head -n 1 refused.out)"
}

show_refused() {
    stamp
    local answer
    answer=$(ask_as_victim)
    [[ "$answer" = "403 "* ]] || fail "$victim's certificate is still taken: $answer"
    told "$victim's next request, by curl with its key and certificate: $answer ($1)"
    stamp
    until_true "$victim's agent hears that it is refused" devices/$victim/agent.log \
        in_log device.refused devices/$victim/agent.log
    told "its agent has heard the same: $(grep -o 'status=.* code=[^ ]*' devices/$victim/agent.log)"
}

verify_ledger() {
    stamp
    if [ ! -s reader.token ]; then
        hf --quiet token remove story >/dev/null 2>&1 || true
        rm -f reader.token
        must "no token" hf token create story --scope ledger --valid 30d --output reader.token
    fi
    [ -s ledger.vkey ] || cp state/ledger.vkey ledger.vkey
    local saved=()
    [ -s checkpoint ] && saved=(--saved checkpoint)
    # A checkpoint is signed shortly after the entries that it covers.
    until_true "the newest entries are in a signed checkpoint" hub.log ledger_is_signed
    must "the ledger does not hold" hf ledger verify --url "https://127.0.0.1:$operator_port" \
        --token-file reader.token --roots state/root.pem --key ledger.vkey "${saved[@]}" \
        --save checkpoint.new
    mv checkpoint.new checkpoint
    told "ledger read over HTTPS and verified: $(sed -n 2p checkpoint) entries${saved[*]:+, and they \
continue those of the last start}"
}
ledger_is_signed() {
    hf --json hub show | jq -e '.ledger.checkpoint_size == .ledger.size' >/dev/null
}

# ---- the story

say "Holdfast: five devices and a broker, from the factory to a cut. All of it is kept in $shown/."
say ""
first=
[ -e state/root.pem ] || first=1
[ -n "$first" ] && make_keys
start_hub
apply_policy
make_manifest
if [ "$(device_field $victim .state)" != revoked ]; then
    start_agents
    enrol
    renew "${devices[@]}"
    say ""
    hf device list --manifest $manifest | indent
    say ""
    start_broker
    publish "${devices[@]}"
    steal
    cut
    show_refused "200 before"
else
    say "             known from the start before: $(hf --json device list --manifest $manifest |
        jq -r '[.devices[].state] | group_by(.) | map("\(length) \(.[0])") | join(", ")')"
    since=$(date -u +%Y-%m-%dT%H:%M:%SZ)
    start_agents
    carry_on "$since"
    renew "${devices[@]:0:4}"
    start_broker
    publish "${devices[@]:0:4}"
    show_refused "since the first start"
fi
say ""
hf --json ledger tail --lines 6 |
    jq -r '[.number, .entry.t, .entry.act, .entry.subject, .entry.actor] | @tsv' |
    awk -F'\t' '{ printf "#%-5d %s  %-16s %-18s by %s\n", $1, $2, $3, $4, $5 }' | indent
say ""
verify_ledger
say ""
say "Every step held."
[ -z "$once" ] || exit 0

relative=$(realpath --relative-to="$OLDPWD" "$cli")
cat <<END

It stays up until Ctrl-C. In another terminal, here:

  export HOLDFAST_SOCKET=$shown/hub.sock
  $relative device list
  $relative device show thermo-1
  $relative ledger tail --follow
  $relative doctor --config $shown/hub.conf

Logs: $shown/hub.log, $shown/devices/*/agent.log.  EST: https://127.0.0.1:$bootstrap_port/.well-known/est/
(trust $shown/state/root.pem).  What all of this is: docs/README.md.
END
while is_running hub; do
    sleep 1 &
    wait $! || true
done
fail "the hub has ended"
