#!/usr/bin/env bash
# What it costs to include nsvd: seconds of compiler time over <Eigen/Dense>, medians of five, for both backends.
# Usage: benchmarks/compile_time.sh [compiler]
set -euo pipefail
cd "$(dirname "$0")/.."
compiler=${1:-g++}
eigen=$(pkg-config --cflags eigen3 2>/dev/null || echo -I/usr/include/eigen3)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

echo '#include <Eigen/Dense>' >"$scratch/eigen.cpp"
printf '#include <Eigen/Dense>\n#include <nsvd/nsvd.hpp>\n' >"$scratch/include.cpp"
cat >"$scratch/call.cpp" <<'TEXT'
#include <Eigen/Dense>
#include <nsvd/nsvd.hpp>
nsvd::low_rank<float> f(const Eigen::MatrixXf& w, const nsvd::calibration<float>& c) {
    return nsvd::nested(w, c, nsvd::compression{0.3});
}
TEXT

seconds() { # file, flags…: median of five, user time
    local file=$1
    shift
    local TIMEFORMAT=%U
    for _ in 1 2 3 4 5; do
        { time "$compiler" -std=c++20 -O2 -Iinclude $eigen "$@" -c "$scratch/$file.cpp" -o "$scratch/out.o"; } 2>&1
    done | sort -n | sed -n 3p
}

base=$(seconds eigen)
printf '%-34s %6s s\n' '#include <Eigen/Dense>' "$base"
for backend in lapack eigen; do
    flags=()
    [ $backend = lapack ] && flags=(-DNSVD_USE_LAPACK)
    for what in include call; do
        total=$(seconds $what "${flags[@]}")
        label=$([ $what = include ] && echo '+ <nsvd/nsvd.hpp>' || echo '+ a call of nested on float')
        printf '%-34s %6s s   (%s backend)\n' "$label" "$(awk "BEGIN { print $total - $base }")" $backend
    done
done
"$compiler" --version | head -n 1
