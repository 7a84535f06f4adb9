#!/usr/bin/env bash
# What it costs to include nsvd: seconds of compiler time over <Eigen/Dense> (medians of three) and the compiler's
# memory, for both backends. Usage: benchmarks/compile_time.sh [--check] [compiler]
# With --check it fails where the umbrella header takes more than 2 s, a call of `nested` on float more than 6 s (9 s with
# Eigen alone, where 6 s are wanted and not reached), or one of them 700 MB; seconds of a machine on which <Eigen/Dense>
# alone takes 0.9 s, and in proportion on others.
set -euo pipefail
cd "$(dirname "$0")/.."
check=
if [ "${1-}" = --check ]; then
    check=1
    shift
fi
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
    local label=$1 seconds
    shift
    read -r seconds memory <<<"$(cost "$@")"
    printf '%-42s %6.2f s  %5d MB\n' "$label" "$(awk "BEGIN { print $seconds - $base }")" "$memory"
    over=$(awk "BEGIN { print ($seconds - $base) * 0.9 / $base }")
}
failed=0
within() { # label, seconds: of the row before
    [ -n "$check" ] || return 0
    if awk "BEGIN { exit !($over > $2 || $memory > 700) }"; then
        echo "   $1: more than $2 s or 700 MB"
        failed=1
    fi
}
for backend in lapack eigen; do
    flags=()
    limit=9
    [ $backend = lapack ] && flags=(-DNSVD_USE_LAPACK) limit=6
    echo "-- $backend backend"
    row '+ <nsvd/nsvd.hpp>' include "${flags[@]}"
    within 'the umbrella header' 2
    row '+ a call of nested on float' call "${flags[@]}"
    within 'a call of nested' $limit
    row '  the same with NSVD_EXTERN_TEMPLATES' call "${flags[@]}" -DNSVD_EXTERN_TEMPLATES
    row '  <nsvd/instantiate.hpp>, once a program' instantiate "${flags[@]}" -DNSVD_EXTERN_TEMPLATES
done
"$compiler" --version | head -n 1
exit $failed
