#!/usr/bin/env bash
# Fuzzes what reads files, and what is called with numbers, of others: ./tests/fuzz/run.sh [SECONDS [TARGET …]]
# (60 seconds a target, all of them). Needs clang with its runtime libraries. First every seed is run once, which
# fails for whatever was found before; inputs that crash a target are left in build/fuzz/found/TARGET.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds="${1:-60}"
shift || true
folder=build/fuzz
all=(calibration checkpoint config decompose report safetensors statistics tokens vocabulary)
targets=("$@")
[ $# -gt 0 ] || targets=("${all[@]}")
jobs="${NSVD_FUZZ_JOBS:-$(nproc)}"
[ "$jobs" -le 2 ] || jobs=2

mkdir -p build
cmake -S . -B "$folder" -G Ninja -DCMAKE_CXX_COMPILER="${CXX:-clang++}" -DNSVD_BACKEND=eigen -DNSVD_BUILD_TESTS=OFF \
    -DNSVD_BUILD_EXAMPLES=OFF -DNSVD_BUILD_FUZZERS=ON >"$folder.log" 2>&1 || { cat "$folder.log"; exit 1; }
cmake --build "$folder" --target "${targets[@]/#/fuzz_}"

fuzz() {
    local target="$1" found="$folder/found/$1" log="$folder/found/$1.log"
    mkdir -p "$found"
    local options=(-artifact_prefix="$found/" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1)
    local status=0
    { "$folder/tests/fuzz/fuzz_$target" "${options[@]}" -runs=0 "tests/fuzz/seeds/$target" >"$log" 2>&1 &&
        "$folder/tests/fuzz/fuzz_$target" "${options[@]}" -max_total_time="$seconds" "$folder/corpus/$target" \
            "tests/fuzz/seeds/$target" >>"$log" 2>&1; } || status=$?
    echo "$status" >"$found.status"  # of either
}

mkdir -p "$folder/found"
for target in "${targets[@]}"; do
    mkdir -p "$folder/corpus/$target"
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || true; done
    fuzz "$target" &
done
wait

failed=0
printf '%-12s %12s %10s %10s\n' target executions 'new units' result
for target in "${targets[@]}"; do
    of() { grep -a "^stat::$1:" "$folder/found/$target.log" | awk '{ sum += $2 } END { print sum + 0 }'; }
    result=ok
    if [ "$(cat "$folder/found/$target.status")" != 0 ]; then
        result=FAILED
        failed=1
    fi
    printf '%-12s %12s %10s %10s\n' "$target" "$(of number_of_executed_units)" "$(of new_units_added)" "$result"
done
for target in "${targets[@]}"; do
    [ "$(cat "$folder/found/$target.status")" != 0 ] || continue
    printf '\n== %s, from %s:\n' "$target" "$folder/found/$target.log"
    grep -a -A 25 -E '^==[0-9]+==|runtime error|^SUMMARY' "$folder/found/$target.log" | head -40
    ls "$folder/found/$target"
done
exit $failed
