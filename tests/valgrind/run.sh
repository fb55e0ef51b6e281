#!/bin/bash
# run.sh BUILD: one device's life with hub, signer, agent and command under Valgrind. 0 where none of
# them read or wrote what it should not, or lost memory. The last line says what was run.
set -euo pipefail

build=$(realpath "$1")
here=$(realpath "$(dirname "$0")")
folder=$(mktemp -d /tmp/holdfast-valgrind-XXXXXX)
hub_pid=''

stop_hub() {
    local pid=$hub_pid i
    [ -n "$pid" ] || return 0
    hub_pid=''
    kill -TERM "$pid" 2>/dev/null || true
    for ((i = 0; i < 300; i++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid"
}
clean_up() {
    local status=$?
    stop_hub || true
    [ $status -eq 0 ] || tail -n 100 "$folder"/*.log
    rm -rf "$folder"
}
trap clean_up EXIT

cd "$folder"
gcc -shared -fPIC -O1 "$here/no_seccomp.c" -o no_seccomp.so
runs=0
# What is still reachable at the end is no loss: OpenSSL keeps tables until the process is gone.
memcheck=(valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite
    --errors-for-leak-kinds=definite "--log-file=$folder/valgrind-%p.log")
holdfast() {
    runs=$((runs + 1))
    "${memcheck[@]}" "$build/cli/holdfast" --quiet --socket hub.sock "$@" >"cli$runs.log" 2>&1
}
agent_once() {
    local status=0
    "${memcheck[@]}" "$build/device/holdfast-agent" --config agent.conf --once >"agent$1.log" 2>&1 ||
        status=$?
    [ $status -eq "$2" ] || { echo "the agent ended with $status instead of $2"; exit 1; }
}

holdfast ca init --state state --fleet valgrind.fleet
cat >hub.conf <<END
fleet = valgrind.fleet
state = state
socket = hub.sock
listen-device = 127.0.0.1:0
listen-bootstrap = 127.0.0.1:0
listen-operator = 127.0.0.1:0
ports-file = ports
loops = 2
request-timeout = 60s
END
LD_PRELOAD=$folder/no_seccomp.so "${memcheck[@]}" "$build/hub/holdfast-hub" --config hub.conf \
    >hub.log 2>&1 &
hub_pid=$!
for ((i = 0; i < 600; i++)); do
    [ -s ports ] && break
    kill -0 $hub_pid 2>/dev/null || { echo "the hub has ended"; exit 1; }
    sleep 0.1
done
device=$(sed -n 's/^device=//p' ports)
bootstrap=$(sed -n 's/^bootstrap=//p' ports)

holdfast model create thermo --maker acme
printf 'serial,claim\nthermo-1,7d\n' >factory.csv
holdfast manifest import batch-1 factory.csv --create --model thermo --owner home \
    --claims-out claims.csv
sed -n 's/^thermo-1,\([^,]*\),.*/\1/p' claims.csv >claim
holdfast device bundle --output bundle
cat >agent.conf <<END
serial = thermo-1
hub-bootstrap = 127.0.0.1:$bootstrap
hub-device = 127.0.0.1:$device
trust-bundle = bundle
claim-file = claim
state = agent
END
agent_once 1 0
agent_once 2 0
holdfast device show thermo-1
holdfast --yes device revoke thermo-1 --reason stolen
agent_once 3 3
holdfast ledger verify --local --key state/ledger.vkey
stop_hub || { echo "the hub ended with $?"; exit 1; }
# The signer, which was forked, tells of its errors in a log of its own alone.
if grep -q '^==' valgrind-*.log; then
    echo "Valgrind has findings"
    exit 1
fi
echo "hub, signer, agent (3 runs), command ($runs runs)"
