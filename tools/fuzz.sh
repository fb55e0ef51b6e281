#!/bin/bash
# fuzz.sh SECONDS: each fuzzer in turn, over its corpus and what it found before. What is new stays
# in build/fuzz/found/NAME, what breaks something in build/fuzz/crashes; both are worth a look, and
# a small part of the first is worth its place in fuzz/corpus.
set -euo pipefail

seconds=$1
failed=0
for program in build/fuzz/fuzz/*_fuzz; do
    [ -x "$program" ] || { echo "fuzz: no fuzzer was built in build/fuzz" >&2; exit 1; }
    name=$(basename "$program" _fuzz)
    found=build/fuzz/found/$name
    mkdir -p "$found" build/fuzz/crashes
    printf '%-16s' "$name"
    if "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="build/fuzz/crashes/$name-" "$found" "fuzz/corpus/$name" \
        >"build/fuzz/$name.log" 2>&1; then
        awk '/stat::number_of_executed_units/ { runs = $2 }
             /stat::new_units_added/ { new = $2 }
             END { printf "%12d runs %6d new\n", runs, new }' "build/fuzz/$name.log"
    else
        failed=1
        echo " FAILED: build/fuzz/$name.log, input in build/fuzz/crashes"
        tail -n 30 "build/fuzz/$name.log"
    fi
done
exit $failed
