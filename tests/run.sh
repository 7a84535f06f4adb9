#!/usr/bin/env bash
# Installs what is missing, builds the tests with the LAPACK backend and with Eigen alone, and runs them.
set -euo pipefail
cd "$(dirname "$0")/.."
. cmake/packages.sh

need_packages "${build_packages[@]}" "${test_packages[@]}"

for preset in release eigen; do
    say "Building and testing: preset '$preset'"
    cmake --preset "$preset" -G Ninja
    cmake --build --preset "$preset"
    ctest --preset "$preset"
done
say "All tests passed, with LAPACK and with Eigen alone."
