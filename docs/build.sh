#!/usr/bin/env bash
# Installs what is missing and builds the guide and the reference into one site: build/docs/site/index.html.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=cmake/packages.sh
. cmake/packages.sh

need_packages g++ cmake ninja-build libeigen3-dev doxygen

cmake -S . -B build/docs -G Ninja -DNSVD_BACKEND=eigen -DNSVD_BUILD_TESTS=OFF -DNSVD_BUILD_EXAMPLES=OFF -DNSVD_BUILD_DOCS=ON
cmake --build build/docs --target docs
say "The site: $PWD/build/docs/site/index.html"
