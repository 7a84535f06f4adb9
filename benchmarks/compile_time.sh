#!/usr/bin/env bash
# What it costs to include nsvd: seconds of compiler time over <Eigen/Dense> (medians of three) and the compiler's
# memory, for both backends. Usage: benchmarks/compile_time.sh [compiler]
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
printf '#include <nsvd/instantiate.hpp>\n' >"$scratch/instantiate.cpp"

# Of a compiler run: user seconds and peak MB, the median of three by seconds.
cost() { # file, flags…
    local file=$1
    shift
    for _ in 1 2 3; do
        python3 - "$compiler" -std=c++20 -O2 -w -Iinclude $eigen "$@" -c "$scratch/$file.cpp" -o "$scratch/out.o" <<'PYTHON'
import resource, subprocess, sys

subprocess.run(sys.argv[1:], check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{used.ru_utime:.3f} {used.ru_maxrss / 1024:.0f}")
PYTHON
    done | sort -n | sed -n 2p
}

read -r base memory <<<"$(cost eigen)"
printf '%-42s %6.2f s  %5d MB\n' '#include <Eigen/Dense>' "$base" "$memory"
row() { # label, file, flags…
    local label=$1 seconds memory
    shift
    read -r seconds memory <<<"$(cost "$@")"
    printf '%-42s %6.2f s  %5d MB\n' "$label" "$(awk "BEGIN { print $seconds - $base }")" "$memory"
}
for backend in lapack eigen; do
    flags=()
    [ $backend = lapack ] && flags=(-DNSVD_USE_LAPACK)
    echo "-- $backend backend"
    row '+ <nsvd/nsvd.hpp>' include "${flags[@]}"
    row '+ a call of nested on float' call "${flags[@]}"
    row '  the same with NSVD_EXTERN_TEMPLATES' call "${flags[@]}" -DNSVD_EXTERN_TEMPLATES
    row '  <nsvd/instantiate.hpp>, once a program' instantiate "${flags[@]}" -DNSVD_EXTERN_TEMPLATES
done
"$compiler" --version | head -n 1
