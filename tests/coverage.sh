#!/usr/bin/env bash
# Line coverage of include/ by the tests of the library and its adapters, with LAPACK and with Eigen alone together; fails
# below 95 %. Installs what is missing. ./tests/coverage.sh [lapack|eigen] measures one backend, and only prints.
set -euo pipefail
cd "$(dirname "$0")/.."
. cmake/packages.sh

need_packages "${build_packages[@]}" "${test_packages[@]}" gcovr

backends=("${1:-lapack}")
[ $# -gt 0 ] || backends+=(eigen)
folders=()
for backend in "${backends[@]}"; do
    folder=build/coverage-$backend
    folders+=("$folder")
    say "Building and running the tests: $folder"
    cmake --preset coverage -G Ninja -B "$folder" -DNSVD_BACKEND="$backend"
    programs=(nsvd_tests nsvd_adapter_tests nsvd_out_of_core_tests)
    ! grep -q '^MPI_CXX_HEADER_DIR:PATH=/' "$folder/CMakeCache.txt" || programs+=(nsvd_mpi_tests)
    ! grep -q '^NSVD_TORCH_LIBRARY:.*\.so' "$folder/CMakeCache.txt" || programs+=(nsvd_torch_tests)
    cmake --build "$folder" --target "${programs[@]}"
    find "$folder" -name '*.gcda' -delete
    ctest --test-dir "$folder" -R '^(library|adapters|adapter_torch|out_of_core|mpi_4)$' --output-on-failure
done

# A line of a template counts where any of its instantiations has run it.
say "Line coverage"
gcovr --root . --filter 'include/nsvd/' --exclude-unreachable-branches "${folders[@]}" \
    $([ $# -gt 0 ] || echo --fail-under-line 95)
