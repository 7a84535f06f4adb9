#!/usr/bin/env bash
# Installs what is missing, applies each of the errors of tests/mutation/mutations to a copy of the headers, and fails
# unless the tests notice every one. ./tests/mutation/run.sh [-j 2] [part of a name ...]
set -euo pipefail
cd "$(dirname "$0")/../.."
. cmake/packages.sh

need_packages "${build_packages[@]}" "${test_packages[@]}" python3
exec python3 tests/mutation/mutate.py "$@"
