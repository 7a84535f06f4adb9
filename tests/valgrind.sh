#!/usr/bin/env bash
# Runs the quick tests of the library, with Eigen alone, under valgrind's memcheck: fails for an invalid access, a decision
# by what was never written, or memory that is lost. Installs what is missing. Minutes, after ./tests/run.sh.
# ./tests/valgrind.sh [build folder] [what Catch is to run]
set -euo pipefail
cd "$(dirname "$0")/.."
. cmake/packages.sh

need_packages "${build_packages[@]}" "${test_packages[@]}" valgrind

folder=${1:-build/eigen}
if [ $# -eq 0 ]; then
    cmake --preset eigen -G Ninja
    cmake --build --preset eigen --target nsvd_tests
fi
# Valgrind runs 30 times slower: not what takes a second as it is, which is mostly what is solved in single precision. Its
# long double is a double: not what compares with sums that need more.
quick=${2:-'~[large]~[accuracy]~[single]~[progress]~[reference]~[backends]~[differential]~"every_rank: beyond*"'\
'~"anchored: larger*"~"anchored: alternating*"~"calibration: pairs of inputs"~"beyond*"~"reflectors: applied*"'\
'~"pivoted storage: real*"~"block Krylov: more equal*"~"calibration: central moments lose*"~"calibration: central moments of any*"'}
exec valgrind --error-exitcode=1 --leak-check=full --errors-for-leak-kinds=definite,possible --num-callers=30 \
    "$folder/tests/nsvd_tests" -d yes "$quick"
